"""Corpora from a server of this machine: whole, broken, wrong, hostile, gone."""

from __future__ import annotations

import hashlib
import http.server
import io
import re
import struct
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import soundfile as sf

from cepscope.corpora import load_corpus
from cepscope.corpora.fetch import ATTEMPTS, fetch
from cepscope.corpora.known import KNOWN, Source, content_digest
from cepscope.errors import DataError, MissingExtraError, ParameterError


@dataclass
class Server:
    """What the server does, and what it was asked."""

    content: bytes = b""
    ranges: bool = True
    breaks: list[int] = field(default_factory=list)  # bytes after which an answer is cut off, one an answer
    statuses: list[int] = field(default_factory=list)  # of the first answers
    asked: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve one file at any address, on this machine."""
    monkeypatch.setenv("NO_PROXY", "*")
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            state.asked.append(asked)
            if state.statuses:
                self.send_error(state.statuses.pop(0))
                return
            first = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and state.ranges else 0
            if first >= len(state.content) and first:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(state.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = state.content[first:]
            self.send_response(206 if asked and state.ranges else 200)
            if asked and state.ranges:
                self.send_header("Content-Range", f"bytes {first}-{len(state.content) - 1}/{len(state.content)}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: state.breaks.pop(0)] if state.breaks else body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.url = f"http://127.0.0.1:{listening.server_port}/digits.tar.gz"
        yield state
        listening.shutdown()
        thread.join()


def packed(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tape:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tape.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.fixture(scope="module")
def recordings() -> dict[str, bytes]:
    """Real recordings under FSDD's names."""
    clips = [clip for clip in load_corpus("spoken-digits").clips if clip.label in ("one", "two")][:12]
    files = {}
    for i, clip in enumerate(clips):
        out = io.BytesIO()
        sf.write(out, *sf.read(clip.path), format="WAV")
        files[f"digits-1.0/recordings/{i % 2}_george_{i}.wav"] = out.getvalue()
    return {**files, "digits-1.0/README.md": b"digits"}


@pytest.fixture
def source(server: Server, recordings: dict[str, bytes]) -> Source:
    """Return where the server's archive is, with its checksum."""
    server.content = packed(recordings)
    return Source(
        title="Digits",
        licence="none",
        url=server.url,
        file="digits.tar.gz",
        most=(10**6, 10**6),
        size=len(server.content),
        sha256=hashlib.sha256(server.content).hexdigest(),
    )


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_corpus_is_fetched_once(server: Server, source: Source, tmp_path: Path, recordings: dict[str, bytes]) -> None:
    seen: list[tuple[str, int, int]] = []
    folder = fetch("fsdd", tmp_path / "fsdd", source=source, progress=lambda *step: seen.append(step))
    assert folder == tmp_path / "fsdd"
    assert left(tmp_path) == ["fsdd"]
    assert {f"digits-1.0/{path.relative_to(folder).as_posix()}" for path in folder.rglob("*") if path.is_file()} == set(
        recordings
    )
    assert [seen[-1][0], seen[0][0]] == ["unpack", "download"]
    assert ("download", source.size, source.size) in seen
    corpus = load_corpus(folder)
    assert corpus.labels == ("0", "1")
    assert len(corpus.split("test")) == 5
    assert fetch("fsdd", folder, source=source) == folder
    assert len(server.asked) == 1


