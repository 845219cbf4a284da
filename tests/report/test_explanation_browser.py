"""The page of a recording in a real browser, without a network: playhead, seeking, moments, A and B, hostile names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cepscope.audio import condition, read_audio
from cepscope.corpora.recordings import as_recording
from cepscope.features import CoefficientScaler, MfccSpec, mfcc
from cepscope.probe.explain import together
from cepscope.probe.explanation import Explanation
from cepscope.probe.tracks import Reach, Track
from cepscope.probe.windows import window_energies, window_starts
from cepscope.report import explanation_rows
from cepscope.report.explanation import Side, shown_units, write_explanation

EVIL = "<script>document.title = 'taken'</script>"
SPEC = MfccSpec(sr=8000, floor=1e-5)
FRAMES, HOP = 48, 12
CLASSES = ("one", "two", EVIL)
TIME = "document.querySelector('audio.heard').currentTime"
LEFT = "parseFloat(document.querySelector('.over .playhead').style.left)"


@pytest.fixture(scope="module")
def explanation(project_root: Path) -> Explanation:
    """Real digits, and what a network might say of them: loud frames fire two units, level a third."""
    clips = sorted((project_root / "data" / "spoken-digits" / "audio").glob("*_0.flac"))[::80][:4]
    y = np.concatenate([condition(read_audio(clip, sr=SPEC.sr)[0]) for clip in clips])
    recording = as_recording(y, SPEC.sr, SPEC, name=f"{EVIL}.wav")
    C = mfcc(y, SPEC)
    starts = window_starts(recording.frames, FRAMES, HOP)
    energies = window_energies(recording, starts, FRAMES)
    # the network's part is made up of the sound's own level, so that peaks lie where words are
    level = 0.01 + 0.99 * (C[0] - C[0].min()) / np.ptp(C[0])
    values = np.stack([level, level**4, 1 - level], axis=1).astype(np.float32)
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    p = np.stack([np.interp(starts + FRAMES / 2, np.arange(len(level)), level**k) for k in (1, 2, 3)], axis=1)
    p = (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
    times = SPEC.times(len(level))
    tracks = (
        Track("conv1", ("conv1:0", "conv1:1", "conv1:2"), ("",) * 3, times, 0.05, values, values[: len(starts)],
              Reach(zeros, ones, 0.9 * ones)),
        Track("logits", ("logits:0", "logits:1", "logits:2"), CLASSES, (starts + 23.5) * 0.01, 0.48, 2 * p, 2 * p,
              Reach(zeros, ones, ones)),
    )  # fmt: skip
    scaler = CoefficientScaler.fit(C[np.newaxis])
    levels = (10 * np.log10(energies / energies.max())).astype(np.float32)
    return Explanation(
        recording, scaler, FRAMES, HOP, starts, levels, CLASSES, p, together(p), tracks, notes=(f"Note {EVIL}.",)
    )


@pytest.fixture(scope="module")
def sides(explanation: Explanation) -> Mapping[str, Side]:
    patch = explanation.scaler.in_deviations(explanation.patch(1.0))
    sound = explanation.recording.audio(4000, 8000)
    return {name: Side(patch, sound if name != "conv1:1" else None, SPEC.sr) for name in shown_units(explanation)}


@pytest.fixture(scope="module")
def address(explanation: Explanation, sides: Mapping[str, Side], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "index.html"
    return write_explanation(path, explanation, sides, network="net", run_page="../../a run/index.html").as_uri()


@pytest.fixture(scope="module")
def excerpts(explanation: Explanation, sides: Mapping[str, Side], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same as if a second were long: only some of it can be heard."""
    path = tmp_path_factory.mktemp("page") / "index.html"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("LONG", 1.0), ("EXCERPTS", 2), ("AROUND", 0.0)):
            patch.setattr(explanation_rows, name, value)
        return write_explanation(path, replace(explanation, classes=(), notes=()), sides).as_uri()


READY = "document.querySelector('audio.heard').readyState >= 1 || !!document.querySelector('.audible')"


