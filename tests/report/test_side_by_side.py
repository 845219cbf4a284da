"""Networks side by side: what is matched, chosen and counted, and the page that shows it."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cepscope.audio import loudness
from cepscope.errors import ParameterError
from cepscope.features import MfccSpec
from cepscope.probe import Units
from cepscope.report import Column, SideBySide, render_side_by_side, side_by_side, write_side_by_side
from cepscope.report.side_by_side_matching import choose

from .test_comparison import EVIL, LU, Page  # what a page must keep is the same

SPEC = MfccSpec(sr=8000, floor=1e-5)
FRAMES = 24
NAMES = (*(f"crbm1:{i}" for i in range(6)), "logits:0", "logits:1")
LABELS = ("",) * 6 + ("yes", "no")


def _column(name: str, seed: int = 0, *, order: Any = None, spec: MfccSpec = SPEC, frames: int = FRAMES) -> Column:
    """Eight units; with an `order` those of seed 0 in another one, which the classes follow."""
    rng = np.random.default_rng(seed)
    patterns = rng.normal(size=(8, spec.n_mfcc, frames))
    time = np.arange((frames - 1) * spec.hop) / spec.sr
    audio = np.stack([0.1 * (k + 1) * np.sin(2 * np.pi * 150 * (k + 1) * time) for k in range(8)])
    scores = [{"sound_over_natural": 1.0 + k, "retention": 0.5 + k / 20} for k in range(8)]
    order = np.arange(8) if order is None else np.asarray(order)
    units = Units(NAMES, patterns[order], tuple(LABELS[i] for i in order))
    return Column(name, units, audio[order], spec, [scores[i] for i in order])


SWAPPED = (5, 4, 3, 2, 1, 0, 7, 6)


@pytest.fixture(scope="module")
def content() -> SideBySide:
    return side_by_side([_column("one"), _column("other", order=SWAPPED), _column("third", 1)])


@pytest.fixture(scope="module")
def moments() -> SideBySide:
    """A network on its way: from what it is at first to what it is in the end."""
    first, end = _column("untrained", 3), _column("trained")
    columns = []
    for name, share in (("untrained", 0.0), ("epoch 1", 0.5), ("epoch 2", 0.9), ("trained", 1.0)):
        mixed = share * end.units.patterns + (1 - share) * first.units.patterns
        scores = [{**own, "final_over_natural": share} for own in end.scores]
        columns.append(dataclasses.replace(end, name=name, units=Units(NAMES, mixed, LABELS), scores=scores))
    return side_by_side(columns, by="name", reference=-1, moments=("start", "1", "2", "end"))


def test_units_stand_beside_those_that_answer_to_them(content: SideBySide) -> None:
    assert content.partners[:, 0].tolist() == list(range(8))
    assert content.partners[:, 1].tolist() == list(SWAPPED)
    np.testing.assert_allclose(content.likeness[:, 1], 1)
    assert content.partners[6:, 2].tolist() == [6, 7]
    assert (content.likeness[:, 2] < 0.6).all()
    assert content.score(2, 1, "sound_over_natural") == 3.0  # it brought its scores along
    assert content.median("crbm1", 1, "sound_over_natural") == 3.5
    assert content.matched("crbm1", 2) == 6


def test_rows_are_spread_over_the_layers_or_those_asked_for() -> None:
    patterns = np.ones((35, 2, 8))
    units = Units(tuple(f"{layer}:{i}" for layer, n in (("a", 20), ("b", 12), ("c", 3)) for i in range(n)), patterns)
    names = [units.names[i] for i in choose(units, most=11)]
    assert names == ["a:0", "a:5", "a:10", "a:15", "b:0", "b:3", "b:6", "b:9", "c:0", "c:1", "c:2"]
    assert choose(units, most=99) == tuple(range(35))
    assert len(choose(units, most=1)) == 1
    assert choose(units, ["c:1", "a:0", "c:1"]) == (33, 0)
    with pytest.raises(ParameterError, match=r"no unit 'a:70' among 35; nearest: a:"):
        choose(units, ["a:70"])


def test_who_has_no_partner_has_no_row_unless_asked_for() -> None:
    few = _column("few")
    few = dataclasses.replace(
        few, units=Units(NAMES[:2], few.units.patterns[:2]), audio=few.audio[:2], scores=few.scores[:2]
    )
    found = side_by_side([_column("one"), few])
    assert found.shown == (0, 1)
    asked = side_by_side([_column("one"), few], units=["crbm1:0", "crbm1:4"])
    page = Page(render_side_by_side(asked))
    assert list(page.sounds()) == ["crbm1:0, one", "crbm1:0, few", "crbm1:4, one"]
    assert "no unit answers to it" in page.texts("p")
    assert np.isnan(asked.score(4, 1, "likeness"))
    assert asked.to_dict()["units"][4]["cells"][1] is None


def test_keys_stay_with_their_column_where_one_is_empty() -> None:
    one, few = _column("one"), _column("few")
    few = dataclasses.replace(
        few, units=Units(NAMES[:2], few.units.patterns[:2]), audio=few.audio[:2], scores=few.scores[:2]
    )
    asked = side_by_side([one, few, _column("third", 1)], units=["crbm1:4"])
    page = Page(render_side_by_side(asked))
    assert [a["data-choice"] for a in page.all("button") if "data-choice" in a] == ["0", "2"]


def test_when_units_became_themselves(moments: SideBySide) -> None:
    assert [moments.settled_at(row) for row in range(8)] == [2] * 8
    assert [moments.settled_share("crbm1", place) for place in range(4)] == [0, 0, 1, 1]
    assert moments.to_dict()["units"][0]["itself_from"] == "epoch 2"
    page = Page(text := render_side_by_side(moments))
    assert text.count("itself from: epoch 2") == 8
    curves = [a["aria-label"] or "" for a in page.all("svg") if a.get("role") == "img"]
    assert [label.split(" by epoch")[0] for label in curves] == [
        "Likeness to the pattern of the end",
        "Sound / natural in the trained network",
        "Share of units that are themselves",
    ]
    assert "crbm1 ends at 1" in curves[0]
    assert "in the end" in page.texts("th")
    assert "more than one pattern" not in text  # from one start they are found alike


def test_the_page_of_runs_has_no_course(content: SideBySide) -> None:
    text = render_side_by_side(content)
    assert 'id="course"' not in text
    assert "more than one pattern" in text
    assert "itself from" not in text
    assert "in the end" not in text


def test_the_sounds_of_a_row_are_equally_loud(content: SideBySide) -> None:
    sounds = Page(render_side_by_side(content)).sounds()
    assert len(sounds) == 24
    for name in NAMES:
        levels = [loudness(y, SPEC.sr) for key, y in sounds.items() if key.startswith(f"{name},")]
        assert len(levels) == 3
        assert np.ptp(levels) < LU
        assert all(np.isfinite(y).all() and np.abs(y).max() < 1 for y in sounds.values())
    own = content.columns[1].audio[content.partners[0, 1]]
    assert np.corrcoef(sounds["crbm1:0, other"], own)[0, 1] > 0.9999


def test_the_table_holds_the_medians(content: SideBySide) -> None:
    text = render_side_by_side(content)
    lines = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in re.findall(r"<tr.*?</tr>", text)]
    table = {(line[0], line[1]): line[2:] for line in lines[1:]}
    assert list(table) == [(layer, name) for layer in ("crbm1", "logits") for name in ("one", "other", "third")]
    assert table["crbm1", "one"] == ["6", "1.00", "\N{EN DASH}", "3.50", "0.62"]
    like, chance = np.median(content.likeness[:6, 2]), np.median(content.chance[:6, 2])
    assert table["crbm1", "third"][:3] == ["6", f"{like:.2f}", f"{chance:.2f}".replace("-", "\N{MINUS SIGN}")]


def test_results_are_json(content: SideBySide) -> None:
    found = json.loads(json.dumps(content.to_dict(), allow_nan=False))
    assert found["columns"] == ["one", "other", "third"]
    cell = found["units"][0]["cells"][1]
    assert cell == {"unit": "crbm1:5", "likeness": 1.0, "retention": 0.5, "sound_over_natural": 1.0}
    assert found["medians"]["crbm1"]["other"]["matched"] == 6


def test_other_front_ends_are_compared_by_class_alone() -> None:
    one = _column("one")
    faster = _column("faster", spec=MfccSpec(sr=16000, floor=1e-5, n_mfcc=13), frames=30)
    for by in ("auto", "label"):
        found = side_by_side([one, faster], by=by)
        assert found.partners[:, 1].tolist() == [-1] * 6 + [6, 7]
        assert np.isnan(found.likeness[:, 1]).all()
        assert found.shown == (6, 7)
    page = render_side_by_side(found)
    assert page.count("<audio") == 4
    seconds = [float(value) for value in re.findall(r'class="tile"[^>]*data-seconds="([\d.]+)"', page)]
    assert seconds == pytest.approx([23 * 0.01, 29 * 0.01] * 2)  # each playhead in the time of its own sound
    for by in ("pattern", "name"):
        with pytest.raises(ParameterError, match=f"by {by}: their front ends differ, sr is 8000 and 16000. Units of"):
            side_by_side([one, faster], by=by)
    longer = _column("longer", frames=30)
    nameless = dataclasses.replace(longer, units=Units(NAMES, longer.units.patterns))
    with pytest.raises(ParameterError, match=r"by pattern: their patterns have 24 and 30 frames\.$"):
        side_by_side([one, nameless])


def test_every_string_is_escaped_and_only_the_pages_own_code_may_run() -> None:
    names = (f"{EVIL}:0", *NAMES[1:])
    one = _column("one")
    hostile = dataclasses.replace(one, name=EVIL, units=Units(names, one.units.patterns, (EVIL,) * 8))
    text = render_side_by_side(side_by_side([hostile, dataclasses.replace(hostile, name="b")], by="name"), title=EVIL)
    page = Page(text)
    assert len(page.all("script")) == 1
    assert "<script>alert" not in text
    assert "{{ 7 * 7 }}" in text
    assert not any("style" in a or any(k.startswith("on") for k in a) for _, a, _ in page.elements)
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none'; img-src data:; media-src data:;")
    assert "unsafe" not in policy
    ids = [a["id"] for _, a, _ in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert all(a.get("alt") for a in page.all("img"))


def test_the_page_is_whole_and_the_same_each_time(content: SideBySide, tmp_path: Path) -> None:
    path = write_side_by_side(tmp_path / "new" / "page.html", content)
    assert path.read_text("utf-8") == render_side_by_side(content)
    assert "one, other and third, side by side" in path.read_text("utf-8")
    with pytest.raises(ParameterError, match="lufs must be a finite number"):
        write_side_by_side(path, content, lufs=float("nan"))


def test_rates_at_which_loudness_is_not_defined_have_a_page() -> None:
    low = MfccSpec(sr=2000, n_mels=12, n_mfcc=8, floor=1e-5)
    found = side_by_side([_column("one", spec=low), _column("other", 1, spec=low)])
    text = render_side_by_side(found)
    assert text.count("<audio") == 16
    assert "<li>\N{MINUS SIGN}" not in text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: side_by_side([_column("one")]), "two or more columns"),
        (lambda: side_by_side([_column("one"), _column("one")]), "of different names"),
        (lambda: side_by_side([_column("one"), _column("b")], by="sound"), "'sound'"),
        (lambda: side_by_side([_column("one"), _column("b")], most=0), "at least one row"),
        (lambda: dataclasses.replace(_column("one"), audio=np.ones((3, 9))), "a sound .* each of its 8 units"),
        (lambda: dataclasses.replace(_column("one"), audio=np.full((8, 9), np.nan)), "finite"),
        (lambda: side_by_side([_bare("a"), _bare("b")], by="label"), "stands for a class"),
        (lambda: side_by_side([_bare("a"), _bare("b", "z")], by="name"), "No unit of b answers to one of a by name"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(call: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def _bare(name: str, layer: str = "crbm1") -> Column:
    whole = _column(name)
    return dataclasses.replace(whole, units=Units(tuple(f"{layer}:{i}" for i in range(8)), whole.units.patterns))
