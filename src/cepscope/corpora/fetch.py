"""Fetching the corpora that are known by name: resumed, verified, unpacked with care; nothing half-done is left."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from cepscope.atomic import sha256
from cepscope.corpora.archives import only_folder, unpack
from cepscope.corpora.known import KNOWN, Source, content_digest, data_folder, expanded
from cepscope.corpora.layouts import LAYOUTS
from cepscope.corpora.layouts.rows import Folder
from cepscope.errors import DataError, MissingExtraError, ParameterError

ATTEMPTS = 4  # in a row that bring nothing; each goes on where the last one stopped
TIMEOUT = (10.0, 60.0)  # s, to connect and between two pieces
_BLOCK = 1 << 14  # bytes; what came of a block when the connection breaks is lost
_PAUSE = 1.0  # s before the second attempt, twice that before the third, ...

Progress = Callable[[str, int, int], object]
Counted = Callable[[int, int], object]


def fetch(
    name: str,
    to: str | Path | None = None,
    *,
    source: Source | None = None,
    progress: Progress | None = None,
    pause: float = _PAUSE,
) -> Path:
    """Get a corpus by name, unless it is there.

    The archive is downloaded beside the corpus's folder (what a broken download left is used), its SHA-256 compared,
    unpacked into a folder of its own and only then put in place. An archive that was put there by hand is used.

    Parameters
    ----------
    name
        "fsdd" or "speech-commands".
    to
        The corpus's folder; by default where `load_corpus` looks for the name.
    source
        Another place to get it from.
    progress
        Called as ``progress(what, bytes_done, bytes_in_all)``.
    pause
        Seconds before a broken download goes on.

    Returns
    -------
    Path
        The corpus's folder, for `load_corpus`.

    Raises
    ------
    ParameterError
        No such name, or the folder holds something else.
    MissingExtraError
        pooch is not installed.
    DataError
        No connection (the message says how to do it by hand), or what came is not what was expected.
    """
    if source is None and name not in KNOWN:
        raise ParameterError(f"known corpora are {', '.join(KNOWN)}. Received: {name!r}")
    source = source or KNOWN[name]
    folder = (expanded(to) if to else data_folder() / name).resolve()
    if _is_there(folder, name):
        return folder
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ParameterError(f"{folder} holds something else than {name!r}; choose an empty or a new folder with --to")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"can't make {folder.parent} ({error.strerror}); choose another place with --to") from error
    archive = folder.parent / source.file
    came = _download(source, archive, progress, pause)
    try:
        _unpack_into(folder, archive, source, progress)
    except DataError as error:
        if not came:
            raise DataError(f"{error} ({archive} was there already: remove it, and it is downloaded)") from error
        archive.unlink()
        raise
    archive.unlink()
    return folder


def _unpack_into(folder: Path, archive: Path, source: Source, progress: Progress | None) -> None:
    """Unpack an archive beside the folder, verify what was in it, and only then put it in place."""
    staging = folder.parent / f".part-{secrets.token_hex(6)}"
    try:
        staging.mkdir()
        unpack(archive, staging, most=source.most[1], progress=_named(progress, "unpack"))
        found = staging if source.content and any(staging.glob(source.content)) else only_folder(staging)
        if source.content and (digest := content_digest(found, source.content)) != source.content_sha256:
            raise DataError(
                f"the files {source.content} of {source.url} are not those expected (SHA-256 over names and bytes "
                f"{digest}, expected {source.content_sha256}); nothing was kept"
            )
        found.replace(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def by_hand(source: Source, archive: Path) -> str:
    """Return how to do without a connection."""
    return f"By hand: download {source.url} elsewhere, save it as {archive}, and run the same command again"


def _is_there(folder: Path, name: str) -> bool:
    """Tell whether a folder holds the corpus: it appears whole or not at all, so a look at its names is enough."""
    return folder.is_dir() and name in LAYOUTS and LAYOUTS[name].recognises(Folder(folder))


def _download(source: Source, archive: Path, progress: Progress | None, pause: float) -> bool:
    """Put the archive in place, verified; tell whether it came now, or was there."""
    if archive.is_file():
        if source.sha256 and (found := sha256(archive)) != source.sha256:
            raise DataError(f"{archive} has the SHA-256 {found}, expected {source.sha256}; remove it")
        return False
    pooch = _pooch()

    def transfer(url: str, output: str, _pooch: object) -> None:
        part = archive.with_name(archive.name + ".part")
        _transfer(url, part, source.most[0], _named(progress, "download"), pause)
        part.replace(output)  # which pooch verifies, and puts in place or throws away

    known = f"sha256:{source.sha256}" if source.sha256 else None
    log = pooch.get_logger()
    level = log.level
    log.setLevel("ERROR")  # what it would say, the bar and the errors do
    try:
        pooch.retrieve(source.url, known, archive.name, archive.parent, downloader=transfer)
    except ConnectionError as error:
        raise DataError(f"can't download {source.file} ({error}). {by_hand(source, archive)}") from error
    except DataError:
        raise
    except ValueError as error:  # pooch's, of another hash
        raise DataError(f"what came from {source.url} is not what was expected ({error}); it was removed") from error
    finally:
        log.setLevel(level)
    return True


def _transfer(url: str, part: Path, most: int, progress: Counted | None, pause: float) -> None:
    """Download to `part`, going on from what is there; ConnectionError when it can't be done."""
    import requests

    failed, longest = 0, 0
    while True:
        try:
            _continue(url, part, most, progress)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            size = part.stat().st_size if part.is_file() else 0
            failed = failed + 1 if size <= longest else 1  # one that brought more is worth as many again
            longest = max(longest, size)
            if failed == ATTEMPTS:
                kept = f", what came is kept in {part}" if size else ""
                raise ConnectionError(f"{_reason(error)}; tried {ATTEMPTS} times{kept}") from error
            time.sleep(pause * 2 ** (failed - 1))
        except requests.RequestException as error:  # an answer, and a final one
            raise ConnectionError(_reason(error)) from error
        else:
            return


