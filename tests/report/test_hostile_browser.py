"""A page on which every name that comes from data is a script: in a real browser, nothing of it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cepscope.report import ReportContent, write_page

EVIL = (
    "</script><script>window.taken = 1</script><img src=x onerror='window.taken = 2'>"
    '"><svg onload="window.taken = 3"><a href="javascript:window.taken = 4">&lt;{{7*7}}${8*8}`\\u003cscript>'
)
FILE = "clips/</button><script>window.taken = 5</script>'\" onclick=window.taken=6 x=.wav"


@pytest.fixture(scope="module")
def address(content: ReportContent, tmp_path_factory: pytest.TempPathFactory) -> str:
    cards = []
    for i, card in enumerate(content.units[-3:]):
        exemplars = tuple(dataclasses.replace(one, **_texts(one, FILE)) for one in card.exemplars)
        scores = {**card.scores, "sound_class": EVIL, "sound_right": False}
        name = f"{EVIL}{i}"
        cards.append(dataclasses.replace(card, unit=name, layer=EVIL, label=EVIL, scores=scores, exemplars=exemplars))
    hostile = dataclasses.replace(
        content,
        title=EVIL,
        run={EVIL: {EVIL: EVIL}, "x": EVIL},
        corpus={"name": EVIL, "classes": (EVIL,), EVIL: EVIL},
        units=tuple(cards),
        history=[{"layer": EVIL, "epoch": epoch, "reconstruction_error": 1.0 / epoch} for epoch in (1, 2)],
        summary={"logit_sounds_right": EVIL, "layers": {}},
    )
    return write_page(hostile, tmp_path_factory.mktemp("hostile")).as_uri()


def _texts(one: Any, text: str) -> dict[str, str]:
    return {field.name: text for field in dataclasses.fields(one) if isinstance(getattr(one, field.name), str)}


def test_names_that_are_scripts_are_words(visits: Callable[..., Any], address: str) -> None:
    visit = visits(address)
    assert visit.locator("h1").inner_text() == EVIL
    assert visit.title() == EVIL
    assert visit.locator("article.unit").count() == 3
    assert visit.page.evaluate("document.scripts.length") == 2  # the page's own
    assert (
        visit.page.evaluate("document.querySelectorAll('[onerror], [onload], [onclick], a[href^=javascript]').length")
        == 0
    )
    assert visit.page.evaluate("document.body.innerText").count("window.taken = 1") >= 4


def test_nothing_runs_whatever_is_pressed(visits: Callable[..., Any], address: str) -> None:
    visit = visits(address)
    for button in visit.locator("button").all():
        button.evaluate("one => one.click()")  # whatever lies over it
    visit.press("Escape")
    search = visit.locator("input[type=search]").first
    search.fill(EVIL)
    search.fill("</script>")
    for select in visit.locator("select").all():
        for value in select.evaluate("one => [...one.options].map((option) => option.value)"):
            select.select_option(value)
    search.fill("")
    visit.locator("h1").click()
    visit.press("j", "k", "ArrowRight", "ArrowDown", "Enter", " ", "Escape", "?")
    visit.page.wait_for_timeout(100)
    assert visit.page.evaluate("window.taken") is None
    assert visit.title() == EVIL


@pytest.mark.parametrize(
    "place",
    ["#<script>window.taken=7</script>", "#%3Cimg%20src=x%20onerror=window.taken=8%3E", "#javascript:window.taken=9"],
)
def test_a_link_to_a_script_goes_nowhere(visits: Callable[..., Any], address: str, place: str) -> None:
    visit = visits(address + place)
    visit.page.wait_for_timeout(50)
    assert visit.page.evaluate("window.taken") is None
    assert visit.locator("h1").inner_text() == EVIL


def test_the_page_holds_each_name_as_it_is(content: ReportContent, address: str) -> None:
    text = Path(address.removeprefix("file://")).read_text("utf-8")
    assert "<script>window.taken" not in text
    assert "<img src=x" not in text
    assert 'onload="window' not in text
