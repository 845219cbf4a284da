from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import io
import itertools
import json
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from matplotlib.image import imread

from cepscope.audio import at_loudness, loudness
from cepscope.errors import DataError, ParameterError
from cepscope.report import Exemplar, ReportContent, render_page, wording, write_page
from cepscope.report.wording import pattern_alt

STEP = 2 / 32768  # PCM16 rounds to its step, and its full scale is read as 32768, written as 32767
EVIL = '</script><script>alert(1)</script><img src=x onerror="alert(2)"> & \' {{ 7 * 7 }}'


class Page(HTMLParser):
    """Elements in order, each with its attributes; the text of scripts, styles and everything."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open = tag

    def handle_data(self, data: str) -> None:
        if self.open in ("script", "style") and self.texts and self.texts[-1][0] == self.open + str(len(self.elements)):
            data = self.texts.pop()[1] + data
        self.texts.append((self.open + str(len(self.elements)), data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def data_uri(uri: str) -> tuple[str, bytes]:
    head, body = uri.split(",", 1)
    return head, base64.b64decode(body, validate=True)


@pytest.fixture(scope="module")
def text(content: ReportContent) -> str:
    return render_page(content)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_one_player_a_unit(page: Page, content: ReportContent) -> None:
    players = page.all("audio")
    assert len(players) == len(content.units) == 82
    assert all("controls" in player for player in players)
    names = [player["aria-label"] for player in players]
    assert names[0] == "Sound of crbm1:0"
    assert names[-1] == "Sound of logits:9, nine"


def test_players_hold_the_units_sounds(page: Page, content: ReportContent) -> None:
    for player, card in zip(page.all("audio"), content.units, strict=True):
        head, wav = data_uri(player["src"] or "")
        assert head == "data:audio/wav;base64"
        y, sr = sf.read(io.BytesIO(wav), dtype="float32")
        assert sr == card.sr
        np.testing.assert_allclose(y, at_loudness(card.audio, sr, lufs=-23.0)[0], atol=STEP)


def test_exemplars_are_buttons_and_each_clip_is_stored_once(text: str, page: Page, content: ReportContent) -> None:
    buttons = [b for b in page.all("button") if "data-clip" in b]
    assert len(buttons) == 3 * len(content.units)
    stored = json.loads(re.search(r'<script type="application/json" id="clips">(.*?)</script>', text, re.S)[1])
    exemplars = [e for card in content.units for e in card.exemplars]
    assert len(stored) == len({e.clip for e in exemplars}) < len(exemplars)
    for button, exemplar in zip(buttons, exemplars, strict=True):
        y, _ = sf.read(io.BytesIO(data_uri(stored[button["data-clip"]])[1]), dtype="float32")
        np.testing.assert_allclose(y, at_loudness(exemplar.audio, 16000, lufs=-23.0)[0], atol=STEP)
        assert exemplar.label in button["aria-label"]
        assert exemplar.speaker in button["aria-label"]


def test_clips_of_one_name_and_two_sounds_are_two(content: ReportContent) -> None:
    card = content.units[0]
    first = card.exemplars[0]
    other = dataclasses.replace(first, audio=0.5 * first.audio)
    units = (dataclasses.replace(card, exemplars=(first, other, first)),)
    text = render_page(dataclasses.replace(content, units=units))
    assert re.findall(r'data-clip="(\w+)"', text) == ["c0", "c1", "c0"]


def test_pictures_decode_and_are_described(page: Page, content: ReportContent) -> None:
    pictures = page.all("img")
    assert len(pictures) == 2 + 72 + 82 * (3 + 3)  # legends, kernels; map, spectrogram, pattern, exemplars
    shapes = set()
    for picture in pictures:
        head, png = data_uri(picture["src"] or "")
        assert head == "data:image/png;base64"
        shapes.add(imread(io.BytesIO(png)).shape[:2])
        assert "alt" in picture
    assert shapes == {(1, 96), (5, 5), (14, 14), (20, 64), (128, 127)}
    alts = [str(p["alt"]) for p in pictures]
    assert any(re.match(r"Spectrogram of the sound of crbm2:7: 0 to 8000 Hz, 0.63 s, strongest", alt) for alt in alts)
    assert any(
        re.match(r"MFCC pattern of logits:3: 20 coefficients by 64 frames, 0.63 s; the largest", a) for a in alts
    )
    assert sum(not alt for alt in alts) == 82 * 3  # only those whose button says it all


def without_c0(content: ReportContent) -> ReportContent:
    """The same patterns, as of a front end without c0."""
    return dataclasses.replace(content, spec=dataclasses.replace(content.spec, c0=False))


def test_coefficients_are_named_by_their_order(content: ReportContent) -> None:
    pattern = np.zeros_like(content.units[0].pattern)
    pattern[2, 10] = -4.0
    unit = dataclasses.replace(content.units[0], pattern=pattern)
    for spec, order in ((content.spec, 2), (without_c0(content).spec, 3)):
        said = pattern_alt(unit, spec)
        assert said == (
            "MFCC pattern of crbm1:0: 20 coefficients by 64 frames, 0.63 s; the largest deviation is "
            f"\N{MINUS SIGN}4.0 standard deviations in coefficient {order} at 0.10 s."
        )
        page = Page(render_page(dataclasses.replace(content, spec=spec, units=(unit,))))
        assert said in [picture["alt"] for picture in page.all("img")]


@pytest.mark.parametrize(("c0", "orders"), [(True, [0, 5, 10, 15]), (False, [1, 6, 11, 16])])
def test_the_axis_of_coefficients_starts_at_the_first_there_is(
    content: ReportContent, c0: bool, orders: list[int]
) -> None:
    shown = dataclasses.replace(content if c0 else without_c0(content), units=content.units[:2])
    axes = re.findall(
        r'<span>coefficient</span></div>\s*<svg class="axis y"[^>]*>(.*?)</svg>', render_page(shown), re.S
    )
    assert len(axes) == 2
    for axis in axes:
        labels = [
            (float(y), int(text)) for y, text in re.findall(r'<text [^>]*y="([\d.]+)%"[^>]*>([^<]+)</text>', axis)
        ]
        assert [order for _, order in labels] == orders
        rows = [order - orders[0] for order in orders]  # of the picture, from its bottom
        np.testing.assert_allclose([y for y, _ in labels], [100 * (1 - (row + 0.5) / 20) for row in rows], atol=1e-3)


def test_what_is_said_of_the_sounds_alone(text: str, content: ReportContent) -> None:
    cards = re.findall(r"<article.*?</article>", text, re.S)
    for card, unit in zip(cards, content.units, strict=True):
        told = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", card))
        assert told["MCD (dB)"] == wording.number(unit.scores["mcd_db"], 2)
        assert told["HNR (dB)"] == wording.number(unit.scores["hnr_db"], 1)
        assert told["voiced"] == wording.number(unit.scores["voiced_share"], 2)
        assert told["range (dB)"] == wording.number(unit.scores["log_mel_range_db"], 0)
        assert told["gain"] == wording.number(unit.scores["gain"], 2)
    head, *rows = re.findall(r"<tr>(.*?)</tr>", re.search(r'<table class="summary">(.*?)</table>', text, re.S)[1])
    titles = re.findall(r'scope="col">([^<]+)<', head)
    for layer, row in zip(content.layers, rows, strict=True):
        found = dict(zip(titles[1:], re.findall(r"<td>([^<]+)</td>", row), strict=True))
        assert found["HNR (dB)"] == wording.number(content.summary["layers"][layer]["hnr_db"], 1)
        assert found["gain"] == wording.number(content.summary["layers"][layer]["gain"], 2)
    explained = dict(re.findall(r"<div><dt>([^<]+)</dt><dd>([^<]+)</dd></div>", text[: text.index("<article")]))
    assert all(name in explained for _, name, _, _ in wording.SOUND_SCORES)
    options = re.findall(r'<option value="(\w+)">', re.search(r'<select id="sort">(.*?)</select>', text, re.S)[1])
    assert options == [key for key, _, _, _ in wording.SCORES]  # one sorts by what the network says


def test_every_place_has_its_own_name(page: Page, text: str) -> None:
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert "crbm2-7" in ids
    for link in page.all("a"):
        assert (link["href"] or "#")[1:] in ids
    for reference in re.findall(r'aria-labelledby="([^"]+)"', text):
        assert reference in ids


def test_names_that_look_alike_get_different_places(content: ReportContent) -> None:
    names = ("a/b:1", "a b:1", "a-b-1-name", "search", "\N{SNOWMAN}")
    units = tuple(dataclasses.replace(content.units[0], unit=name) for name in names)
    ids = [a["id"] for _, a in Page(render_page(dataclasses.replace(content, units=units))).elements if "id" in a]
    assert len(ids) == len(set(ids))


def test_landmarks_and_headings(page: Page) -> None:
    tags = [tag for tag, _ in page.elements]
    assert tags.count("h1") == tags.count("main") == 1
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert page.all("html")[0]["lang"] == "en"


def test_every_string_is_escaped(content: ReportContent) -> None:
    card = content.units[-1]
    exemplar = card.exemplars[0]
    evil = Exemplar(EVIL, EVIL, EVIL, 1.0, exemplar.pattern, exemplar.audio)
    scores = {**card.scores, "sound_class": EVIL, "sound_right": False}
    unit = dataclasses.replace(card, unit=EVIL, layer=EVIL, label=EVIL, scores=scores, exemplars=(evil,))
    hostile = dataclasses.replace(
        content,
        title=EVIL,
        run={EVIL: {EVIL: EVIL}, "x": EVIL},
        corpus={"name": EVIL, "classes": (EVIL,), EVIL: EVIL},
        units=(unit,),
        history=[{"layer": EVIL, "epoch": 1, "reconstruction_error": 1.0}],
        summary={"logit_sounds_right": EVIL, "layers": {}},
    )
    text = render_page(hostile)
    page = Page(text)
    assert len(page.all("script")) == 2
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert "<script>alert" not in text
    assert "{{ 7 * 7 }}" in text  # data is no template
    assert sum(EVIL in str(value) for _, attributes in page.elements for value in attributes.values()) >= 3
    assert page.all("audio")[0]["aria-label"] == f"Sound of {EVIL}, {EVIL}"


def test_only_the_pages_own_style_and_script_may_run(page: Page, text: str) -> None:
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none'; img-src data:; media-src data:;")
    assert "unsafe" not in policy
    style = re.search(r"<style>(.*?)</style>", text, re.S)[1]
    script = re.search(r"<script>(.*?)</script>", text, re.S)[1]
    for name, source in (("style", style), ("script", script)):
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert not any("style" in a or any(k.startswith("on") for k in a) for _, a in page.elements)
    addresses = [a[key] or "" for _, a in page.elements for key in ("src", "href", "action", "srcset") if key in a]
    assert all(address.startswith(("data:", "#")) for address in addresses)


def test_what_is_doubtful_is_marked(page: Page, text: str, content: ReportContent) -> None:
    expected = [card.unit for card in content.units if card.doubts]
    assert 5 <= len(expected) < len(content.units)
    marked = [a["id"] for a in page.all("article") if a["data-doubtful"] == "1"]
    assert marked == [name.replace(":", "-") for name in expected]
    assert text.count("<b>Doubtful:</b>") == len(expected)
    assert "the network hears the sound as nine" in text
    assert f"{len(expected)} of 82 units are marked doubtful" in text


def test_a_synthetic_corpus_is_said_to_be_one(text: str, content: ReportContent) -> None:
    claim = "The corpus is synthetic, no human speaks in it"
    assert claim in text
    assert claim not in render_page(dataclasses.replace(content, corpus={"name": "people"}))


def test_a_page_of_the_least_content(content: ReportContent) -> None:
    card = dataclasses.replace(content.units[0], filter=None, scores={}, exemplars=())
    bare = ReportContent("bare", {}, {"name": "x"}, content.spec, content.frames, (card,))
    page = Page(render_page(bare))
    assert len(page.all("audio")) == 1
    assert "training" not in {a.get("id") for _, a in page.elements}


def test_the_page_is_whole_and_the_same_each_time(content: ReportContent, text: str, tmp_path: Path) -> None:
    start = time.perf_counter()
    path = write_page(content, tmp_path / "report")
    assert time.perf_counter() - start < 15  # the budget; measured .3 s
    assert path == tmp_path / "report" / "index.html"
    assert path.read_text("utf-8") == text
    assert [p.name for p in path.parent.iterdir()] == ["index.html"]
    assert len(text) < 8e6  # measured 4.2 MB for 82 units


def test_a_failed_page_leaves_the_old_one(content: ReportContent, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("old")
    card = content.units[0]
    loud = dataclasses.replace(content, units=(dataclasses.replace(card, layer="x", audio=np.full(99, 3.0)),))
    with pytest.raises(ParameterError):
        write_page(loud, tmp_path)
    assert (tmp_path / "index.html").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def sounds(text: str) -> list[tuple[np.ndarray, int]]:
    """Every sound that a page holds."""
    found = re.findall(r"data:audio/wav;base64,([A-Za-z0-9+/=]+)", text)
    return [sf.read(io.BytesIO(base64.b64decode(wav)), dtype="float32") for wav in found]


def test_all_sounds_are_equally_loud(content: ReportContent) -> None:
    quiet, loud = (
        dataclasses.replace(content.units[k], audio=g * content.units[k].audio) for k, g in ((0, 0.1), (1, 1))
    )
    spiky = dataclasses.replace(content.units[2], audio=np.eye(1, 8000, 4000)[0] + 0.01 * np.sin(np.arange(8000)))
    told = {}
    for units in ((quiet, loud), (quiet, loud, spiky)):
        text = render_page(dataclasses.replace(content, units=units))
        levels = [loudness(y, sr) for y, sr in sounds(text)]
        told[len(units)] = (levels, text)
    levels, text = told[2]
    np.testing.assert_allclose(levels, -23.0, atol=0.05)  # 16 bits, and blocks at the gate
    assert f"equally loud: {wording.MINUS}23 LUFS" in text
    levels, text = told[3]  # one that can't be: the others come down to -30, and it is said
    np.testing.assert_allclose(np.delete(levels, 2), -30.0, atol=0.05)
    assert levels[2] < -30
    assert f"equally loud: {wording.MINUS}30 LUFS (ITU-R BS.1770-4). 1 of them is quieter" in text


def test_where_loudness_is_not_defined_sounds_stay(content: ReportContent) -> None:
    card = dataclasses.replace(content.units[0], sr=2000, exemplars=())
    text = render_page(dataclasses.replace(content, units=(card,)))
    np.testing.assert_allclose(sounds(text)[0][0], card.audio, atol=STEP)
    assert "Sounds are as loud as they came." in text


def test_a_large_page_has_its_pictures_and_sounds_next_to_it(many: ReportContent, tmp_path: Path) -> None:
    path = write_page(many, tmp_path)
    text = path.read_text("utf-8")
    policy = next(m["content"] for m in Page(text).all("meta") if m.get("http-equiv")) or ""
    assert policy.startswith("default-src 'none'; img-src 'self' file:; media-src 'self' file:; style-src 'sha256-")
    assert '"data:image' not in text
    assert '"data:audio' not in text
    bodies = [html.unescape(body) for body in re.findall(r'<script type="text/html">(.*?)</script>', text, re.S)]
    assert len(bodies) == 201
    assert all('preload="none"' in body and body.count('loading="lazy"') >= 5 for body in bodies)
    assert "<script>alert" not in "".join(re.findall(r'<script type="text/html">(.*?)</script>', text, re.S))
    clips = json.loads(re.search(r'id="clips">(.*?)</script>', text, re.S)[1])
    used = set(re.findall(r'(?:src|href|data-arrays|data-later)="(media/[^"]+)"', text)) | set(clips.values())
    files = {f"media/{file.name}" for file in (tmp_path / "media").iterdir()}
    assert used == files
    assert len({file.lower() for file in files}) == len(files)  # on file systems that do not tell A from a
    y, sr = sf.read(tmp_path / re.search(r'<audio [^>]*src="([^"]+)"', bodies[7])[1], dtype="float32")
    np.testing.assert_allclose(y, at_loudness(many.units[7].audio, sr, lufs=-23.0)[0], atol=STEP)
    with np.load(tmp_path / "media" / "crbm1-7-mfcc.npz") as arrays:
        np.testing.assert_array_equal(arrays["mfcc"], many.units[7].mfcc)


def test_a_smaller_page_takes_the_files_of_a_larger_one_away(many: ReportContent, tmp_path: Path) -> None:
    write_page(many, tmp_path)
    (tmp_path / "media" / "my notes.txt").write_text("not a page's")
    before = (tmp_path / "index.html").read_text("utf-8")
    loud = dataclasses.replace(many.units[3], audio=np.full(99, 3.0))
    with pytest.raises(ParameterError):
        write_page(dataclasses.replace(many, units=(*many.units[:3], loud, *many.units[4:])), tmp_path)
    assert (tmp_path / "index.html").read_text("utf-8") == before
    write_page(dataclasses.replace(many, units=many.units[:1]), tmp_path)
    assert [file.name for file in (tmp_path / "media").iterdir()] == ["my notes.txt"]
    (tmp_path / "media" / "my notes.txt").unlink()
    write_page(dataclasses.replace(many, units=many.units[:1]), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["index.html"]


def test_a_folder_that_cannot_be_written_is_told(many: ReportContent, tmp_path: Path) -> None:
    (tmp_path / "media").write_text("a file")
    with pytest.raises(DataError, match="media"):
        write_page(many, tmp_path)


def test_the_pattern_of_a_unit_can_be_inverted(content: ReportContent, tmp_path: Path) -> None:
    from cepscope.features import MfccSpec
    from cepscope.report.cards import unit_arrays

    data = unit_arrays(content.units[3], content)
    assert data == unit_arrays(content.units[3], content)
    with np.load(io.BytesIO(data)) as arrays:
        assert set(arrays.files) == {"mfcc", "spec"}  # as `cepscope invert` reads them
        assert MfccSpec.from_dict(json.loads(str(arrays["spec"]))) == content.spec
        np.testing.assert_array_equal(arrays["mfcc"], content.units[3].mfcc)


def test_the_page_needs_no_tensorflow() -> None:
    loaded = "any(name in sys.modules for name in ('tensorflow', 'matplotlib.pyplot'))"
    code = f"import sys, cepscope.report; sys.exit({loaded})"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
