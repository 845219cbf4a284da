"""Corpora described: measures against plain NumPy, leaks that were planted, FSDD as it is known to be."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st

from cepscope.corpora import Clip, Corpus, load_corpus
from cepscope.corpora.description import Description, describe, quantiles
from cepscope.corpora.leaks import copies, copies_across, probe_level, shared_recordings
from cepscope.corpora.survey import CLIPPED_RUN, ClipFacts, _in_runs, measure_clip, survey

Maker = Callable[..., Path]


def clip_of(folder: Path, y: np.ndarray, sr: int = 8000, name: str = "a.wav", **options: str) -> Clip:
    sf.write(folder / name, y, sr, **{"subtype": "FLOAT", **options})
    return Clip(folder / name, "a", "s", "train")


def test_a_clip_is_measured_as_numpy_measures_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = (0.1 * rng.standard_normal((20_000, 2)) + 0.03).clip(-1, 1).astype(np.float32)
    fact = measure_clip(clip_of(tmp_path, y, 22050))
    mono = y.mean(axis=1).astype(np.float64)
    assert (fact.sr, fact.channels, fact.clipped, fact.problem) == (22050, 2, 0, "")
    assert fact.seconds == 20_000 / 22050
    # sums of float64 in another order
    assert fact.offset == pytest.approx(mono.mean(), rel=1e-9)
    assert fact.level == pytest.approx(20 * np.log10(mono.std()), abs=1e-8)
    assert fact.peak == pytest.approx(20 * np.log10(np.abs(mono - mono.mean()).max()), abs=1e-8)


def test_known_levels(tmp_path: Path) -> None:
    t = np.arange(8000) / 8000
    sine = measure_clip(clip_of(tmp_path, np.sin(2 * np.pi * 100 * t), subtype="DOUBLE"))
    assert sine.level == pytest.approx(-10 * math.log10(2), abs=1e-4)  # of a full-scale sine: 1/sqrt(2)
    assert sine.peak == pytest.approx(0, abs=1e-4)
    constant = measure_clip(clip_of(tmp_path, np.full(800, 0.25)))
    assert (constant.level, constant.peak, constant.offset) == (-math.inf, -math.inf, 0.25)


def test_a_stretch_is_measured_by_itself(tmp_path: Path) -> None:
    y = np.concatenate([np.zeros(4000), np.random.default_rng(1).uniform(-0.5, 0.5, 4000), np.zeros(4000)])
    whole = clip_of(tmp_path, y)
    part, alone = (
        measure_clip(replace(whole, start=0.5, stop=1.0)),
        measure_clip(clip_of(tmp_path, y[4000:8000], name="b.wav")),
    )
    assert part == alone
    assert part.digest != measure_clip(whole).digest


@given(st.lists(st.lists(st.sampled_from([True, False, True, True]), max_size=12), max_size=6))
def test_runs_are_counted_across_blocks(parts: list[list[bool]]) -> None:
    counted, run = 0, 0
    for part in parts:
        if part:
            more, run = _in_runs(np.array(part), run)
            counted += more
    text = "".join("x" if full else " " for part in parts for full in part)
    assert counted == sum(len(word) for word in text.split() if len(word) >= CLIPPED_RUN)


def test_clipping(tmp_path: Path) -> None:
    t = np.arange(8000) / 8000
    loud = np.clip(1.3 * np.sin(2 * np.pi * 50 * t), -1, 1)
    fact = measure_clip(clip_of(tmp_path, loud, subtype="PCM_16"))
    assert fact.clipped == np.count_nonzero(np.abs(loud) >= 0.999)
    assert measure_clip(clip_of(tmp_path, np.sin(2 * np.pi * 2000 * t), subtype="PCM_16")).clipped == 0


def test_what_can_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    clips = [Clip(tmp_path / name, "a", "", "train") for name in ("text.wav", "gone.wav")]
    clips += [clip_of(tmp_path, np.full(100, np.nan), name="nan.wav"), clip_of(tmp_path, np.zeros(0), name="none.wav")]
    clips.append(Clip(tmp_path / "nan.wav", "a", "", "train", 5.0, 6.0))
    problems = [measure_clip(clip).problem for clip in clips]
    for problem, words in zip(problems, ("readable", "does not exist", "NaN", "no samples", "no samples"), strict=True):
        assert words in problem
        assert "\n" not in problem
        assert str(tmp_path) not in problem


@pytest.fixture
def planted(class_folder: Maker) -> Corpus:
    """Return a small corpus with one of everything that should be noticed."""
    root = class_folder(labels=("one", "two"), clips=12)
    one = sorted((root / "one").iterdir())
    y, sr = sf.read(one[0])
    sf.write(root / "two" / "copy.wav", y, sr, subtype="PCM_16")  # the same samples in another file and class
    sf.write(root / "one" / "silent.wav", np.zeros(sr), sr)
    sf.write(root / "one" / "quiet.wav", 2e-3 * y, sr, subtype="PCM_24")
    sf.write(root / "one" / "click.wav", y[: sr // 50], sr)
    sf.write(root / "one" / "clipped.wav", np.clip(20 * y, -1, 1), sr)
    sf.write(root / "one" / "fast.wav", y[::2], sr // 2)
    sf.write(root / "one" / "talk.flac", np.tile(y, 61 * sr // len(y) + 1), sr)
    (root / "one" / "broken.wav").write_text("text")
    return load_corpus(root)


def test_planted_troubles_are_found(planted: Corpus) -> None:
    found = describe(planted)
    assert found.unreadable[0].startswith("one/broken.wav: ")
    assert found.short == ["one/click.wav"]
    assert found.long == ["one/talk.flac"]
    assert found.silent == ["one/click.wav", "one/quiet.wav", "one/silent.wav"]
    assert found.clipped == ["one/clipped.wav"]
    assert len(found.copies) == 1
    assert "two/copy.wav" in found.copies[0]
    lines = "\n".join(found.warnings())
    for words in (
        "1 sounds have several labels",
        "1 clips can't be read",
        "1 clips are too short",
        "1 clips are longer than 60 s; only their middle will be read: one/talk.flac",
        "3 clips are silent",
        "1 clips are clipped",
        "2 sampling rates (8000, 16000 Hz)",
        "no speaker is known",
    ):
        assert words in lines
    table = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert [row["clip"] for row in table] == [planted.relative(clip) for clip in planted.clips]
    assert next(row["problem"] for row in table if row["clip"] == "one/broken.wav")
    plain = found.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["level"]["min"] is None  # digital silence
    assert plain["rates"] == {"8000": 1, "16000": len(planted.clips) - 2}
    assert plain["splits"]["train"]["clips"] + plain["splits"]["test"]["clips"] == plain["clips"] == len(planted.clips)


def test_copies_across_splits(planted: Corpus) -> None:
    facts = survey(planted)
    names = {planted.relative(clip): i for i, clip in enumerate(planted.clips)}
    original, copy = next(group for group in copies(planted, facts))
    for split, expected in (("test", 1), ("train", 0)):
        clips = list(planted.clips)
        clips[names[original]] = replace(clips[names[original]], split="train")
        clips[names[copy]] = replace(clips[names[copy]], split=split)  # type: ignore[arg-type]
        corpus = replace(planted, clips=tuple(clips))
        assert len(copies_across(corpus, copies(corpus, facts), "split")) == expected


def test_two_workers_find_the_same(planted: Corpus) -> None:
    steps: list[tuple[int, int]] = []
    assert survey(planted, progress=lambda *step: steps.append(step)) == survey(planted, workers=2)
    assert steps[-1] == (len(planted.clips),) * 2


def facts_of(levels: np.ndarray, offsets: np.ndarray) -> list[ClipFacts]:
    return [
        ClipFacts(1.0, 8000, 1, float(level), float(level), float(offset), 0, str(i))
        for i, (level, offset) in enumerate(zip(levels, offsets, strict=True))
    ]


def test_the_probe_finds_what_was_planted_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    classes = [name for name in "abcd" for _ in range(150)]
    level = np.repeat([-40.0, -30.0, -20.0, -10.0], 150) + rng.standard_normal(600)
    none = np.zeros(600)
    told = probe_level(facts_of(level, none), classes)
    assert told is not None
    # neighbours at +-1 and 10 apart overlap with a probability of 3e-7: a tree cuts a few at the edges
    assert told.accuracy > 0.98
    assert (told.chance, told.clips, told.classes, told.tells) == (0.25, 600, 4, True)
    by_offset = probe_level(facts_of(none - 20 + rng.standard_normal(600), np.repeat([0, 0, 0.01, 0.02], 150)), classes)
    assert by_offset is not None
    # a and b are alike: what can be told is half of them, and all of c and d
    assert by_offset.accuracy == pytest.approx(0.75, abs=0.05)
    blind = probe_level(facts_of(rng.standard_normal(600), rng.standard_normal(600)), classes)
    assert blind is not None
    # 4 standard errors of 600 guesses
    assert blind.accuracy == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 600))
    assert not blind.tells
    assert probe_level(facts_of(level, none), classes) == told


def test_the_probe_passes_over_what_it_can_not_use() -> None:
    level = np.array([-20.0] * 10 + [-30.0] * 10 + [-math.inf] * 10 + [-25.0] * 3)
    classes = ["a"] * 10 + ["b"] * 10 + ["c"] * 10 + ["d"] * 3
    found = probe_level(facts_of(level, np.zeros(33)), classes)
    assert found is not None
    assert (found.clips, found.classes) == (20, 2)
    assert probe_level(facts_of(level, np.zeros(33)), [""] * 10 + classes[10:]) is None


def test_fsdd_gives_its_speakers_away(shared_dir: Path) -> None:
    found = describe(load_corpus(shared_dir / "corpora" / "fsdd"))
    level, offset = found.by_speaker("level"), found.by_speaker("offset")
    assert max(level, key=level.__getitem__) == "jackson"
    assert min(level, key=level.__getitem__) == "theo"
    assert 10 ** ((max(level.values()) - min(level.values())) / 20) > 9
    peaks = [np.mean([10 ** (f.peak / 20) for c, f in found.pairs if c.speaker == who]) for who in level]
    assert max(peaks) / min(peaks) == pytest.approx(9.0, abs=0.1)
    assert [name for name, value in offset.items() if abs(value) > 0.005] == ["nicolas"]
    assert found.speaker_probe is not None
    assert found.label_probe is not None
    # at least what naming the most frequent speaker of each dB of level gets, and nicolas besides, by the offset
    bins = [(math.floor(fact.level), clip.speaker) for clip, fact in found.pairs]
    most = {level: Counter(who for at, who in bins if at == level).most_common(1)[0][0] for level, _ in bins}
    right = sum(who == "nicolas" or most[level] == who for level, who in bins) / len(bins)
    assert found.speaker_probe.accuracy > right
    assert 0.1 < found.label_probe.accuracy < 0.3
    lines = "\n".join(found.warnings())
    assert "6 of 6 speakers are in train and in test: george, jackson, lucas and 3 more" in lines
    assert "level and DC alone tell the speaker of" in lines
    assert "DC in the recordings of 1 of 6 speakers: nicolas" in lines
    assert found.to_dict()["seconds"]["max"] == 18262 / 8000  # the longest recording, by its authors' count of samples
    assert found.to_dict()["seconds"]["min"] == 1148 / 8000


def test_stretches_of_a_recording_on_both_sides(tmp_path: Path, digits: Corpus) -> None:
    shutil.copy(digits.clips[0].path, tmp_path / "a.flac")
    corners = [(0.0, 0.1, "train"), (0.1, 0.2, "test"), (0.2, 0.3, "train")]
    clips = tuple(Clip(tmp_path / "a.flac", "x", "", side, start, stop) for start, stop, side in corners)  # type: ignore[arg-type]
    corpus = Corpus("a", tmp_path, clips)
    assert shared_recordings(corpus) == ("a.flac",)
    assert "stretches of 1 recordings are in train and in test (a.flac)" in describe(corpus).warnings()


def test_quantiles() -> None:
    values = [3.0, 1.0, 2.0]
    assert quantiles(values)["median"] == np.median(values)
    assert (quantiles(values)["min"], quantiles(values)["max"]) == (1.0, 3.0)
    assert quantiles([-math.inf, -3.0, -2.0])["min"] is None
    assert set(quantiles([]).values()) == {None}


def test_nothing_to_say_of_a_clean_corpus(digits: Corpus) -> None:
    clips = tuple(
        clip for clip in digits.clips if clip.speaker in (*digits.speakers[:3],) and clip.label in ("one", "two")
    )
    corpus = replace(digits, clips=clips)
    found = Description(corpus, survey(corpus), (), None, None)
    assert [line for line in found.warnings() if "differ" not in line] == []
