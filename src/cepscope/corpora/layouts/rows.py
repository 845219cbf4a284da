"""What every layout shares: the rows that it reads, and the recordings of a folder."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import overload

from cepscope.corpora.columns import Columns, ColumnsBuilder, Names
from cepscope.corpora.corpus import SPLITS, Split
from cepscope.errors import CepscopeWarning, DataError, ParameterError

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
OWN_SPLIT = "the corpus's own split"
MOST_TEXT = 256 << 20  # bytes of a table or a file of labels: millions of lines
LABEL = "label"  # the class that a layout is about, be it a word, a digit or a phone


@dataclass(frozen=True, slots=True)
class Row:
    """A clip whose split may still be open; `stop` is None for a whole file, and `start` for a single point in time."""

    path: Path
    label: str
    speaker: str = ""
    split: Split | None = None
    start: float = 0.0
    stop: float | None = None


class Rows:
    """The clips that a layout finds below a folder, in few bytes each."""

    def __init__(self, root: Path, rows: Iterable[Row] = ()) -> None:
        self.root, self._found = root, ColumnsBuilder()
        for row in rows:
            self.append(row)

    def append(self, row: Row) -> None:
        """Add a clip."""
        name = row.path.relative_to(self.root).as_posix()
        self._found.append(name, row.label, row.speaker, row.split, row.start, row.stop)

    def columns(self) -> Columns:
        """Return them."""
        return self._found.done()

    def undecided(self) -> Rows:
        """Return the same with no split."""
        return Rows(self.root, (replace(row, split=None) for row in self))

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Row]:
        every = self.columns()
        for i in range(len(every)):
            side: Split | None = None if every.sides[i] < 0 else SPLITS[every.sides[i]]
            path = self.root / every.names[i]
            yield Row(path, every.labels[i], every.speakers[i], side, *every.stretch(i))


@dataclass(frozen=True)
class Listing:
    """What a layout finds in a folder, and one line about its split."""

    rows: Rows
    note: str = OWN_SPLIT


class Paths(Sequence[Path]):
    """Files below a folder, of which each path is made when it is asked for."""

    def __init__(self, root: Path, names: Names) -> None:
        self._root, self._names = root, names

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Path, ...]: ...
    def __getitem__(self, index: int | slice) -> Path | tuple[Path, ...]:
        found = self._names[index]
        return self._root / found if isinstance(found, str) else tuple(self._root / name for name in found)

    def __iter__(self) -> Iterator[Path]:
        return (self._root / name for name in self._names)


@dataclass(frozen=True)
class Folder:
    """A folder to be recognised and read; it is walked through once."""

    root: Path

    @cached_property
    def recordings(self) -> Paths:
        """All recordings below, in the order of a walk; what is no file, or can't be written down, is left out."""
        nowhere: list[str] = []
        strange: list[str] = []

        def usable() -> Iterator[str]:
            for name in self._walk():
                if not is_file(self.root / name):
                    nowhere.append(name)
                elif not is_text(name):
                    strange.append(name)
                else:
                    yield name

        found = Names.of(usable())
        for names, why in ((nowhere, "are links to nowhere, pipes or devices"), (strange, "have names beyond UTF-8")):
            if names:
                message = f"{self.root}: recordings that {why} were left out ({len(names)}, the first: {names[0]!a})"
                warnings.warn(message, CepscopeWarning, stacklevel=2)
        return Paths(self.root, found)

    def has(self, *suffixes: str) -> bool:
        """Tell whether any file below ends so."""
        return bool(self.recordings) and not self._suffixes.isdisjoint(suffixes)

    @cached_property
    def _suffixes(self) -> set[str]:
        return set()

    def _walk(self) -> Iterator[str]:
        """Yield the names of recordings below the folder; a linked folder is followed once, so loops end."""
        seen: set[str] = set()
        for folder, subfolders, files in os.walk(self.root, followlinks=True):
            real = os.path.realpath(folder)
            if real in seen:
                subfolders.clear()
                continue
            seen.add(real)
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            below = os.path.relpath(folder, self.root)
            for name in sorted(files):
                self._suffixes.add("." + name.rpartition(".")[2])
                if not name.startswith(".") and name.lower().endswith(AUDIO_SUFFIXES):
                    yield name if below == "." else f"{below}/{name}"


def is_text(path: Path | str) -> bool:
    """Tell whether a path can be written into a file: Linux takes any bytes for a name."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def is_file(path: Path) -> bool:
    """Tell whether there is such a file; a name too long to be one is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def read_bytes(path: Path) -> bytes:
    """Read a file of labels; DataError when it can't be read, or is larger than any such file."""
    try:
        if (size := path.stat().st_size) > MOST_TEXT:
            raise DataError(f"{path} has {size} bytes, expected a text of at most {MOST_TEXT}; leave it out")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"can't read {path} ({(error.strerror or 'unreadable').lower()})") from error


def read_text(path: Path) -> str:
    """Read a file of labels in UTF-8; errors as `read_bytes`, or DataError when it is no such text."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8 ({error.reason})") from error


def choose(label: str, facts: dict[str, str]) -> str:
    """Return what `label` names among what a layout knows of a clip; ParameterError when it knows no such thing."""
    if label not in facts:
        raise ParameterError(f"this corpus knows {', '.join(facts)} of a clip. Received: label={label!r}")
    return facts[label]


def names(paths: Iterable[Path], root: Path) -> str:
    """Return the first few paths below a folder, and how many more there are."""
    return listed([path.relative_to(root).as_posix() for path in paths], quote=False)


def listed(words: Sequence[str], *, quote: bool = True) -> str:
    """Return the first three of some words, and how many more there are.

    Examples
    --------
    >>> listed(["a", "b"]), listed(["a", "b", "c", "d"], quote=False)
    ("'a', 'b'", 'a, b, c and 1 more')
    """
    shown = ", ".join(repr(word) if quote else word for word in words[:3])
    return shown if len(words) <= 3 else f"{shown} and {len(words) - 3} more"
