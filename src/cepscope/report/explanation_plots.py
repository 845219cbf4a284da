"""A recording and what a network makes of it: as a figure for papers, and drawn and playing in a notebook."""

from __future__ import annotations

import base64
import html
import io

import numpy as np
from matplotlib.figure import Figure

from cepscope.probe.explanation import Explanation
from cepscope.report.explanation_rows import UNITS, class_order, heard_parts, shown_moments, sounds, spectrogram_db
from cepscope.report.figures import FREQUENCY, TIME, draw_map, new_figure
from cepscope.report.media import Embedded
from cepscope.report.raster import RANGE_DB, SEQUENTIAL

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # Okabe and Ito
PLAYERS = 4  # excerpts of a long recording that a notebook holds


def plot_explanation(explanation: Explanation, *, units: int = UNITS) -> Figure:
    """Draw a recording's spectrogram, its likeliest classes and the strongest units of each layer over time.

    Parameters
    ----------
    explanation : Explanation
    units : int
        Of a layer.

    Returns
    -------
    Figure
    """
    shown = shown_moments(explanation, units)
    tracks = [track for track in reversed(explanation.tracks) if any(one.layer == track.layer for one in shown)]
    rows = 1 + bool(explanation.classes) + len(tracks)
    figure = new_figure(8.0, 1.9 + 1.3 * (rows - 1))
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=(1.4, *[1] * (rows - 1)))[:, 0]
    seconds, top = explanation.seconds, explanation.recording.spec.sr / 2
    image = draw_map(
        axes[0], spectrogram_db(explanation), (0, seconds, 0, top), colours=SEQUENTIAL, low=-RANGE_DB, high=0
    )
    figure.colorbar(image, cax=axes[0].inset_axes((1.02, 0, 0.015, 1)), label="level [dB]")  # where keys are below
    axes[0].set(ylabel=FREQUENCY, title=explanation.name)
    row = 1
    if explanation.classes:
        for c, colour in zip(class_order(explanation), COLOURS, strict=False):
            axes[row].plot(explanation.centres, explanation.probabilities[:, c], ".-", color=colour,
                           label=explanation.classes[c])  # fmt: skip
        axes[row].set(ylabel="probability", ylim=(0, 1.02))
        row += 1
    for ax, track in zip(axes[row:], tracks, strict=True):
        for one, colour in zip([one for one in shown if one.layer == track.layer], COLOURS, strict=False):
            values = track.relative[:, track.units.index(one.unit)]
            ax.plot(track.times, values, "." if len(values) == 1 else "-", color=colour,
                    label=f"{one.unit} {one.label}".strip())  # fmt: skip
        ax.axhline(1, color="#888888", linestyle=":", linewidth=1)
        ax.set(ylabel=track.layer)
    for ax in axes[1:]:
        ax.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.05))
        ax.spines[["top", "right"]].set_visible(False)
    axes[-1].set(xlabel=TIME, xlim=(0, seconds))
    return figure


def notebook(explanation: Explanation) -> str:
    """Return a picture and players for a notebook: of the whole, or of the first excerpts of a long recording."""
    out = io.BytesIO()
    plot_explanation(explanation).savefig(out, format="png", dpi=110, metadata={"Software": None})
    picture = base64.b64encode(out.getvalue()).decode()
    name = html.escape(explanation.name)
    said = ""
    if explanation.classes:
        said = f": <b>{html.escape(explanation.said)}</b> ({float(np.max(explanation.overall)):.2f})"
    parts = heard_parts(explanation)
    players = "".join(
        f'<audio controls aria-label="{name}, from {one["begin"]:.2f} s" src="{one["source"]}"></audio>'
        for one in sounds(explanation, parts[:PLAYERS], Embedded())
    )
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in explanation.notes)
    return (
        f'<p>{name}{said}</p>{notes}{players}<div><img alt="Spectrogram, classes and activations of {name} over time" '
        f'src="data:image/png;base64,{picture}"></div>'
    )
