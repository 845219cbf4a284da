"""The page in a real browser, without a network: looks, sounds, keys, and nothing reaches out."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from cepscope.report import ReportContent, write_page

PRESSED = "document.querySelectorAll('[data-clip][aria-pressed=true]').length"
SHOWN = "[...document.querySelectorAll('article.unit')].filter(u => u.offsetParent).map(u => u.id)"
LEFT = "parseFloat(document.querySelector('#{} .plot .playhead').style.left)"

Visits = Callable[..., Any]


@pytest.fixture(scope="module")
def address(content: ReportContent, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_page(content, tmp_path_factory.mktemp("report")).as_uri()


@pytest.fixture
def visit(visits: Visits, address: str) -> Any:
    return visits(address)


def test_as_many_players_as_units_and_all_can_be_decoded(visit: Any, content: ReportContent) -> None:
    players = visit.page.locator("audio")
    assert players.count() == visit.page.locator("article.unit").count() == len(content.units)
    visit.until("[...document.querySelectorAll('audio')].every((a) => a.readyState >= 1)")
    durations = visit.page.evaluate("[...document.querySelectorAll('audio')].map((a) => a.duration)")
    assert durations == pytest.approx([len(card.audio) / card.sr for card in content.units], abs=1e-3)
    assert visit.page.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")


def test_one_plays_and_a_second_stops_the_first(visit: Any) -> None:
    page = visit.page
    visit.slowly()
    taps = page.locator(".tap")
    taps.nth(0).click()
    visit.until("document.querySelectorAll('audio')[0].currentTime > 0.05")
    taps.nth(1).click()
    visit.until("document.querySelectorAll('audio')[1].currentTime > 0.05")
    assert visit.playing() == [1]
    assert page.evaluate("document.querySelectorAll('audio')[0].currentTime") == 0
    # the browser's own control counts as well
    page.evaluate("document.querySelectorAll('audio')[2].play()")
    visit.until("document.querySelectorAll('audio')[2].currentTime > 0.05")
    assert visit.playing() == [2]
    assert page.evaluate("document.querySelectorAll('.playing').length") == 1
    visit.until("document.querySelectorAll('audio')[2].ended")
    visit.until("document.querySelectorAll('.playing').length === 0")


def test_exemplars_play_one_at_a_time_and_stop_the_unit(visit: Any) -> None:
    page = visit.page
    visit.slowly()
    page.locator(".tap").first.click()
    buttons = page.locator("[data-clip]")
    buttons.nth(0).click()
    assert buttons.nth(0).get_attribute("aria-pressed") == "true"
    assert visit.playing() == []
    buttons.nth(1).click()
    assert [buttons.nth(i).get_attribute("aria-pressed") for i in (0, 1)] == ["false", "true"]
    assert page.evaluate(PRESSED) == 1
    visit.until(f"{PRESSED} === 0")  # it comes to its end
    # a clip that two units share: started for the second while it plays for the first
    ids = page.evaluate("[...document.querySelectorAll('[data-clip]')].map((b) => b.dataset.clip)")
    first = next(i for i, clip in enumerate(ids) if clip in ids[i + 1 :])
    second = ids.index(ids[first], first + 1)
    for place in (first, second):
        buttons.nth(place).click()
    page.wait_for_timeout(100)  # the first one's pause event has come by now
    assert [buttons.nth(i).get_attribute("aria-pressed") for i in (first, second)] == ["false", "true"]
    visit.press("Escape")
    assert page.evaluate(PRESSED) == 0


def test_keys(visit: Any) -> None:
    page = visit.page
    visit.slowly()
    visit.press("ArrowRight")
    assert visit.chosen() == "crbm1-0"
    visit.press("ArrowRight", "ArrowRight")
    assert visit.chosen() == "crbm1-2"
    visit.press("ArrowLeft")
    assert visit.chosen() == "crbm1-1"
    assert page.evaluate("location.hash") == "#crbm1-1"
    visit.press("ArrowDown")
    assert visit.chosen() == "crbm1-4"  # three cards a row at this width
    visit.press("ArrowUp", "j")
    assert visit.chosen() == "crbm2-0"
    visit.press("j", "j")
    assert visit.chosen() == "logits-0"
    visit.press("k")
    assert visit.chosen() == "crbm2-0"

    visit.press("Space")
    visit.until("document.querySelector('#crbm2-0 audio').currentTime > 0.02")
    assert visit.playing() == [24]
    visit.press("Space")
    assert visit.playing() == []
    visit.press("2")
    assert page.locator("#crbm2-0 [data-clip]").nth(1).get_attribute("aria-pressed") == "true"
    visit.press("Escape")

    visit.press("?")
    assert page.evaluate("document.getElementById('help').open")
    visit.press("ArrowRight")
    assert page.evaluate("location.hash") == "#crbm2-0"
    visit.press("Escape")
    assert not page.evaluate("document.getElementById('help').open")


def test_keys_typed_into_the_search_stay_there(visit: Any) -> None:
    visit.press("/")
    visit.page.keyboard.type("j d?7 k")
    assert visit.page.locator("#search").input_value() == "j d?7 k"
    assert visit.page.evaluate("document.documentElement.dataset.theme") is None


def test_layers_search_trust_and_order(visit: Any, content: ReportContent) -> None:
    page = visit.page
    page.get_by_role("button", name="crbm2", exact=True).click()
    assert len(visit.evaluate(SHOWN)) == 48
    assert page.locator("#count").inner_text() == "48 units"
    page.get_by_role("button", name="all", exact=True).click()
    page.locator("#search").fill("logits seven")
    assert visit.evaluate(SHOWN) == ["logits-7"]
    page.locator("#search").fill("")
    page.locator("#trust").select_option("1")
    assert visit.evaluate(SHOWN) == [card.unit.replace(":", "-") for card in content.units if card.doubts]
    page.locator("#search").fill("no such thing")
    page.get_by_role("button", name="Show all").click()
    assert len(visit.evaluate(SHOWN)) == 82

    page.locator("#sort").select_option("sound_over_natural")
    order = [u for u in visit.evaluate(SHOWN) if u.startswith("crbm2")]
    cards = content.layers["crbm2"]
    measured = sorted((c for c in cards if c.unit != "crbm2:3"), key=lambda c: -c.score("sound_over_natural"))
    assert order == [c.unit.replace(":", "-") for c in measured] + ["crbm2-3"]  # what was not measured comes last
    page.locator("#sort").select_option("mfcc_relative_error")
    least = min(cards, key=lambda c: c.score("mfcc_relative_error"))
    assert next(u for u in visit.evaluate(SHOWN) if u.startswith("crbm2")) == least.unit.replace(":", "-")
    page.locator("#sort").select_option("")
    assert visit.evaluate(SHOWN) == [card.unit.replace(":", "-") for card in content.units]


def test_deep_links(visits: Visits, address: str, visit: Any) -> None:
    deep = visits(f"{address}#crbm2-7")
    assert deep.chosen() == "crbm2-7"
    top = "document.getElementById('crbm2-7').getBoundingClientRect().top"
    deep.until(f"{top} >= 0 && {top} < innerHeight")
    visit.get_by_role("button", name="crbm1", exact=True).click()
    visit.evaluate("location.hash = '#logits-4'")
    visit.until("document.activeElement.id === 'logits-4'")  # shown again, and reached
    assert visits(f"{address}#no%such").chosen() == "top"  # the body


def test_dark_and_light(visits: Visits, address: str, visit: Any) -> None:
    def lightness(page: Any) -> list[float]:
        """Mean of the RGB values of the page, of a card, of its text."""
        found = page.evaluate(
            "['body', '.unit', '.unit h4'].map((s) => getComputedStyle(document.querySelector(s)))"
            ".map((s, i) => (i < 2 ? s.backgroundColor : s.color))"
        )
        return [sum(float(v) for v in re.findall(r"[\d.]+", text)[:3]) / 3 for text in found]

    page, card, ink = lightness(visit.page)
    assert min(page, card) > 240 > 60 > ink
    visit.page.locator("#theme").click()
    page, card, ink = lightness(visit.page)
    assert max(page, card) < 40 < 200 < ink
    night = visits(address, color_scheme="dark")
    assert lightness(night.page) == [page, card, ink]
    night.press("d")
    assert min(lightness(night.page)[:2]) > 240


def test_nothing_is_wider_than_the_screen(visit: Any) -> None:
    for width, height in ((390, 844), (1366, 768), (1920, 1080)):
        visit.page.set_viewport_size({"width": width, "height": height})
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        widths = visit.page.evaluate("[...document.querySelectorAll('article.unit')].map((unit) => unit.offsetWidth)")
        assert 300 < min(widths) <= max(widths) < 480


def test_hostile_names_stay_words(visits: Visits, content: ReportContent, tmp_path: Path) -> None:
    evil = "</script><script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
    units = (dataclasses.replace(content.units[0], label=evil), *content.units[1:3])
    path = write_page(dataclasses.replace(content, title=evil, units=units, corpus={"name": evil}), tmp_path)
    visit = visits(path.as_uri())
    assert visit.locator("h1").inner_text() == evil
    assert visit.title() == evil
    assert visit.locator("#crbm1-0 .label").inner_text() == evil


def test_the_playhead_keeps_pace(visit: Any) -> None:
    visit.slowly()
    visit.locator("#crbm1-0 .tap").click()
    visit.until("document.querySelector('#crbm1-0 audio').currentTime > 0.1")
    first = visit.evaluate(LEFT.format("crbm1-0"))
    visit.until(f"{LEFT.format('crbm1-0')} > {first} + 5")
    share = "(() => { const a = document.querySelector('#crbm1-0 audio'); return 100 * a.currentTime / a.duration; })()"
    visit.until(f"Math.abs({LEFT.format('crbm1-0')} - {share}) < 2")


def test_pattern_and_real_clip_by_ear(visit: Any) -> None:
    visit.slowly()
    visit.press("ArrowRight")
    pressed = "[...document.querySelectorAll('#crbm1-0 [data-voice]')].map((b) => b.ariaPressed === 'true')"
    for key, voices in (("a", [1, 0, 0]), ("b", [0, 1, 0]), ("c", [0, 0, 1]), ("x", [1, 0, 0]), ("x", [0, 1, 0])):
        visit.press(key)
        assert visit.evaluate(pressed) == voices
        assert visit.playing() == ([0] if voices[0] else [])  # the clips' players are not in the document
    visit.press("3", "x", "x")  # the other is from now on that clip
    clip = visit.locator("#crbm1-0 [data-clip]").nth(2)
    assert clip.get_attribute("aria-pressed") == "true"
    visit.press("Escape", "b", "b")  # once more: it stops
    assert visit.evaluate(pressed) == [0, 0, 0]
    visit.press("b")
    visit.until(f"{PRESSED} === 0")  # a part ends by itself too


def test_a_part_of_a_clip_is_what_the_network_sees(visits: Visits, content: ReportContent, tmp_path: Path) -> None:
    card = content.units[0]
    clip = card.exemplars[0]
    y = np.pad(clip.audio, (8000, 8000))  # half a second before and after
    longer = dataclasses.replace(card, exemplars=(dataclasses.replace(clip, audio=y),))
    visit = visits(write_page(dataclasses.replace(content, units=(longer,)), tmp_path).as_uri())
    visit.slowly()
    button = visit.locator("[data-clip]")
    begin, length = (float(button.get_attribute(f"data-{name}")) for name in ("begin", "length"))
    assert length == pytest.approx(0.64)  # 64 frames of 10 ms
    assert begin + length / 2 == pytest.approx(len(y) / 16000 / 2, abs=0.011)
    visit.press("ArrowRight", "b")
    visit.until("parseFloat(document.querySelector('[data-clip] .playhead').style.left) > 1")
    visit.until(f"{PRESSED} === 0")
    assert visit.evaluate("parseFloat(document.querySelector('[data-clip] .playhead').style.left)") > 90
    visit.press("c")
    visit.until(f"{PRESSED} === 1 && parseFloat(document.querySelector('[data-clip] .playhead').style.left) < 0")


def test_what_the_pointer_is_on_sounds(visit: Any) -> None:
    visit.slowly()
    visit.locator("a.thumb[href='#crbm2-3']").hover()
    assert visit.locator("#here").inner_text() == "crbm2:3, doubtful: –"  # not measured
    visit.press("Space")
    visit.until("!document.querySelector('#crbm2-3 audio').paused")
    assert visit.locator("a.thumb.heard").get_attribute("href") == "#crbm2-3"
    visit.locator("#crbm1-1 .kernel").hover()
    visit.press("b")
    assert visit.locator("#crbm1-1 [data-clip][aria-pressed=true]").count() == 1
    visit.press("ArrowRight", "Space")  # the keys have moved elsewhere: the pointer counts no more
    visit.until("!document.querySelector('#crbm1-0 audio').paused")


def test_all_of_a_layer_in_a_row(visit: Any) -> None:
    visit.slowly()
    visit.locator("#search").fill("logits")
    visit.locator("#logits-0").focus()
    visit.press("ArrowRight", "p")  # from here on
    button = visit.locator("#layer-logits .tour")
    for place in (1, 2, 3):
        visit.until(
            f"document.activeElement.id === 'logits-{place}' && !document.activeElement.querySelector('audio').paused"
        )
        assert visit.playing() == [72 + place]
        assert button.get_attribute("aria-pressed") == "true"
    visit.press("Escape")
    assert button.get_attribute("aria-pressed") == "false"
    visit.wait_for_timeout(500)
    assert visit.playing() == []
    button.click()
    visit.until("document.activeElement.id === 'logits-0'")
    visit.press("1")  # something else sounds: the tour is over
    assert button.get_attribute("aria-pressed") == "false"
    visit.locator("#search").fill("logits nine")
    button.click()
    visit.until("document.querySelector('.tour[aria-pressed=true]') === null")  # and at the end of the layer


def test_enlarged_pattern_and_clips_lie_side_by_side(visit: Any) -> None:
    visit.emulate_media(reduced_motion="reduce")  # places are asked for one after the other: nothing may move
    visit.press("ArrowRight", "Enter")
    card = visit.locator("#crbm1-0")
    grid = visit.locator("#layer-crbm1 .grid").bounding_box()
    assert card.bounding_box()["width"] == pytest.approx(grid["width"], abs=1)
    pattern, clips = card.locator(".mfcc").bounding_box(), card.locator(".exemplars").bounding_box()
    assert clips["x"] > pattern["x"] + pattern["width"]
    assert clips["y"] < pattern["y"] < clips["y"] + clips["height"]
    visit.press("ArrowRight")
    assert visit.locator(".unit.wide").get_attribute("id") == visit.chosen() == "crbm1-1"
    assert visit.locator("#crbm1-1 .open").get_attribute("aria-expanded") == "true"
    visit.press("Escape")
    assert visit.locator(".unit.wide").count() == 0
    visit.locator("#crbm1-4 .open").click()
    assert visit.locator(".unit.wide").get_attribute("id") == "crbm1-4"


def test_the_map_by_keys(visit: Any, content: ReportContent) -> None:
    visit.slowly()
    stops = visit.locator("a.thumb[tabindex='0']")
    assert stops.count() == 1  # Tab passes the map in one step
    stops.focus()
    visit.press("ArrowRight", "ArrowDown", "ArrowUp", "ArrowLeft", "ArrowRight")
    assert visit.evaluate("document.activeElement.hash") == "#crbm1-1"
    value = content.units[1].score("sound_over_natural")
    assert visit.locator("#here").inner_text() == f"crbm1:1: {value:.2f}"
    visit.press("Space")
    visit.until("!document.querySelector('#crbm1-1 audio').paused")
    visit.press("Enter")
    assert visit.chosen() == "crbm1-1"
    visit.locator("#search").fill("logits")
    assert visit.locator("a.thumb:visible").count() == 10


def test_without_a_mouse(visit: Any) -> None:
    visit.slowly()
    reached = []
    for _ in range(40):
        visit.press("Tab")
        at = visit.evaluate("(() => { const a = document.activeElement; return a.id || a.hash || a.className; })()")
        reached.append(at)
        if at == "crbm1-0":
            break
    assert reached[0] == "#units"  # past everything to the units
    for place in ("colour", "#crbm1-0", "search", "sort", "trust", "theme", "keys", "tour", "crbm1-0"):
        assert place in reached, place
    assert [at for at in reached if at.startswith("#crbm1-")] == ["#crbm1-0"]  # the map is one step
    inside = []
    for _ in range(12):
        visit.press("Tab")
        inside.append(visit.evaluate("document.activeElement.className || document.activeElement.dataset.clip || ''"))
    assert {"open", "tap"} <= set(inside)
    visit.locator("#crbm1-0 [data-voice=c]").focus()
    visit.press("Space")  # a button is pressed, the unit's sound keeps still
    assert visit.locator("#crbm1-0 [data-voice=c]").get_attribute("aria-pressed") == "true"
    assert visit.playing() == []


def test_the_map_takes_the_colour_of_any_score(visit: Any, content: ReportContent) -> None:
    def steps() -> list[str]:
        found = visit.evaluate("[...document.querySelectorAll('a.thumb')].map((t) => t.className.match(/q(.)/)[1])")
        return list(found)

    places = [str(card.unit) for card in content.units]
    by_sound = dict(zip(places, steps(), strict=True))
    assert by_sound["crbm2:3"] == "n"
    known = [card for card in content.units if card.unit != "crbm2:3"]
    ordered = sorted(known, key=lambda card: card.score("sound_over_natural"))
    assert [by_sound[card.unit] for card in ordered] == sorted(by_sound[card.unit] for card in known)
    assert {by_sound[ordered[0].unit], by_sound[ordered[-1].unit]} == {"0", "8"}
    visit.locator("#colour").select_option("naturalness_z")
    assert dict(zip(places, steps(), strict=True)) != by_sound
    values = [card.score("naturalness_z") for card in content.units]
    low, high = np.percentile(values, [5, 95])
    ends = visit.locator("#scale span").all_inner_texts()
    assert ends == [f"{low:.1f}".replace("-", "\N{MINUS SIGN}"), f"{high:.1f}"]


def test_files_to_save(visit: Any, content: ReportContent) -> None:
    card = content.units[0]
    names = {"sound": "sound.wav", "arrays": "mfcc.npz", "pattern": "pattern.png", "spectrogram": "spectrogram.png"}
    for kind, name in names.items():
        with visit.expect_download() as told:
            visit.locator(f"#crbm1-0 [data-save={kind}]").click()
        assert told.value.suggested_filename == f"crbm1-0-{name}"
        path = told.value.path()
        if kind == "sound":
            assert len(sf.read(path)[0]) == len(card.audio)
        if kind == "arrays":
            with np.load(path) as arrays:
                np.testing.assert_array_equal(arrays["mfcc"], card.mfcc)
                assert json.loads(str(arrays["spec"])) == json.loads(json.dumps(content.spec.to_dict()))


def test_on_paper(visit: Any) -> None:
    visit.emulate_media(media="print", color_scheme="dark")
    gone = ["audio", ".tools", ".tap", ".voices", ".saves", ".open", ".tour"]
    assert [visit.locator(f"{selector}:visible").count() for selector in gone] == [0] * len(gone)
    assert visit.locator("article.unit:visible").count() == 82
    assert visit.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    visit.set_viewport_size({"width": 720, "height": 1000})  # A4 within its margins
    assert visit.evaluate("document.documentElement.scrollWidth") <= 720


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1366])
def test_nothing_keeps_anyone_out(
    visits: Visits, content: ReportContent, tmp_path: Path, scheme: str, width: int
) -> None:
    kinds = [content.units[i] for i in (0, 5, 27, 72, 77)]  # of each layer, doubtful ones, one not measured
    path = write_page(dataclasses.replace(content, units=tuple(kinds)), tmp_path)
    visit = visits(path.as_uri(), color_scheme=scheme, viewport={"width": width, "height": 900})
    visit.emulate_media(reduced_motion="reduce")
    assert visit.barriers() == {}
    visit.press("ArrowRight", "Enter")  # one of them large
    assert visit.barriers() == {}
    visit.press("?")
    assert visit.barriers() == {}


@pytest.mark.slow
def test_the_whole_page_keeps_no_one_out(visit: Any) -> None:
    assert visit.barriers() == {}
