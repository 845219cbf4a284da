"""Corpora as strangers have them: odd names, links, pipes, lists that are none, a hundred thousand files, hours."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cepscope.audio import read_audio
from cepscope.corpora import extract, load_corpus, recordings
from cepscope.corpora.archives import unpack
from cepscope.corpora.description import describe
from cepscope.corpora.layouts import rows
from cepscope.corpora.layouts.rows import Folder
from cepscope.corpora.layouts.textgrid import read_textgrid
from cepscope.errors import CepscopeError, CepscopeWarning, CorruptArtifactError, DataError
from cepscope.features import MfccSpec, mfcc

Maker = Callable[..., Path]
SPEC = MfccSpec(sr=8000, n_mfcc=13, floor=1e-5)
NAMES = [
    " two  words ",
    "ü 日本 🎤",
    "t\nwo",
    "--strict",
    "-rf",
    "<script>alert(1)<",
    "a#t=0,1",
    "'\"&%s{{7*7}}",
    "con",
    "a\\b",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_class_and_of_a_clip(class_folder: Maker, tmp_path: Path, cepscope: Any, name: str) -> None:
    root = class_folder(labels=("one", "two"), clips=4)
    (root / "two").rename(root / name)
    first = sorted((root / "one").iterdir())[0]
    first.rename(root / "one" / f"{name}.flac")
    patches = extract(load_corpus(root), SPEC, frames=16, out=tmp_path / "features")
    assert patches.skipped == ()
    assert set(patches.classes) == {"one", name}
    again = type(patches).load(tmp_path / "features")
    assert again.classes == patches.classes
    assert f"one/{name}.flac" in again.train.paths + again.test.paths
    assert np.isfinite(again.load_wave(f"one/{name}.flac")).all()
    assert cepscope("describe", root, "--json") == 0
    assert name in json.loads(cepscope.out)["classes"]
    assert cepscope("describe", root, "--out", tmp_path / "told") == 0
    with (tmp_path / "told" / "clips.csv").open(newline="") as file:
        assert f"one/{name}.flac" in {line["clip"] for line in csv.DictReader(file)}


def test_labels_are_words_to_every_reader(metadata_folder: Maker, cepscope: Any) -> None:
    evil = '</script><img src=x onerror=alert(1)>\x1b[2J{{7*7}}"'
    quoted = '"' + evil.replace('"', '""') + '"'
    lines = "".join(f"audio/{i}.flac,{quoted if i % 2 else 'b'}\n" for i in range(8))
    root = metadata_folder("file_name,label\n" + lines)
    assert load_corpus(root).labels == (evil, "b")
    assert cepscope("describe", root) == 0
    assert "\x1b" not in cepscope.out
    assert "</script><img" in cepscope.out


@pytest.mark.parametrize("kind", ["link to nowhere", "link to itself", "pipe", "endless device"])
def test_what_is_no_file_is_named_and_left_out(class_folder: Maker, tmp_path: Path, kind: str) -> None:
    root = class_folder(labels=("one", "two"), clips=4)
    odd = root / "one" / "odd.wav"
    match kind:
        case "link to nowhere":
            odd.symlink_to("nowhere.wav")
        case "link to itself":
            odd.symlink_to(odd.name)
        case "pipe":
            os.mkfifo(odd)
        case _:
            odd.symlink_to("/dev/zero")
    with pytest.warns(CepscopeWarning, match=r"links to nowhere, pipes or devices.*\(1, the first: 'one/odd.wav'\)"):
        corpus = load_corpus(root)
    assert len(corpus.clips) == 8
    assert len(extract(corpus, SPEC, frames=16, out=tmp_path / "features").train) > 0


def test_a_pipe_is_no_table(class_folder: Maker) -> None:
    root = class_folder(labels=("one", "two"), clips=4)
    os.mkfifo(root / "table.csv")  # whoever opened it would wait for ever
    assert len(load_corpus(root).clips) == 8


def test_names_that_can_not_be_written_down(class_folder: Maker, tmp_path: Path) -> None:
    root = class_folder(labels=("one", "two"), clips=4)
    shutil.copy(next((root / "one").iterdir()), os.fsencode(root / "one") + b"/caf\xe9.flac")
    with pytest.warns(CepscopeWarning, match=r"names beyond UTF-8 .*\(1, the first: 'one/caf\\udce9.flac'\)"):
        corpus = load_corpus(root)
    extract(corpus, SPEC, frames=16, out=tmp_path / "features")
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    root.rename(odd)
    with pytest.raises(DataError, match=r"the name of the folder '.*caf\\udce9' is not UTF-8; rename it"):
        load_corpus(odd)


def test_the_longest_name_that_a_recording_can_have(class_folder: Maker) -> None:
    root = class_folder(labels=("one", "two"), clips=4)
    first = next((root / "one").iterdir())
    first.rename(root / "one" / ("n" * 250 + ".flac"))  # with another suffix it would be too long
    assert len(load_corpus(root).clips) == 8


def test_loops_of_folders_end(class_folder: Maker) -> None:
    root = class_folder(labels=("one", "two"), clips=4)
    (root / "one" / "up").symlink_to(root)
    (root / "one" / "itself").symlink_to(root / "one")
    (root / "two" / "other").symlink_to(root / "one")
    found = Folder(root).recordings
    assert len(found) == 8
    assert len({path.resolve() for path in found}) == 8
    (root.parent / "a").symlink_to(root.parent / "b")
    (root.parent / "b").symlink_to(root.parent / "a")
    with pytest.raises(DataError, match="does not exist"):
        load_corpus(root.parent / "a")


@pytest.mark.parametrize("name", ["~nobody-of-this-name/x", "a\0b", "n" * 300, "\n"])
def test_folders_that_can_not_be(name: str) -> None:
    with pytest.raises(CepscopeError):
        load_corpus(name)


def test_a_table_of_names_that_can_not_be(metadata_folder: Maker) -> None:
    names = ["n" * 300 + ".wav", "audio/" * 2000 + "a.wav", "audio", "a\\0b.wav"]
    root = metadata_folder("file_name,label\n" + "".join(f"{name},a\n" for name in names))
    with pytest.raises(DataError, match="no such file: nnn"):
        load_corpus(root)


def test_duplicates_are_told(class_folder: Maker) -> None:
    root = class_folder(labels=("one", "two"), clips=4)
    shutil.copy(next((root / "one").iterdir()), root / "two" / "copy.flac")
    told = describe(load_corpus(root))
    assert any("have several labels" in line or "train and in test" in line for line in told.warnings())


# lists and labels beside recordings


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize(
    ("table", "content", "label", "says"),
    [
        ("testing_list.txt", b"yes/\xff\n", "label", "testing_list.txt is not text in UTF-8"),
        ("SPEAKERS.TXT", b"1 | F | \xff\n", "label", "SPEAKERS.TXT is not text in UTF-8"),
        ("data/audioMNIST_meta.txt", b"[" * 100_000, "sex", r"audioMNIST_meta.txt can't be read \(maximum recursion"),
    ],
)
def test_lists_that_are_none(tmp_path: Path, table: str, content: bytes, label: str, says: str) -> None:
    touch(tmp_path, "validation_list.txt", *(f"yes/0000000{i}_nohash_0.wav" for i in (0, 1)))
    if table == "SPEAKERS.TXT":
        shutil.rmtree(tmp_path / "yes")
        (tmp_path / "validation_list.txt").unlink()
        touch(tmp_path, "x/1/1/1-1-0000.flac", "x/2/1/2-1-0000.flac")
    if label == "sex":
        shutil.rmtree(tmp_path / "yes")
        (tmp_path / "validation_list.txt").unlink()
        touch(tmp_path, "data/01/0_01_0.wav", "data/02/0_02_0.wav")
    (tmp_path / table).write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        load_corpus(tmp_path, label=label)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", ["9" * 400, "9" * 5000, "²"])
def test_a_sample_beyond_any_recording(tmp_path: Path, number: str) -> None:
    soundfile.write(tmp_path / "a.wav", np.sin(np.arange(4000)), 8000)
    (tmp_path / "a.PHN").write_text(f"0 {number} a\n")
    with pytest.raises(DataError, match="line 1: expected START END LABEL, in samples"):
        load_corpus(tmp_path)


@pytest.mark.parametrize("text", ['"' + '""' * 300_000 + " x", "1" * 300_000 + "x", "1." * 300_000, '"a""' * 300_000])
@pytest.mark.timeout(60)  # tried twice at each place, 600 kB took hours
def test_no_textgrid_takes_for_ever(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.TextGrid").write_text('File type = "ooTextFile"\nObject class = "TextGrid"\n' + text)
    with pytest.raises(DataError, match="not a whole TextGrid"):
        read_textgrid(tmp_path / "a.TextGrid")


@pytest.mark.parametrize("name", ["a.TextGrid", "a.txt", "a.csv", "metadata.csv"])
def test_a_text_larger_than_any_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    soundfile.write(tmp_path / "a.wav", np.sin(np.arange(4000)), 8000)
    head = "0\t1\tx\n" if name == "a.txt" else "start,end,label\n"
    with (tmp_path / name).open("w") as file:
        file.write(head)
        file.truncate(rows.MOST_TEXT + 1)  # a hole, which costs no disk
    with pytest.raises(DataError, match=r"has 268435457 bytes, expected a (text|table) of at most 268435456"):
        load_corpus(tmp_path, layout={"a.TextGrid": "textgrid", "a.txt": "audacity", "a.csv": "csv"}.get(name))


TIMES = st.floats() | st.integers(-(10**400), 10**400) | st.text(max_size=3)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TIMES, TIMES, st.text(max_size=3)), max_size=6), st.sampled_from(["csv", "txt"]))
def test_any_times_are_stretches_or_one_line(tmp_path: Path, lines: list[Any], kind: str) -> None:
    if not (tmp_path / "a.wav").exists():
        soundfile.write(tmp_path / "a.wav", np.sin(np.arange(4000)), 8000)
    for path in (tmp_path / "a.csv", tmp_path / "a.txt"):
        path.unlink(missing_ok=True)
    with (tmp_path / f"a.{kind}").open("w", encoding="utf-8", errors="replace", newline="") as file:
        if kind == "csv":
            csv.writer(file).writerows([("start", "end", "label"), *lines])
        else:
            file.writelines(f"{start}\t{stop}\t{text}\n" for start, stop, text in lines)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CepscopeWarning)
            corpus = load_corpus(tmp_path, layout={"csv": "csv", "txt": "audacity"}[kind], margin=0.01)
    except CepscopeError as error:
        assert len(str(error).splitlines()) == 1 or any("\n" in text for *_, text in lines)  # noqa: PT017
        return
    for fact in describe(corpus).facts:
        assert "\n" not in fact.problem


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"frames": 10**12}, "a number is no count"),
        ({"frames": "16"}, "a number is no count"),
        ({"frames": True}, "a number is no count"),
        ({"root": 5}, "a name is no text"),
        ({"shards": [{"file": "../mfcc-00.npz", "clips": 8, "sha256": ""}]}, "a shard has another name"),
        ({"shards": [{"file": "/tmp/mfcc-00.npz", "clips": 8, "sha256": ""}]}, "a shard has another name"),
        ({"clips": {"file": "../clips.csv", "clips": 8, "sha256": ""}}, "a file has another name"),
        ({"train": {"file": "/tmp/train.npy", "clips": 8, "sha256": ""}}, "a file has another name"),
        ({"test": {"file": "test.npy", "clips": -1, "sha256": ""}}, "a number is no count"),
        ({"test": {"file": "test.npy", "clips": 1, "sha256": 2}}, "a name is no text"),
        ({"classes": [1, 2]}, "a name is no text"),
        ({"synthetic": "no"}, "synthetic is neither true nor false"),
    ],
)
def test_a_manifest_of_a_stranger(class_folder: Maker, tmp_path: Path, change: dict[str, Any], says: str) -> None:
    patches = extract(load_corpus(class_folder(labels=("one", "two"), clips=4)), SPEC, frames=16, out=tmp_path / "x")
    path = tmp_path / "x" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CorruptArtifactError, match=rf"manifest\.json is damaged \({says}") as caught:
        type(patches).load(tmp_path / "x")
    assert "\n" not in str(caught.value)


def test_a_manifest_without_an_end(class_folder: Maker, tmp_path: Path) -> None:
    patches = extract(load_corpus(class_folder(labels=("one", "two"), clips=4)), SPEC, frames=16, out=tmp_path / "x")
    (tmp_path / "x" / "manifest.json").write_text("[" * 200_000)
    with pytest.raises(CorruptArtifactError, match="is damaged"):
        type(patches).load(tmp_path / "x")


def test_an_archive_of_a_name_longer_than_a_disk_takes(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with tarfile.open(tmp_path / "a.tar", "w") as tape:
        info = tarfile.TarInfo("top/" + "n" * 300)
        info.size = 3
        tape.addfile(info, io.BytesIO(b"abc"))
    with pytest.raises(DataError, match="is too long a name"):
        unpack(tmp_path / "a.tar", tmp_path / "out", most=1000)


# large


def test_eight_channels_and_192_khz(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label in "ab":
        (tmp_path / label).mkdir()
        for i in range(3):
            y = 0.1 * rng.standard_normal((96_000, 8))
            soundfile.write(tmp_path / label / f"{i}.wav", y, 192_000, subtype="PCM_24", format="WAVEX")
    told = describe(load_corpus(tmp_path))
    assert [(fact.sr, fact.channels, fact.problem) for fact in told.facts] == [(192_000, 8, "")] * 6
    assert np.isfinite(extract(load_corpus(tmp_path), SPEC, frames=16).train.x).all()


# what the system says of a process that has ended counts the memory of who started it, too
WATCHED = """
import sys
from cepscope.cli import main
try:
    main(sys.argv[1:])
