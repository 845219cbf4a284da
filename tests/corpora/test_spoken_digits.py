"""The built-in corpus itself: its sounds, its size, its licence note."""

from __future__ import annotations

import csv
import hashlib
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from cepscope.corpora import Corpus, Patches, extract
from cepscope.features import MfccSpec


def test_sounds(digits: Corpus) -> None:
    seen = set()
    for clip in digits.clips:
        info = sf.info(clip.path)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        audio, _ = sf.read(clip.path)
        seen.add(hashlib.sha256(audio.tobytes()).hexdigest())
        assert 0.2 < len(audio) / 16000 < 1.5
        assert 0.2 < np.abs(audio).max() <= 0.26
        # 30 of the 50 ms at both ends are silence next to the word
        edges = np.concatenate([audio[:480], audio[-480:]])
        assert np.sqrt(np.mean(edges**2)) < 0.02 * np.abs(audio).max()
    assert len(seen) == len(digits.clips)


def test_folder(digits: Corpus) -> None:
    files = [path for path in digits.root.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 8_000_000
    with (digits.root / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file_name", "label", "speaker", "engine", "split"]
    for side in ("train", "test"):
        assert {row["engine"] for row in rows if row["split"] == side} == {"espeak-ng", "flite"}
    assert {row["file_name"] for row in rows} == {digits.relative(clip) for clip in digits.clips}
    assert len(list((digits.root / "audio").iterdir())) == len(rows)
    text = (digits.root / "README.md").read_text()
    prose = " ".join(text.split())
    assert "synthetic" in prose
    assert "GNU General Public License" in prose
    assert "Carnegie Mellon" in (digits.root / "LICENSE.txt").read_text()
    voices = [line.split("|") for line in text.splitlines() if line.endswith(("| train |", "| test |"))]
    for side in ("train", "test"):
        assert {v[4].strip() for v in voices if v[5].strip() == side} == {"female-like", "male-like"}


def nearest(patches: Patches) -> float:
    """Return the share of test patches whose nearest train patch has their label."""
    train, test = (side.x.reshape(len(side), -1) for side in (patches.train, patches.test))
    distance = (train**2).sum(1) - 2 * test @ train.T
    return float(np.mean(patches.train.y[distance.argmin(axis=1)] == patches.test.y))


def test_voices_of_test_are_understood_from_train(digits: Corpus) -> None:
    # one nearest neighbour on raw patches reaches .86; unintelligible clips would bring it towards .1
    assert nearest(extract(digits, MfccSpec(floor=1e-5))) > 0.8


def test_check_finds_copies_and_the_maker_names_missing_programs(
    digits: Corpus,
    tmp_path: Path,
    project_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = project_root / "scripts" / "make_spoken_digits.py"
    make = runpy.run_path(str(script))
    rows = [line.split(",") for line in (digits.root / "metadata.csv").read_text().splitlines()]
    some = [row for row in rows[1:] if row[1] == "one"][:8]
    (tmp_path / "audio").mkdir()
    for row in some:
        shutil.copy(digits.root / row[0], tmp_path / row[0])
    lines = [",".join(row) for row in [rows[0], *some]]
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    make["check"](tmp_path)
    assert "8 different clips" in capsys.readouterr().out
    shutil.copy(tmp_path / some[0][0], tmp_path / some[1][0])
    with pytest.raises(SystemExit, match="hold the same samples"):
        make["check"](tmp_path)
    audio, sr = sf.read(tmp_path / some[0][0])  # one voice under two names, only quieter: caught by its cepstra
    sf.write(tmp_path / some[1][0], 0.9 * audio, sr, subtype="PCM_16")
    with pytest.raises(SystemExit, match="sound the same"):
        make["check"](tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SystemExit, match="espeak-ng and flite not found; on Debian"):
        make["require_engines"]()


@pytest.mark.skipif(
    not (shutil.which("espeak-ng") and shutil.which("flite")), reason="needs the programs espeak-ng and flite"
)
def test_the_maker_repeats_itself(project_root: Path) -> None:
    make = runpy.run_path(str(project_root / "scripts" / "make_spoken_digits.py"))
    for voice in (make["VOICES"][0], make["VOICES"][-1]):
        first, again, faster = (make["finish"](*make["synthesize"](voice, "seven", r)) for r in (0, 0, 1))
        np.testing.assert_array_equal(first, again)
        assert len(faster) < len(first)
    variants = [v for v in make["VOICES"] if v.engine == "espeak-ng"]
    assert not [v.voice for v in variants if v.voice.startswith("en-gb+")]


def test_found_from_another_folder(tmp_path: Path) -> None:
    code = "from cepscope.corpora import load_corpus; print(len(load_corpus('spoken-digits').clips))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert int(done.stdout) == 900
