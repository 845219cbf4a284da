"""`cepscope invert` of sound files, folders, arrays and runs: what it writes, says and refuses."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from cepscope.audio import condition, loudness, read_audio, write_wav
from cepscope.cli import inverting
from cepscope.config import load_config, to_toml
from cepscope.features import CoefficientScaler, MfccSpec, mfcc
from cepscope.invert import METHODS, best_gain_db, relative_error
from cepscope.maximize.patterns import Patterns
from cepscope.pipeline.ledger import Ledger
from cepscope.pipeline.run import STAGES, _inputs, _own, _plain

TOLD = ["relative_error", "normalised_error", "gain", "peak", "loudness_lufs", "stoi", "pesq", "spectral_convergence"]
LU = 0.1  # 16 bits, and the steps of the meter's gates


@pytest.fixture(scope="module")
def clips(project_root: Path) -> list[Path]:
    """Three voices that say a digit."""
    return sorted((project_root / "data" / "spoken-digits" / "audio").glob("nine_*_0.flac"))[:45:15]


@pytest.fixture
def loose(clips: list[Path], tmp_path: Path) -> Path:
    """A folder of three recordings, of two rates."""
    folder = tmp_path / "loose"
    folder.mkdir()
    for name, clip, sr in zip("abc", clips, (8000, 8000, 11025), strict=True):
        soundfile.write(folder / f"{name}.flac", read_audio(clip, sr=sr)[0] * 0.2, sr)
    return folder


def error_of(wav: Path, recording: Path, spec: MfccSpec) -> float:
    """Relative error of a wav's MFCC against those of a recording at full scale, at the best gain."""
    target = mfcc(condition(read_audio(recording, sr=spec.sr)[0]), spec)
    y = read_audio(wav)[0]
    return relative_error(mfcc(y * np.float32(10 ** (best_gain_db(y, target, spec) / 20)), spec), target)


def test_a_recording_to_mfcc_and_back(cepscope: Any, loose: Path) -> None:
    before = {path: path.read_bytes() for path in loose.iterdir()}
    assert cepscope("invert", "loose/c.flac", "--seed", 3) == 0, cepscope.err
    assert cepscope.out == "loose/c.inverted.wav\n"
    sound, sr = read_audio("loose/c.inverted.wav")
    assert sr == 11025  # the recording's own
    spec = MfccSpec(sr=sr, floor=1e-5)
    recording = read_audio("loose/c.flac")[0]
    assert len(sound) == len(recording) // spec.hop * spec.hop
    error = error_of(Path("loose/c.inverted.wav"), loose / "c.flac", spec)
    assert error < 0.15
    said = float(re.search(r"Relative error of its MFCC: (\S+)", cepscope.err)[1])
    assert said == pytest.approx(error, abs=0.01)  # the wav has 16 bits
    assert {path: path.read_bytes() for path in before} == before

    assert cepscope("invert", "loose/c.flac") == 2
    assert "c.inverted.wav exists" in cepscope.err
    assert cepscope("invert", "loose/c.flac", "--seed", 3, "--out", "x/y.wav", "-q") == 0
    assert (cepscope.out, cepscope.err) == ("x/y.wav\n", "")
    assert Path("x/y.wav").read_bytes() == Path("loose/c.inverted.wav").read_bytes()


@pytest.mark.slow
def test_two_processes_make_the_same_sounds(cepscope: Any, loose: Path) -> None:
    assert cepscope("invert", "loose", "--method", "fast", "--out", "one") == 0, cepscope.err
    assert cepscope("invert", "loose", "--method", "fast", "--out", "two", "--workers", 2) == 0, cepscope.err
    assert cepscope.lines == [f"two/{name}.inverted.wav" for name in "abc"]
    for name in "abc":
        assert Path(f"two/{name}.inverted.wav").read_bytes() == Path(f"one/{name}.inverted.wav").read_bytes()
    for flag, value in (("--cluster", "dask:2"), ("--shard", "1/2")):
        assert cepscope("invert", "loose", flag, value) == 2
        assert f"{flag} is for runs. Received: loose" in cepscope.err