def test_by_name_it_is_found_where_it_was_put(
    server: Server, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CEPSCOPE_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=re.escape("get it with `cepscope fetch fsdd`")):
        load_corpus("fsdd")
    fetch("fsdd", source=source)
    assert load_corpus("fsdd").root == tmp_path / "data" / "fsdd"
    monkeypatch.setenv("CEPSCOPE_DATA", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(DataError, match="cache/cepscope/fsdd"):
        load_corpus("fsdd")


def test_a_broken_download_goes_on(server: Server, source: Source, tmp_path: Path) -> None:
    server.breaks = [20_000, 50_000, 7]
    fetch("fsdd", tmp_path / "fsdd", source=source, pause=0)
    # whole blocks of 16 kB were kept
    assert server.asked == ["", "bytes=16384-", "bytes=65536-", "bytes=65536-"]
    assert left(tmp_path) == ["fsdd"]


def test_what_an_earlier_run_left_is_used(server: Server, source: Source, tmp_path: Path) -> None:
    server.breaks = [20_000, 0, 0, 0, 0]
    with pytest.raises(
        DataError, match=rf"tried {ATTEMPTS} times, what came is kept in .*\.part\)\. By hand: download"
    ):
        fetch("fsdd", tmp_path / "fsdd", source=source, pause=0)
    assert left(tmp_path) == ["digits.tar.gz.part"]
    assert (tmp_path / "digits.tar.gz.part").read_bytes() == server.content[:16384]
    server.breaks, server.asked = [], []
    fetch("fsdd", tmp_path / "fsdd", source=source, pause=0)
    assert server.asked == ["bytes=16384-"]
    # and one that was whole already, but not yet in place
    (tmp_path / "digits.tar.gz.part").write_bytes(server.content)
    fetch("fsdd", tmp_path / "again", source=source, pause=0)
    assert left(tmp_path) == ["again", "fsdd"]


def test_a_server_that_can_not_go_on_sends_it_again(server: Server, source: Source, tmp_path: Path) -> None:
    server.ranges, server.breaks = False, [40_000]
    fetch("fsdd", tmp_path / "fsdd", source=source, pause=0)
    assert server.asked == ["", "bytes=32768-"]


def test_a_part_of_something_longer_starts_anew(server: Server, source: Source, tmp_path: Path) -> None:
    (tmp_path / "digits.tar.gz.part").write_bytes(bytes(len(server.content) + 9))
    fetch("fsdd", tmp_path / "fsdd", source=source, pause=0)
    assert server.asked == [f"bytes={len(server.content) + 9}-", ""]


def test_a_wrong_file_is_thrown_away(server: Server, source: Source, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not what was expected .* it was removed"):
        fetch("fsdd", tmp_path / "fsdd", source=replace(source, sha256="0" * 64), pause=0)
    assert left(tmp_path) == []
    (tmp_path / "digits.tar.gz.part").write_bytes(bytes(500))  # the beginning of another file
    with pytest.raises(DataError, match="is not what was expected"):
        fetch("fsdd", tmp_path / "fsdd", source=source, pause=0)
    assert left(tmp_path) == []
    with pytest.raises(DataError, match=f"has {len(server.content)} bytes, expected at most 1000"):
        fetch("fsdd", tmp_path / "fsdd", source=replace(source, most=(1000, 1000)), pause=0)
    with pytest.raises(DataError, match="holds more than the 1000 bytes expected"):
        fetch("fsdd", tmp_path / "fsdd", source=replace(source, most=(10**6, 1000)), pause=0)
    assert left(tmp_path) == []


@pytest.mark.parametrize("name", ["../../evil.wav", "/tmp/evil-of-cepscope.wav"])
def test_a_hostile_archive_leaves_nothing(server: Server, source: Source, tmp_path: Path, name: str) -> None:
    server.content = packed({"recordings/0_a_0.wav": b"RIFF", name: b"x"})
    hostile = replace(source, sha256=hashlib.sha256(server.content).hexdigest())
    with pytest.raises(DataError, match="outside the folder"):
        fetch("fsdd", tmp_path / "deep" / "fsdd", source=hostile, pause=0)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not Path("/tmp/evil-of-cepscope.wav").exists()


def test_content_is_verified_where_the_archive_changes(
    server: Server, source: Source, tmp_path: Path, recordings: dict[str, bytes]
) -> None:
    digest = hashlib.sha256()
    for name in sorted(recordings):
        if name.endswith(".wav"):
            digest.update(Path(name).name.encode() + recordings[name])
    loose = replace(source, sha256=None, size=None, content="recordings/*.wav", content_sha256=digest.hexdigest())
    fetch("fsdd", tmp_path / "fsdd", source=loose, pause=0)
    server.content = packed({**recordings, "digits-1.0/NEWS": b"packed anew"})
    fetch("fsdd", tmp_path / "anew", source=loose, pause=0)
    server.content = packed({**recordings, "digits-1.0/recordings/0_george_0.wav": b"RIFF"})
    with pytest.raises(DataError, match=r"are not those expected .* nothing was kept"):
        fetch("fsdd", tmp_path / "changed", source=loose, pause=0)
    assert left(tmp_path) == ["anew", "fsdd"]


def test_the_digest_of_fsdd_is_that_of_the_recordings(shared_dir: Path, tmp_path: Path) -> None:
    # kept as FLAC here; as 16-bit WAV with the usual 44 bytes of header they are the files of the release
    for path in (shared_dir / "corpora" / "fsdd" / "audio").iterdir():
        samples, sr = sf.read(path, dtype="int16")
        data = samples.astype("<i2").tobytes()
        kind = struct.pack("<4s4sIHHIIHH", b"WAVE", b"fmt ", 16, 1, 1, sr, 2 * sr, 2, 16)
        head = struct.pack("<4sI", b"RIFF", 36 + len(data)) + kind + struct.pack("<4sI", b"data", len(data))
        (tmp_path / f"{path.stem}.wav").write_bytes(head + data)
    assert content_digest(tmp_path, "*.wav") == KNOWN["fsdd"].content_sha256


def test_without_a_connection_it_is_said_how_to_do_it_by_hand(
    server: Server, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = replace(source, url="http://127.0.0.1:9/digits.tar.gz")
    place = tmp_path / "digits.tar.gz"
    with pytest.raises(DataError) as caught:
        fetch("fsdd", tmp_path / "fsdd", source=nobody, pause=0)
    message = str(caught.value)
    assert f"By hand: download {nobody.url} elsewhere, save it as {place}, and run the same command again" in message
    assert "Connection refused" in message
    assert "\n" not in message
    place.write_bytes(server.content[:-5000])
    with pytest.raises(DataError, match=f"has the SHA-256 .*, expected {source.sha256}; remove it"):
        fetch("fsdd", tmp_path / "fsdd", source=nobody)
    with pytest.raises(DataError, match="was there already: remove it, and it is downloaded"):
        fetch("fsdd", tmp_path / "fsdd", source=replace(nobody, sha256=None))
    assert left(tmp_path) == ["digits.tar.gz"]
    place.write_bytes(server.content)
    monkeypatch.setitem(sys.modules, "pooch", None)  # nothing to download: it isn't needed
    fetch("fsdd", tmp_path / "fsdd", source=nobody)
    assert left(tmp_path) == ["fsdd"]
    with pytest.raises(MissingExtraError, match=r"pip install 'cepscope\[fetch\]'"):
        fetch("fsdd", tmp_path / "other", source=source)


def test_a_server_in_trouble_is_asked_again_a_missing_file_is_not(
    server: Server, source: Source, tmp_path: Path
) -> None:
    server.statuses = [503, 500]
    fetch("fsdd", tmp_path / "fsdd", source=source, pause=0)
    assert len(server.asked) == 3
    server.statuses, server.asked = [404], []
    with pytest.raises(DataError, match="404"):
        fetch("fsdd", tmp_path / "other", source=source, pause=0)
    assert len(server.asked) == 1


def test_a_folder_with_something_else_is_left_alone(server: Server, source: Source, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(ParameterError, match="holds something else than 'fsdd'"):
        fetch("fsdd", tmp_path / "mine", source=source)
    (tmp_path / "file").write_text("")
    with pytest.raises(ParameterError, match="holds something else"):
        fetch("fsdd", tmp_path / "file", source=source)
    with pytest.raises(DataError, match="can't make"):
        fetch("fsdd", tmp_path / "file" / "fsdd", source=source)
    with pytest.raises(ParameterError, match=r"known corpora are fsdd, speech-commands. Received: 'timit'"):
        fetch("timit", tmp_path / "timit")
    assert server.asked == []
    (tmp_path / "empty").mkdir()
    fetch("fsdd", tmp_path / "empty", source=source)
