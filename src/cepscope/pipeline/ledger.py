"""What each stage read, wrote and took; the lock that keeps two runs out of one folder."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cepscope
from cepscope.atomic import sha256, write_text
from cepscope.errors import CorruptArtifactError, DataError

PACKAGES = ("tensorflow", "keras", "librosa", "numpy", "scipy", "soundfile", "scikit-learn", "matplotlib")
FILE = "run.json"
LOCK = ".lock"


def fingerprint(**parts: Any) -> str:
    """Return a short key of settings and inputs: equal parts give equal keys."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def versions() -> dict[str, str]:
    """Return the versions that a result may depend on, without importing anything heavy."""
    found = {"cepscope": cepscope.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


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
                self.record["stages"].items()
            except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
                raise CorruptArtifactError(
                    f"{path} is damaged ({error}). Delete it: the stages will be run again."
                ) from error

    def outputs(self, stage: str) -> dict[str, str]:
        """Return path to sha256 of what a stage wrote, by its own account."""
        entry = self.record["stages"].get(stage, {})
        return dict(entry.get("outputs", {}))

    def is_current(self, stage: str, key: str) -> bool:
        """Tell whether a stage was finished with these settings and inputs and its outputs are intact."""
        entry = self.record["stages"].get(stage, {})
        return entry.get("fingerprint") == key and self.is_intact(stage)

    def is_intact(self, stage: str) -> bool:
        """Tell whether every file that a stage wrote is there, unchanged."""
        outputs = self.outputs(stage)
        return bool(outputs) and all(
            (self.folder / name).is_file() and sha256(self.folder / name) == digest for name, digest in outputs.items()
        )

    def begin(self, stage: str) -> None:
        """Forget a stage before it is run again, so that a kill leaves no false claim."""
        if self.record["stages"].pop(stage, None) is not None:
            self._write()

    def finish(
        self,
        stage: str,
        key: str,
        outputs: Iterable[Path],
        *,
        seconds: float,
        inputs: Mapping[str, str],
        seed: int,
    ) -> None:
        """Record a finished stage."""
        self.record["stages"][stage] = {
            "fingerprint": key,
            "seconds": round(seconds, 2),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "seed": seed,
            "inputs": dict(inputs),
            "outputs": {path.relative_to(self.folder).as_posix(): sha256(path) for path in sorted(outputs)},
        }
        self._write()

    def describe(self, **parts: Any) -> None:
        """Record the run's settings and versions."""
        self.record = {**parts, "versions": versions(), "stages": self.record["stages"]}
        self._write()

    def _write(self) -> None:
        write_text(self.folder / FILE, json.dumps(self.record, indent=1, allow_nan=False) + "\n")


@contextmanager
def run_folder(folder: Path) -> Iterator[None]:
    """Make a run's folder and hold its lock; leave nothing behind if nothing was produced.

    Raises
    ------
    DataError
        If the folder can't be written, or another process works in it.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    lock = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
        _take(lock)
    except OSError as error:
        raise DataError(
            f"The output folder {folder} can't be written ({error.strerror}). Choose another with --out."
        ) from error
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        for path in made:  # innermost first; a folder with anything in it stays
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def _take(lock: Path) -> None:
    for _ in range(2):
        try:
            with lock.open("x") as file:
                file.write(str(os.getpid()))
        except FileExistsError:
            owner = lock.read_text().strip()
            if owner.isdecimal() and _alive(int(owner)):
                raise DataError(
                    f"Process {owner} is working in {lock.parent}. Wait for it, or choose another folder with --out."
                ) from None
            lock.unlink(missing_ok=True)  # its owner was killed
        else:
            return
    raise DataError(f"The lock {lock} can't be taken. Delete it if no other run is working there.")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