@pytest.fixture
def page(visits: Any, address: str) -> Any:
    page = visits(address, viewport={"width": 1280, "height": 900})
    page.until(READY)
    return page


@pytest.fixture
def long_page(visits: Any, excerpts: str) -> Any:
    page = visits(excerpts, viewport={"width": 1280, "height": 900})
    page.until(READY)
    return page


def test_the_playhead_moves_while_it_plays(page: Any, explanation: Explanation) -> None:
    page.slowly()
    assert page.evaluate(LEFT) == 0
    page.keyboard.press("Space")
    page.until(f"{TIME} > 0.2")
    lefts = [page.evaluate(LEFT)]
    page.until(f"{LEFT} > {lefts[0]} + 2")
    page.until(f"Math.abs({LEFT} - 100 * {TIME} / {explanation.seconds}) < 1")  # a frame of the screen is .3 %
    assert page.locator(".play").get_attribute("aria-label") == f"Pause {EVIL}.wav"
    page.keyboard.press("Space")
    page.until(f"{page.PLAYING}.length === 0")
    assert page.evaluate(TIME) > 0.2  # a pause keeps the place
    page.keyboard.press("Escape")
    assert page.evaluate(TIME) == 0
    assert page.evaluate(LEFT) == 0


def test_a_click_goes_there(page: Any, explanation: Explanation) -> None:
    box = page.locator(".over").bounding_box()
    screen = page.locator(".screen.tall").bounding_box()
    assert (box["x"], box["width"]) == pytest.approx((screen["x"], screen["width"]), abs=0.6)  # one axis for all
    for share in (0.25, 0.75, 0.5):
        page.mouse.click(box["x"] + share * box["width"], box["y"] + 200)  # among the curves
        assert page.evaluate(TIME) == pytest.approx(share * explanation.seconds, abs=0.01)
        assert page.evaluate(LEFT) == pytest.approx(100 * share, abs=0.3)
        assert float(page.locator("#recording input").input_value()) == pytest.approx(page.evaluate(TIME), abs=0.011)
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 20, steps=4)  # and it can be dragged
    page.mouse.up()
    assert page.evaluate(LEFT) == pytest.approx(10, abs=0.3)
    page.locator("#recording input").fill("1.5")
    assert page.evaluate(TIME) == pytest.approx(1.5, abs=1e-3)


def test_moments_play_what_the_network_was_given_and_stop(page: Any, explanation: Explanation) -> None:
    shown = explanation_rows.listed_moments(explanation)
    buttons = page.locator("#moments button")
    assert buttons.count() == len(shown) > 2
    last = len(shown) - 1
    page.slowly()
    buttons.nth(last).click()
    start, stop = (float(buttons.nth(last).get_attribute(f"data-{side}")) for side in ("start", "stop"))
    assert (start + stop) / 2 == pytest.approx(shown[last].time, abs=1e-3)
    page.until(f"{TIME} > {max(start, 0)} + 0.05")
    assert page.playing() == [0]
    assert page.locator("#now").inner_text().startswith(f"Play {shown[last].unit}")
    page.until(f"{page.PLAYING}.length === 0")
    assert page.evaluate(TIME) >= min(stop, explanation.seconds) - 0.02
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    first = next(one.time for one in shown if one.time > 0.02)
    assert page.evaluate(TIME) == pytest.approx(first, abs=2e-3)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(TIME) < first + 0.02