def test_the_front_end_is_what_was_said(cepscope: Any, loose: Path) -> None:
    Path("ends.toml").write_text("[features]\nn_mfcc = 13\nsr = 6000\n")
    assert cepscope("invert", "loose/c.flac", "--spec", "ends.toml", "--set", "features.n_mels=30") == 0, cepscope.err
    spec = MfccSpec(sr=6000, n_mfcc=13, n_mels=30, floor=1e-5)
    assert read_audio("loose/c.inverted.wav")[1] == 6000
    assert error_of(Path("loose/c.inverted.wav"), loose / "c.flac", spec) < 0.15
    assert cepscope("invert", "loose/c.flac", "--spec", "ends.toml", "--sr", 7000, "--out", "b.wav") == 0
    assert read_audio("b.wav")[1] == 7000


def test_a_folder_of_recordings(cepscope: Any, loose: Path) -> None:
    shutil.copy(loose / "a.flac", loose / "b.wav")  # as its bytes say, FLAC
    (loose / "d.wav").write_text("not a sound")
    (loose / "notes.txt").write_text("nor this")
    (loose / ".hidden.wav").write_bytes((loose / "a.flac").read_bytes())
    expected = ["loose/a.inverted.wav", "loose/b.flac.inverted.wav", "loose/b.wav.inverted.wav", "loose/c.inverted.wav"]
    assert cepscope("invert", "loose", "--strict") == 1
    assert "d.wav is not a readable sound file" in cepscope.err
    assert not list(loose.glob("*inverted*"))
    assert cepscope("invert", "loose") == 0, cepscope.err
    assert cepscope.lines == expected
    warning, summary = cepscope.err.splitlines()
    assert warning.startswith("cepscope: warning: skipped d.wav: ")
    assert re.match(r"Relative error of their MFCC: median 0\.\d+, largest 0\.\d+", summary)
    assert [read_audio(path)[1] for path in expected] == [8000, 8000, 8000, 11025]
    assert Path(expected[0]).read_bytes() == Path(expected[2]).read_bytes()  # it does not matter which others there are

    assert cepscope("invert", "loose", "--out", "there") == 0, cepscope.err
    assert cepscope.lines == [path.replace("loose", "there") for path in expected]  # what was inverted is no recording
    assert Path(cepscope.lines[3]).read_bytes() == Path(expected[3]).read_bytes()
    assert cepscope("invert", "loose", "--out", "one.wav") == 2
    assert "--out must be a folder" in cepscope.err


def test_loudness_and_json(cepscope: Any, loose: Path) -> None:
    assert cepscope("invert", "loose", "--json", "--loudness", -30, "--out", "there") == 0, cepscope.err
    rows = [json.loads(line) for line in cepscope.lines]
    assert [row["source"] for row in rows] == [f"loose/{name}.flac" for name in "abc"]
    for row in rows:
        assert list(row) == ["source", "name", "file", "method", *TOLD]
        y, sr = read_audio(row["file"])
        assert loudness(y, sr) == pytest.approx(-30, abs=LU)
        assert row["loudness_lufs"] == pytest.approx(-30, abs=LU)
        assert row["peak"] == pytest.approx(np.abs(y).max(), abs=1e-4)
        assert row["method"] == METHODS[0]
        target = mfcc(condition(read_audio(row["source"])[0]), spec := MfccSpec(sr=sr, floor=1e-5))
        found = mfcc(y / np.float32(row["gain"]), spec)
        assert relative_error(found, target) == pytest.approx(row["relative_error"], abs=0.01)
        assert 0 < row["spectral_convergence"] < 1
    pytest.importorskip("pystoi", reason="intelligibility needs pystoi")
    assert 0.3 < max(row["stoi"] or 0 for row in rows) <= 1
    assert cepscope("invert", "loose/a.flac", "--loudness", -1, "--out", "loud.wav") == 0  # its peaks forbid it
    assert "warning: a.flac has -" in cepscope.err
    assert np.abs(read_audio("loud.wav")[0]).max() == pytest.approx(0.89, abs=1e-3)


