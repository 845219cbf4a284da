"""Broken and hostile files against everything that reads files: a result, or one line; never memory on trust.

`scripts/fuzz.py` tries thousands of broken files in processes of their own; here are some hundred of them, and what
those thousands once found.
"""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cepscope.atomic import load_npy, load_npz, save_npz
from cepscope.audio import read_audio
from cepscope.corpora import Clip
from cepscope.corpora.shards import Shard, read_shard, write_shard
from cepscope.corpora.stretches import read_stretch, sound_rate
from cepscope.corpora.survey import measure_clip
from cepscope.errors import CepscopeError, CorruptArtifactError, DataError
from cepscope.features import MfccSpec
from cepscope.maximize.patterns import Patterns

MUTANTS = {"sound": 100, "labels": 60, "lists": 40, "arrays": 60, "manifest": 40, "settings": 200, "archive": 60}


@pytest.fixture(scope="module")
def fuzz(project_root: Path) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(project_root / "scripts"))
        import fuzz as module

        return module


@pytest.mark.parametrize("kind", list(MUTANTS))
def test_broken_files_are_read_or_refused_in_one_line(kind: str, fuzz: ModuleType, tmp_path: Path) -> None:
    made = fuzz.KINDS[kind](tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy, over values near the end of float32
        for whole in made.wholes:
            assert fuzz.feed(made, tmp_path, whole) == ("fine", "")
        found = {
            number: fuzz.feed(made, tmp_path, made.mutant(random.Random(f"7/{kind}/{number}"), number))
            for number in range(MUTANTS[kind])
        }
    assert {number: why for number, why in found.items() if why[0] not in ("fine", "refused")} == {}
    assert {outcome for outcome, _ in found.values()} == {"fine", "refused"}


def test_the_same_seed_breaks_a_file_in_the_same_way(fuzz: ModuleType, tmp_path: Path) -> None:
    made = fuzz.KINDS["settings"](tmp_path)
    one, again, other = (made.mutant(random.Random(seed), 0) for seed in "112")
    assert one == again != other


def test_what_must_not_come_of_a_file_is_counted_as_a_failure(fuzz: ModuleType, tmp_path: Path) -> None:
    class Bad(fuzz.KINDS["settings"]):
        def _read(self, work: Path, file: Any) -> None:
            raise (KeyError("x"), DataError("two\nlines"), fuzz.Failed("NaN"), DataError("one"))[file.number]

    made = Bad(tmp_path)
    outcomes = [fuzz.feed(made, tmp_path, fuzz.File("a", b"", number))[0] for number in range(4)]
    assert outcomes == ["exception", "lines", "result", "refused"]


# arrays


def npy(shape: str, dtype: str = "<f4", body: bytes = b"", *, version: int = 1) -> bytes:
    """Return an npy that says what it wants of itself."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2 if version == 1 else 4, "little") + text + body


def packed(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


CLAIMS = [
    (npy("(1000000000000,)"), "bytes in"),
    (npy("(1000000000000,)", "|S0"), "an array of"),
    (npy("(4, -1)", body=bytes(8)), "an array of"),
    (npy("(2,)", body=bytes(9)), "an array of"),
    (npy("(2,)", "|O", body=bytes(16)), "Python objects, which are never unpickled"),
    (npy("(2,)", body=bytes(8), version=3), "npy version"),
    (npy("(" * 90), "EOF|header|memory"),
    (b"hello", "magic"),
    (b"", "magic|EOF"),
]


@pytest.mark.parametrize(("content", "says"), CLAIMS)
def test_an_array_is_not_larger_than_its_file(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    packed(tmp_path / "a.npz", x=content)
    tracemalloc.start()
    for load, name in ((load_npy, "a.npy"), (load_npz, "a.npz")):
        with pytest.raises(CorruptArtifactError, match=rf"{name} can't be read as .*(?:{says})") as caught:
            load(tmp_path / name)
        assert "\n" not in str(caught.value)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    zeros = np.zeros(50_000_000, np.uint8)
    save_npz(tmp_path / "a.npz", x=zeros)
    assert (tmp_path / "a.npz").stat().st_size < 100_000
    np.testing.assert_array_equal(load_npz(tmp_path / "a.npz")["x"][:3], 0)  # not too large by itself
    tracemalloc.start()
    with pytest.raises(CorruptArtifactError, match="50000128 bytes of arrays, expected at most 1000000"):
        load_npz(tmp_path / "a.npz", most=1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
    np.save(tmp_path / "b.npy", zeros)
    with pytest.raises(CorruptArtifactError, match="50000128 bytes, expected at most 1000000"):
        load_npy(tmp_path / "b.npy", most=1_000_000)


def test_a_member_that_claims_less_than_it_inflates_to_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.npz", x=npy("(2,)", body=bytes(8)) + bytes(20_000_000))
    content = bytearray(path.read_bytes())
    honest = (128 + 8 + 20_000_000).to_bytes(4, "little")
    assert content.count(honest) == 2  # in the member's own header and in the directory
    path.write_bytes(content.replace(honest, (128 + 8).to_bytes(4, "little")))
    tracemalloc.start()
    with pytest.raises(CorruptArtifactError, match="CRC"):
        load_npz(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.parametrize("flag", ["encrypted", "unknown method"])
def test_what_zipfile_can_not_open_is_one_line(flag: str, tmp_path: Path) -> None:
    path = packed(tmp_path / "a.npz", x=npy("(2,)", body=bytes(8)))
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02")
    content[at + (8 if flag == "encrypted" else 10)] |= 1 if flag == "encrypted" else 0x60
    path.write_bytes(content)
    with pytest.raises(CorruptArtifactError, match=r"encrypted|compression"):
        load_npz(path)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_change_of_a_shard_is_noticed_or_harmless(tmp_path: Path, data: st.DataObject) -> None:
    C = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    write_shard(tmp_path / "a.npz", Shard(C, ("", "bad")))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    (tmp_path / "b.npz").write_bytes(content)
    try:
        found = read_shard(tmp_path / "b.npz", shape=(2, 3, 4))
    except CorruptArtifactError:
        return
    np.testing.assert_array_equal(found.mfcc, C)  # zip's checksums leave nothing else
    assert found.problems == ("", "bad")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"objectives": '[{"terms": [{"layer": "crbm1", "index": 0, "weight": 1}]}]'}, "'kind'"),
        ({"objectives": '[{"terms": []}]'}, ""),
        ({"objectives": "[5]"}, "subscriptable"),
        ({"objectives": "[" * 5000}, "recursion"),
        ({"spec": "[]"}, "list"),
        ({"spec": '{"sr": 1e999}'}, "sr must be"),
        ({"x": np.zeros((2, 13, 8, 1), np.float32)}, r"x is float32 of shape \(2, 13, 8, 1\), for 1 units"),
        ({"mfcc": np.zeros((1, 13, 8), np.int64)}, "mfcc is int64"),
        ({"activation": np.float32(1)}, "len"),
        ({"units": np.array(["crbm1:x"]), "objectives": "[]"}, "invalid literal"),
    ],
    ids=str,
)
def test_patterns_of_a_stranger(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    terms = [{"kind": "Unit", "layer": "crbm1", "index": 0, "weight": 1.0}]
    C = np.ones((1, 13, 8), np.float32)
    spec = MfccSpec(sr=8000, n_mfcc=13)
    Patterns(("crbm1:0",), C[..., None], C, spec, C[:, 0, 0], C[0], objectives=({"terms": terms},)).save(
        tmp_path / "a.npz"
    )
    assert Patterns.load(tmp_path / "a.npz").layers == ("crbm1",)
    save_npz(tmp_path / "b.npz", **{**load_npz(tmp_path / "a.npz"), **change})
    with pytest.raises(CorruptArtifactError, match=rf"b\.npz can't be read as patterns \(.*{says}") as caught:
        Patterns.load(tmp_path / "b.npz")
    assert "\n" not in str(caught.value)


# sounds


def wav(path: Path, **fields: int) -> Path:
    """Write a wav whose header says something else in some of its fields."""
    soundfile.write(path, np.sin(np.arange(4000) / 5), 8000, subtype="PCM_16")
    places = {"channels": (22, 2), "rate": (24, 4), "bits": (34, 2), "riff": (4, 4), "data": (40, 4)}
    content = bytearray(path.read_bytes())
    for name, value in fields.items():
        at, size = places[name]
        content[at : at + size] = value.to_bytes(size, "little")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("rate", [1, 99, 10_000_001, 2**31 - 1])
def test_a_rate_that_no_recorder_has_is_refused_before_it_is_resampled(rate: int, tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", rate=rate)
    for call in (lambda: read_audio(path, sr=16000), lambda: read_stretch(path), lambda: sound_rate(path)):
        with pytest.raises(DataError, match=rf"a\.wav says that its rate is {rate} Hz, expected 100 to 10000000 Hz"):
            call()
    assert "its rate" in measure_clip(Clip(path, "a", "", "train")).problem


def test_many_channels_cost_no_more_memory_than_few(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full((3000, 1000), 0.25, np.float32), 8000, subtype="PCM_16", format="WAVEX")
    tracemalloc.start()
    y, _ = read_audio(tmp_path / "a.wav")
    again, _ = read_stretch(tmp_path / "a.wav", 0.0, 1.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(y, 0.25)
    np.testing.assert_array_equal(y, again)
    assert peak < 10 << 20  # all at once: 12 MB, and 4 GB where a header claims more


@pytest.mark.parametrize("size", [0, 1, 2**31 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("field", ["riff", "data"])
def test_sizes_that_lie(field: str, size: int, tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", **{field: size})
    try:
        y, sr = read_audio(path)
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    assert sr == 8000
    assert 0 < len(y) <= 4000


def test_a_name_without_a_format_is_refused_in_one_line(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.raw")  # soundfile would have to be told rate and channels
    for read in (read_audio, lambda path: read_stretch(path, 0.0, 0.1)):
        with pytest.raises(DataError, match=r"a\.raw is not a readable sound file \(samplerate must be specified\)"):
            read(path)


def test_infinities_that_cancel_are_refused_without_a_warning(tmp_path: Path) -> None:
    y = np.tile(np.array([[np.inf, -np.inf]], np.float32), (4000, 1))
    soundfile.write(tmp_path / "a.wav", y, 8000, subtype="FLOAT")
    for read in (read_audio, read_stretch):
        with pytest.raises(DataError, match="NaN or Inf"):
            read(tmp_path / "a.wav")


@pytest.mark.parametrize("kind", ["wav", "ogg"])
def test_a_stretch_may_begin_beyond_any_file(kind: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / f"a.{kind}", np.sin(np.arange(4000) / 5), 8000)
    with pytest.raises(DataError, match="ends before"):
        read_stretch(tmp_path / f"a.{kind}", 1e307, 1.5e307)
    assert len(read_stretch(tmp_path / f"a.{kind}", 0.1, 1.7e308)[0]) == 3200


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.sampled_from(["wav", "flac", "ogg", "mp3"]), st.booleans())
def test_any_bytes_are_a_sound_or_one_line(tmp_path: Path, content: bytes, kind: str, headed: bool) -> None:
    head = {
        "wav": b"RIFF\xff\xff\xff\x7fWAVEfmt ",
        "flac": b"fLaC",
        "ogg": b"OggS",
        "mp3": b"\xff\xfb\x90\x64",
        "npz": b"PK\3\4",
    }
    path = tmp_path / f"a.{kind}"
    path.write_bytes(head[kind] * headed + content)
    try:
        y, _ = read_audio(path)
    except CepscopeError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert np.isfinite(y).all()
    assert "\n" not in measure_clip(Clip(path, "a", "", "train")).problem


# what the command line leaves


@pytest.mark.parametrize("name", ["-x.wav", "a b  ü 日本.wav", "a\nb.wav", "<script>alert(1)<.wav", "spec.wav"])
def test_a_sound_of_any_name_is_extracted_and_inverted(cepscope: Any, name: str, tmp_path: Path) -> None:
    wav(tmp_path / name)
    assert cepscope("extract", "--out", "x.npz", "--", name) == 0, cepscope.err
    arrays = load_npz(tmp_path / "x.npz")
    assert len(arrays) == 2
    assert np.isfinite(next(value for key, value in arrays.items() if key != "spec")).all()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / name).write_text("no sound")
    assert cepscope("extract", "--out", "y.npz", "--", f"bad/{name}") == 1
    assert len(cepscope.err.splitlines()) == 1
    assert not (tmp_path / "y.npz").exists()


@pytest.mark.slow
def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    name = os.fsencode(tmp_path / "in") + b"/caf\xe9.wav"
    wav(tmp_path / "a.wav").rename(os.fsdecode(name))
    for words in (["extract"], ["invert", "--compare", "--out", str(tmp_path / "out")]):
        done = subprocess.run([sys.executable, "-m", "cepscope", *words, name], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
    assert list(load_npz(os.fsdecode(name.replace(b".wav", b".npz")))) == ["caf?", "spec"]
    (page,) = (tmp_path / "out").glob("*.html")
    assert "caf?.wav" in page.read_text("utf-8")


def test_a_file_name_gives_the_terminal_no_commands(cepscope: Any, tmp_path: Path) -> None:
    (tmp_path / "a\x1b[2Jb.wav").write_text("no sound")
    assert cepscope("extract", "a\x1b[2Jb.wav") == 1
    assert "\x1b" not in cepscope.err
    assert r"a\x1b[2Jb.wav is not a readable sound file" in cepscope.err


@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
def test_hostile_arrays_are_not_inverted(cepscope: Any, name: str, tmp_path: Path) -> None:
    content = npy("(20, 1000000000000)")
    if name == "a.npz":
        packed(tmp_path / name, x=content)
    else:
        (tmp_path / name).write_bytes(content)
    assert cepscope("invert", name, "--sr", 8000) == 1
    assert len(cepscope.err.splitlines()) == 1
    assert f"{name} can't be read as arrays of numbers" in cepscope.err
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("spec", ["5", "[]", '{"sr": null}', '{"n_mels": "x"}', "[" * 5000, '{"sr": 1e999}'])
def test_a_front_end_that_is_none_is_one_line(cepscope: Any, spec: str, tmp_path: Path) -> None:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.array(spec))
    x = io.BytesIO()
    np.lib.format.write_array(x, np.zeros((20, 5), np.float32))
    packed(tmp_path / "a.npz", x=x.getvalue(), spec=out.getvalue())
    assert cepscope("invert", "a.npz") in (1, 2)
    assert len(cepscope.err.splitlines()) == 1
    assert json.dumps(cepscope.err).count("Traceback") == 0
