"""How a network of others is fed: which of its axes is time, what a frame holds, how cepscope's frames become those.

Whatever a network takes that is made of MFCC frame by frame is a linear map away from cepscope's patches: MFCC are
unscaled, brought to log-mel bands where the network takes those (their cosine transform undone, which is exact when all
coefficients are kept), and scaled as the network was trained with.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from cepscope.atomic import load_npz
from cepscope.corpora import Patches
from cepscope.errors import DataError, ParameterError
from cepscope.features import mfcc_to_log_mel
from cepscope.models.archives import Shape

Layout: TypeAlias = Literal["time-first", "coefficients-first"]
Kind: TypeAlias = Literal["mfcc", "log-mel"]
Array: TypeAlias = npt.NDArray[np.float64]
Affine: TypeAlias = tuple[Array, Array]
Axes: TypeAlias = tuple[int | None, int | None]

LAYOUTS: tuple[Layout, ...] = get_args(Layout)
SPREADS = ("scale", "std", "sd")  # what a file of scaling may call the standard deviation
_ROWS = ("n_mfcc", "n_mels")


@dataclass(frozen=True)
class Feed:
    """What a network takes.

    Attributes
    ----------
    shape : tuple of int
        Of its input, without the batch axis.
    layout : {"time-first", "coefficients-first"}
    kind : {"mfcc", "log-mel"}
        What a frame holds.
    rows : int
        Values of a frame.
    frames : int
    """

    shape: tuple[int, ...]
    layout: Layout
    kind: Kind
    rows: int
    frames: int

    @property
    def settings(self) -> dict[str, int]:
        """Return the settings of a front end that a patch of this size needs."""
        bands = {"n_mels": self.rows} if self.kind == "log-mel" else {}
        return {"n_mfcc": self.rows, **bands, "frames": self.frames}

    def __str__(self) -> str:
        what = "MFCC" if self.kind == "mfcc" else "log-mel bands"
        return f"{self.shape}, {self.layout.replace('-', ' ')}: {self.frames} frames of {self.rows} {what}"


def infer_feed(
    shapes: Sequence[Shape],
    settings: Mapping[str, int],
    said: Collection[str] = (),
    *,
    layout: Layout | Literal[""] = "",
    kind: Kind | Literal[""] = "",
) -> Feed:
    """Find out which axis is time and what a frame holds; ask where that is not clear.

    Parameters
    ----------
    shapes : sequence of tuple of int or None
        Of a network's inputs, without the batch axis; an axis of any length is None.
    settings : mapping
        ``n_mfcc``, ``n_mels`` and ``frames`` of the front end.
    said : collection of str
        Those of them that a person chose; the others give way.
    layout, kind : str
        If they are known.

    Returns
    -------
    Feed

    Raises
    ------
    ParameterError
        If the network takes something else, more than one reading is possible, or none with what was said.

    Examples
    --------
    >>> str(infer_feed([(49, 10, 1)], {"n_mfcc": 10, "n_mels": 40, "frames": 64}, {"n_mfcc"}))
    '(49, 10, 1), time first: 49 frames of 10 MFCC'
    """
    if len(shapes) != 1:
        raise ParameterError(
            f"A network with one input is expected, frames of MFCC or of log-mel bands. Received: {len(shapes)} inputs"
        )
    shape = shapes[0]
    wanted = {name: settings[name] for name in settings if name in said}
    axes = _axes(shape, wanted, layout)
    chosen = layout or _layout(axes, shape, settings, wanted, kind)
    frames, rows = _turned(axes, chosen)
    if rows is None:
        raise ParameterError(f"A frame must have a fixed number of values. Received: {shape}, {chosen}")
    if not _fits((frames, rows), wanted, kind):
        raise ParameterError(f"The network takes {shape}, {chosen}. Expected {_listed(wanted)}: change what is wrong")
    found = kind or _kind(rows, shape, settings, wanted)
    length = frames or settings["frames"]
    sizes = iter((length, rows) if chosen == "time-first" else (rows, length))
    fixed = tuple(size if size == 1 else next(sizes) for size in shape) if len(shape) > 1 else (length * rows,)
    return Feed(fixed, chosen, found, rows, length)


def _axes(shape: Shape, wanted: Mapping[str, int], layout: str) -> Axes:
    """Return the two axes of a network's input that are no channel."""
    if len(shape) == 1 and shape[0] is not None:
        frames = wanted.get("frames", 0)
        if not layout or not frames or shape[0] % frames:
            raise ParameterError(
                f"The network takes {shape[0]} numbers in a row. Expected model.layout and features.frames, a divisor "
                f"of {shape[0]}, which say how frames lie in it. Received: model.layout={layout!r}, "
                f"features.frames={frames or 'not set'}"
            )
        return _turned((frames, shape[0] // frames), layout)
    kept = list(shape)
    if len(kept) == 3:
        if 1 not in (kept[0], kept[-1]):
            raise ParameterError(
                f"One channel is expected: (frames, coefficients, 1) or the like. Received: {shape}; deltas and other "
                "channels can't be heard"
            )
        kept.pop(-1 if kept[-1] == 1 else 0)
    if len(kept) != 2:
        raise ParameterError(f"A network of frames is expected: (frames, coefficients, 1). Received: {shape}")
    return kept[0], kept[1]


def _turned(axes: Axes, layout: str) -> Axes:
    """Return the axes of a network with its frames first; and the other way round."""
    return axes if layout == "time-first" else axes[::-1]


def _listed(wanted: Mapping[str, int]) -> str:
    return ", ".join(f"features.{name}={value}" for name, value in wanted.items())


def _fits(size: Axes, wanted: Mapping[str, int], kind: str) -> bool:
    """Tell whether (frames, rows) agree with what is wanted; there are never more MFCC than bands."""
    frames, rows = size
    if (frames is not None and wanted.get("frames", frames) != frames) or rows is None:
        return False
    bands, coefficients = wanted.get("n_mels"), wanted.get("n_mfcc")
    if kind == "log-mel":
        return bands in (None, rows)
    if coefficients is None:
        return bands is None or rows <= bands
    return rows == coefficients or (not kind and rows == bands)


def _layout(axes: Axes, shape: Shape, settings: Mapping[str, int], wanted: Mapping[str, int], kind: str) -> Layout:
    """Return the only layout that agrees with what was said, else with all settings; Keras' own where there is one."""
    if None in axes:
        return "time-first" if axes[0] is None else "coefficients-first"
    for known in (wanted, settings):
        fitting = [layout for layout in LAYOUTS if _fits(_turned(axes, layout), known, kind)]
        if len(fitting) == 1:
            return fitting[0]
        if not fitting and known is wanted:
            raise ParameterError(f"The network takes {shape}. Expected {_listed(wanted)}: change what is wrong")
    if len(shape) == 2:
        return "time-first"
    raise ParameterError(
        f"The network takes {shape}, and either axis can be time. Set model.layout=time-first or coefficients-first, "
        "or features.n_mfcc"
    )


def _kind(rows: int, shape: Shape, settings: Mapping[str, int], wanted: Mapping[str, int]) -> Kind:
    """Return what a frame holds, if there is no doubt."""
    known = wanted if set(_ROWS) & set(wanted) else {"n_mfcc": settings["n_mfcc"]}
    may_be_mfcc = known.get("n_mfcc", rows if rows < known.get("n_mels", rows) else None) == rows
    may_be_mel = known.get("n_mels") == rows
    if may_be_mfcc != may_be_mel:
        return "mfcc" if may_be_mfcc else "log-mel"
    raise ParameterError(
        f"The network takes {shape}: frames of {rows} MFCC or of {rows} log-mel bands? Set model.input=mfcc or log-mel"
    )


def frame_map(patches: Patches, feed: Feed, *, scaling: str = "none", tie: Affine | None = None) -> Affine:
    """Return what turns a scaled frame of cepscope into one of the network: ``frame @ weights + bias``.

    Parameters
    ----------
    patches : Patches
        Whose frames.
    feed : Feed
    scaling : str
        What the network's own frames went through after extraction: ``"none"``; ``"standard"``, to mean 0 and standard
        deviation 1 of each value over the training clips of `patches`; or an npz with ``mean`` and ``scale``.
    tie : (array [shape=(n_mfcc, rows)], array [shape=(rows,)]), optional
        From scaled frames to the network's MFCC, where its front end is another one (`cepscope.models.reference`).

    Returns
    -------
    weights : array [shape=(n_mfcc, rows)]
    bias : array [shape=(rows,)]

    Raises
    ------
    DataError
        If the npz does not fit.
    """
    spec = patches.spec
    if tie is not None:
        weights, bias = tie
    else:
        weights, bias = patches.scaler.decoder.T, patches.scaler.mean.astype(np.float64)
        if feed.kind == "log-mel":
            decibels = mfcc_to_log_mel(np.eye(spec.n_mfcc), spec).astype(np.float64)  # (n_mels, n_mfcc)
            to_bands = decibels.T * (np.log(10) / 10 if spec.log == "ln" else 1.0)
            weights, bias = weights @ to_bands, bias @ to_bands
    mean, scale = _scaling(scaling, patches, (weights, bias), feed.rows)
    return weights / scale, (bias - mean) / scale


def _scaling(scaling: str, patches: Patches, unscaled: Affine, rows: int) -> Affine:
    """Return the mean and standard deviation of each of a frame's values."""
    if scaling == "none":
        return np.zeros(rows), np.ones(rows)
    if scaling == "standard":
        frames = patches.train.x[..., 0].transpose(0, 2, 1) @ unscaled[0] + unscaled[1]
        deviation = frames.std(axis=(0, 1))
        return frames.mean(axis=(0, 1)), np.where(deviation > 0, deviation, 1.0)
    path = Path(scaling)
    if not path.is_file():
        raise DataError(f"model.scaling must be none, standard or an npz with mean and scale. Received: {scaling}")
    arrays = load_npz(path)
    spread = next((name for name in SPREADS if name in arrays), "")
    if "mean" not in arrays or not spread:
        raise DataError(f"{path} must hold mean and scale. Received: {', '.join(arrays) or 'nothing'}")
    mean, scale = (np.asarray(arrays[name], np.float64).squeeze() for name in ("mean", spread))
    fits = all(one.shape in ((), (rows,)) and np.isfinite(one).all() for one in (mean, scale)) and (scale > 0).all()
    if not fits:
        shapes = f"{arrays['mean'].shape} and {arrays[spread].shape}"
        raise DataError(
            f"{path}: mean and {spread} must be finite, {spread} above 0, each one number or one for each of {rows}. "
            f"Received: shapes {shapes}"
        )
    return np.broadcast_to(mean, (rows,)), np.broadcast_to(scale, (rows,))
