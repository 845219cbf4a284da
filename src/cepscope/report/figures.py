"""What all figures share: a canvas without global state, axes in s and Hz, files that are the same each time.

Maps are magma for levels and RdBu around zero for deviations, both safe for colour-blind readers.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cepscope.atomic import write_bytes
from cepscope.errors import ParameterError
from cepscope.features import MfccSpec
from cepscope.report.raster import DIVERGING, RANGE_DB, SEQUENTIAL, spectrogram_db

FORMATS = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None},
}
TIME, FREQUENCY, COEFFICIENT, FRAME = "time [s]", "frequency [Hz]", "MFCC coefficient", "frame"
PATCH_RANK = 2


class NotebookFigure(Figure):
    """A matplotlib figure that draws itself in a notebook without pyplot."""

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.savefig(out, format="png", metadata=FORMATS[".png"])
        return out.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches, on a canvas of its own."""
    figure = NotebookFigure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def as_patch(x: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return an MFCC patch (n_mfcc, frames), without a trailing axis of 1."""
    array = np.asarray(x, np.float64)
    if array.ndim == PATCH_RANK + 1 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != PATCH_RANK or not array.size:
        raise ParameterError(f"An MFCC patch must be (n_mfcc, frames). Received: shape {array.shape}")
    return array


def draw_map(
    axes: Any,
    values: npt.NDArray[Any],
    extent: tuple[float, float, float, float],
    *,
    colours: str,
    low: float,
    high: float,
) -> Any:
    """Draw values with row 0 at the bottom; `extent` is left, right, bottom, top in the units of the axes."""
    return axes.imshow(
        values,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=extent,
        cmap=colours,
        vmin=low,
        vmax=high,
    )


def draw_mfcc(axes: Any, x: npt.NDArray[np.float64], spec: MfccSpec | None, limit: float) -> Any:
    """Draw an MFCC patch from minus to plus `limit` over time in s, or over frames if `spec` is None."""
    hop = spec.hop / spec.sr if spec else 1.0
    first = int(spec.orders[0]) if spec else 0
    extent = (
        -hop / 2,
        (x.shape[1] - 0.5) * hop,
        first - 0.5,
        first + x.shape[0] - 0.5,
    )  # a frame is centred at its time
    image = draw_map(axes, x, extent, colours=DIVERGING, low=-limit, high=limit)
    axes.set(xlabel=TIME if spec else FRAME, ylabel=COEFFICIENT)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    return image


def draw_spectrogram(axes: Any, audio: npt.ArrayLike, spec: MfccSpec, sr: int) -> Any:
    """Draw a sound's power spectrogram over time in s and frequency in Hz."""
    hop = spec.hop / spec.sr / 2
    levels = spectrogram_db(audio, sr, window=spec.win / spec.sr, hop=hop)
    extent = (-hop / 2, (levels.shape[1] - 0.5) * hop, 0.0, sr / 2)
    image = draw_map(axes, levels, extent, colours=SEQUENTIAL, low=-RANGE_DB, high=0.0)
    axes.set(xlabel=TIME, ylabel=FREQUENCY)
    return image


@contextmanager
def _settled(figure: Figure) -> Iterator[None]:
    """Hold a figure's layout to six digits: its solver's last bits change from one process to the next."""
    figure.draw_without_rendering()
    engine, inside = figure.get_layout_engine(), [axes.get_in_layout() for axes in figure.axes]
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, bottom, width, height = (round(share, 6) for share in axes.get_position(original=True).bounds)
        axes.set_position((left, bottom, width, height))
    try:
        yield
    finally:
        figure.set_layout_engine(engine)
        for axes, was in zip(figure.axes, inside, strict=True):
            axes.set_in_layout(was)


def save_figure(figure: Figure, path: str | Path, *, dpi: float = 300) -> Path:
    """Write a figure as PNG, SVG or PDF, whole or not at all; the same figure gives the same bytes.

    Parameters
    ----------
    figure : Figure
    path : path
        Its suffix chooses the format.
    dpi : float
        Of a PNG, and of pictures within the others.

    Returns
    -------
    Path

    Raises
    ------
    ParameterError
        If the suffix is another.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise ParameterError(f"Figures are written as {', '.join(FORMATS)}. Received: {path.name}")
    out = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "cepscope", "pdf.fonttype": 42}), _settled(figure):
        figure.savefig(out, format=kind[1:], dpi=dpi, metadata=FORMATS[kind])
    write_bytes(path, out.getvalue())
    return path