def _continue(url: str, part: Path, most: int, progress: Counted | None) -> None:
    import requests

    done = part.stat().st_size if part.is_file() else 0
    plain = {"Accept-Encoding": "identity"}  # packed once more in transit, its bytes could not be counted
    headers = plain | ({"Range": f"bytes={done}-"} if done else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        code, sent = answer.status_code, answer.headers.get("Content-Range", "")
        if done and code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and sent.endswith(f"/{done}"):
            return  # it was whole
        if done and (code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not _follows(code, sent, done)):
            part.unlink()
            raise requests.ConnectionError("what was there did not fit; it starts anew")
        if code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise requests.ConnectionError(f"the server answers {code} {answer.reason}")
        answer.raise_for_status()
        done = done if code == HTTPStatus.PARTIAL_CONTENT else 0  # or it sends all of it again
        total = done + int(answer.headers.get("Content-Length") or 0)
        if total > most:
            raise DataError(f"{url} has {total} bytes, expected at most {most}; not downloaded")
        with part.open("ab" if done else "wb") as file:
            for block in answer.iter_content(_BLOCK):
                done += len(block)
                if done > most:
                    part.unlink()
                    raise DataError(f"{url} has more than the {most} bytes expected; not downloaded")
                file.write(block)
                if progress:
                    progress(done, max(total, done))


def _follows(code: int, sent: str, done: int) -> bool:
    """Tell whether an answer goes on at the byte asked for, if it claims to go on."""
    return code != HTTPStatus.PARTIAL_CONTENT or sent.startswith(f"bytes {done}-")


def _reason(error: Exception) -> str:
    """Return what went wrong with a connection in a few words; requests wraps it several times."""
    inner: Any = error
    while isinstance(inner, Exception):
        deepest, inner = inner, getattr(inner, "reason", None) or next(iter(inner.args), "")
    said = " ".join(str(inner).split()) if isinstance(inner, str) else str(deepest)
    return said.partition("): ")[2] or said or type(deepest).__name__  # without the connection's own name


def _named(progress: Progress | None, what: str) -> Counted | None:
    return (lambda done, total: progress(what, done, total)) if progress else None


def _pooch() -> Any:
    try:
        import pooch
    except ImportError as error:
        raise MissingExtraError("fetching needs the package pooch: pip install 'cepscope[fetch]'") from error
    return pooch
