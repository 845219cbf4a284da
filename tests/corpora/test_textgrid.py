"""TextGrids as Praat itself writes them, in every form it has."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cepscope.corpora.layouts.textgrid import Mark, Tier, read_textgrid
from cepscope.errors import DataError

parselmouth = pytest.importorskip("parselmouth")
LABELS = st.text(st.characters(codec="utf-8", exclude_categories=("C",)), max_size=8)
TIMES = st.lists(st.integers(1, 99_999), unique=True, max_size=5).map(sorted)


def praat(intervals: list[float], texts: list[str], points: list[tuple[float, str]], name: str = "phones") -> Any:
    """Make a TextGrid of 1 s in Praat: an interval tier with boundaries and texts, and a point tier."""
    call = parselmouth.praat.call
    grid = call("Create TextGrid", 0.0, 1.0, f"{name} bells", "bells")
    for boundary in intervals:
        call(grid, "Insert boundary", 1, boundary)
    for i, text in enumerate(texts, start=1):
        call(grid, "Set interval text", 1, i, text)
    for time, mark in points:
        call(grid, "Insert point", 2, time, mark)
    return grid


def save(grid: Any, path: Path, form: str, encoding: str) -> Path:
    """Write it in Praat, and where it is asked for rewrite it as another program would."""
    parselmouth.praat.call(grid, f"Save as {form} file", str(path))
    content = path.read_bytes()
    text = content.decode("utf-16" if content[:2] in (b"\xfe\xff", b"\xff\xfe") else "utf-8")
    match encoding:
        case "as it is":
            return path
        case "utf-8, windows":
            path.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
        case _:
            path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("form", ["text", "short text"])
@pytest.mark.parametrize("encoding", ["as it is", "utf-8", "utf-8, windows", "utf-16"])
def test_what_praat_writes_is_read(tmp_path: Path, form: str, encoding: str) -> None:
    texts = ["", 'he said "no"', "item [1]:\nxmin = 3 ! text", "ʃəŋ é 1e3"]
    grid = praat([5e-05, 0.25, 0.7], texts, [(0.1, 'a "bell"'), (0.5, "2")])
    tiers = read_textgrid(save(grid, tmp_path / "a.TextGrid", form, encoding))
    edges = [0.0, 5e-05, 0.25, 0.7, 1.0]
    intervals = tuple(Mark(*edges[i : i + 2], texts[i]) for i in range(4))
    assert tiers == (Tier("phones", intervals), Tier("bells", (Mark(0.1, 0.1, 'a "bell"'), Mark(0.5, 0.5, "2"))))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TIMES, st.lists(LABELS, min_size=6, max_size=6), TIMES, st.sampled_from(["text", "short text"]))
def test_anything_in_praats_text_forms(
    tmp_path: Path, bounds: list[int], texts: list[str], points: list[int], form: str
) -> None:
    edges = [0.0, *(bound / 1e5 for bound in bounds), 1.0]
    grid = praat(edges[1:-1], texts[: len(edges) - 1], [(time / 1e5, texts[i]) for i, time in enumerate(points)])
    phones, bells = read_textgrid(save(grid, tmp_path / "a.TextGrid", form, "as it is"))
    # what Praat says that it holds: the label of an interval may lose blanks at its ends on the way in
    call = parselmouth.praat.call
    said = [call(grid, "Get label of interval", 1, i + 1) for i in range(len(edges) - 1)]
    assert [mark.text for mark in phones.marks] == said
    assert [(mark.start, mark.stop) for mark in phones.marks] == list(pairwise(edges))
    assert [mark.start for mark in bells.marks] == [time / 1e5 for time in points]
    assert [mark.text for mark in bells.marks] == [
        call(grid, "Get label of point", 2, i + 1) for i in range(len(points))
    ]


def test_what_is_no_textgrid_is_one_line(tmp_path: Path) -> None:
    grid = praat([0.5], ["a", "b"], [])
    path = tmp_path / "a.TextGrid"
    parselmouth.praat.call(grid, "Save as binary file", str(path))
    with pytest.raises(DataError, match="binary form; open it in Praat"):
        read_textgrid(path)
    parselmouth.praat.call(grid, "Save as chronological text file", str(path))
    with pytest.raises(DataError, match="not a TextGrid in Praat's text form"):
        read_textgrid(path)
    path.write_text("hello\n")
    with pytest.raises(DataError, match="not a TextGrid"):
        read_textgrid(path)
    path.write_bytes("é".encode("latin-1") * 9)
    with pytest.raises(DataError, match="neither UTF-8 nor UTF-16"):
        read_textgrid(path)
    whole = save(grid, path, "text", "utf-8").read_text()
    for cut in range(40, len(whole) - 40, 23):  # wherever it ends too early
        path.write_text(whole[:cut])
        with pytest.raises(DataError, match="TextGrid") as caught:
            read_textgrid(path)
        assert "\n" not in str(caught.value)
