"""The page: one self-contained file in which every unit can be seen, heard and judged.

Nothing on it reaches for the network: style and script are inline and allowed by their hash, pictures and
sounds are data URIs. See `cepscope.report.cards` for the place where that would change.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from cepscope.atomic import write_text
from cepscope.errors import CepscopeWarning
from cepscope.report import raster, wording
from cepscope.report.cards import STRIP_LIMIT, Clips, Embedded, Ids, Media, axis_ticks, layer_view, unit_view
from cepscope.report.content import ReportContent
from cepscope.report.curves import draw_panel, history_panels
from cepscope.report.rendering import render

LARGE_PAGE = 200  # units; above it one file is slow to open


def _inert_json(value: Any) -> Markup:
    """JSON that can stand in a script block: nothing in it can end the block or be read as markup."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))  # noqa: S704


def _tables(run: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    tables = [(str(k), list(wording.flatten(v))) for k, v in run.items() if isinstance(v, Mapping)]
    single = {key: value for key, value in run.items() if not isinstance(value, Mapping)}
    return ([("run", list(wording.flatten(single)))] if single else []) + [table for table in tables if table[1]]


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
    template = files("cepscope.report") / "template"
    style, script = ((template / name).read_text("utf-8") for name in ("style.css", "page.js"))
    clips = Clips(media)
    ids = Ids({"top", "main", "overview", "units", "training", "about", "search", "sort", "trust", "help", "clips"})
    medians = content.summary.get("layers") or {}
    layers = []
    for name, cards in content.layers.items():
        units = [unit_view(card, content, ids, media, clips) for card in cards]
        layers.append(layer_view(name, units, medians.get(name) or {}, ids.new(f"layer {name}")))
    return render(
        "page.html.j2",
        content=content,
        style=style,
        script=script,
        media="data: blob:",
        sentences=wording.introduction(content),
        scores=wording.SCORES,
        view_meanings=list(wording.VIEWS.values()) if any(card.views for card in content.units) else [],
        layers=layers,
        accuracy=content.summary.get("test_accuracy"),
        logits_right=content.summary.get("logit_sounds_right"),
        doubtful=sum(layer["doubtful"] for layer in layers),
        strip_ticks=axis_ticks(STRIP_LIMIT, 4),
        strip_limit=STRIP_LIMIT,
        panels=[draw_panel(panel) for panel in history_panels(content.history)],
        tables=_tables(content.run),
        front_end=list(wording.flatten(content.spec.to_dict())),
        spread=raster.SPREAD_SD,
        range_db=raster.RANGE_DB,
        legend_sd=media.picture(raster.paint([range(raster.LEVELS)], 0, raster.LEVELS - 1)),
        legend_db=media.picture(raster.paint([range(raster.LEVELS)], 0, raster.LEVELS - 1, colours=raster.SEQUENTIAL)),
        clips=_inert_json(clips.addresses),
    )


def write_page(content: ReportContent, folder: str | Path) -> Path:
    """Write ``index.html`` into a folder, whole or not at all.

    Parameters
    ----------
    content : ReportContent
    folder : path
        Made if it does not exist.

    Returns
    -------
    Path
        Of the page.

    Warns
    -----
    CepscopeWarning
        Above 200 units: the page works but opens slowly.
    """
    page = render_page(content)
    if len(content.units) > LARGE_PAGE:
        warnings.warn(
            f"The page holds {len(content.units)} units in one file of {len(page) / 1e6:.0f} MB "
            "and may open slowly; choose fewer units with `maximize.layers`.",
            CepscopeWarning,
            stacklevel=2,
        )
    path = Path(folder) / "index.html"
    write_text(path, page)
    return path
