from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import itertools
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from matplotlib.image import imread

from cepscope.audio import condition, loudness, read_audio
from cepscope.errors import ParameterError
from cepscope.features import MfccSpec, mfcc
from cepscope.invert import METHODS, Sounds, score_sound
from cepscope.invert.inversion import invert
from cepscope.report import ComparisonItem, render_comparison, write_comparison
from cepscope.report.comparison import LARGEST_PAGE, MOST_ROWS, check_size

SPEC = MfccSpec(sr=8000, floor=1e-5)
EVIL = '</script><script>alert(1)</script><img src=x onerror="alert(2)"> & \' {{ 7 * 7 }}'
LU = 0.1  # the loudness meter's own step from one level to another: 16 bits and gates


class Page(HTMLParser):
    """Elements in order, each with its attributes, and the text that follows each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.elements:
            tag, attributes, text = self.elements[-1]
            self.elements[-1] = (tag, attributes, text + data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes, _ in self.elements if name == tag]

    def texts(self, tag: str) -> list[str]:
        return [text.strip() for name, _, text in self.elements if name == tag]

    def sounds(self) -> dict[str, np.ndarray]:
        return {str(a["aria-label"]): _wav(a["src"]) for a in self.all("audio")}

    def pictures(self) -> dict[str, np.ndarray]:
        return {
            str(a["alt"]): imread(io.BytesIO(base64.b64decode(str(a["src"]).split(",", 1)[1])))
            for a in self.all("img")
        }  # fmt: skip


def _wav(address: str | None) -> np.ndarray:
    head, body = str(address).split(",", 1)
    assert head == "data:audio/wav;base64"
    y, sr = sf.read(io.BytesIO(base64.b64decode(body, validate=True)))
    assert sr == SPEC.sr
    return np.asarray(y)


@pytest.fixture(scope="module")
def recordings(project_root: Path) -> dict[str, np.ndarray]:
    clips = sorted((project_root / "data" / "spoken-digits" / "audio").glob("three_*_0.flac"))[:2]
    return {clip.name: condition(read_audio(clip, sr=SPEC.sr)[0]) for clip in clips}


@pytest.fixture(scope="module")
def items(recordings: dict[str, np.ndarray]) -> list[ComparisonItem]:
    """Two recordings, and a pattern without one, by every method there is."""
    made = []
    for name, y in recordings.items():
        C = mfcc(y, SPEC)
        made.append(ComparisonItem(name, C, SPEC, {method: invert(C, SPEC, method=method) for method in METHODS}, y))
    C = mfcc(next(iter(recordings.values())), SPEC)[:, 5:35]
    return [*made, ComparisonItem("crbm1:7", C, SPEC, {m: invert(C, SPEC, method=m) for m in METHODS})]


@pytest.fixture(scope="module")
def text(items: list[ComparisonItem]) -> str:
    return render_comparison(items, title="Some digits")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_a_sound_for_each_method_and_the_recording_first(page: Page, items: list[ComparisonItem]) -> None:
    expected = [
        f"{item.name}, {method}"
        for item in items
        for method in ([] if item.recording is None else ["original"]) + list(METHODS)
    ]
    assert list(page.sounds()) == expected
    assert [len(y) for y in page.sounds().values()][1] == (items[0].mfcc.shape[1] - 1) * SPEC.hop
    keys = [a["data-choice"] for a in page.all("button") if "data-choice" in a]
    assert keys == [str(i) for item in items for i in range(len(METHODS) + (item.recording is not None))]


def test_the_sounds_of_a_row_are_equally_loud_and_are_those_given(page: Page, items: list[ComparisonItem]) -> None:
    for item in items:
        for method, sounds in item.sounds.items():
            y = page.sounds()[f"{item.name}, {method}"]
            assert np.corrcoef(y, sounds.audio[0])[0, 1] > 0.9999  # 16 bits
        levels = [loudness(y, SPEC.sr) for name, y in page.sounds().items() if name.startswith(item.name)]
        assert levels == pytest.approx([-23.0] * len(levels), abs=LU)


def test_a_sound_that_can_not_be_so_loud_takes_its_row_down(items: list[ComparisonItem]) -> None:
    first, second, _ = items
    method = METHODS[0]
    click = np.zeros_like(first.sounds[method].audio)
    click[0, ::1600] = 0.5
    peaked = dataclasses.replace(first.sounds[method], audio=click)
    found = Page(render_comparison([dataclasses.replace(first, sounds={**first.sounds, method: peaked}), second]))
    sounds = found.sounds()
    assert np.abs(sounds[f"{first.name}, {method}"]).max() == pytest.approx(0.89, abs=1e-3)
    levels = [loudness(y, SPEC.sr) for name, y in sounds.items() if name.startswith(first.name)]
    assert np.ptp(levels) < LU
    assert max(levels) < -25
    said = [text for text in found.texts("li") if text.endswith("LUFS")]
    assert said[0] == f"{levels[0]:.1f} LUFS".replace("-", "\N{MINUS SIGN}")
    assert said[1] == "\N{MINUS SIGN}23.0 LUFS"
    assert loudness(sounds[f"{second.name}, {method}"], SPEC.sr) == pytest.approx(-23, abs=LU)


def test_scores_are_those_of_the_library(page: Page, items: list[ComparisonItem]) -> None:
    shown = iter(page.texts("dd"))
    for item in items:
        if item.recording is not None:
            assert float(next(shown).replace("\N{MINUS SIGN}", "-")) > 0  # harmonics to noise of the recording
            assert 0.3 < float(next(shown)) <= 1
        for sounds in item.sounds.values():
            wanted = score_sound(sounds.audio[0], item.mfcc, SPEC, gain=float(sounds.gain[0]), reference=item.recording)
            keys = {"relative_error": 3, "mcd_db": 2, "hnr_db": 1, "voiced_share": 2}
            if item.recording is not None:
                keys |= {"stoi": 2, "pesq": 2}
            for key, digits in keys.items():
                number = next(shown).replace("\N{MINUS SIGN}", "-")
                assert number == ("\N{EN DASH}" if np.isnan(wanted[key]) else f"{wanted[key]:.{digits}f}")
            assert float(sounds.relative_error[0]) == pytest.approx(wanted["relative_error"], abs=1e-4)


def test_medians_are_over_the_rows_that_have_the_method(items: list[ComparisonItem]) -> None:
    method = METHODS[0]
    one = dataclasses.replace(items[2], sounds={method: items[2].sounds[method]})
    text = render_comparison([items[0], items[1], one])
    table = dict(re.findall(r'<tr><th scope="row">(.*?)</th><td>(.*?)</td>', text))
    errors = [float(item.sounds[method].relative_error[0]) for item in (*items[:2], one)]
    assert float(table[method]) == pytest.approx(np.median(errors), abs=6e-4)
    last = [float(item.sounds[METHODS[-1]].relative_error[0]) for item in items[:2]]
    assert float(table[METHODS[-1]]) == pytest.approx(np.median(last), abs=6e-4)
    assert table["original"] == "\N{EN DASH}"
    assert "Medians over the 3 rows" in text


def test_pictures_show_what_was_wanted_and_how_far_off_it_is(items: list[ComparisonItem]) -> None:
    item, method = items[0], METHODS[0]
    exact = dataclasses.replace(item.sounds[method], mfcc=item.mfcc[None].astype(np.float32))
    off = item.mfcc.copy()
    off[3, 10] += 0.5 * item.mfcc[3].std()  # the end of the scale
    wrong = dataclasses.replace(exact, mfcc=off[None].astype(np.float32))
    pictures = Page(render_comparison([dataclasses.replace(item, sounds={"exact": exact, "wrong": wrong})])).pictures()
    alts = {alt.split(":")[0]: picture for alt, picture in pictures.items()}
    wanted, same = alts[f"MFCC wanted of {item.name}"], alts[f"MFCC of {item.name} by exact"]
    assert wanted.shape[:2] == item.mfcc.shape
    np.testing.assert_array_equal(wanted, same)
    none, some = alts[f"Error of {item.name} by exact"], alts[f"Error of {item.name} by wrong"]
    assert len(np.unique(none.reshape(-1, none.shape[-1]), axis=0)) == 1  # zero everywhere, in the middle's colour
    rows, columns = np.nonzero((some != none).any(axis=-1))
    assert list(zip(rows, columns, strict=True)) == [(item.mfcc.shape[0] - 1 - 3, 10)]
    assert some[rows[0], columns[0], 0] > 2 * some[rows[0], columns[0], 2]  # red: too high
    described = next(alt for alt in pictures if alt.startswith(f"Error of {item.name} by wrong"))
    assert "0.50 in coefficient 3 at 0.10 s" in described


def test_long_sounds_have_pictures_of_bounded_width() -> None:
    rng = np.random.default_rng(0)
    C = rng.normal(size=(20, 3001)).cumsum(axis=1)
    y = rng.normal(0, 0.1, 3000 * SPEC.hop).astype(np.float32)
    sounds = Sounds(
        audio=y[None], sr=SPEC.sr, gain=np.ones(1, np.float32), relative_error=np.zeros(1, np.float32),
        normalised_error=np.zeros(1, np.float32), mfcc=C[None].astype(np.float32), names=("long",),
        method="noise", level="full_scale", seed=0,
    )  # fmt: skip
    page = Page(render_comparison([ComparisonItem("long", C, SPEC, {"noise": sounds})]))
    widths = [picture.shape[1] for picture in page.pictures().values()]
    assert 700 < max(widths) <= 1001


def test_silence_and_what_never_moves_have_a_page(recordings: dict[str, np.ndarray]) -> None:
    silent = np.repeat(SPEC.silence[:, None], 20, axis=1)
    method = METHODS[0]
    item = ComparisonItem("silence", silent, SPEC, {method: invert(silent, SPEC, method=method)}, np.zeros(19 * 80))
    page = Page(render_comparison([item]))
    assert not page.sounds()[f"silence, {method}"].any()
    assert "\N{EN DASH}" in page.texts("dd")  # a voice that is not there has no score


def test_every_string_is_escaped_and_only_the_pages_own_code_may_run(items: list[ComparisonItem]) -> None:
    first = items[0]
    hostile = dataclasses.replace(first, name=EVIL, sounds={EVIL: first.sounds[METHODS[0]]})
    text = render_comparison([hostile], title=EVIL)
    page = Page(text)
    assert len(page.all("script")) == 1
    assert "<script>alert" not in text
    assert "{{ 7 * 7 }}" in text  # data is no template
    assert not any("style" in a or any(k.startswith("on") for k in a) for _, a, _ in page.elements)
    addresses = [a[key] or "" for _, a, _ in page.elements for key in ("src", "href", "action", "srcset") if key in a]
    assert all(address.startswith(("data:", "#")) for address in addresses)
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none'; img-src data:; media-src data:;")
    assert "unsafe" not in policy
    for name in ("style", "script"):
        source = re.search(rf"<{name}>(.*?)</{name}>", text, re.S)[1]
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy


def test_places_have_names_and_headings_go_down_by_one(page: Page, text: str) -> None:
    ids = [a["id"] for _, a, _ in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert all((a["href"] or "#")[1:] in ids for a in page.all("a"))
    assert set(re.findall(r'aria-labelledby="([^"]+)"', text)) <= set(ids)
    tags = [tag for tag, _, _ in page.elements]
    assert tags.count("h1") == tags.count("main") == 1
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(a.get("aria-label") or a.get("data-choice") or a.get("id") == "loop" for a in page.all("button"))
    assert all(a.get("alt") for a in page.all("img"))


def test_the_page_is_whole_and_the_same_each_time(items: list[ComparisonItem], text: str, tmp_path: Path) -> None:
    path = write_comparison(tmp_path / "new" / "page.html", items, title="Some digits")
    assert path == tmp_path / "new" / "page.html"
    assert path.read_text("utf-8") == text
    assert len(list(path.parent.iterdir())) == 1
    with pytest.raises(ParameterError, match="1 to 30 recordings"):
        write_comparison(path, [])
    with pytest.raises(ParameterError, match="lufs must be a finite number"):
        write_comparison(path, items, lufs=float("nan"))
    assert path.read_text("utf-8") == text


def test_too_large_a_page_is_refused(items: list[ComparisonItem]) -> None:
    check_size([1] * MOST_ROWS)
    check_size([int(LARGEST_PAGE * 3 / 8)])
    with pytest.raises(ParameterError, match=r"1 to 30 recordings or patterns\. Received: 31"):
        render_comparison([items[0]] * (MOST_ROWS + 1))
    with pytest.raises(ParameterError, match="at most 64 MB of sound"):
        check_size([int(LARGEST_PAGE * 3 / 8) + 200_000])


def _with(**changes: Any) -> Any:
    return lambda item: dataclasses.replace(item, **changes)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_with(sounds={}), "at least one method"),
        (_with(mfcc=np.zeros((19, 9))), r"must be finite, \(20, frames\). Received: \(19, 9\)"),
        (_with(mfcc=np.full((20, 9), np.nan)), "must be finite"),
        (_with(mfcc=np.zeros((20, 9))), "9 frames"),
        (_with(spec=MfccSpec(sr=16000)), "16000 Hz"),
        (_with(recording=np.zeros((2, 9))), r"must be finite, \(samples,\)"),
        (_with(recording=np.array([np.inf])), "must be finite, .samples"),
        (lambda item: dataclasses.replace(item, sounds={"original": item.sounds[METHODS[0]]}), "'original' is"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(spoil: Any, message: str, items: list[ComparisonItem]) -> None:
    with pytest.raises(ParameterError, match=message) as error:
        spoil(items[0])
    assert "\n" not in str(error.value)
