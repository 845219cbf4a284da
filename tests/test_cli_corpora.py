"""The commands that get corpora and look at them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from cepscope.corpora.known import KNOWN


@pytest.fixture
def digits(project_root: Path, tmp_path: Path) -> Path:
    """Two digits by ten voices as FSDD names them, the first voice quieter than the others."""
    folder = tmp_path / "digits" / "recordings"
    folder.mkdir(parents=True)
    for digit, word in enumerate(("zero", "one")):
        clips = sorted((project_root / "data" / "spoken-digits" / "audio").glob(f"{word}_*_0.flac"))[:10]
        for i, clip in enumerate(clips):
            y, sr = sf.read(clip)
            speaker = "ab"[i % 2]
            sf.write(folder / f"{digit}_{speaker}_{i}.wav", 0.05 * y if speaker == "a" else y, sr, subtype="PCM_24")
    return tmp_path / "digits"


def test_a_corpus_described_for_people(cepscope: Any, digits: Path) -> None:
    assert cepscope("describe", "digits") == 0, cepscope.err
    lines = cepscope.out.splitlines()
    assert lines[0].startswith("digits: 20 clips of 2 classes, 2 speakers, ")
    assert "official split: takes 0 to 4 in test" in lines[0]
    assert "  train     10 clips of 2 classes by 2 speakers" in lines
    assert "  rate      16000 Hz (20)" in lines
    assert any(line.startswith("look at: 2 of 2 speakers are in train and in test: a, b") for line in lines)
    assert any(line.startswith("look at: speakers differ ") and "x in level: b " in line for line in lines)
    assert any(line.startswith("  level and DC tell the speaker: ") for line in lines)
    assert cepscope.err == ""


def test_a_corpus_described_for_programs_and_as_a_picture(cepscope: Any, digits: Path) -> None:
    options = ("--json", "--out", "look", "--split", "speaker:a", "--quiet")
    assert cepscope("describe", "digits", *options) == 0, cepscope.err
    found = json.loads(cepscope.out)
    assert found["note"] == "speaker a held out, 1 of 2"
    assert found["splits"]["test"]["speakers"] == 1
    assert found["speakers_in_both_splits"] == []
    assert found["level_and_offset_tell"]["speaker"]["tells"] is True
    assert json.loads(Path("look/description.json").read_text()) == found
    assert Path("look/corpus.png").read_bytes().startswith(b"\x89PNG")
    assert len(Path("look/clips.csv").read_text().splitlines()) == 21
    assert sorted(path.name for path in Path("look").iterdir()) == ["clips.csv", "corpus.png", "description.json"]
    assert cepscope.err == ""


def test_labels_layouts_and_margins(cepscope: Any, digits: Path, tmp_path: Path) -> None:
    assert cepscope("describe", "digits", "--label", "speaker", "--json") == 0, cepscope.err
    found = json.loads(cepscope.out)
    assert list(found["classes"]) == ["a", "b"]
    assert found["level_and_offset_tell"]["speaker"] is None  # it is the label
    (tmp_path / "talk").mkdir()
    sf.write(tmp_path / "talk" / "a.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 8000), 8000)
    (tmp_path / "talk" / "a.txt").write_text("".join(f"{i / 10}\t{i / 10}\t{'xy'[i % 2]}\n" for i in range(1, 9)))
    assert cepscope("describe", "talk") == 1
    assert "8 labels mark points in time" in cepscope.err
    assert cepscope("describe", "talk", "--margin", "0.05", "--json") == 0, cepscope.err
    assert json.loads(cepscope.out)["seconds"]["median"] == pytest.approx(0.1, abs=1 / 8000)
    assert cepscope("describe", "talk", "--layout", "folders") == 1
    assert "without labels" in cepscope.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["describe", "nowhere"], 1, "nowhere (does not exist)"),
        (["describe", "fsdd"], 1, "get it with `cepscope fetch fsdd`"),
        (["describe", "digits", "--layout", "kaldi"], 2, "layout must be one of audiofolder"),
        (["describe", "digits", "--split", "half"], 2, "split must be given, random, speakers or speaker:NAME"),
        (["describe", "digits", "--out", "digits/recordings/0_a_0.wav/x"], 1, "can't write"),
        (["fetch", "speech-commands", "--to", "digits"], 2, "holds something else than 'speech-commands'"),
    ],
)
def test_mistakes_are_one_clear_line(
    arguments: list[str], code: int, message: str, cepscope: Any, digits: Path
) -> None:
    assert cepscope(*arguments, "--quiet") == code, cepscope.err
    assert len(cepscope.err.splitlines()) == 1
    assert cepscope.err.startswith("cepscope: error: ")
    assert message in cepscope.err
    assert cepscope.out == ""


def test_a_corpus_that_is_there_is_not_downloaded(cepscope: Any, digits: Path) -> None:
    assert cepscope("fetch", "fsdd", "--to", "digits/recordings/deep/../..") == 0, cepscope.err
    assert cepscope.out == f"{digits}\n"


@pytest.mark.parametrize("arguments", [["fetch", "timit"], ["fetch"], ["describe", "--margin", "x"]])
def test_what_typer_refuses_exits_2(arguments: list[str], cepscope: Any) -> None:
    assert cepscope(*arguments) == 2
    assert "Traceback" not in cepscope.err + cepscope.out


def test_an_archive_put_there_by_hand_is_refused_unless_it_is_the_right_one(cepscope: Any, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    words, digits = (data / KNOWN[name].file for name in ("speech-commands", "fsdd"))
    shutil.make_archive(str(tmp_path / "other"), "gztar", data)
    shutil.move(tmp_path / "other.tar.gz", words)
    assert cepscope("fetch", "speech-commands") == 1
    assert "expected af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58; remove it" in cepscope.err
    words.rename(digits)
    assert cepscope("fetch", "fsdd") == 1
    assert "are not those expected" in cepscope.err
    assert list(data.iterdir()) == [digits]  # it is the person's, so it stays


def test_describing_loads_no_tensorflow(digits: Path) -> None:
    program = (
        "import sys\nfrom cepscope.cli import main\n"
        "try:\n    main(['describe', sys.argv[1]])\nexcept SystemExit: pass\n"
        "print('HEAVY', sorted({'tensorflow', 'keras', 'matplotlib', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(digits)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"
