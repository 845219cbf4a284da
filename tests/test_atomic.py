"""Files appear whole or not at all."""

from __future__ import annotations

import os
import resource
import stat
from pathlib import Path

import numpy as np
import pytest

from cepscope.atomic import atomic_path, load_json, save_npz, sha256, write_bytes, write_text
from cepscope.errors import CorruptArtifactError, DataError, ParameterError


def test_content_appears_at_the_end_and_replaces_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "model.keras"
    target.write_text("old")
    with atomic_path(target) as temporary:
        assert temporary.parent == tmp_path  # same file system, so that the rename is atomic
        assert temporary.suffix == ".keras"
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_error_leaves_the_old_content_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(error), atomic_path(target) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_body_may_itself_replace_the_temporary_file(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.txt") as temporary:
        (tmp_path / "other").write_text("whole")
        (tmp_path / "other").replace(temporary)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_parents_are_made_and_the_umask_applies(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_bytes(tmp_path / "a" / "b" / "c.bin", b"\x00\x01")
    finally:
        os.umask(old)
    assert (tmp_path / "a" / "b" / "c.bin").read_bytes() == b"\x00\x01"
    assert stat.S_IMODE((tmp_path / "a" / "b" / "c.bin").stat().st_mode) == 0o640


def test_longest_file_name_works(tmp_path: Path) -> None:
    name = "ü" * 125 + ".wav"  # 254 of 255 bytes
    write_bytes(tmp_path / name, b"x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("target", ["folder", "file/below", "/proc/nowhere/a"])
def test_unwritable_places_give_one_line(tmp_path: Path, target: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"^can't write \S+ \(.+\); choose another place$"):
        write_text(tmp_path / target, "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_full_disk_is_one_line_and_costs_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for the end of the disk: the system refuses to write on."""
    path = tmp_path / "a.npz"
    save_npz(path, x=np.zeros(3))
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(DataError, match=r"can't write .*a\.npz \(file too large\); make room") as caught:
            save_npz(path, x=np.random.default_rng(0).normal(size=10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff{}", b'{"a":' * 100_000])
def test_json_that_is_no_table_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(CorruptArtifactError, match=r"a\.json .*; run its stage again") as caught:
        load_json(path)
    assert len(str(caught.value).splitlines()) == 1
    path.write_bytes(b'{"a": 1}')
    assert load_json(path) == {"a": 1}


def test_text_is_utf8_with_its_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "ä\r\nb\n")
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xa4\r\nb\n"


def test_npz_comes_back_and_its_bytes_depend_on_the_arrays_only(tmp_path: Path) -> None:
    arrays = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "names": np.array(["a", "ß"])}
    save_npz(tmp_path / "one", **arrays)
    save_npz(tmp_path / "two.npz", **arrays)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two.npz"]
    with np.load(tmp_path / "one", allow_pickle=False) as data:
        assert data.files == ["x", "names"]
        for name, array in arrays.items():
            np.testing.assert_array_equal(data[name], array)
            assert data[name].dtype == array.dtype
    assert sha256(tmp_path / "one") == sha256(tmp_path / "two.npz")
    save_npz(tmp_path / "one", **{**arrays, "x": arrays["x"] + 1})
    assert sha256(tmp_path / "one") != sha256(tmp_path / "two.npz")


def test_objects_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="Received: bad of dtype object"):
        save_npz(tmp_path / "a.npz", bad=np.array([None, {}], dtype=object))
    assert list(tmp_path.iterdir()) == []


def test_sha256_is_the_standard_one(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