def test_arrays_tell_the_same_and_have_no_recording(cepscope: Any, loose: Path) -> None:
    assert cepscope("extract", loose / "a.flac", loose / "b.flac", "--out", "two.npz") == 0
    assert cepscope("invert", "two.npz", "--json", "--loudness", -26) == 0, cepscope.err
    rows = [json.loads(line) for line in cepscope.lines]
    assert [(row["name"], row["file"]) for row in rows] == [("a", "two/a.wav"), ("b", "two/b.wav")]
    for row in rows:
        assert list(row) == ["source", "name", "file", "method", *TOLD]
        assert [row[name] for name in ("stoi", "pesq", "spectral_convergence")] == [None] * 3
        assert loudness(*read_audio(row["file"])) == pytest.approx(-26, abs=LU)
    before = Path("two/a.wav").read_bytes()
    assert cepscope("invert", "two.npz", "--seed", 1) == 2  # nothing is written over that was not named
    assert "two/a.wav exists" in cepscope.err
    assert Path("two/a.wav").read_bytes() == before
    np.savez("bad.npz", good=np.zeros((20, 9)), bad=np.zeros((19, 9)))
    assert cepscope("invert", "bad.npz", "--sr", 8000) == 2
    assert "(..., 20, frames), none empty. Received: bad of bad.npz, (19, 9)" in cepscope.err
    assert not Path("bad").exists()


def test_two_arrays_of_one_name_do_not_meet(cepscope: Any) -> None:
    rng = np.random.default_rng(0)
    np.savez("two.npz", **{"a/b": rng.normal(size=(20, 9)), "a-b": np.zeros((20, 9)), "c": np.zeros((2, 20, 9))})
    assert cepscope("invert", "two.npz", "--sr", 8000, "--out", "there") == 0, cepscope.err
    assert cepscope.lines == [f"there/{name}.wav" for name in ("a-b", "a-b-2", "c-0", "c-1")]
    assert read_audio("there/a-b.wav")[0].any()


def test_a_page_of_all_methods(cepscope: Any, loose: Path) -> None:
    assert cepscope("invert", "loose/a.flac") == 0, cepscope.err
    alone = Path("loose/a.inverted.wav").read_bytes()
    assert cepscope("invert", "loose", "--compare", "--out", "there") == 0, cepscope.err
    assert cepscope.lines == [*(f"there/{name}.inverted.wav" for name in "abc"), "there/comparison.html"]
    assert Path("there/a.inverted.wav").read_bytes() == alone
    text = Path("there/comparison.html").read_text("utf-8")
    named = re.findall(r'<audio [^>]*aria-label="([^"]+)"', text)
    assert named == [f"{name}.flac, {method}" for name in "abc" for method in ("original", *METHODS)]
    assert "<title>loose, from MFCC to sound</title>" in text

    assert cepscope("extract", loose / "a.flac", "--out", "a.npz") == 0
    assert cepscope("invert", "a.npz", "--compare", "--json", "--method", METHODS[-1]) == 0, cepscope.err
    sound, page = map(json.loads, cepscope.lines)
    assert (sound["method"], page) == (METHODS[-1], {"comparison": "a.html"})
    assert Path("a.html").read_text("utf-8").count("<audio") == len(METHODS)


def test_too_many_for_a_page_is_known_before_any_work(cepscope: Any) -> None:
    np.save("many.npy", np.zeros((31, 20, 9)))
    assert cepscope("invert", "many.npy", "--sr", 8000, "--compare") == 2
    assert "1 to 30 recordings or patterns. Received: 31" in cepscope.err
    assert sorted(path.name for path in Path().iterdir()) == ["many.npy"]


