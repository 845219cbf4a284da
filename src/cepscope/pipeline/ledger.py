"""What each stage read, wrote and took; the lock that keeps two runs out of one folder."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Any

from pydantic import AfterValidator, BaseModel, TypeAdapter, ValidationError

import cepscope
from cepscope.atomic import sha256, write_text
from cepscope.errors import CepscopeError, CorruptArtifactError, DataError, ParameterError

PACKAGES = ("tensorflow", "keras", "librosa", "numpy", "scipy", "soundfile", "scikit-learn", "matplotlib")
FILE = "run.json"
SETTINGS = "run.toml"
LOCK = ".lock"
UNFINISHED = re.compile(r"\.part-[0-9a-f]{12}(\.\w+)?")  # what `atomic_path` calls a file that is not whole yet


def fingerprint(**parts: Any) -> str:
    """Return a short key of settings and inputs: equal parts give equal keys."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@cache
def code_version(*rooms: str) -> str:
    """Return a key of the code of some rooms: a stage is run again when what it runs has changed."""
    home = Path(cepscope.__file__).parent
    files = sorted(path for room in rooms for path in _sources(home / room))
    return fingerprint(
        version=cepscope.__version__, files={path.relative_to(home).as_posix(): sha256(path) for path in files}
    )


def _sources(room: Path) -> list[Path]:
    if not room.is_dir():
        return [room.with_suffix(".py")]
    return [path for path in room.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def versions() -> dict[str, str]:
    """Return the versions, and the threads, that a result may depend on, without importing anything heavy."""
    found = {"cepscope": cepscope.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    # among how many threads TensorFlow splits its sums, which their last bits depend on
    return found | {"threads": os.environ.get("TF_NUM_INTRAOP_THREADS") or str(os.cpu_count())}


def _inside(name: str) -> str:
    """Refuse the name of a file that is not below the run's folder, as a record from elsewhere may have it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f"{name!r} is no file of the run")
    return name


class _Entry(BaseModel):
    """What must be true of a stage's entry so that nothing else in it can be trusted wrongly."""

    fingerprint: str = ""
    seconds: float = 0.0
    seed: int = 0
    settings: dict[str, Any] = {}
    inputs: dict[str, str] = {}
    outputs: dict[Annotated[str, AfterValidator(_inside)], str] = {}


class _Record(BaseModel):
    stages: dict[str, _Entry]
    versions: dict[str, str] = {}


class Ledger:
    """The record of a run: ``run.json``.

    Parameters
    ----------
    folder : Path
        Of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record: dict[str, Any] = {"stages": {}}
        path = folder / FILE
        if path.is_file():
            try:
                self.record = json.loads(path.read_text("utf-8"))
                TypeAdapter(_Record).validate_python(self.record, strict=True)
            except (OSError, ValueError, RecursionError) as error:
                why: object = error
                if isinstance(error, ValidationError):
                    first = error.errors()[0]
                    why = ": ".join(
                        [*(str(key) for key in first["loc"][:3]), first["msg"].removeprefix("Value error, ")]
                    )
                raise CorruptArtifactError(
                    f"{path} is damaged ({why}). Delete it: the stages will be run again."
                ) from error

    def entry(self, stage: str) -> dict[str, Any]:
        """Return what was recorded of a finished stage; empty if it was not finished."""
        found = self.record["stages"].get(stage, {})
        return dict(found) if found.get("fingerprint") else {}

    def outputs(self, stage: str) -> dict[str, str]:
        """Return path to sha256 of what a finished stage wrote, by its own account."""
        return dict(self.entry(stage).get("outputs", {}))

    def is_current(self, stage: str, key: str) -> bool:
        """Tell whether a stage was finished with these settings and inputs and its outputs are intact."""
        return self.entry(stage).get("fingerprint") == key and self.is_intact(stage)

    def is_intact(self, stage: str) -> bool:
        """Tell whether every file that a stage wrote is there, unchanged."""
        outputs = self.outputs(stage)
        return bool(outputs) and all(
            (self.folder / name).is_file() and sha256(self.folder / name) == digest for name, digest in outputs.items()
        )

    def begin(self, stage: str) -> None:
        """Withdraw a stage's claim before it is run again, and remove those of its files that are not intact.

        What it wrote stays listed: `finish` removes what it does not write again.
        """
        found = self.record["stages"].get(stage)
        if found is None:
            return
        for name, digest in found.get("outputs", {}).items():
            path = self.folder / name
            if path.is_file() and sha256(path) != digest:
                self._remove(name)
        self.record["stages"][stage] = {"outputs": found.get("outputs", {})}
        self._write()

    def finish(
        self,
        stage: str,
        key: str,
        outputs: Iterable[Path],
        *,
        seconds: float,
        settings: Mapping[str, Any],
        inputs: Mapping[str, str],
        seed: int,
    ) -> None:
        """Record a finished stage; remove what it wrote once and now does not."""
        written = {path.relative_to(self.folder).as_posix(): sha256(path) for path in sorted(outputs)}
        for name in set(self.record["stages"].get(stage, {}).get("outputs", {})) - set(written):
            self._remove(name)
        self.record["stages"][stage] = {
            "fingerprint": key,
            "seconds": round(seconds, 2),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "seed": seed,
            "settings": dict(settings),
            "inputs": dict(inputs),
            "outputs": written,
        }
        self._write()

    def describe(self, **parts: Any) -> None:
        """Record the run's settings and versions."""
        self.record = {**parts, "versions": versions(), "stages": self.record["stages"]}
        self._write()

    def _remove(self, name: str) -> None:
        """Remove a file of the run; what a link leads to outside is not the run's to remove."""
        path = self.folder / name
        if path.resolve().is_relative_to(self.folder.resolve()):
            path.unlink(missing_ok=True)

    def _write(self) -> None:
        write_text(self.folder / FILE, json.dumps(self.record, indent=1, allow_nan=False) + "\n")


@contextmanager
def run_folder(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Make a run's folder and hold its lock, alone or shared with others; leave nothing behind if nothing was produced.

    Raises
    ------
    DataError
        If the folder can't be written, or another process works in it.
    ParameterError
        If it holds something, but no run: a run's files would mix with what is there.
    """
    folder = folder.absolute()
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    lock = folder / LOCK
    _refuse_foreign(folder)
    fresh = not (folder.is_dir() and any(folder.iterdir()))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
        held = _take(lock, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    except OSError as error:
        raise DataError(
            f"The output folder {folder} can't be written ({error.strerror}). Choose another with --out."
        ) from error
    try:
        if not shared:  # what others write now is not whole yet
            _sweep(folder)
        yield
    except CepscopeError:
        if fresh and not shared and not (folder / SETTINGS).is_file():  # no stage was finished
            shutil.rmtree(folder / "features", ignore_errors=True)
        raise
    finally:
        _give_back(held, lock)
        for path in made:  # innermost first; a folder with anything in it stays
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def _refuse_foreign(folder: Path) -> None:
    if not folder.is_dir() or (folder / SETTINGS).is_file() or (folder / FILE).is_file():
        return
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if names and names != ["features"]:  # a first extraction that was killed goes on
        raise ParameterError(
            f"The output folder {folder} holds {names[0]} and no run. Choose a new or an empty one with --out."
        )


def _take(lock: Path, how: int) -> IO[str]:
    """Return the lock, held alone or shared until it is closed or the process ends, however it ends."""
    while True:
        held = lock.open("a+")
        try:
            fcntl.flock(held, how | fcntl.LOCK_NB)
        except BlockingIOError:
            held.seek(0)
            owner = held.read().strip()
            held.close()
            raise DataError(
                f"Process {owner or 'of someone else'} is working in {lock.parent}. Wait for it, or choose another "
                "folder with --out."
            ) from None
        if lock.exists() and lock.stat().st_ino == os.fstat(held.fileno()).st_ino:
            held.truncate(0)
            held.write(str(os.getpid()))
            held.flush()
            return held
        held.close()  # its last owner took it away in the meantime


def _give_back(held: IO[str], lock: Path) -> None:
    with held, suppress(BlockingIOError):
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unless others share it, its file goes
        lock.unlink(missing_ok=True)  # before it is given back: whoever waits looks whether it is still the same


def _sweep(folder: Path) -> None:
    """Remove files that a process was writing when it was killed."""
    for path in folder.rglob(".part-*"):
        if UNFINISHED.fullmatch(path.name) and path.is_file():
            path.unlink()
