"""A recording and a network: one page on which to hear what it hears, where, and by which units.

Player, spectrogram, classes and activations lie on one time axis; a unit's moment in the recording can be compared with
the unit's pattern and its sound. Like the page of a run it is one file that reaches for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from cepscope.atomic import write_text
from cepscope.probe.explanation import AUDIBLE_DB, COUNTED_DB, HEIGHT, PROMINENCE, Explanation
from cepscope.report import raster
from cepscope.report.explanation_rows import (
    LONG,
    Side,
    card_view,
    class_view,
    heard_parts,
    layer_views,
    moment_views,
    shown_moments,
    sounds,
    spectrogram,
)
from cepscope.report.media import Embedded, Ids
from cepscope.report.overview import axis_ticks
from cepscope.report.rendering import render

__all__ = ["Side", "render_explanation", "shown_units", "write_explanation"]


def shown_units(explanation: Explanation) -> tuple[str, ...]:
    """Return the units that the page shows: of each layer those that fire most."""
    return tuple(one.unit for one in shown_moments(explanation))


def render_explanation(
    explanation: Explanation, sides: Mapping[str, Side], *, network: str = "", run_page: str = ""
) -> str:
    """Render the page of `write_explanation`.

    Returns
    -------
    str
        One HTML document, the same characters for the same explanation.
    """
    template = files("cepscope.report") / "template"
    common, of_methods, own, script = (
        (template / name).read_text("utf-8")
        for name in ("style.css", "comparison.css", "explanation.css", "explanation.js")
    )
    style = common + of_methods + own
    media = Embedded()
    ids = Ids({"top", "listen", "units", "moments", "figures", "now", "recording"})
    parts = heard_parts(explanation)
    cards = [card_view(one, explanation, sides.get(one.unit), media, ids) for one in shown_moments(explanation)]
    of_unit = {card["unit"]: card["id"] for card in cards}
    picture, alt = spectrogram(explanation)
    spec = explanation.recording.spec
    return render(
        "explanation.html.j2",
        explanation=explanation,
        network=network,
        # the names of folders are a person's, and a link may not leave the file's own scheme
        run_page=quote(run_page),
        style=style,
        script=script,
        whole=len(parts) == 1 and parts[0] == (0.0, explanation.seconds),
        long=LONG,
        parts=parts,
        sounds=sounds(explanation, parts, media),
        spectrogram=media.picture(picture),
        spectrogram_alt=alt,
        hertz=axis_ticks(spec.sr / 2, 4, up=True),
        times=axis_ticks(explanation.seconds, 6),
        classes=class_view(explanation),
        layers=layer_views(explanation, of_unit),
        cards=cards,
        moments=moment_views(explanation, of_unit),
        patch=explanation.window,
        hop=explanation.hop * explanation.frame,
        counted_db=COUNTED_DB,
        audible_db=AUDIBLE_DB,
        height=HEIGHT,
        prominence=PROMINENCE,
        range_db=raster.RANGE_DB,
        spread=raster.SPREAD_SD,
        legend_sd=media.picture(raster.paint([range(raster.LEVELS)], 0, raster.LEVELS - 1)),
        legend_db=media.picture(raster.paint([range(raster.LEVELS)], 0, raster.LEVELS - 1, colours=raster.SEQUENTIAL)),
    )


def write_explanation(
    path: str | Path, explanation: Explanation, sides: Mapping[str, Side], *, network: str = "", run_page: str = ""
) -> Path:
    """Write the page of one recording, whole or not at all.

    Parameters
    ----------
    path : path
        The HTML file to appear.
    explanation : Explanation
        Of a recording of any length; from one longer than two minutes only excerpts around the strongest moments can be
        heard on the page.
    sides : mapping of str to Side
        Patterns and sounds of the units that are shown (`shown_units`), as far as there are any.
    network : str
        How the network is called.
    run_page : str
        Address of the run's page, as seen from this one, with forward slashes; empty if it has none.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    DataError
        `path` can't be written.
    """
    write_text(path, render_explanation(explanation, sides, network=network, run_page=run_page))
    return Path(path)