def test_how_long_it_takes_is_said_of_long_sounds(cepscope: Any, loose: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert inverting.LONG > 10  # of a few words nothing is said
    monkeypatch.setattr(inverting, "LONG", 0.2)
    seconds = len(read_audio("loose/a.flac")[0]) / 8000
    assert cepscope("invert", "loose/a.flac") == 0, cepscope.err
    line = cepscope.err.splitlines()[0]
    said = re.fullmatch(r"The inversion of (\S+) s of sound takes about (\S+) s\.", line)
    assert float(said[1]) == pytest.approx(seconds, abs=0.06)
    assert 0 <= float(said[2]) < 60
    assert cepscope("invert", "loose/a.flac", "--out", "b.wav", "-q") == 0
    assert cepscope.err == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.wav"], 1, "none.wav does not exist"),
        (["none"], 1, "no run in none"),
        (["none.npz"], 1, "can't be read as arrays"),
        (["empty"], 1, "no run in empty (it has no run.toml), and no sounds (.wav .flac .ogg .mp3)."),
        (["classes"], 1, "they lie in its subfolders (loose, more): name one of them"),
        (["done"], 1, "were inverted already"),
        (["notes.txt"], 1, "not a readable sound file"),
        (["broken"], 1, "None of the 1 sounds in broken can be read"),
        (["one.wav", "--out", "one.wav"], 2, "one.wav is a recording that is to be inverted"),
        (["one.wav", "--out", "./empty/../one.wav"], 2, "is a recording that is to be inverted"),
        (["one.wav", "--out", "two.flac"], 2, "--out must end in .wav, or be a folder"),
        (["one.wav", "--out", "in-the-way"], 1, "in-the-way is a file"),
        (["one.wav", "--method", "sing"], 2, f"invert.method must be '{METHODS[0]}'"),
        (["one.wav", "--loudness", "nan"], 2, "lufs must be a finite number"),
        (["one.wav", "--loudness", "-23", "--sr", "3000"], 2, "loudness needs a rate of at least 4000 Hz"),
        (["one.wav", "--sr", "-1"], 2, "features.sr must be"),
        (["one.wav", "--set", "features.n_fft=16"], 2, "n_fft"),
        (["one.wav", "--pitch", "90", "--pitch-from", "original"], 2, "two pitches"),
        (["a.npy", "--sr", "8000", "--pitch-from", "original"], 2, "no recording in a.npy"),
    ],
)  # fmt: skip
def test_bad_usage_is_one_clear_line(
    arguments: list[str], code: int, message: str, cepscope: Any, loose: Path, tmp_path: Path
) -> None:
    for name in ("empty", "broken", "done"):
        (tmp_path / name).mkdir()
    shutil.copytree(loose, tmp_path / "classes" / "loose")
    shutil.copytree(loose, tmp_path / "classes" / "more")
    for name in ("notes.txt", "in-the-way", "broken/x.wav"):
        (tmp_path / name).write_text("not a sound")
    write_wav("one.wav", read_audio(loose / "a.flac")[0], 8000)
    shutil.copy("one.wav", "done/x.inverted.wav")
    np.save("a.npy", np.zeros((20, 9)))
    before = {path: path.is_file() and path.read_bytes() for path in sorted(tmp_path.rglob("*"))}
    assert cepscope("invert", *arguments) == code, cepscope.err
    errors = [line for line in cepscope.err.splitlines() if "warning: skipped" not in line]
    assert len(errors) == 1
    assert errors[0].startswith("cepscope: error: ")
    assert message in errors[0]
    assert cepscope.out == ""
    assert {path: path.is_file() and path.read_bytes() for path in sorted(tmp_path.rglob("*"))} == before


