"""Pages with their files next to them, in a real browser: what waits comes when needed, a thousand units open fast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cepscope.report import Exemplar, ReportContent, UnitCard, write_page

Visits = Callable[..., Any]

OPENED = "performance.getEntriesByType('navigation')[0].loadEventEnd"  # ms since the address was asked for
WAITING = "document.querySelectorAll('.unit.later').length"


@pytest.fixture(scope="module")
def address(many: ReportContent, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_page(many, tmp_path_factory.mktemp("report")).as_uri()


def test_cards_wait_until_they_are_near(visits: Visits, address: str) -> None:
    visit = visits(address)
    assert visit.locator("article.unit").count() == 201
    assert visit.evaluate(WAITING) > 150
    assert len(visit.requests) < 300
    assert not [url for url in visit.requests if url.endswith((".wav", ".npz"))]
    visit.locator("#crbm1-150").scroll_into_view_if_needed()
    visit.until("document.querySelectorAll('#crbm1-150 audio').length === 1")
    visit.until("[...document.querySelectorAll('#crbm1-150 img')].every((i) => i.complete && i.naturalWidth > 0)")


def test_sounds_of_a_folder(visits: Visits, address: str) -> None:
    visit = visits(f"{address}#crbm1-120")
    assert visit.chosen() == "crbm1-120"
    visit.press("Space")
    visit.until("document.querySelector('#crbm1-120 audio').currentTime > 0.1")
    visit.press("b")
    visit.until("parseFloat(document.querySelector('#crbm1-120 [data-clip] .playhead').style.left) > 10")
    assert visit.playing() == []
    visit.locator("a.thumb").nth(100).hover()
    visit.press("Space")
    visit.until("document.querySelector('#crbm1-100 audio')?.currentTime > 0.1")
    visit.press("Escape", "ArrowRight", "Enter")
    assert visit.locator(".unit.wide").count() == 1


def test_files_of_a_folder_open_beside_the_page(visits: Visits, address: str) -> None:
    visit = visits(f"{address}#crbm1-3")
    with visit.context.expect_page() as told:
        visit.locator("#crbm1-3 [data-save=spectrogram]").click()
    told.value.wait_for_url(address.replace("index.html", "media/crbm1-3-*.png"))
    visit.locator("#crbm1-3").focus()
    visit.press("s")
    visit.until("document.activeElement.id === 'crbm1-3'")
    assert visit.url.startswith(address)  # the page itself stays


def test_hostile_names_stay_words_when_their_card_comes(visits: Visits, address: str) -> None:
    visit = visits(f"{address}#CRBM1-0-2")
    assert visit.locator("#CRBM1-0-2 .label").inner_text() == "<script>alert(1)</script>"
    assert visit.locator("#CRBM1-0-2 script").count() == 0
    assert "<script>alert(1)</script>" in visit.locator("#CRBM1-0-2 audio").get_attribute("aria-label")


def test_on_paper_everything_is_there(visits: Visits, address: str) -> None:
    visit = visits(address)
    visit.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert visit.evaluate(WAITING) == 0
    assert visit.locator("article.unit .plot").count() == 201
    assert visit.locator("[data-later]").count() == 0


@pytest.mark.slow
def test_nothing_keeps_anyone_out(visits: Visits, address: str) -> None:
    assert visits(address, reduced_motion="reduce").barriers() == {}


def thousand(content: ReportContent) -> ReportContent:
    """A thousand units of five layers, no two alike, with 300 real clips between them."""
    rng, spec, frames = np.random.default_rng(0), content.spec, content.frames
    shape, samples = (spec.n_mfcc, frames), spec.samples_of(frames)

    def sound() -> np.ndarray:
        return np.clip(0.1 * rng.normal(size=samples), -1, 1).astype(np.float32)

    clips = [
        Exemplar(f"clip{i}.flac", "seven", "kate", 1.0, rng.normal(size=shape).astype(np.float32), sound())
        for i in range(300)
    ]
    scores = content.units[0].scores
    cards = [
        UnitCard(
            *(f"layer{i // 200}:{i % 200}", f"layer{i // 200}", i % 200, "", rng.normal(size=(14, 14))),
            *(rng.normal(size=shape), rng.normal(size=shape), sound(), spec.sr),
            {**scores, "sound_over_natural": float(rng.lognormal(0, 0.3))},
            tuple(clips[(3 * i + k) % 300] for k in range(3)),
        )
        for i in range(1000)
    ]
    return replace(content, units=tuple(cards))


@pytest.fixture(scope="module")
def huge(content: ReportContent, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_page(thousand(content), tmp_path_factory.mktemp("huge")).as_uri()


@pytest.mark.slow
def test_nothing_on_a_thousand_units_keeps_anyone_out(visits: Visits, huge: str) -> None:
    assert visits(huge, reduced_motion="reduce").barriers() == {}


@pytest.mark.slow
def test_a_thousand_units_open_within_two_seconds(visits: Visits, huge: str) -> None:
    times = []
    for _ in range(3):
        visit = visits(huge)
        visit.until(f"{OPENED} > 0")
        times.append(visit.evaluate(OPENED) / 1000)
        assert visit.locator("article.unit").count() == visit.locator("a.thumb").count() == 1000
        visit.press("ArrowRight", "Space")
        visit.until("document.querySelector('#layer0-0 audio').currentTime > 0.05")
    assert min(times) < 2, times  # measured 1.1 to 1.5 s on two cores that others were using; the best of three
