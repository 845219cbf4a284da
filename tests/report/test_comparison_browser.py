"""The page of methods in a real browser, without a network: switching keeps the place, keys, hostile names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cepscope.audio import condition, read_audio
from cepscope.features import MfccSpec, mfcc
from cepscope.invert import METHODS
from cepscope.invert.inversion import invert
from cepscope.report import ComparisonItem, write_comparison

EVIL = "<script>document.title = 'taken'</script>"
SOUNDS = len(METHODS) + 1  # in the rows that have a recording
TIMES = "[...document.querySelectorAll('audio')].map((a) => a.currentTime)"
STEP = 0.02  # seconds: a slider's step, and the clock of a browser


@pytest.fixture(scope="module")
def address(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of two recordings of some seconds and a pattern, one with a hostile name."""
    spec = MfccSpec(sr=8000, floor=1e-5)
    clips = sorted((project_root / "data" / "spoken-digits" / "audio").glob("*_0.flac"))[::80][:4]
    digits = [condition(read_audio(clip, sr=spec.sr)[0]) for clip in clips]
    items = []
    for name, y in (("digits.wav", np.concatenate(digits)), (EVIL, np.concatenate(digits[:2]))):
        C = mfcc(y, spec)
        items.append(ComparisonItem(name, C, spec, {method: invert(C, spec, method=method) for method in METHODS}, y))
    C = mfcc(digits[0], spec)
    items.append(ComparisonItem("crbm1:7", C, spec, {method: invert(C, spec, method=method) for method in METHODS}))
    return write_comparison(tmp_path_factory.mktemp("page") / "page.html", items).as_uri()


@pytest.fixture
def page(visits: Any, address: str) -> Any:
    return visits(address, viewport={"width": 1280, "height": 900})


def test_switching_keeps_the_place_while_it_plays(page: Any) -> None:
    page.slowly()
    page.press("Space")
    page.until(f"{TIMES}[0] > 0.4")
    assert page.playing() == [0]
    for place in [*range(1, SOUNDS), 0]:
        before = page.playing()[0]
        page.press(str(place + 1))
        page.until(f"!document.querySelectorAll('audio')[{place}].paused")
        times = page.evaluate(TIMES)
        assert times[before] > 0.4  # where the other stood still
        assert times[before] - STEP <= times[place] < times[before] + 0.3
        assert page.playing() == [place]
        page.until(f"{TIMES}[{place}] > {times[before]} + 0.03")  # and it goes on from there
        pressed = page.locator("#digits-wav [data-choice]").nth(place).get_attribute("aria-pressed")
        assert pressed == "true"
    assert page.locator("#now").inner_text() == "digits.wav: original"
    page.press("Space")
    page.until(f"{page.PLAYING}.length === 0")
    assert page.evaluate(TIMES)[0] > 0.4  # a pause keeps the place as well


def test_switching_while_paused_is_exact(page: Any) -> None:
    slider = page.locator("#digits-wav input")
    slider.fill("1.5")
    assert page.evaluate(TIMES)[0] == pytest.approx(1.5, abs=1e-3)
    for place in range(1, SOUNDS):
        page.locator("#digits-wav [data-choice]").nth(place).click()
        assert page.evaluate(TIMES)[place] == pytest.approx(1.5, abs=1e-3)
        assert page.playing() == []
        assert float(slider.input_value()) == pytest.approx(1.5, abs=STEP)
        chosen = page.locator("#digits-wav .tile.chosen h4").all_inner_texts()
        assert [text.split(maxsplit=1)[1] for text in chosen] == [METHODS[place - 1]]
    share = page.evaluate("document.querySelector('#digits-wav .playhead').style.left")
    assert float(share.rstrip("%")) == pytest.approx(150 / float(slider.get_attribute("max")), abs=0.5)


