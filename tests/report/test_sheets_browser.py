"""Pages of one subject in a real browser, without a network: playing, keys, looks, and who can use them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cepscope.corpora import load_corpus
from cepscope.corpora.description import describe
from cepscope.features import MfccSpec
from cepscope.report import read_recorded, write_clip_page, write_corpus_page, write_training_page

SPEC = MfccSpec(sr=8000, floor=1e-5)
EVIL = "<script>document.title = 'taken'</script>"
TIME = "document.querySelector('audio').currentTime"
HEADS = "[...document.querySelectorAll('article .playhead')].map((line) => parseFloat(line.style.left))"


@pytest.fixture(scope="module")
def pages(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The address of a page of each kind; classes of the corpus, a layer and the recording have hostile names."""
    folder = tmp_path_factory.mktemp("pages")
    whole = load_corpus("spoken-digits")
    chosen = [clip for clip in whole.clips if clip.speaker in whole.speakers[:4] and clip.label in ("one", "two")]
    clips = tuple(
        replace(clip, label=clip.label + EVIL, split=("train", "test")[i % 2]) for i, clip in enumerate(chosen)
    )
    description = describe(replace(whole, clips=clips))
    history = [{"layer": EVIL, "epoch": e, "free_energy_gap": 1 / e, "dead_filters": 1.0} for e in (1, 2, 3)]
    history += [{"epoch": e, "loss": 1 / e, "val_loss": 1.1 / e} for e in (1, 2, 3)]
    filters = {EVIL: np.random.default_rng(0).normal(size=(30, 5, 5))}
    recorded = read_recorded(chosen[0].path, SPEC)
    recorded = replace(recorded, sounding=replace(recorded.sounding, name=EVIL))
    written = {
        "corpus": write_corpus_page(folder / "corpus.html", description, SPEC),
        "training": write_training_page(
            folder / "training.html", history, filters, settings={"train": {"epochs": 3}}, facts=[("3.0", "s")]
        ),
        "clip": write_clip_page(folder / "clip.html", recorded),
    }
    return {kind: path.as_uri() for kind, path in written.items()}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["corpus", "training", "clip"])
def test_looks(visits: Any, pages: dict[str, str], kind: str, scheme: str) -> None:
    page = visits(pages[kind], color_scheme=scheme, reduced_motion="reduce")
    assert page.title() != "taken"
    for width, height in ((390, 844), (1280, 900), (1920, 1080)):
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        # no word of an axis leaves its own picture's height, no picture is empty
        assert page.evaluate("[...document.querySelectorAll('.screen')].every((s) => s.clientHeight > 40)")
        assert page.evaluate(
            "[...document.querySelectorAll('.lanes .axis.y')].every((axis) => {"
            "const next = axis.nextElementSibling; return Math.abs(axis.clientHeight - next.clientHeight) < 4; })"
        )
    colours = page.evaluate("['backgroundColor', 'color'].map((name) => getComputedStyle(document.body)[name])")
    paper, ink = (sum(float(v) for v in re.findall(r"[\d.]+", colour)[:3]) / 3 for colour in colours)
    assert (paper > 240 > 60 > ink) if scheme == "light" else (paper < 40 < 200 < ink)
    assert page.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")
    assert page.barriers() == {}
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.barriers() == {}


def test_a_recording_plays_and_all_playheads_move(visits: Any, pages: dict[str, str]) -> None:
    page = visits(pages["clip"])
    page.slowly()
    assert page.locator("audio").count() == 1
    page.locator(".play").click()
    page.until(f"{TIME} > 0.1")
    heads = page.evaluate(HEADS)
    assert len(heads) == 9
    assert len(set(heads)) == 1
    assert heads[0] > 0
    assert page.locator("#now").inner_text() == EVIL
    page.press("Space")  # the button has the focus: it is pressed
    page.until(f"{page.PLAYING}.length === 0")
    page.press("Escape")
    page.until(f"{TIME} === 0")


def test_a_click_into_a_picture_goes_there(visits: Any, pages: dict[str, str]) -> None:
    page = visits(pages["clip"])
    seconds = page.evaluate("Number(document.querySelector('article').dataset.seconds)")
    for place, share in ((0, 0.5), (4, 0.25)):  # a drawn curve, a picture
        screen = page.locator(".screen").nth(place)
        screen.scroll_into_view_if_needed()
        box = screen.bounding_box()
        page.page.mouse.click(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        page.until(f"Math.abs({TIME} - {share * seconds}) < 0.02")
        assert page.playing() == []
        assert page.evaluate(HEADS)[8] == pytest.approx(100 * share, abs=1)


def test_a_corpus_is_heard_by_the_keyboard_alone(visits: Any, pages: dict[str, str]) -> None:
    page = visits(pages["corpus"])
    page.slowly()
    ids = page.evaluate("[...document.querySelectorAll('article')].map((a) => a.id)")
    assert len(ids) == 4
    page.press("ArrowDown")
    assert page.chosen() == ids[0]
    page.press("Space")
    page.until(f"{page.PLAYING}[0] === 0")
    page.press("ArrowDown", "Space")  # the next one stops it
    page.until(f"{page.PLAYING}[0] === 1")
    assert page.playing() == [1]
    assert page.evaluate("document.querySelectorAll('article.playing').length") == 1
    page.press("Escape")
    page.until(f"{page.PLAYING}.length === 0")
    # the place in time is a slider
    page.locator(f"#{ids[1]} input").focus()
    page.press(*["ArrowRight"] * 5)
    page.until("Math.abs(document.querySelectorAll('audio')[1].currentTime - 0.05) < 0.001")
    page.press("r")
    assert page.locator("#loop").get_attribute("aria-pressed") == "true"
    page.press("r")
    # all that can be done is reached by the tabulator, and seen to be
    reached = set()
    for _ in range(60):
        page.press("Tab")
        reached.add(page.evaluate("document.activeElement.className || document.activeElement.tagName"))
    assert {"play", "INPUT", "scroll", "skip"} <= reached


def test_a_training_needs_no_script(visits: Any, pages: dict[str, str]) -> None:
    page = visits(pages["training"], java_script_enabled=False)
    assert page.locator(".filters img").count() == 30
    assert page.locator(".look li").inner_text().startswith(EVIL)


def test_without_a_script_sounds_are_heard_all_the_same(visits: Any, pages: dict[str, str]) -> None:
    page = visits(pages["clip"], java_script_enabled=False)
    assert page.locator("audio").is_visible()


@pytest.mark.parametrize("kind", ["corpus", "training", "clip"])
def test_printing(visits: Any, pages: dict[str, str], kind: str) -> None:
    page = visits(pages[kind], color_scheme="dark")
    page.emulate_media(media="print")
    assert not page.evaluate("[...document.querySelectorAll('.transport, .tools')].some((e) => e.offsetParent)")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    assert len(page.pdf()) > 10_000
