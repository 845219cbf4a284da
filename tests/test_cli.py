from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from cepscope.audio import read_audio
from cepscope.cli.app import app
from cepscope.cli.examples import EXAMPLES
from cepscope.features import MfccSpec, mfcc
from cepscope.invert import relative_error

SMALL = [
    word
    for setting in (
        "features.sr=8000", "features.frames=48", "model.filters=[3, 4]", "train.pretrain_epochs=1",
        "train.epochs=2", "maximize.steps=4", "invert.method=fast",
    )
    for word in ("--set", setting)
]  # fmt: skip


@pytest.fixture
def recordings(words: Path, tmp_path: Path) -> Path:
    """Two digits by ten voices, by class, in the folder where the command works."""
    return Path(shutil.copytree(words, tmp_path / "words"))


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def test_every_command_has_examples_that_it_understands() -> None:
    group = typer.main.get_command(app)
    assert set(EXAMPLES) == set(group.commands)
    for name, lines in EXAMPLES.items():
        command = group.commands[name]
        assert all(line in command.epilog for line in lines)
        for line in lines:
            program, named, *words = shlex.split(line)
            assert (program, named) == ("cepscope", name)
            command.make_context(name, words)  # what it can't parse is an error


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    program = (
        "import sys\ntry:\n    from cepscope.cli import main; main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'librosa', 'matplotlib', 'sklearn', 'scipy', 'pydantic'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    seconds = []
    for _ in range(3):  # the best of three: other work on the machine only ever adds
        started = time.perf_counter()
        done = python("-c", program)
        seconds.append(time.perf_counter() - started)
    assert done.stdout.splitlines()[-1] == "HEAVY []"
    assert min(seconds) < 1
    for command in ("run", "extract", "train", "maximize", "invert", "probe", "report"):
        assert command in done.stdout


def test_a_clip_that_cannot_be_used_is_named_once(cepscope: Any, recordings: Path) -> None:
    (recordings / "one" / "broken.wav").write_text("this is text")
    assert cepscope("extract", "words", *SMALL) == 0, cepscope.err
    lines = cepscope.err.splitlines()
    assert [line for line in lines if "warning" in line] == [
        line for line in lines if line.startswith("cepscope: warning: skipped one/broken.wav: ")
    ]
    assert sum("broken.wav" in line for line in lines) == 1
    assert cepscope("run", "words", *SMALL, "--strict", "--quiet") == 1
    assert "broken.wav" in cepscope.err
    assert len(cepscope.err.splitlines()) == 1


def test_the_version(cepscope: Any) -> None:
    import cepscope as package

    assert cepscope("--version") == 0
    assert cepscope.out == f"cepscope {package.__version__}\n"


def _silent_class(folder: Path) -> None:
    import soundfile

    for path in (folder / "two").iterdir():
        path.unlink()
    for i in range(3):
        soundfile.write(folder / "two" / f"{i}.wav", np.full(8000, np.nan, np.float32), 8000, "FLOAT")


def _short_class(folder: Path) -> None:
    import soundfile

    for path in (folder / "two").iterdir():
        path.unlink()
    for i in range(3):
        soundfile.write(folder / "two" / f"{i}.wav", np.full(160, 0.1, np.float32), 8000)  # 0.02 s


def _text_class(folder: Path) -> None:
    for path in (folder / "two").iterdir():
        path.unlink()
    for i in range(3):
        (folder / "two" / f"{i}.wav").write_text("not a sound")


def _single(folder: Path) -> None:
    for path in sorted((folder / "two").iterdir())[1:]:
        path.unlink()


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_empty, "holds no recordings"),
        (_single, "one clip only in class 'two'"),
        (_text_class, "not a readable sound file"),
        (_silent_class, "NaN"),
        (_short_class, "0.020 s long, expected at least 0.05 s"),
        (shutil.rmtree, "does not exist"),
    ],
)
def test_a_bad_corpus_is_one_clear_line(
    spoil: object, message: str, cepscope: Any, recordings: Path, tmp_path: Path
) -> None:
    spoil(recordings)  # type: ignore[operator]
    assert cepscope("run", "words", "--quiet") == 1
    errors = [line for line in cepscope.err.splitlines() if "warning: skipped" not in line]
    assert len(errors) == 1
    assert errors[0].startswith("cepscope: error: ")
    assert message in cepscope.err
    assert cepscope.out == ""
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "words", "--set", "train.epoch=3"], 2, "nearest: train.epochs"),
        (["run", "words", "--set", "train.epochs=-1"], 2, "train.epochs must be"),
        (["run", "words", "--set", "features.n_fft=16"], 2, "n_fft"),
        (["run", "words", "--out", "file/run"], 1, "can't be written"),
        (["run", "words", "--out", "file"], 1, "can't be written"),
        (["run", "words", "--out", "words"], 2, "holds one and no run"),
        (["run", "words/one", "--config", "none.toml"], 1, "can't read the settings"),
        (["train", "nowhere"], 1, "no run in nowhere"),
        (["extract", "words", "words"], 2, "one corpus or some sound files"),
        (["extract", "none.wav"], 1, "none.wav does not exist"),
        (["invert", "file"], 1, "no run in file"),
    ],
)
def test_bad_usage_is_one_clear_line(
    arguments: list[str], code: int, message: str, cepscope: Any, recordings: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    before = sorted(tmp_path.rglob("*"))
    assert cepscope(*arguments) == code, cepscope.err
    assert len(cepscope.err.splitlines()) == 1
    assert cepscope.err.startswith("cepscope: error: ")
    assert message in cepscope.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("arguments", [["run", "--nope"], ["sing"], ["run", "--seed", "x"], []])
def test_what_typer_refuses_exits_2(arguments: list[str], cepscope: Any) -> None:
    assert cepscope(*arguments) == 2
    assert "Traceback" not in cepscope.err + cepscope.out


def test_sound_to_mfcc_and_back(cepscope: Any, recordings: Path, tmp_path: Path) -> None:
    clip = sorted((recordings / "one").iterdir())[0]
    assert cepscope("extract", clip, "--out", "one.npz", "--set", "features.sr=8000") == 0, cepscope.err
    assert cepscope.out == "one.npz\n"
    with np.load("one.npz", allow_pickle=False) as data:
        spec = MfccSpec.from_dict(json.loads(str(data["spec"])))
        target = data[clip.stem]
    assert np.array_equal(target, mfcc(read_audio(clip, sr=8000)[0], spec))

    assert cepscope("invert", "one.npz", "--seed", 3) == 0, cepscope.err
    assert cepscope.out == "one.wav\n"
    sound, sr = read_audio("one.wav")
    assert sr == 8000
    found = mfcc(sound, spec)
    gain = np.zeros_like(target)
    gain[0] = np.mean(target[0] - found[0])  # a wav is at full scale: its level is not the recording's
    assert relative_error(found + gain, target) < 0.35  # frames at the floor do not follow a gain

    first = Path("one.wav").read_bytes()
    assert cepscope("invert", "one.npz") == 2  # it does not write over what it was not told to
    assert "one.wav exists" in cepscope.err
    assert cepscope("invert", "one.npz", "--seed", 3, "--out", "b.wav") == 0
    assert Path("b.wav").read_bytes() == first


def test_an_array_needs_its_front_end(cepscope: Any) -> None:
    np.save("a.npy", np.zeros((20, 12)))
    assert cepscope("invert", "a.npy") == 2
    assert "--sr" in cepscope.err
    assert cepscope("invert", "a.npy", "--sr", 8000) == 0, cepscope.err
    with wave.open("a.wav") as file:
        assert file.getframerate() == 8000
    Path("b.npz").write_bytes(b"PK\x03\x04 and no more")
    assert cepscope("invert", "b.npz", "--sr", 8000) == 1
    assert "Traceback" not in cepscope.err


def test_an_interrupted_run_exits_130_and_goes_on(recordings: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "cepscope", "run", "words", *SMALL, "--out", "run"],
        cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    record = tmp_path / "run" / "run.json"
    for _ in range(600):
        if record.is_file() and json.loads(record.read_text())["stages"]:  # TensorFlow is loading next
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert "interrupted" in err.splitlines()[-1]
    assert list(json.loads(record.read_text())["stages"]) == ["extract"]
    assert not (tmp_path / "run" / ".lock").exists()
    assert not list((tmp_path / "run").rglob(".part-*"))
