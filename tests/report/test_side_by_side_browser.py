"""The page of networks side by side in a real browser: keys stay with their columns, nothing sticks out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cepscope.audio import condition, read_audio
from cepscope.features import CoefficientScaler, MfccSpec, fit_length, mfcc
from cepscope.probe import Units
from cepscope.report import Column, side_by_side, write_side_by_side

EVIL = "<script>document.title = 'taken'</script>"
FRAMES = 48
TIMES = "[...document.querySelectorAll('audio')].map((a) => a.currentTime)"
MOMENTS = ("untrained", "pretrained", "epoch 1", "epoch 2", "epoch 4", "trained")


@pytest.fixture(scope="module")
def columns(project_root: Path) -> list[Column]:
    """Six columns of three units; the patterns and sounds are those of real clips. One column lacks the second unit."""
    spec = MfccSpec(sr=8000, floor=1e-5)
    clips = sorted((project_root / "data" / "spoken-digits" / "audio").glob("*_0.flac"))[::20][:18]
    sounds = [condition(read_audio(clip, sr=spec.sr)[0])[: spec.samples_of(FRAMES)] for clip in clips]
    audio = np.stack([np.pad(y, (0, spec.samples_of(FRAMES) - len(y))) for y in sounds])
    coefficients = np.stack([fit_length(mfcc(y, spec), FRAMES, spec) for y in audio])
    x = CoefficientScaler.fit(coefficients).transform(coefficients)
    made = []
    for k, name in enumerate(MOMENTS):
        names = ("crbm1:0", "crbm1:1" if k != 2 else "crbm1:9", "logits:0")
        units = Units(names, x[3 * k : 3 * k + 3], ("", "", EVIL))
        scores = [{"sound_over_natural": 1.2, "retention": 0.9, "final_over_natural": k / 5}] * 3
        made.append(Column(name, units, audio[3 * k : 3 * k + 3], spec, scores))
    return made


@pytest.fixture(scope="module")
def address(columns: list[Column], tmp_path_factory: pytest.TempPathFactory) -> str:
    found = side_by_side(columns, by="name", reference=-1, moments=("start", "pre", "1", "2", "4", "end"))
    return write_side_by_side(tmp_path_factory.mktemp("page") / "page.html", found, title=EVIL).as_uri()


def test_keys_listen_through_a_training(visits: Any, address: str) -> None:
    page = visits(address, viewport={"width": 1280, "height": 900})
    assert page.title() == EVIL
    assert page.locator("h3").nth(2).inner_text().endswith(EVIL)
    page.slowly()
    page.press("Space")
    page.until(f"{TIMES}[0] > 0.2")
    for place in (3, 5, 1):
        page.press(str(place + 1))
        page.until(f"!document.querySelectorAll('audio')[{place}].paused")
        assert page.evaluate(TIMES)[place] > 0.2  # the same place in time
        assert page.playing() == [place]
        assert page.locator("#now").inner_text() == f"crbm1:0: {MOMENTS[place]}"
    page.press("ArrowDown", "ArrowDown")
    assert page.chosen() == "crbm1-1"
    page.press("3")  # this column has no such unit: nothing happens
    assert page.locator("#now").inner_text() == "crbm1:0: pretrained"
    page.press("4")  # its key is its column's, although its button is the third
    assert page.locator("#now").inner_text() == "crbm1:1: epoch 2"
    assert page.locator("#crbm1-1 [data-choice][aria-pressed=true]").inner_text() == "4epoch 2"
    page.press("r", "Space")
    assert page.locator("#loop").get_attribute("aria-pressed") == "true"
    page.until(f"{TIMES}[8] > 0.05")
    assert page.playing() == [8]
    share = float(page.evaluate("document.querySelector('#crbm1-1 .playhead').style.left").rstrip("%"))
    assert 0 < share < 100
    page.press("Escape")
    assert page.playing() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_looks(visits: Any, address: str, scheme: str) -> None:
    page = visits(address, color_scheme=scheme, reduced_motion="reduce")
    for width, height in ((390, 844), (1280, 900)):
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.press("1", "6")
        box = page.locator("#crbm1-0 .tile").last.bounding_box()
        row = page.locator("#crbm1-0 .tiles").bounding_box()
        assert row["x"] - 3 <= box["x"]  # the tile of what one chose is brought into view
        assert box["x"] + box["width"] <= row["x"] + row["width"] + 3
    assert page.barriers() == {}
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 794, "height": 1123})  # A4
    right = page.evaluate(
        "Math.max(...[...document.querySelectorAll('.tile')].map((t) => t.getBoundingClientRect().right))"
    )
    assert right <= 794


def test_all_sounds_can_be_decoded_and_all_pictures_shown(visits: Any, address: str) -> None:
    page = visits(address)
    page.evaluate("document.querySelectorAll('audio').forEach((a) => { a.preload = 'auto'; a.load(); })")
    page.until("[...document.querySelectorAll('audio')].every((a) => a.readyState >= 2 && !a.controls)")
    assert page.evaluate("document.querySelectorAll('audio').length") == 17
    assert page.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")
