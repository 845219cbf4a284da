"""Clips by columns: a few dozen bytes each, where objects would take a kilobyte."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar, overload

import numpy as np
import numpy.typing as npt

Item_co = TypeVar("Item_co", covariant=True)

SIDES = ("train", "test")
OPEN = -1  # the side of a clip whose split is not decided yet


class Made(Sequence[Item_co]):
    """Things of which each is made when it is asked for (`_made`), read only; equal to any sequence of the same."""

    @overload
    def __getitem__(self, index: int) -> Item_co: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Item_co, ...]: ...
    def __getitem__(self, index: int | slice) -> Item_co | tuple[Item_co, ...]:
        if isinstance(index, slice):
            return tuple(self._made(i) for i in range(*index.indices(len(self))))
        return self._made(range(len(self))[index])

    def __iter__(self) -> Iterator[Item_co]:
        return map(self._made, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def _made(self, index: int) -> Item_co:
        raise NotImplementedError


class Words(Made[str]):
    """Texts."""

    def __add__(self, more: Iterable[str]) -> tuple[str, ...]:
        return (*self, *more)

    def __repr__(self) -> str:
        return repr(tuple(self))


class Names(Words):
    """Texts that are mostly different: one string of bytes, and where each ends.

    Parameters
    ----------
    content
        UTF-8 (bytes of file names that are no text are kept).
    ends : array [shape=(n,)]
        int64.
    """

    def __init__(self, content: bytes, ends: npt.NDArray[np.int64]) -> None:
        self._content, self._ends = content, ends

    @classmethod
    def of(cls, words: Iterable[str]) -> Names:
        """Pack texts."""
        content, ends = bytearray(), array("q")
        for word in words:
            content += word.encode("utf-8", "surrogateescape")
            ends.append(len(content))
        return cls(bytes(content), np.frombuffer(ends, np.int64) if ends else np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self._ends)

    def raw(self, index: int) -> bytes:
        """Return a text's bytes, which sort as the texts do."""
        return self._content[int(self._ends[index - 1]) if index else 0 : int(self._ends[index])]

    def part(self, first: int, stop: int) -> Names:
        """Return those from `first` up to `stop`."""
        first = min(first, len(self))
        begin = int(self._ends[first - 1]) if first else 0
        ends = self._ends[first:stop] - begin
        return Names(self._content[begin : begin + int(ends[-1])] if len(ends) else b"", ends)

    def take(self, rows: Iterable[int]) -> Names:
        """Return some of them."""
        return Names.of(self._made(int(i)) for i in rows)

    def _made(self, index: int) -> str:
        return self.raw(index).decode("utf-8", "surrogateescape")


class Kinds(Words):
    """Texts of which there are few different ones: these, and a number for each.

    Parameters
    ----------
    values
        The different ones; some may not occur.
    codes : array [shape=(n,)]
        int32.
    """

    def __init__(self, values: Sequence[str], codes: npt.NDArray[np.int32]) -> None:
        self.values, self.codes = tuple(values), codes

    @classmethod
    def of(cls, words: Iterable[str]) -> Kinds:
        """Pack texts."""
        numbers: dict[str, int] = {}
        codes = array("i", (numbers.setdefault(word, len(numbers)) for word in words))
        return cls(tuple(numbers), np.frombuffer(codes, np.int32) if codes else np.zeros(0, np.int32))

    @property
    def present(self) -> tuple[str, ...]:
        """Return the different ones that occur, sorted."""
        return tuple(sorted(self.values[i] for i in np.unique(self.codes)))

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: npt.NDArray[np.intp] | slice) -> Kinds:
        """Return some of them."""
        return Kinds(self.values, self.codes[rows])

    def _made(self, index: int) -> str:
        return self.values[int(self.codes[index])]


