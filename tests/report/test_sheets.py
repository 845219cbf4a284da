"""Pages of one subject: what they say and show, without a browser."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from matplotlib.image import imread

from cepscope.audio import loudness, read_audio
from cepscope.corpora import load_corpus
from cepscope.corpora.description import Description, describe
from cepscope.errors import DataError, ParameterError
from cepscope.features import MfccSpec
from cepscope.report import (
    Recorded,
    read_recorded,
    render_clip_page,
    render_corpus_page,
    render_training_page,
    write_clip_page,
    write_corpus_page,
    write_training_page,
)
from cepscope.report.distributions import MOST_CLASSES
from cepscope.report.spectra import MOST_GROUPS
from cepscope.report.typical import MOST_CLASSES as MOST_SHOWN
from cepscope.report.typical import MOST_CLIPS

SPEC = MfccSpec(sr=8000, floor=1e-5)
EVIL = '<script>alert(1)</script><img src=x onerror="alert(2)"> & {{ 7 * 7 }}'


def _attributes(page: str, tag: str, name: str) -> list[str]:
    return re.findall(rf'<{tag}\b[^>]*? {name}="([^"]*)"', page)


def _sounds(page: str) -> list[tuple[np.ndarray, int]]:
    found = []
    for address in _attributes(page, "audio", "src"):
        with wave.open(io.BytesIO(base64.b64decode(address.split(",", 1)[1]))) as file:
            y = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767
            found.append((y.astype(np.float32), file.getframerate()))
    return found


def _pictures(page: str) -> dict[str, np.ndarray]:
    tags = re.findall(r"<img\b[^>]*>", page)
    named = {re.search(r'alt="([^"]*)"', tag)[1]: re.search(r'src="([^"]*)"', tag)[1] for tag in tags}  # type: ignore[index]
    return {alt: imread(io.BytesIO(base64.b64decode(src.split(",", 1)[1]))) for alt, src in named.items()}


def _check_frame(page: str) -> None:
    """Style and script are the only ones that may act, everything is within the page, and all pictures have words."""
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]  # type: ignore[index]
    for tag in ("style", "script"):
        for text in re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL):
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"{tag}-src &#39;sha256-{digest}&#39;" in policy
    assert "default-src &#39;none&#39;" in policy
    assert all(src.startswith("data:") for tag in ("img", "audio") for src in _attributes(page, tag, "src"))
    images = re.findall(r"<img\b[^>]*>", page)
    assert all(re.search(r'alt="[^"]+"', image) for image in images)
    assert all("aria-label=" in svg or "aria-hidden" in svg for svg in re.findall(r"<svg\b[^>]*>", page))
    ids = _attributes(page, r"\w+", "id")
    assert len(ids) == len(set(ids))
    assert 'style="' not in page


@pytest.fixture(scope="module")
def description() -> Description:
    """Two words by eight voices."""
    whole = load_corpus("spoken-digits")
    speakers = [*whole.speakers[:6], *sorted({clip.speaker for clip in whole.split("test")})[:2]]
    clips = tuple(clip for clip in whole.clips if clip.speaker in speakers and clip.label in ("one", "two"))
    return describe(replace(whole, clips=clips))


@pytest.fixture(scope="module")
def corpus_page(description: Description) -> str:
    return render_corpus_page(description, SPEC)


def test_a_corpus_is_told_drawn_and_heard(corpus_page: str, description: Description, tmp_path: Path) -> None:
    page = corpus_page
    _check_frame(page)
    count = len(description.corpus.clips)
    assert f"<b>{count}</b> clips" in page
    assert "<b>2</b> classes" in page
    assert all(line.replace("'", "&#39;") in page for line in description.warnings())
    assert "it is synthetic" in page
    # the distributions are those of the figure: every clip is in a bar, and each speaker has a box
    sizes = {label: sum(clip.label == label for clip in description.corpus.clips) for label in ("one", "two")}
    for label, size in sizes.items():
        train = sum(clip.label == label and clip.split == "train" for clip in description.corpus.clips)
        assert f'aria-label="{label}: {train} train, {size - train} test"' in page
    for speaker, level in description.by_speaker("level").items():
        assert f"{speaker}: median −{-level:.2f}, middle half" in page
    assert page.count('aria-label="Long-term average spectrum of') == 2
    # two clips of each class, by different speakers, equally loud
    assert page.count("<article") == 4
    sounds = _sounds(page)
    assert len(sounds) == 4
    assert all(sr == 16000 for _, sr in sounds)
    levels = [loudness(y, sr) for y, sr in sounds]
    assert all(
        level == pytest.approx(-23, abs=0.3) or np.abs(y).max() > 0.88
        for level, (y, _) in zip(levels, sounds, strict=True)
    )
    names = re.findall(r'data-name="(\w+?)_(\w+?)_\d+.flac"', page)
    assert [word for word, _ in names] == ["one", "one", "two", "two"]
    assert names[0][1] != names[1][1]
    pictures = _pictures(page)
    shown = [picture for alt, picture in pictures.items() if alt.startswith("MFCC of")]
    assert len(shown) == 4
    assert all(len(picture) == SPEC.n_mfcc for picture in shown)
    written = write_corpus_page(tmp_path / "a" / "corpus.html", description, SPEC)
    assert written.read_text("utf-8") == page
    assert [path.name for path in written.parent.iterdir()] == ["corpus.html"]


def test_progress_of_a_corpus_is_told(description: Description) -> None:
    told: list[tuple[str, int, int]] = []
    render_corpus_page(description, SPEC, clips=1, progress=lambda *parts: told.append(parts))
    assert {what for what, _, _ in told} == {"spectra", "clips"}
    assert [(done, total) for what, done, total in told if what == "clips"] == [(1, 2), (2, 2)]


def test_hundreds_of_classes_leave_a_page_that_opens(description: Description) -> None:
    pairs = list(zip(description.corpus.clips, description.facts, strict=True)) * 8
    clips = tuple(replace(clip, label=f"w{i // 2:03d}", speaker="") for i, (clip, _) in enumerate(pairs))
    facts = tuple(fact for _, fact in pairs)
    classes = len({clip.label for clip in clips})
    assert classes > max(MOST_CLASSES, MOST_SHOWN, MOST_GROUPS)
    many = Description(replace(description.corpus, clips=clips), facts, (), None, None)
    page = render_corpus_page(many, SPEC, clips=1)
    _check_frame(page)
    assert page.count("<article") == MOST_SHOWN
    assert f"Of {classes} classes the first {MOST_SHOWN} are shown." in page
    assert f"Of {classes} classes the first {MOST_GROUPS} are shown." in page
    assert "class sizes" in page
    assert len(page) < 3e6
    # the more clips of each, the fewer classes
    assert render_corpus_page(many, SPEC, clips=2).count("<article") == min(MOST_CLIPS, 2 * MOST_SHOWN)


@pytest.mark.parametrize("clips", [0, MOST_CLIPS + 1])
def test_no_or_too_many_clips_are_refused(description: Description, clips: int) -> None:
    with pytest.raises(ParameterError, match=f"1 to {MOST_CLIPS} clips"):
        render_corpus_page(description, SPEC, clips=clips)


def test_names_of_a_corpus_stay_words(description: Description) -> None:
    corpus = description.corpus
    clips = tuple(replace(clip, label=EVIL + clip.label, speaker=EVIL + clip.speaker) for clip in corpus.clips)
    hostile = replace(corpus, name=EVIL, note=EVIL, clips=clips)
    page = render_corpus_page(replace(description, corpus=hostile), SPEC)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "49" not in re.findall(r"<h1>(.*?)</h1>", page)[0]
    assert page.count("&lt;script&gt;alert(1)") > 10


def _history(**last: float) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for epoch in range(1, 9):
        row = {"layer": "crbm1", "epoch": epoch, "reconstruction_error": 1 / epoch, "free_energy_gap": -epoch / 4}
        row |= {"sparseness": 0.3, "weight_norm": 2.0, "dead_filters": 0, "saturated_filters": 0, "redundancy": 0.5}
        rows.append(row)
    rows[-1] |= last
    rows += [{"epoch": e, "loss": 2 / e, "val_loss": 2.2 / e, "accuracy": 0.9, "val_accuracy": 0.88} for e in (1, 2, 3)]
    return rows


FILTERS = {"crbm1": np.random.default_rng(0).normal(size=(6, 5, 4))}


def test_a_training_is_told_and_drawn(tmp_path: Path) -> None:
    settings = {"train": {"epochs": 3, "sparsity": 0.05}, EVIL: {EVIL: EVIL}}
    page = render_training_page(
        _history(), FILTERS, title="a run", settings=settings, facts=[("12.5", "s of training")]
    )
    _check_frame(page)
    assert "No filter is dead, saturated or redundant, and no held-out curve grows." in page
    assert "<b>12.5</b> s of training" in page
    for title in ("reconstruction error", "free energy gap", "sparseness", "norm of the weights", "redundancy"):
        assert f'aria-label="Pretraining: {title} by epoch: crbm1 ends at' in page
    assert "<script>" not in page  # nothing plays, so nothing needs one
    assert "<script" not in page.replace("&lt;script", "")
    pictures = _pictures(page)
    shown = [picture for alt, picture in pictures.items() if alt.startswith("Filter")]
    assert len(shown) == 6
    assert all(picture.shape[:2] == (5, 4) for picture in shown)
    assert re.search(r"<th scope=\"row\">epochs</th><td>3</td>", page)
    path = write_training_page(tmp_path / "training.html", _history(), FILTERS)
    assert path.read_text("utf-8").count("<figure") == 7


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ({"dead_filters": 2}, "crbm1: 2 of 6 filters are dead"),
        ({"dead_filters": 1}, "crbm1: 1 of 6 filters is dead"),
        ({"saturated_filters": 3}, "crbm1: 3 of 6 filters are saturated"),
        ({"redundancy": 0.93}, "crbm1: Filters are redundant: the nearest other filter correlates by 0.93"),
    ],
)
def test_what_is_wrong_with_filters_is_said_in_plain_words(last: dict[str, float], said: str) -> None:
    page = render_training_page(_history(**last), FILTERS)
    assert said in page
    assert "No filter is dead" not in page


def test_a_growing_gap_and_overfitting_are_said() -> None:
    rows = _history()
    for row, gap in zip(rows[:8], (0, -2, -3, -2.5, -2, -1.5, -1, -0.5), strict=True):
        row["free_energy_gap"] = gap
    for epoch, loss in enumerate((1.0, 0.5, 0.6, 0.8, 1.1, 1.2), start=1):
        rows.append({"epoch": epoch + 3, "loss": 0.1, "val_loss": loss, "accuracy": 1.0, "val_accuracy": 0.7})
    page = render_training_page(rows, FILTERS)
    assert "crbm1: The free-energy gap was lowest in epoch 3 (-3 nats) and has grown to -0.5" in page
    assert "fine-tuning: The held-out loss was lowest in epoch 5 (0.5) and has grown to 1.2" in page
    assert "100% of the training clips are classified right, but 70% of the held-out ones" in page
    rows[7]["free_energy_gap"] = -2.95  # noise around the lowest value is no growth
    assert "free-energy gap was lowest" not in render_training_page(rows, FILTERS)


def test_a_training_without_history_is_refused() -> None:
    with pytest.raises(ParameterError, match="needs its history"):
        render_training_page([], FILTERS)


@pytest.fixture(scope="module")
def clip(project_root: Path) -> Path:
    return sorted((project_root / "data" / "spoken-digits" / "audio").glob("seven_*_0.flac"))[0]


@pytest.fixture(scope="module")
def recorded(clip: Path) -> Recorded:
    return read_recorded(clip, SPEC)


def test_a_recording_is_told_drawn_and_heard(recorded: Recorded, clip: Path, tmp_path: Path) -> None:
    page = render_clip_page(recorded)
    _check_frame(page)
    y, sr = read_audio(clip)
    told = dict(recorded.told())
    assert told["duration"] == f"{len(y) / sr:.3f} s"
    assert told["sampling rate"] == "16000 Hz"
    assert told["peak"] == f"−{-20 * np.log10(np.abs(y - y.mean()).max()):.1f} dB of full scale"
    assert told["RMS"] == f"−{-20 * np.log10(np.std(y)):.1f} dB of full scale"
    assert told["loudness"] == f"−{-loudness(y, sr):.1f} LUFS"
    assert told["clipped samples"] == "none"
    assert told["conditioning"] == (
        f"removes the DC, brings the peak to full scale (+{-20 * np.log10(np.abs(y - y.mean()).max()):.1f} dB), "
        "resamples to 8000 Hz"
    )
    assert all(value in page for value in told.values())
    (sound,) = _sounds(page)
    assert sound[1] == sr
    assert len(sound[0]) == len(y)
    assert page.count('class="playhead"') == page.count("data-seek>") == 9
    alts = list(_pictures(page))
    for start in (
        "Narrow-band spec",
        "Wide-band spec",
        "Log-mel spec",
        "MFCC of",
        "MFCC delta of",
        "MFCC delta-delta of",
    ):
        assert sum(alt.startswith(start) for alt in alts) == 1
    assert re.search(r'aria-label="Pitch of [^"]*: median \d+ Hz', page)
    assert re.search(r'aria-label="Waveform of [^"]*largest sample', page)
    assert write_clip_page(tmp_path / "clip.html", recorded).read_text("utf-8") == page


def test_pictures_are_of_the_arrays(recorded: Recorded) -> None:
    sounding = recorded.sounding
    pictures = _pictures(render_clip_page(recorded))
    (picture,) = (picture for alt, picture in pictures.items() if alt.startswith("MFCC of"))
    assert picture.shape[:2] == sounding.mfcc.shape
    import librosa

    for order in (1, 2):
        np.testing.assert_allclose(sounding.delta(order), librosa.feature.delta(sounding.mfcc, order=order), atol=1e-3)
    # a tone is where it belongs, in both spectrograms
    tone = replace(sounding, audio=0.5 * np.sin(2 * np.pi * 1500 * np.arange(16000) / 16000))
    for window, highest, top in ((0.04, 4000.0, 4000.0), (0.005, np.inf, 8000.0)):
        levels = tone.spectrogram(window, highest=highest, bins=160)
        strongest = (levels[:, levels.shape[1] // 2].argmax() + 0.5) / len(levels) * top
        assert strongest == pytest.approx(1500, abs=1.5 * top / len(levels) + 1)


def test_a_long_file_is_told_whole_and_shown_in_part(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = 0.1 * rng.normal(size=(200 * 8000, 2)).clip(-4, 4)
    y[: 50 * 8000] *= 0.1
    sf.write(tmp_path / "long.wav", y, 8000)
    recorded = read_recorded(tmp_path / "long.wav", MfccSpec(sr=8000, floor=1e-5))
    assert recorded.is_part
    assert (recorded.sounding.start, recorded.sounding.seconds) == (70.0, 60.0)
    told = dict(recorded.told())
    assert told["duration"] == "200.000 s"
    assert told["channels"] == "2, averaged"
    assert "loudness of the part shown" in told
    peak = float(np.abs(recorded.sounding.audio - recorded.sounding.audio.mean()).max())
    assert told["conditioning of the part shown"].endswith(f"(+{-20 * np.log10(peak):.1f} dB)")
    page = render_clip_page(recorded)
    assert "from 70.0 to 130.0 s" in page
    assert "each column is the mean of 7 frames" in page
    assert len(page) < 4e6
    (sound,) = _sounds(page)
    assert len(sound[0]) == 60 * 8000


@pytest.mark.parametrize("seconds", [0.02, 0.05])
def test_silent_and_tiny_recordings_are_no_special_case(seconds: float, tmp_path: Path) -> None:
    sf.write(tmp_path / "silence.wav", np.zeros(round(8000 * seconds)), 8000)
    recorded = read_recorded(tmp_path / "silence.wav", SPEC)
    told = dict(recorded.told())
    assert told["RMS"] == "silence"
    assert told["conditioning"] == "silent: there is no level to take out"
    page = render_clip_page(recorded)
    _check_frame(page)
    assert "no frame is voiced" in page


def test_a_rate_too_low_for_pitch_is_said(tmp_path: Path) -> None:
    sf.write(tmp_path / "low.wav", 0.3 * np.sin(np.arange(1400) / 9), 700)
    page = render_clip_page(read_recorded(tmp_path / "low.wav", MfccSpec(sr=700, n_mels=8, n_mfcc=5, floor=1e-5)))
    assert "No pitch: at 700 Hz" in page
    assert 'aria-label="Pitch' not in page


def test_what_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    for name in ("text.wav", "none.wav"):
        with pytest.raises(DataError, match=name):
            read_recorded(tmp_path / name, SPEC)


def test_a_file_s_name_stays_words(clip: Path, recorded: Recorded) -> None:
    page = render_clip_page(replace(recorded, sounding=replace(recorded.sounding, name=EVIL)))
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    _check_frame(page)


@pytest.mark.parametrize(("name", "sr"), [("fsdd", 8000), ("librispeech_sex", 16000)])
def test_real_corpora(shared_dir: Path, name: str, sr: int) -> None:
    found = describe(load_corpus(shared_dir / "corpora" / name))
    page = render_corpus_page(found, MfccSpec(sr=sr, floor=1e-5))
    _check_frame(page)
    assert page.count("<article") == 2 * min(MOST_SHOWN, len(found.corpus.labels))
    assert page.count('aria-label="Long-term average spectrum of') == min(MOST_GROUPS, len(found.corpus.labels))
    assert len(page) < 3e6