def test_nothing_is_written_into_a_corpus_unless_named(cepscope: Any, loose: Path, tmp_path: Path) -> None:
    for word in ("yes", "no"):
        shutil.copytree(loose, tmp_path / "words" / word)
    (tmp_path / "listed" / "audio").mkdir(parents=True)
    shutil.copy(loose / "a.flac", "listed/audio")
    Path("listed/metadata.csv").write_text("file_name,label\naudio/a.flac,nine\n")
    Path("run/audio").mkdir(parents=True)
    Path("run/run.toml").touch()
    shutil.copy(loose / "a.flac", "run/audio")
    before = sorted(tmp_path.rglob("*"))
    for source, owner in (
        ("words/yes", "the corpus"), ("words/yes/a.flac", "the corpus"), ("listed/audio", "the corpus"),
        ("listed/audio/a.flac", "metadata.csv"), ("run/audio/a.flac", "the run"),
    ):  # fmt: skip
        assert cepscope("invert", source) == 2
        assert owner in cepscope.err
        assert "Name where the sounds go with --out" in cepscope.err
    assert sorted(tmp_path.rglob("*")) == before
    assert cepscope("invert", "words/yes/a.flac", "--out", "words/yes/b.wav") == 0, cepscope.err
    assert Path("words/yes/b.wav").is_file()


def test_the_voice_follows_the_originals_pitch(cepscope: Any, loose: Path) -> None:
    pitch = pytest.importorskip("cepscope.invert.pitch", reason="needs the tracker of pitch")
    spec = MfccSpec(sr=8000, floor=1e-5)

    def heard(path: str) -> np.ndarray:
        return np.asarray(pitch.track_pitch(condition(read_audio(path)[0]), spec))

    source = heard("loose/a.flac")
    assert cepscope("invert", "loose/a.flac", "--pitch-from", "original") == 0, cepscope.err
    found = heard("loose/a.inverted.wav")
    both = (source[: len(found)] > 0) & (found > 0)
    assert both.sum() > 5
    cents = 1200 * np.abs(np.log2(found[both] / source[: len(found)][both]))
    assert np.median(cents) < 50  # half a semitone


@pytest.fixture
def searched(loose: Path, tmp_path: Path) -> Path:
    """A run whose patterns were found: MFCC of real clips, three units."""
    folder = tmp_path / "run"
    spec = MfccSpec(sr=8000, floor=1e-5)
    C = np.stack([mfcc(condition(read_audio(loose / f"{n}.flac", sr=8000)[0]), spec)[:, :30] for n in "abc"])
    patterns = folder / "patterns" / "patterns.npz"
    Patterns(
        units=("crbm1:0", "crbm1:1", "logits:0"), x=C[..., None], mfcc=C, spec=spec,
        activation=np.ones(3, np.float32), history=np.ones((1, 3), np.float32),
    ).save(patterns)  # fmt: skip
    config = load_config(overrides=["features.sr=8000"], environment={})
    (folder / "run.toml").write_text(to_toml(config))
    scaler = folder / "features" / "scaler.npz"
    CoefficientScaler.fit(C).save(scaler)
    for name, made in (("extract", scaler), ("maximize", patterns)):
        stage = next(stage for stage in STAGES if stage.name == name)
        settings = _own(stage, _plain(config.model_dump(mode="json")))
        inputs = _inputs(Ledger(folder), stage)
        Ledger(folder).finish(name, "key", [made], seconds=1.0, settings=settings, inputs=inputs, seed=0)
    return folder