@dataclass(frozen=True, eq=False, slots=True)
class Columns:
    """Clips.

    Attributes
    ----------
    names : Names
        Paths below the corpus's root, with forward slashes.
    labels, speakers : Kinds
    sides : array [shape=(n,)]
        int8, index into `SIDES`, or `OPEN`.
    times : array [shape=(n, 2)] or None
        Start and stop in seconds, NaN for a stop at the file's end; None where every clip is a whole file.
    """

    names: Names
    labels: Kinds
    speakers: Kinds
    sides: npt.NDArray[np.int8]
    times: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.sides)

    def stretch(self, index: int) -> tuple[float, float | None]:
        """Return where a clip starts and stops, in seconds; None is the file's end."""
        if self.times is None:
            return 0.0, None
        start, stop = self.times[index].tolist()
        return start, None if stop != stop else stop  # NaN is not itself

    @property
    def stretched(self) -> npt.NDArray[np.bool_]:
        """Return which clips are stretches of files [shape=(n,)]."""
        return np.zeros(len(self), bool) if self.times is None else ~np.isnan(self.times[:, 1])

    def part(self, first: int, stop: int) -> Columns:
        """Return the clips from `first` up to `stop`."""
        rows = slice(first, stop)
        times = None if self.times is None else self.times[rows]
        kinds = (self.labels.take(rows), self.speakers.take(rows))
        return Columns(self.names.part(first, stop), *kinds, self.sides[rows], times)

    def take(self, rows: npt.NDArray[np.intp]) -> Columns:
        """Return some of the clips."""
        times = None if self.times is None else self.times[rows]
        kinds = (self.labels.take(rows), self.speakers.take(rows))
        return Columns(self.names.take(rows), *kinds, self.sides[rows], times)

    def order(self) -> npt.NDArray[np.intp]:
        """Return the indices that sort the clips by name, those of one file by their start; equal ones as they are."""
        count = len(self)
        starts = np.zeros(count) if self.times is None else self.times[:, 0]
        keys = ((self.names.raw(i), starts[i]) for i in range(count))
        if all(a <= b for a, b in pairwise(keys)):
            return np.arange(count)  # the usual: no list of all names is made
        names = [self.names.raw(i) for i in range(count)]
        return np.array(sorted(np.argsort(starts, kind="stable").tolist(), key=names.__getitem__), np.intp)

    def sorted(self) -> Columns:
        """Return the clips in that order."""
        order = self.order()
        return self if (order == np.arange(len(self))).all() else self.take(order)

    def with_test(self, test: Iterable[int]) -> Columns:
        """Return the clips with these in test, all others in train."""
        sides = np.zeros(len(self), np.int8)
        sides[np.fromiter(test, np.intp)] = SIDES.index("test")
        return replace(self, sides=sides)


class ColumnsBuilder:
    """Clips, one after another."""

    def __init__(self) -> None:
        self._content, self._ends = bytearray(), array("q")
        self._kinds: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self._codes = (array("i"), array("i"))
        self._sides, self._times = array("b"), array("d")

    def __len__(self) -> int:
        return len(self._sides)

    def append(
        self, name: str, label: str, speaker: str, side: str | None, start: float = 0.0, stop: float | None = None
    ) -> None:
        """Add a clip."""
        self._content += name.encode("utf-8", "surrogateescape")
        self._ends.append(len(self._content))
        for word, numbers, codes in zip((label, speaker), self._kinds, self._codes, strict=True):
            codes.append(numbers.setdefault(word, len(numbers)))
        stretch = stop is not None or start > 0
        if stretch and not self._times:
            self._times.extend([0.0, np.nan] * len(self._sides))  # all before were whole files
        if stretch or self._times:
            self._times.extend([start, np.nan if stop is None else stop])
        self._sides.append(OPEN if side is None else SIDES.index(side))

    def done(self) -> Columns:
        """Return the clips."""
        if not self._sides:
            nothing = Kinds((), np.zeros(0, np.int32))
            return Columns(Names.of(()), nothing, nothing, np.zeros(0, np.int8))
        labels, speakers = (
            Kinds(tuple(numbers), np.array(codes, np.int32))
            for numbers, codes in zip(self._kinds, self._codes, strict=True)
        )
        times = np.array(self._times, np.float64).reshape(-1, 2) if self._times else None
        names = Names(bytes(self._content), np.array(self._ends, np.int64))
        return Columns(names, labels, speakers, np.array(self._sides, np.int8), times)