def test_a_and_b_alternate(page: Any) -> None:
    page.slowly()
    page.locator("#conv1-0").focus()
    page.keyboard.press("a")
    page.until(f"{TIME} > 0.05 && {page.PLAYING}.length === 1")
    assert page.locator("#conv1-0 .playing").get_attribute("data-side") == "a"
    page.keyboard.press("b")
    page.until("document.querySelector('#conv1-0 audio').currentTime > 0.02")
    assert page.playing() == [page.evaluate(
        "[...document.querySelectorAll('audio')].indexOf(document.querySelector('#conv1-0 audio'))"
    )]  # fmt: skip
    assert page.locator("#conv1-0 .playing").get_attribute("data-side") == "b"
    page.keyboard.press("a")
    page.until(f"{page.PLAYING}.includes(0)")
    assert page.playing() == [0]
    page.keyboard.press("a")  # once more: it stops
    page.until(f"{page.PLAYING}.length === 0")
    assert page.locator("#conv1-1 [data-side=b] .tap").count() == 0  # no sound was made of it
    link = page.locator("#conv1-0 a.there").get_attribute("href")
    assert link == "../../a%20run/index.html#conv1-0"
    page.locator(".score a[href='#conv1-0']").click()  # a unit's name leads to its card
    assert page.evaluate("location.hash") == "#conv1-0"


def test_of_a_long_recording_excerpts_are_heard(long_page: Any, explanation: Explanation) -> None:
    page = long_page
    begins = page.evaluate("[...document.querySelectorAll('audio.heard')].map((a) => Number(a.dataset.begin))")
    assert len(begins) == 2
    assert page.locator(".audible").count() == 2
    assert "The recording is longer than" in page.locator("#listen .lead").inner_text()
    slider = page.locator("#recording input")
    slider.fill(str(explanation.seconds))  # silent there: to the end of what is nearest
    second = page.evaluate("Number(document.querySelectorAll('audio.heard')[1].dataset.length)") + begins[1]
    page.until(f"Math.abs({LEFT} - {100 * second / explanation.seconds}) < 0.5")
    page.slowly(0.0625)  # excerpts are short
    slider.fill(f"{begins[1] + 0.1}")
    page.locator(".play").click()
    page.until("document.querySelectorAll('audio.heard')[1].currentTime > 0.15")
    assert page.playing() == [1]
    slider.fill(f"{begins[0] + 0.1}")  # while it plays
    page.until(f"{page.PLAYING}.join() === '0'")
    assert page.locator("#recording .said-when").count() == 0  # no classes


def test_hostile_names_stay_words(page: Any) -> None:
    assert page.locator("h1").inner_text() == f"{EVIL}.wav"
    assert page.title() == f"{EVIL}.wav: what net hears"
    assert page.locator(".notice").inner_text() == f"Note {EVIL}."
    assert page.locator("#logits-2 .label").inner_text() == EVIL


def test_all_sounds_can_be_decoded_and_all_pictures_shown(page: Any) -> None:
    page.evaluate("document.querySelectorAll('audio').forEach((a) => { a.preload = 'auto'; a.load(); })")
    page.until("[...document.querySelectorAll('audio')].every((a) => a.readyState >= 2 && !a.controls)")
    assert page.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")
    named = "[...document.querySelectorAll('button, input, svg[role], audio')].every((e) => e.ariaLabel || e.innerText)"
    assert page.evaluate(named)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_looks(visits: Any, address: str, scheme: str) -> None:
    page = visits(address, color_scheme=scheme, reduced_motion="reduce")
    for width, height in ((390, 844), (1280, 900)):
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        colours = page.evaluate(
            "['body', '.score', '.unit h3 a'].map((s) => getComputedStyle(document.querySelector(s)))"
            ".map((s, i) => (i < 2 ? s.backgroundColor : s.color))"
        )
        paper, card, ink = (sum(float(v) for v in re.findall(r"[\d.]+", c)[:3]) / 3 for c in colours)
        assert (min(paper, card) > 240 > 60 > ink) if scheme == "light" else (max(paper, card) < 40 < 200 < ink)
        all_lanes = "[...document.querySelectorAll('.lane:not(.group)')]"
        lanes = page.evaluate(f"{all_lanes}.map((e) => e.getBoundingClientRect().x)")
        assert max(lanes) - min(lanes) < 1  # everything lies on one time axis
        over = page.locator(".over").bounding_box()
        assert over["x"] == pytest.approx(lanes[0], abs=1)
    assert page.barriers() == {}