finally:
    print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")), file=sys.stderr)
"""


def measured(*arguments: object) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run a command; return it, and the most memory that it took, in MB."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    return done, int(done.stderr.split()[-2]) / 1024


@pytest.mark.slow
def test_three_hours_of_sound_cost_the_memory_of_minutes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    block = (0.05 * rng.standard_normal((16_000 * 60, 2))).astype(np.float32)
    for label in "ab":
        (tmp_path / "c" / label).mkdir(parents=True)
        for i in range(2):
            soundfile.write(tmp_path / "c" / label / f"{i}.wav", block[: 16_000 * (i + 1)], 16_000, subtype="PCM_16")
        with soundfile.SoundFile(tmp_path / "c" / label / "long.wav", "w", 16_000, 2, "PCM_16") as file:
            for minute in range(180):
                file.write(np.roll(block, 17 * minute, axis=0))
    assert (tmp_path / "c" / "a" / "long.wav").stat().st_size > 690_000_000
    for arguments in (
        ("describe", tmp_path / "c", "--json"),
        ("extract", tmp_path / "c", "--out", tmp_path / "run"),
        ("extract", tmp_path / "c" / "a" / "long.wav", "--out", tmp_path / "x.npz"),
    ):
        done, peak = measured(*arguments)
        assert done.returncode == 0, done.stderr
        assert peak < 500, f"{arguments[0]} took {peak:.0f} MB"


@pytest.mark.slow
def test_a_hundred_thousand_files(tmp_path: Path, digits: Any) -> None:
    for k in range(10):
        (tmp_path / "c" / f"class{k}").mkdir(parents=True)
        source = tmp_path / f"{k}.flac"  # of one file, a disk takes some ten thousand names
        shutil.copy(digits.clips[k].path, source)
        for i in range(10_000):
            os.link(source, tmp_path / "c" / f"class{k}" / f"{i}.flac")
    corpus = load_corpus(tmp_path / "c")  # 5 to 24 s on two cores; a search that grew with the square would not end
    assert len(corpus.clips) == 100_000


@pytest.mark.parametrize("own", [8000, 22050])
def test_a_file_by_blocks_has_the_mfcc_of_the_whole(own: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    y = 0.3 + 0.1 * np.random.default_rng(0).standard_normal(5 * own)
    soundfile.write(tmp_path / "a.wav", y, own, subtype="PCM_16")
    spec = MfccSpec(sr=8000, top_db=60.0)
    whole = recordings.file_mfcc(tmp_path / "a.wav", spec)
    np.testing.assert_array_equal(whole, mfcc(read_audio(tmp_path / "a.wav", sr=8000)[0], spec))
    for name, value in (("LONGEST", 1.0), ("_BLOCK", 1), ("_FRAMES", 100)):
        monkeypatch.setattr(recordings, name, value)
    by_blocks = recordings.file_mfcc(tmp_path / "a.wav", spec)
    assert by_blocks.shape == whole.shape
    np.testing.assert_allclose(by_blocks, whole, atol=2e-2)  # of values about 100
    soundfile.write(tmp_path / "a.wav", np.r_[y, np.nan], own, subtype="FLOAT")
    with pytest.raises(DataError, match=r"a\.wav holds NaN or Inf"):
        recordings.file_mfcc(tmp_path / "a.wav", spec)
