"""The page: in it every unit can be seen, heard and judged.

Nothing on it reaches for the network: style and script are inline and allowed by their hash. With few units it is one
file; with many, pictures and sounds lie next to it and are fetched when they are looked at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from cepscope.atomic import write_text
from cepscope.report import raster, wording
from cepscope.report.cards import Desk, layer_view, unit_view
from cepscope.report.content import ReportContent
from cepscope.report.curves import draw_panel, history_panels
from cepscope.report.media import Embedded, Folder, Ids, Media
from cepscope.report.overview import COLOURS, STRIP_LIMIT, axis_ticks
from cepscope.report.rendering import render

LARGE_PAGE = 200  # units; above it one file is slow to open
MEDIA = "media"  # folder of the pictures and sounds of a large page
SCRIPTS = ("player.js", "units.js", "page.js")  # one after the other, as one script
PLACES = {  # ids that are the page's own
    *("top", "main", "overview", "map", "units", "training", "about", "help", "clips"),
    *("search", "sort", "trust", "count", "reset", "theme", "keys", "colour", "scale", "here"),
}


def _inert_json(value: Any) -> Markup:
    """JSON that can stand in a script block: nothing in it can end the block or be read as markup."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))  # noqa: S704


def _tables(run: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    tables = [(str(k), list(wording.flatten(v))) for k, v in run.items() if isinstance(v, Mapping)]
    single = {key: value for key, value in run.items() if not isinstance(value, Mapping)}
    return ([("run", list(wording.flatten(single)))] if single else []) + [table for table in tables if table[1]]


def _script() -> str:
    template = files("cepscope.report") / "template"
    parts = "".join((template / name).read_text("utf-8") for name in SCRIPTS)
    return f'"use strict";\n{{\n{parts}}}\n'


def _scale(desk: Desk) -> list[dict[str, str]]:
    """Return each score's name and the values of its first and last colour."""
    return [
        {"key": key, "name": name, "low": wording.number(low, digits), "high": wording.number(high, digits)}
        for key, name, _, digits in wording.SCORES
        for low, high in [desk.ends[key]]
    ]


def render_page(content: ReportContent, *, media: Media | None = None) -> str:
    """Render everything as one HTML document.

    Parameters
    ----------
    content : ReportContent
    media : Media, optional
        Where pictures and sounds go; by default into the page itself.

    Returns
    -------
    str
        The same characters for the same content. It holds one ``<audio>`` element a unit;
        exemplars are played by buttons, and each distinct clip is stored once.

    Raises
    ------
    ParameterError
        If a sound exceeds full scale.
    """
    media = media or Embedded()
    ids = Ids(PLACES)
    desk = Desk.of(content, media, ids)
    medians = content.summary.get("layers") or {}
    layers = []
    for name, cards in content.layers.items():
        units = [unit_view(card, desk) for card in cards]
        layers.append(layer_view(name, units, medians.get(name) or {}, ids.new(f"layer {name}")))
    return render(
        "page.html.j2",
        content=content,
        style=(files("cepscope.report") / "template" / "style.css").read_text("utf-8"),
        script=_script(),
        sources=media.sources,
        lazy=media.lazy,
        icon=layers[0]["units"][0]["pattern"],
        sentences=wording.introduction(content),
        loudness=wording.loudness(desk.voice.lufs, desk.voice.quieter),
        scores=wording.SCORES,
        coloured_by="sound_over_natural",
        scale=_scale(desk),
        steps=range(COLOURS),
        view_meanings=list(wording.VIEWS.values()) if any(card.views for card in content.units) else [],
        layers=layers,
        accuracy=content.summary.get("test_accuracy"),
        logits_right=content.summary.get("logit_sounds_right"),
        doubtful=sum(layer["doubtful"] for layer in layers),
        strip_ticks=axis_ticks(STRIP_LIMIT, 4),
        strip_limit=STRIP_LIMIT,
        panels=[draw_panel(panel) for panel in history_panels(content.history)],
        tables=_tables(content.run),
        front_end=wording.front_end(content.spec),
        spread=raster.SPREAD_SD,
        range_db=raster.RANGE_DB,
        legend_sd=media.picture(raster.paint([range(raster.LEVELS)], 0, raster.LEVELS - 1), "legend-sd"),
        legend_db=media.picture(
            raster.paint([range(raster.LEVELS)], 0, raster.LEVELS - 1, colours=raster.SEQUENTIAL), "legend-db"
        ),
        clips=_inert_json(desk.clips.addresses),
    )


def write_page(content: ReportContent, folder: str | Path) -> Path:
    """Write ``index.html`` into a folder, whole or not at all.

    Above 200 units pictures and sounds are files in the folder's ``media``, fetched by the page when they are needed;
    otherwise they are within it.

    Parameters
    ----------
    content : ReportContent
    folder : path
        Made if it does not exist.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    ParameterError
        If a sound exceeds full scale.
    DataError
        If the folder can't be written.
    """
    path = Path(folder) / "index.html"
    beside = Folder(path.parent / MEDIA)
    large = len(content.units) > LARGE_PAGE
    page = render_page(content, media=beside if large else Embedded())
    if large:
        beside.write()
    write_text(path, page)
    beside.sweep()
    return path
