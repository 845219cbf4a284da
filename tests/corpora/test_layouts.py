"""Corpora as they lie on disk: recognised by themselves, or read as told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from cepscope.corpora import Corpus, extract, load_corpus
from cepscope.corpora.layouts import LAYOUTS
from cepscope.corpora.layouts.speech_commands import which_set
from cepscope.errors import CepscopeWarning, DataError, ParameterError
from cepscope.features import MfccSpec

Place = Callable[[Iterable[str]], Path]
SPEC = MfccSpec(sr=8000, n_mfcc=13, floor=1e-5)

# speakers in the two lists that came with the corpus, v0.02
VALIDATION, TESTING = (
    text.split()
    for text in (
        "a69b9b3e 439c84f4 409c962a dbaf8fc6 a6d586b7 0e17f595 ff2b842e 7fd25f7c 3cc595de 591d32f3 52bfbce8 471a0925 "
        "48bfde8e 6d818f6c 6c88cf25 8b775397 65ec06e5 827421c4 7ca023e2 55feffd5 6b81fead f5e5e8b0 e718c302 f822b9bf",
        "bb05582b 97f4c236 f2e59fea fdb5155e dc75148d 3f170018 18f8afd5 e1469561 5c8af87a aa48c94a 837a0f64 e49428d9 "
        "c7124b73 9d4bab4f f0ae7203 aa80f517 7257420c 68dd409e 82d0d3ba f428ca69 62ff07ef 563aa4e6 af405b69 8fe52b97",
    )
)


@pytest.fixture
def place(tmp_path: Path, digits: Corpus) -> Place:
    """Return a function that puts real clips under the given names into a folder."""

    def put(names: Iterable[str]) -> Path:
        root = tmp_path / "corpus"
        for i, name in enumerate(names):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix.lower() == ".flac":
                shutil.copy(digits.clips[i % len(digits.clips)].path, path)
            else:
                y, sr = sf.read(digits.clips[i % len(digits.clips)].path)
                sf.write(path, y, sr, format="NIST" if path.suffix == ".WAV" else None)
        return root

    return put


def sides(corpus: Corpus) -> dict[str, str]:
    return {corpus.relative(clip): clip.split for clip in corpus.clips}


def test_fsdd(place: Place, shared_dir: Path, tmp_path: Path) -> None:
    names = [f"recordings/{d}_{s}_{t}.wav" for d in (0, 7) for s in ("george", "theo") for t in (0, 4, 5, 41)]
    root = place(names)
    (root / "metadata.py").write_text("# the repository holds other files, too\n")
    corpus = load_corpus(root)
    assert (corpus.labels, corpus.speakers) == (("0", "7"), ("george", "theo"))
    assert {Path(name).stem.split("_")[2] for name, side in sides(corpus).items() if side == "test"} == {"0", "4"}
    assert "official" in corpus.note
    assert load_corpus(root / "recordings").labels == ("0", "7")
    assert load_corpus(root, label="speaker").labels == ("george", "theo")
    # the whole corpus, without its metadata.csv, is the same as with it
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "recordings").symlink_to(shared_dir / "corpora" / "fsdd" / "audio")
    listed, named = load_corpus(shared_dir / "corpora" / "fsdd"), load_corpus(tmp_path / "all")
    assert [(c.path.name, c.label, c.speaker, c.split) for c in named.clips] == [
        (c.path.name, c.label, c.speaker, c.split) for c in listed.clips
    ]


def test_the_official_rule_of_speech_commands() -> None:
    for side, speakers in (("validation", VALIDATION), ("testing", TESTING)):
        assert {which_set(f"right/{speaker}_nohash_{i}.wav") for i, speaker in enumerate(speakers)} == {side}
    rng = np.random.default_rng(0)
    drawn = [which_set(f"{rng.integers(2**32):08x}_nohash_0.wav") for _ in range(4000)]
    # 10 % each; 4 standard errors of 4000 draws are 2 %
    assert [drawn.count(side) / 4000 for side in ("validation", "testing")] == pytest.approx([0.1, 0.1], abs=0.02)


@pytest.mark.parametrize("lists", [True, False])
def test_speech_commands(place: Place, lists: bool) -> None:
    speakers = [*VALIDATION[:3], *TESTING[:3], "00176480", "004ae714", "00f0204f"]
    names = [f"{word}/{speaker}_nohash_{i}.wav" for word in ("yes", "no") for i, speaker in enumerate(speakers)]
    root = place([*names, "_background_noise_/running_tap.wav"])
    if lists:
        (root / "validation_list.txt").write_text("yes/00176480_nohash_6.wav\n")
        (root / "testing_list.txt").write_text("yes/004ae714_nohash_7.wav\nno/004ae714_nohash_7.wav\n")
    corpus = load_corpus(root)
    assert corpus.labels == ("no", "yes")
    assert len(corpus.clips) == 18
    in_test = {clip.speaker for clip in corpus.split("test")}
    assert in_test == {*TESTING[:3], *(["004ae714"] if lists else [])}  # a list wins over the rule
    assert load_corpus(root, label="speaker", split="random").labels == tuple(sorted(speakers))
    with pytest.raises(DataError, match="is in test but not in train"):
        load_corpus(root, label="speaker")


def test_audiomnist(place: Place) -> None:
    root = place([f"data/{s}/{d}_{s}_{t}.wav" for s in ("01", "12", "26", "52") for d in (3, 8) for t in (0, 49)])
    corpus = load_corpus(root)
    assert (corpus.labels, corpus.speakers) == (("3", "8"), ("01", "12", "26", "52"))
    assert {clip.speaker for clip in corpus.split("test")} == {"26", "52"}
    with pytest.raises(DataError, match=r"audioMNIST_meta\.txt can't be read"):
        load_corpus(root, label="sex")
    meta = {
        s: {"gender": sex, "age": 30} for s, sex in zip(("01", "12", "26", "52"), ("male", "Female") * 2, strict=True)
    }
    (root / "data" / "audioMNIST_meta.txt").write_text(json.dumps(meta))
    found = load_corpus(root, label="sex")
    assert {(clip.speaker, clip.label) for clip in found.clips} == {
        ("01", "male"), ("12", "female"), ("26", "male"), ("52", "female"),
    }  # fmt: skip
    assert "12 speakers" in corpus.note
    few = load_corpus(root / "data", split="speakers", seed=1)  # its folder of recordings does as well
    assert few.labels == ("3", "8")


SPEAKERS = """; the real file begins with comments
;ID  |SEX| SUBSET           |MINUTES| NAME
14   | F | train-clean-100  | 25.03 | A Reader
16   | F | train-clean-100  | 25.11 | Another | with a bar
17   | M | test-clean       | 8.04  | A Third
18   | M | train-clean-100  | 25.04 | A Fourth
19   | F | dev-clean        | 8.00  | A Fifth
"""


def libri(subset: str, speaker: int, chapters: int = 2) -> list[str]:
    return [f"{subset}/{speaker}/{c}/{speaker}-{c}-{i:04d}.flac" for c in range(7, 7 + chapters) for i in range(2)]


def test_librispeech(place: Place) -> None:
    train = [name for speaker in (14, 16, 18) for name in libri("train-clean-100", speaker)]
    root = place([*train, *libri("test-clean", 17), *libri("dev-clean", 19)])
    with pytest.raises(DataError, match=r"SPEAKERS\.TXT is missing; the reader's sex is taken from it"):
        load_corpus(root)
    (root / "SPEAKERS.TXT").write_text(SPEAKERS)
    corpus = load_corpus(root)
    assert corpus.labels == ("female", "male")
    assert {clip.speaker for clip in corpus.split("test")} == {"17"}
    assert "dev-clean" in corpus.note
    shutil.rmtree(root / "test-clean")
    assert {clip.speaker for clip in load_corpus(root).split("test")} == {"19"}  # dev stands in for test
    one = load_corpus(root / "train-clean-100")  # a subset by itself finds the table above it
    assert "split by speaker" in one.note or "at random" in one.note
    assert load_corpus(root / "train-clean-100", label="speaker", split="random").labels == ("14", "16", "18")


PHN = "0 1600 h#\n1600 3200 sh\n3200 4000 iy\n4000 4000 q\n4000 6000 sh\n"


def test_timit(place: Place) -> None:
    speakers = {"TRAIN": ("FABC0", "MABC0"), "TEST": ("FDEF0", "MDEF0")}
    root = place(f"{part}/DR1/{who}/SX{i}.WAV" for part, both in speakers.items() for who in both for i in (1, 2))
    for recording in root.rglob("*.WAV"):
        recording.with_suffix(".PHN").write_text(PHN)
        recording.with_suffix(".WRD").write_text("1600 4000 she\n4000 6000 had\n")
        recording.with_suffix(".TXT").write_text("0 6000 She had\n")
    with pytest.warns(CepscopeWarning, match="points in time"):
        corpus = load_corpus(root)
    assert corpus.labels == ("h#", "iy", "sh")
    assert len(corpus.clips) == 8 * 4
    first = corpus.clips[1]
    assert (first.label, first.start, first.stop) == ("sh", 0.1, 0.2)  # samples at the file's own 16 kHz
    assert corpus.relative(first).endswith("SX1.WAV#t=0.1,0.2")
    assert {clip.path.parents[2].name for clip in corpus.split("test")} == {"TEST"}
    assert load_corpus(root, label="word").labels == ("had", "she")
    whole = load_corpus(root, label="sex", layout="timit")
    assert whole.labels == ("female", "male")
    assert all(clip.stop is None for clip in whole.clips)
    with pytest.raises(ParameterError, match=r"label, phone, word, speaker, sex of a clip. Received: label='mood'"):
        load_corpus(root, label="mood")
    next(root.rglob("*.PHN")).write_text("0 1600\n")
    with pytest.raises(DataError, match=r"line 1: expected START END LABEL, in samples. Received: '0 1600'"):
        load_corpus(root)


def test_the_phones_of_a_table(shared_dir: Path) -> None:
    with pytest.warns(
        CepscopeWarning, match="9 classes with a single stretch were left out: 'aa', 'b', 'ch' and 6 more"
    ):
        corpus = load_corpus(shared_dir / "corpora" / "timit_phones_sample")
    lines = (shared_dir / "corpora" / "timit_phones_sample" / "phones.csv").read_text().splitlines()[1:]
    assert len(corpus.clips) == len(lines) - 9
    clip = next(clip for clip in corpus.clips if clip.label == "ay")
    assert (clip.speaker, clip.start, clip.stop) == ("spk1", 0.2744, 0.5909)
    assert corpus.note == "split by recording: 2 of 8 in test (seed 0)"
    assert not {clip.path for clip in corpus.split("train")} & {clip.path for clip in corpus.split("test")}
    spec = MfccSpec(sr=16000, n_mfcc=13, floor=1e-5)
    with pytest.warns(CepscopeWarning, match=r"skipped audio/.*\.flac#t=.*: 0\.00\d s long, expected at least 0\.01 s"):
        patches = extract(corpus, spec, frames=16)
    name = corpus.relative(clip)
    side = patches.train if clip.split == "train" else patches.test
    y, sr = sf.read(clip.path, dtype="float32")
    # a stretch is measured as a file that holds nothing else
    expected = patches.encode(y[round(0.2744 * sr) : round(0.5909 * sr)], sr)
    np.testing.assert_array_equal(side.x[side.paths.index(name)], expected)
    assert patches.load_wave(name).shape == ((16 - 1) * spec.hop,)


@pytest.fixture
def talks(place: Place) -> Path:
    """Return a folder with three recordings, and nothing beside them yet."""
    return place(["a.wav", "b.flac", "deep/c.wav"])


def recordings(root: Path) -> list[Path]:
    return [path for path in sorted(root.rglob("*")) if path.suffix in (".wav", ".flac")]


STRETCHES = [("a", 0.0, 0.1), ("b", 0.1, 0.25), ("a", 0.25, 0.3)]


@pytest.mark.parametrize("kind", ["csv", "audacity", "metadata"])
def test_labels_beside_recordings(talks: Path, kind: str) -> None:
    table = ["file_name,label,start,end"]
    for path in recordings(talks):
        lines = [f"{start},{stop},{label}" for label, start, stop in STRETCHES]
        if kind == "csv":
            path.with_suffix(".csv").write_text("\n".join(["start,end,label", *lines]) + "\n")
        elif kind == "audacity":
            lines = [line.replace(",", "\t") + "\n\\\t100.0\t2000.0" for line in lines]
            path.with_suffix(".txt").write_text("\n".join(lines) + "\n")
        name = path.relative_to(talks).as_posix()
        table += [f"{name},{label},{start},{stop}" for label, start, stop in STRETCHES]
    if kind == "metadata":
        (talks / "metadata.csv").write_text("\n".join(table) + "\n")
    corpus = load_corpus(talks)
    assert [(clip.label, clip.start, clip.stop) for clip in corpus.clips] == STRETCHES * 3
    assert corpus.note.startswith("split by recording: 1 of 3 in test")
    wide = load_corpus(talks, margin=0.125)
    assert [(clip.start, clip.stop) for clip in wide.clips[:3]] == [(0.0, 0.225), (0.0, 0.375), (0.125, 0.425)]


def test_textgrids_and_their_tiers(talks: Path) -> None:
    praat = pytest.importorskip("parselmouth").praat
    for path in recordings(talks):
        grid = praat.call("Create TextGrid", 0.0, 0.3, "phones words clicks", "clicks")
        for i, (label, _, stop) in enumerate(STRETCHES, start=1):
            if stop < 0.3:
                praat.call(grid, "Insert boundary", 1, stop)
            praat.call(grid, "Set interval text", 1, i, label)
        praat.call(grid, "Insert boundary", 2, 0.2)
        praat.call(grid, "Set interval text", 2, 2, "word")
        praat.call(grid, "Insert point", 3, 0.15, "tick")
        praat.call(grid, "Insert point", 3, 0.01, "tock")
        praat.call(grid, "Save as short text file", str(path.with_suffix(".TextGrid")))
    with pytest.raises(ParameterError, match=r"name one tier as label. There are: 'phones', 'words', 'clicks'"):
        load_corpus(talks)
    corpus = load_corpus(talks, label="phones")
    assert [(clip.label, clip.start, clip.stop) for clip in corpus.clips] == STRETCHES * 3
    with pytest.raises(DataError, match="6 labels mark points in time and were left out; a margin"):
        load_corpus(talks, label="clicks")
    ticks = load_corpus(talks, label="clicks", margin=0.0625)
    assert [(clip.label, clip.start, clip.stop) for clip in ticks.clips[:2]] == [
        ("tock", 0.0, 0.0725), ("tick", 0.0875, 0.2125),
    ]  # fmt: skip
    with pytest.raises(DataError, match="one class only \\('word'\\)"):
        load_corpus(talks, label="words")
    (talks / "deep" / "c.TextGrid").unlink()
    with pytest.warns(CepscopeWarning, match=r"1 recordings without a \.TextGrid beside them were left out"):
        assert len(load_corpus(talks, layout="textgrid", label="phones").clips) == 6


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.wav,x,0.2,0.1", "line 2: a stretch starts at 0 s or later and ends after that. Received: 0.2 to 0.1"),
        ("a.wav,x,-1,0.1", "a stretch starts at 0 s or later"),
        ("a.wav,x,0,inf", "a stretch starts at 0 s or later"),
        ("a.wav,x,0.1,", "start and end must be seconds. Received: '0.1' and ''"),
        ("a.wav,x,soon,0.1", "must be seconds"),
        ("a.wav,x,0.1,0.2\na.wav,y,0.1,0.2", "a.wav listed more than once"),
    ],
)
def test_stretches_that_are_none(talks: Path, line: str, message: str) -> None:
    (talks / "metadata.csv").write_text(f"file_name,label,start,end\n{line}\n")
    with pytest.raises(DataError, match=message) as caught:
        load_corpus(talks)
    assert "\n" not in str(caught.value)


def test_any_column_can_be_the_label(talks: Path) -> None:
    lines = ["file_name,label,mood"] + [
        f"{p.relative_to(talks)},same,{m}" for p, m in zip(recordings(talks), "xxy", strict=True)
    ]
    (talks / "metadata.csv").write_text("\n".join([*lines, ""]))
    with pytest.raises(DataError, match="one clip only in class 'y'"):
        load_corpus(talks, label="mood")
    with pytest.raises(
        DataError, match=r"expected the columns file_name,sex. Missing: sex. Received: file_name, label, mood"
    ):
        load_corpus(talks, label="sex")


def test_a_layout_can_be_named(talks: Path) -> None:
    with pytest.raises(ParameterError, match=r"layout must be one of audiofolder, fsdd, .* Received: 'kaldi'"):
        load_corpus(talks, layout="kaldi")
    for layout in [name for name in LAYOUTS if name != "folders"]:
        with pytest.raises(DataError) as caught:
            load_corpus(talks, layout=layout)
        assert str(talks) in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(ParameterError, match="margin must be 0 or more"):
        load_corpus(talks, margin=-1.0)


def test_every_kind_of_recording_in_one_corpus(class_folder: Callable[..., Path], digits: Corpus) -> None:
    root = class_folder(clips=8)
    plain = extract(load_corpus(root), SPEC, frames=40)
    kinds = [("wav", 8000, 2), ("flac", 44100, 1), ("ogg", 22050, 2), ("mp3", 16000, 1), ("wav", 48000, 1)]
    import librosa

    for i, path in enumerate(sorted(root.rglob("*.flac"))):
        kind, rate, channels = kinds[i % len(kinds)]
        y, sr = sf.read(path)
        path.unlink()
        y = librosa.resample(y, orig_sr=sr, target_sr=rate)
        name = path.with_suffix(".tmp").with_suffix(f".{kind}")
        sf.write(name, np.stack([y, y], axis=1) if channels == 2 else y, rate)
    corpus = load_corpus(root)
    assert {clip.path.suffix for clip in corpus.clips} == {".wav", ".flac", ".ogg", ".mp3"}
    mixed = extract(corpus, SPEC, frames=40)
    assert not mixed.skipped
    # the same sounds, some through a lossy codec: far nearer to themselves than to one another
    order = [[Path(p).stem for p in mixed.train.paths].index(Path(p).stem) for p in plain.train.paths]
    difference = np.sqrt(np.mean((mixed.decode(mixed.train.x)[order] - plain.decode(plain.train.x)) ** 2, axis=(1, 2)))
    others = plain.decode(plain.train.x)
    apart = np.sqrt(np.mean((others[:, None] - others[None]) ** 2, axis=(2, 3)))[np.triu_indices(len(others), 1)]
    assert difference.max() < 0.5 * np.median(apart)
