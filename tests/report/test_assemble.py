"""From objects in memory to a page."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import pytest

import cepscope as cs
from cepscope.corpora import Patches
from cepscope.report.assemble import _share


@pytest.mark.slow
def test_a_page_is_written_from_objects(digit_model: keras.Model, digit_patches: Patches, tmp_path: Path) -> None:
    patterns = cs.maximize(digit_model, digit_patches, steps=4, components=30)
    sounds = cs.invert(patterns, iterations=2, refine_steps=0)
    scores = cs.score_units(digit_model, digit_patches, patterns, sounds)
    page = cs.write_report(tmp_path, digit_model, digit_patches, patterns, sounds, scores=scores)
    text = page.read_text("utf-8")
    assert page == tmp_path / "index.html"
    assert len(re.findall(r"<audio\b", text)) == len(patterns) == 24
    for unit in patterns.units:
        assert unit in text
    assert f"{scores.test_accuracy:.3f}" in text
    told = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", text[text.index("<article") :].split("</article>")[0]))
    first = scores.rows[0]
    assert told["MCD (dB)"] == f"{first['mcd_db']:.2f}"
    assert told["gain"] == f"{first['gain']:.2f}"


def test_the_best_real_clip_is_the_unit_of_the_others() -> None:
    row = {"natural_mean": 2.0, "natural_max": 6.0}
    assert [_share(a, row) for a in (6.0, 4.0, 2.0)] == pytest.approx([1, 0.5, 0])
    assert _share(1.0, {"natural_mean": 1.0, "natural_max": 1.0}) == 0