def test_a_run_tells_scores_and_has_a_page(cepscope: Any, searched: Path) -> None:
    assert cepscope("invert", "run") == 0, cepscope.err
    assert cepscope.out == "run/audio\n"
    assert cepscope("invert", "run", "--json", "--compare", "--method", METHODS[-1]) == 0, cepscope.err
    *rows, page = map(json.loads, cepscope.lines)
    assert [row["name"] for row in rows] == ["crbm1:0", "crbm1:1", "logits:0"]
    assert [row["file"] for row in rows] == [f"run/audio/{n}.wav" for n in ("crbm1-0", "crbm1-1", "logits-0")]
    spec, wanted = MfccSpec(sr=8000, floor=1e-5), Patterns.load(searched / "patterns" / "patterns.npz").mfcc
    for row, target in zip(rows, wanted, strict=True):
        assert list(row) == ["source", "name", "file", "method", *TOLD]
        found = mfcc(read_audio(row["file"])[0] / np.float32(row["gain"]), spec)
        assert relative_error(found, target) == pytest.approx(row["relative_error"], abs=0.01)
        assert (row["method"], row["stoi"]) == (METHODS[-1], None)
    assert page == {"comparison": "run/audio/comparison.html"}
    text = Path(page["comparison"]).read_text("utf-8")
    names = re.findall(r'<audio [^>]*aria-label="([^"]+)"', text)
    assert names == [f"{row['name']}, {method}" for row in rows for method in METHODS]
    assert cepscope("invert", "run", "--method", METHODS[-1]) == 0
    assert "unchanged, skipped" in cepscope.err  # the page is no part of the stage


def test_a_recording_of_the_same_name_stays(cepscope: Any, loose: Path, tmp_path: Path) -> None:
    """The sounds of arrays are named like the recordings they come from, and a folder was all that was named."""
    before = (loose / "a.wav").write_bytes((loose / "a.flac").read_bytes())
    C = np.zeros((20, 30), np.float32)
    np.savez(tmp_path / "two.npz", a=C, b=C)
    assert cepscope("invert", str(tmp_path / "two.npz"), "--sr", "8000", "--out", str(loose)) == 2
    assert "a.wav exists" in cepscope.err
    assert (loose / "a.wav").stat().st_size == before
    assert not (loose / "b.wav").exists()


@pytest.mark.parametrize("fill", ["hold", "loop", "tile"])
def test_short_patterns_are_lengthened(fill: str, cepscope: Any, loose: Path, tmp_path: Path) -> None:
    C = mfcc(condition(read_audio(loose / "a.flac", sr=8000)[0]), MfccSpec(sr=8000, floor=1e-5))[:, 5:25]
    np.save(tmp_path / "short.npy", C)
    more = ["--sr", "8000", "--set", "features.floor=1e-5", "--method", "fast", "--length", "1.5", "--fill", fill]
    assert cepscope("invert", str(tmp_path / "short.npy"), "--out", str(tmp_path / "x.wav"), *more) == 0, cepscope.err
    assert read_audio(tmp_path / "x.wav")[0].size == 12000
    assert cepscope("invert", str(loose / "a.flac"), "--length", "2") == 2
    assert "--length is for MFCC" in cepscope.err


@pytest.mark.parametrize(
    "option", [("--out", "x"), ("--loudness", "-23"), ("--pitch-from", "original"), ("--sr", "8000"), ("--spec", "x")]
)
def test_what_is_not_for_runs(option: tuple[str, str], cepscope: Any, searched: Path) -> None:
    assert cepscope("invert", "run", *option) == 2
    assert f"{option[0]}" in cepscope.err
    assert "not for runs" in cepscope.err
    assert not (searched / "audio").exists()


def test_real_recordings(cepscope: Any, shared_dir: Path) -> None:
    """Two digits that people said, from a corpus whose folder stays as it is."""
    folder = shared_dir / "corpora" / "fsdd" / "audio"
    for name in ("3_jackson_5", "7_nicolas_2"):
        assert cepscope("invert", folder / f"{name}.flac", "--out", f"{name}.wav", "--json") == 0, cepscope.err
        (row,) = map(json.loads, cepscope.lines)
        assert row["relative_error"] < 0.1
        assert row["stoi"] is None or row["stoi"] > 0.6
    assert not list(folder.glob("*inverted*"))
    assert cepscope("invert", folder / "3_jackson_5.flac") == 2
