"""The page in a real browser, without a network: looks, sounds, keys, and nothing reaches out."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cepscope.report import ReportContent, write_page

ARGUMENTS = [
    "--no-sandbox",
    "--headless",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
    "--autoplay-policy=no-user-gesture-required",
]
PLAYING = "[...document.querySelectorAll('audio')].map((a, i) => (a.paused ? -1 : i)).filter((i) => i >= 0)"
PRESSED = "document.querySelectorAll('[data-clip][aria-pressed=true]').length"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    binary = shutil.which("chromium")
    if binary is None:
        pytest.skip("no `chromium` on the PATH; on Debian: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="the browser test needs playwright")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(content: ReportContent, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_page(content, tmp_path_factory.mktemp("report")).as_uri()


def until(page: Any, condition: str) -> None:
    """Wait until an expression holds; `wait_for_function` would need `eval`, which the page forbids."""
    for _ in range(750):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"not within 15 s: {condition}")


class Visit:
    """An open page, and all it complained of or asked for."""

    def __init__(self, browser: Any, address: str, **settings: Any) -> None:
        self.context = browser.new_context(offline=True, **{"viewport": {"width": 1366, "height": 768}, **settings})
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def chosen(self) -> str:
        return str(self.page.evaluate("document.activeElement.id"))

    def shown(self) -> list[str]:
        return list(
            self.page.evaluate(
                "[...document.querySelectorAll('article.unit')].filter(u => u.offsetParent).map(u => u.id)"
            )
        )


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Visit]:
    visit = Visit(browser, address)
    yield visit
    visit.context.close()
    assert visit.complaints == []
    outside = [url for url in visit.requests if url.split("#")[0] != address and not url.startswith(("data:", "blob:"))]
    assert outside == []


def test_as_many_players_as_units_and_all_can_be_decoded(visit: Visit, content: ReportContent) -> None:
    players = visit.page.locator("audio")
    assert players.count() == visit.page.locator("article.unit").count() == len(content.units)
    until(visit.page, "[...document.querySelectorAll('audio')].every((a) => a.readyState >= 1)")
    durations = visit.page.evaluate("[...document.querySelectorAll('audio')].map((a) => a.duration)")
    assert durations == pytest.approx([len(card.audio) / card.sr for card in content.units], abs=1e-3)
    assert visit.page.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")


def test_one_plays_and_a_second_stops_the_first(visit: Visit) -> None:
    page = visit.page
    taps = page.locator(".tap")
    taps.nth(0).click()
    until(page, "document.querySelectorAll('audio')[0].currentTime > 0.05")
    taps.nth(1).click()
    until(page, "document.querySelectorAll('audio')[1].currentTime > 0.05")
    assert page.evaluate(PLAYING) == [1]
    assert page.evaluate("document.querySelectorAll('audio')[0].currentTime") == 0
    # the browser's own control counts as well
    page.evaluate("document.querySelectorAll('audio')[2].play()")
    until(page, "document.querySelectorAll('audio')[2].currentTime > 0.05")
    assert page.evaluate(PLAYING) == [2]
    assert page.evaluate("document.querySelectorAll('.playing').length") == 1
    until(page, "document.querySelectorAll('audio')[2].ended")
    until(page, "document.querySelectorAll('.playing').length === 0")


def test_exemplars_play_one_at_a_time_and_stop_the_unit(visit: Visit) -> None:
    page = visit.page
    page.locator(".tap").first.click()
    buttons = page.locator("[data-clip]")
    buttons.nth(0).click()
    assert buttons.nth(0).get_attribute("aria-pressed") == "true"
    assert page.evaluate(PLAYING) == []
    buttons.nth(1).click()
    assert [buttons.nth(i).get_attribute("aria-pressed") for i in (0, 1)] == ["false", "true"]
    assert page.evaluate(PRESSED) == 1
    until(page, f"{PRESSED} === 0")  # it comes to its end
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


def test_keys(visit: Visit) -> None:
    page = visit.page
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

    for key in ("Space", "Enter"):
        visit.press(key)
        until(page, "document.querySelector('#crbm2-0 audio').currentTime > 0.02")
        assert page.evaluate(PLAYING) == [24]
        visit.press(key)
        assert page.evaluate(PLAYING) == []
    visit.press("2")
    assert page.locator("#crbm2-0 [data-clip]").nth(1).get_attribute("aria-pressed") == "true"
    visit.press("Escape")

    visit.press("?")
    assert page.evaluate("document.getElementById('help').open")
    visit.press("ArrowRight")
    assert page.evaluate("location.hash") == "#crbm2-0"
    visit.press("Escape")
    assert not page.evaluate("document.getElementById('help').open")


def test_keys_typed_into_the_search_stay_there(visit: Visit) -> None:
    visit.press("/")
    visit.page.keyboard.type("j d?7 k")
    assert visit.page.locator("#search").input_value() == "j d?7 k"
    assert visit.page.evaluate("document.documentElement.dataset.theme") is None


def test_layers_search_trust_and_order(visit: Visit, content: ReportContent) -> None:
    page = visit.page
    page.get_by_role("button", name="crbm2", exact=True).click()
    assert len(visit.shown()) == 28
    assert page.locator("#count").inner_text() == "28 units"
    page.get_by_role("button", name="all", exact=True).click()
    page.locator("#search").fill("logits seven")
    assert visit.shown() == ["logits-7"]
    page.locator("#search").fill("")
    page.locator("#trust").select_option("1")
    assert visit.shown() == [card.unit.replace(":", "-") for card in content.units if card.doubts]
    page.locator("#search").fill("no such thing")
    page.get_by_role("button", name="Show all").click()
    assert len(visit.shown()) == 62

    page.locator("#sort").select_option("sound_over_natural")
    order = [u for u in visit.shown() if u.startswith("crbm2")]
    cards = content.layers["crbm2"]
    measured = sorted((c for c in cards if c.unit != "crbm2:3"), key=lambda c: -c.score("sound_over_natural"))
    assert order == [c.unit.replace(":", "-") for c in measured] + ["crbm2-3"]  # what was not measured comes last
    page.locator("#sort").select_option("mfcc_relative_error")
    least = min(cards, key=lambda c: c.score("mfcc_relative_error"))
    assert next(u for u in visit.shown() if u.startswith("crbm2")) == least.unit.replace(":", "-")
    page.locator("#sort").select_option("")
    assert visit.shown() == [card.unit.replace(":", "-") for card in content.units]


def test_deep_links(browser: Any, address: str, visit: Visit) -> None:
    deep = Visit(browser, f"{address}#crbm2-7")
    assert deep.chosen() == "crbm2-7"
    top = "document.getElementById('crbm2-7').getBoundingClientRect().top"
    until(deep.page, f"{top} >= 0 && {top} < innerHeight")
    assert deep.complaints == []
    deep.context.close()
    visit.page.get_by_role("button", name="crbm1", exact=True).click()
    visit.page.evaluate("location.hash = '#logits-4'")
    until(visit.page, "document.activeElement.id === 'logits-4'")  # shown again, and reached


def test_dark_and_light(browser: Any, address: str, visit: Visit) -> None:
    def lightness(page: Any) -> list[float]:
        """Mean of the RGB values of the page, of a card, of its text."""
        found = page.evaluate(
            "['body', '.unit', '.unit h3'].map((s) => getComputedStyle(document.querySelector(s)))"
            ".map((s, i) => (i < 2 ? s.backgroundColor : s.color))"
        )
        return [sum(float(v) for v in re.findall(r"[\d.]+", text)[:3]) / 3 for text in found]

    page, card, ink = lightness(visit.page)
    assert min(page, card) > 240 > 60 > ink
    visit.page.locator("#theme").click()
    page, card, ink = lightness(visit.page)
    assert max(page, card) < 40 < 200 < ink
    night = Visit(browser, address, color_scheme="dark")
    assert lightness(night.page) == [page, card, ink]
    night.press("d")
    assert min(lightness(night.page)[:2]) > 240
    assert night.complaints == []
    night.context.close()


def test_nothing_is_wider_than_the_screen(visit: Visit) -> None:
    for width, height in ((390, 844), (1366, 768), (1920, 1080)):
        visit.page.set_viewport_size({"width": width, "height": height})
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        widths = visit.page.evaluate("[...document.querySelectorAll('article.unit')].map((unit) => unit.offsetWidth)")
        assert 300 < min(widths) <= max(widths) < 480


def test_hostile_names_stay_words(browser: Any, content: ReportContent, tmp_path: Path) -> None:
    import dataclasses

    evil = "</script><script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
    units = (dataclasses.replace(content.units[0], label=evil), *content.units[1:3])
    path = write_page(dataclasses.replace(content, title=evil, units=units, corpus={"name": evil}), tmp_path)
    visit = Visit(browser, path.as_uri())
    assert visit.page.locator("h1").inner_text() == evil
    assert visit.page.title() == evil
    assert visit.complaints == []
    visit.context.close()