def test_one_row_sounds_at_a_time(page: Any) -> None:
    page.slowly()
    page.press("ArrowDown")
    assert page.evaluate("document.activeElement.id") == "digits-wav"
    page.press("2", "Space")
    page.until(f"{TIMES}[1] > 0.05")
    page.press("ArrowDown", "Space")
    page.until(f"{TIMES}[{SOUNDS}] > 0.05")
    assert page.playing() == [SOUNDS]
    assert page.evaluate(TIMES)[1] == 0
    page.locator("#digits-wav .tap").nth(2).click()  # a picture plays its sound
    page.until(f"{TIMES}[2] > 0.05")
    assert page.playing() == [2]
    page.press("Escape")
    assert page.playing() == []
    assert page.evaluate(TIMES)[2] == 0
    page.press("ArrowUp", "ArrowUp", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown")
    assert page.evaluate("document.activeElement.id") == "crbm1-7"
    page.press("1")
    assert page.locator("#now").inner_text() == f"crbm1:7: {METHODS[0]}"  # without a recording, methods count from 1
    page.press("9", "Space")
    page.until(f"{TIMES}[{2 * SOUNDS}] > 0.05")


def test_sounds_end_or_begin_again(page: Any) -> None:
    page.locator("#crbm1-7 .play").click()
    first = 2 * SOUNDS
    page.until(f"{page.PLAYING}.length === 0 && {TIMES}[{first}] === 0")
    assert page.locator("#crbm1-7 .play").get_attribute("aria-label") == "Play crbm1:7"
    page.press("r")
    assert page.locator("#loop").get_attribute("aria-pressed") == "true"
    page.evaluate(
        f"(() => {{ const a = document.querySelectorAll('audio')[{first}]; window.rounds = 0; let last = 0;"
        "a.addEventListener('timeupdate', () => { window.rounds += a.currentTime < last; last = a.currentTime; }); })()"
    )
    page.locator("#crbm1-7 .play").click()
    page.until("window.rounds >= 1")
    assert page.playing() == [first]


def test_keys_move_the_focus_of_who_chooses_by_keyboard(page: Any) -> None:
    page.slowly()
    page.locator("#digits-wav [data-choice]").first.focus()
    page.press("3")
    assert page.evaluate("document.activeElement.dataset.choice") == "2"
    page.press("Space")  # the chosen one is pressed: it plays
    page.until(f"{TIMES}[2] > 0.05")
    page.press("Space")
    page.until(f"{page.PLAYING}.length === 0")


def test_hostile_names_stay_words(page: Any) -> None:
    assert page.locator("h3").nth(1).inner_text() == EVIL
    assert page.title() == f"{len(METHODS)} ways from MFCC to sound"
    page.locator("article").nth(1).locator(".play").click()
    assert page.locator("#now").inner_text() == f"{EVIL}: original"


def test_all_sounds_can_be_decoded_and_all_pictures_shown(page: Any) -> None:
    page.evaluate("document.querySelectorAll('audio').forEach((a) => { a.preload = 'auto'; a.load(); })")
    page.until("[...document.querySelectorAll('audio')].every((a) => a.readyState >= 2 && !a.controls)")
    assert page.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_looks(visits: Any, address: str, scheme: str) -> None:
    page = visits(address, color_scheme=scheme, reduced_motion="reduce")
    for width, height in ((390, 844), (1280, 900)):
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        colours = page.evaluate(
            "['body', '.item', '.item h3 a'].map((s) => getComputedStyle(document.querySelector(s)))"
            ".map((s, i) => (i < 2 ? s.backgroundColor : s.color))"
        )
        paper, card, ink = (sum(float(v) for v in re.findall(r"[\d.]+", c)[:3]) / 3 for c in colours)
        assert (min(paper, card) > 240 > 60 > ink) if scheme == "light" else (max(paper, card) < 40 < 200 < ink)
        # on a phone the tile of what one chose is brought into view
        last = page.locator("#digits-wav .tile").last
        page.press("1", str(SOUNDS))
        box, row = last.bounding_box(), page.locator("#digits-wav .tiles").bounding_box()
        assert row["x"] - 3 <= box["x"]
        assert box["x"] + box["width"] <= row["x"] + row["width"] + 3
    assert page.barriers() == {}
