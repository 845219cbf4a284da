"""Methods of inversion side by side: one page on which they can be compared by ear, by eye and by their scores.

A row is a recording or a pattern, with one sound a method. The sounds of a row are equally loud, so that the louder one
does not win, and switching between them keeps the place in time. Like the page of a run it is one file that reaches for
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from cepscope.atomic import write_text
from cepscope.errors import ParameterError
from cepscope.report import raster
from cepscope.report.comparison_rows import (
    AGAINST_ORIGINAL,
    ERROR_SD,
    RECORDING,
    SCORES,
    ComparisonItem,
    medians,
    row_view,
)
from cepscope.report.media import LUFS, Embedded, Ids
from cepscope.report.rendering import render

MOST_ROWS = 30
LARGEST_PAGE = 64e6  # bytes of sound; beyond it browsers are slow to open one file


def check_size(samples: Sequence[int], *, most: int = MOST_ROWS, what: str = "recordings or patterns") -> None:
    """Raise ParameterError where a page would be too large; for each row, the samples in all of its sounds."""
    if not 1 <= len(samples) <= most:
        raise ParameterError(f"A page compares 1 to {most} {what}. Received: {len(samples)}. Choose some of them.")
    size = sum(samples) * 2 * 4 / 3  # 16 bits in base 64
    if size > LARGEST_PAGE:
        raise ParameterError(
            f"A page holds at most {LARGEST_PAGE / 1e6:.0f} MB of sound, or it opens slowly. Received: "
            f"{size / 1e6:.0f} MB. Choose fewer {what}, shorter ones, or a lower rate."
        )


def render_comparison(items: Sequence[ComparisonItem], *, title: str = "", lufs: float = LUFS) -> str:
    """Render the page of `write_comparison`.

    Returns
    -------
    str
        One HTML document, the same characters for the same items.
    """
    check_size([item.samples for item in items])
    template = files("cepscope.report") / "template"
    common, own, script = (
        (template / name).read_text("utf-8") for name in ("style.css", "comparison.css", "comparison.js")
    )
    style = common + own
    media, ids = Embedded(), Ids({"top", "rows", "figures", "loop", "now"})
    rows = [row_view(item, lufs, media, ids) for item in items]
    methods = list(dict.fromkeys(method for item in items for method in item.sounds))
    shown = [score for score in SCORES if score[0] not in AGAINST_ORIGINAL or any(row["recorded"] for row in rows)]
    return render(
        "comparison.html.j2",
        title=title or f"{len(methods)} {'way' if len(methods) == 1 else 'ways'} from MFCC to sound",
        style=style,
        script=script,
        rows=rows,
        methods=methods,
        scores=shown,
        medians=medians(rows, [*([RECORDING] if any(row["recorded"] for row in rows) else []), *methods], shown),
        lufs=lufs,
        most=max(len(row["tiles"]) - (not row["recorded"]) for row in rows),
        spread=raster.SPREAD_SD,
        error=ERROR_SD,
        range_db=raster.RANGE_DB,
        legend_sd=media.picture(raster.paint([range(raster.LEVELS)], 0, raster.LEVELS - 1)),
        legend_db=media.picture(raster.paint([range(raster.LEVELS)], 0, raster.LEVELS - 1, colours=raster.SEQUENTIAL)),
    )


def write_comparison(path: str | Path, items: Sequence[ComparisonItem], *, title: str = "", lufs: float = LUFS) -> Path:
    """Write a page on which methods of inversion can be compared, whole or not at all.

    Parameters
    ----------
    path : path
        The HTML file to appear.
    items : sequence of ComparisonItem
        At most 30, with at most 64 MB of sound.
    title : str
    lufs : float
        Loudness of all sounds after ITU-R BS.1770-4. Where the peaks of one sound forbid it, its whole row is as loud
        as that sound can be.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    ParameterError
        There are no items, or too many; `lufs` is not finite; the rate is below the 4000 Hz that loudness needs.
    DataError
        `path` can't be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from cepscope.features import MfccSpec
    >>> from cepscope.invert.inversion import METHODS, invert
    >>> spec = MfccSpec(sr=8000, floor=1e-5)
    >>> wanted = np.random.default_rng(0).normal(size=(20, 30)).cumsum(axis=1)
    >>> sounds = {method: invert(wanted, spec, method=method) for method in METHODS}
    >>> with TemporaryDirectory() as folder:
    ...     page = write_comparison(f"{folder}/page.html", [ComparisonItem("a walk", wanted, spec, sounds)])
    ...     page.read_text().count("<audio") == len(METHODS)
    True
    """
    write_text(path, render_comparison(items, title=title, lufs=lufs))
    return Path(path)
