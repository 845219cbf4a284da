"""Archives, good and hostile."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cepscope.corpora.archives import only_folder, unpack
from cepscope.errors import DataError

MOST = 10_000


def tar(path: Path, entries: list[tuple[str, bytes | str]], mode: str = "w:gz") -> Path:
    """Write a tar; a text says what kind of entry it is instead of a file: "folder", "device", or where a link goes."""
    with tarfile.open(path, mode) as tape:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                tape.addfile(info, io.BytesIO(content))
                continue
            kinds = {"folder": tarfile.DIRTYPE, "device": tarfile.CHRTYPE, "pipe": tarfile.FIFOTYPE}
            hard = content.startswith("hard ")
            info.type = kinds.get(content, tarfile.LNKTYPE if hard else tarfile.SYMTYPE)
            info.linkname = "" if content in kinds else content.removeprefix("hard ")
            tape.addfile(info)
    return path


def zipped(path: Path, entries: list[tuple[str, bytes | str]]) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in entries:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if isinstance(content, str) and content != "folder":
                info.external_attr = 0o120777 << 16  # a symbolic link
            packed.writestr(info, b"" if content == "folder" else content)
    return path


@pytest.mark.parametrize("make", [tar, zipped])
def test_files_and_folders_come_out(tmp_path: Path, make: Callable[..., Path]) -> None:
    entries = [("top/", "folder"), ("top/a.wav", b"abc"), ("./top/deep/er/b.txt", b"x" * 5000), ("top/none", b"")]
    archive = make(tmp_path / "a.archive", entries)
    (tmp_path / "out").mkdir()
    seen: list[tuple[int, int]] = []
    assert unpack(archive, tmp_path / "out", most=MOST, progress=lambda *step: seen.append(step)) == 3
    files = {
        path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    assert {name: path.read_bytes() for name, path in files.items()} == {
        "top/a.wav": b"abc",
        "top/deep/er/b.txt": b"x" * 5000,
        "top/none": b"",
    }
    assert only_folder(tmp_path / "out") == tmp_path / "out" / "top"
    assert only_folder(tmp_path / "out" / "top") == tmp_path / "out" / "top"
    assert seen[-1] == (archive.stat().st_size,) * 2
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


HOSTILE = [
    ("../out.txt", b"x", "outside the folder"),
    ("a/../../out.txt", b"x", "outside the folder"),
    ("/tmp/out.txt", b"x", "outside the folder"),
    ("..\\out.txt", b"x", "outside the folder"),
    ("C:/out.txt", b"x", "outside the folder"),
    ("link", "/etc/passwd", "is a link; only files"),
    ("link", "a.wav", "is a link; only files"),
]


@pytest.mark.parametrize(("name", "content", "message"), HOSTILE)
@pytest.mark.parametrize("make", [tar, zipped])
def test_nothing_lands_outside(
    tmp_path: Path, make: Callable[..., Path], name: str, content: bytes | str, message: str
) -> None:
    (tmp_path / "out" / "in").mkdir(parents=True)
    archive = make(tmp_path / "out" / "a.archive", [("a.wav", b"abc"), (name, content)])
    before = {path for path in tmp_path.rglob("*") if "in" not in path.parts}
    with pytest.raises(DataError, match=message) as caught:
        unpack(archive, tmp_path / "out" / "in", most=MOST)
    assert repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path for path in tmp_path.rglob("*") if "in" not in path.parts} == before
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


@pytest.mark.parametrize("kind", ["hard a.wav", "device", "pipe"])
def test_only_files_of_a_tar_are_unpacked(tmp_path: Path, kind: str) -> None:
    (tmp_path / "out").mkdir()
    archive = tar(tmp_path / "a.tar", [("a.wav", b"abc"), ("odd", kind)], "w")
    with pytest.raises(DataError, match=r"'odd' is a (link|device); only files"):
        unpack(archive, tmp_path / "out", most=MOST)


@pytest.mark.parametrize("make", [tar, zipped])
def test_a_bomb_is_stopped_where_it_grows_too_large(tmp_path: Path, make: Callable[..., Path]) -> None:
    (tmp_path / "out").mkdir()
    archive = make(tmp_path / "a.archive", [("a", bytes(6000)), ("b", bytes(6000))])
    assert archive.stat().st_size < 1000
    with pytest.raises(DataError, match="holds more than the 10000 bytes expected"):
        unpack(archive, tmp_path / "out", most=MOST)
    assert sum(path.stat().st_size for path in (tmp_path / "out").iterdir()) <= MOST


def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="holds 'a' twice"):
        unpack(tar(tmp_path / "a.tar", [("a", b"1"), ("./a", b"2")]), tmp_path / "out", most=MOST)
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match="twice"):  # a file where a folder is needed
        unpack(tar(tmp_path / "b.tar", [("a", b"1"), ("a/b", b"2")]), tmp_path / "other", most=MOST)


@pytest.mark.parametrize("kind", ["text", "empty", "cut tar", "cut zip", "bits of a tar"])
def test_what_is_damaged_is_one_line(tmp_path: Path, kind: str) -> None:
    (tmp_path / "out").mkdir()
    path = tmp_path / "a.archive"
    noise = bytes(range(256)) * 20
    match kind:
        case "text":
            path.write_text("not found\n")
        case "empty":
            path.write_bytes(b"")
        case "cut tar":
            path.write_bytes(tar(path, [("a", noise), ("b", noise[::-1])]).read_bytes()[:-80])
        case "cut zip":
            path.write_bytes(zipped(path, [("a", noise)]).read_bytes()[:-30])
        case _:
            content = bytearray(tar(path, [("a", noise)]).read_bytes())
            content[len(content) // 2] ^= 0xFF
            path.write_bytes(content)
    with pytest.raises(DataError, match="is damaged or is no archive") as caught:
        unpack(path, tmp_path / "out", most=10**6)
    assert "\n" not in str(caught.value)
