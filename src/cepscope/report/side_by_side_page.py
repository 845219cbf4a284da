"""Networks side by side: one page on which the sounds of units that answer to each other are compared.

A column is a run, a layer, or a network at a moment of its training; a row is a unit. Like the page of methods
(`cepscope.report.comparison`), whose way of listening it shares, it is one file that reaches for nothing.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from cepscope.atomic import write_text
from cepscope.report import raster
from cepscope.report.comparison import check_size
from cepscope.report.media import LUFS, Embedded, Ids
from cepscope.report.rendering import render
from cepscope.report.side_by_side_content import SideBySide
from cepscope.report.side_by_side_rows import introduction, panels, row_view, shown_scores, table, table_scores

MOST = 200  # rows of a page


def render_side_by_side(content: SideBySide, *, title: str = "", lufs: float = LUFS) -> str:
    """Render the page of `write_side_by_side`.

    Returns
    -------
    str
        One HTML document, the same characters for the same content.
    """
    check_size([_samples(content, row) for row in content.shown], most=MOST, what="units")
    template = files("cepscope.report") / "template"
    names = ("style.css", "comparison.css", "side_by_side.css", "comparison.js")
    *styles, script = ((template / name).read_text("utf-8") for name in names)
    media, ids = Embedded(), Ids({"top", "course", "rows", "figures", "loop", "now"})
    count, shown = len(content.rows), len(content.shown)
    return render(
        "side_by_side.html.j2",
        title=title or _title(content),
        style="".join(styles),
        script=script,
        brand="units as they came to be" if content.moments else "units side by side",
        introduction=introduction(content),
        panels=panels(content),
        columns=content.columns,
        rows=[row_view(content, row, lufs, media, ids) for row in content.shown],
        scores=shown_scores(content),
        measured=table_scores(content),
        table=table(content),
        caption=f"Medians over all {count} units" + (f", of which {shown} are shown above" if shown < count else ""),
        spread=raster.SPREAD_SD,
        range_db=raster.RANGE_DB,
        legend_sd=media.picture(raster.paint([range(raster.LEVELS)], 0, raster.LEVELS - 1)),
        legend_db=media.picture(raster.paint([range(raster.LEVELS)], 0, raster.LEVELS - 1, colours=raster.SEQUENTIAL)),
    )


def write_side_by_side(path: str | Path, content: SideBySide, *, title: str = "", lufs: float = LUFS) -> Path:
    """Write a page on which units of networks can be compared, whole or not at all.

    Parameters
    ----------
    path : path
        The HTML file to appear.
    content : SideBySide
        From `side_by_side`, or from `cepscope.pipeline.comparing.compare_runs` and its like.
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
        There are more than 200 rows, or 64 MB of sound; `lufs` is not finite.
    DataError
        `path` can't be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from cepscope.features import MfccSpec
    >>> from cepscope.probe import Units
    >>> from cepscope.report import Column, side_by_side
    >>> rng, spec = np.random.default_rng(0), MfccSpec(sr=8000)
    >>> patterns, audio = rng.normal(size=(3, 20, 16)), 0.1 * rng.normal(size=(3, 1200))
    >>> one = Column("one", Units(("a:0", "a:1", "a:2"), patterns), audio, spec)
    >>> other = Column("other", Units(("a:0", "a:1", "a:2"), patterns[::-1]), audio[::-1], spec)
    >>> with TemporaryDirectory() as folder:
    ...     page = write_side_by_side(f"{folder}/page.html", side_by_side([one, other]))
    ...     page.read_text().count("<audio")
    6
    """
    write_text(path, render_side_by_side(content, title=title, lufs=lufs))
    return Path(path)


def _samples(content: SideBySide, row: int) -> int:
    pairs = zip(content.columns, content.partners[row], strict=True)
    return sum(column.audio.shape[1] for column, place in pairs if place >= 0)


def _title(content: SideBySide) -> str:
    if content.moments:
        return "How its units came to be"
    *most, last = (column.name for column in content.columns)
    return f"{', '.join(most)} and {last}, side by side"
