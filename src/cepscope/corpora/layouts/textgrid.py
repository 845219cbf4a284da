"""Praat's TextGrid files: the long and the short text form, interval and point tiers, UTF-8 and UTF-16.

Praat reads only what stands free in such a file: numbers, quoted strings and flags in angle brackets. All other words
(``xmin =``, ``intervals [1]:``) and what follows an exclamation mark are comments, so both forms are one sequence of
values [1]_, and one reader reads both.

References
----------
.. [1] P. Boersma and D. Weenink, Praat manual, "TextGrid file formats".
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cepscope.corpora.layouts.rows import read_bytes
from cepscope.errors import DataError

_VALUE = re.compile(
    r'"(?P<text>[^"]*+(?:""[^"]*+)*+)"'  # nothing is tried twice (++, *+), or a hostile file would take for ever
    r"|(?<!\S)(?P<flag><\w+>)(?!\S)"
    r"|(?<!\S)(?P<number>[-+]?(?:\d++\.?\d*+|\.\d++)(?:[eE][-+]?\d++)?+)(?!\S)"
    r"|![^\n]*"
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A label and where it stands, in seconds; a point stops where it starts."""

    start: float
    stop: float
    text: str


@dataclass(frozen=True)
class Tier:
    """One row of a TextGrid."""

    name: str
    marks: tuple[Mark, ...]


def read_textgrid(path: Path) -> tuple[Tier, ...]:
    """Read a TextGrid; intervals without text are kept.

    Raises
    ------
    DataError
        The file is not a TextGrid in one of Praat's text forms, or ends too early.
    """
    values = _values(_decode(path))
    kind, what = next(values, None), next(values, None)
    if not str(kind).startswith("ooTextFile") or what != "TextGrid":
        raise DataError(f"{path} is not a TextGrid in Praat's text form; save it in Praat with 'Save as text file...'")
    try:
        _number(values), _number(values)  # from, to
        if _text(values) != "<exists>":
            return ()
        return tuple(_tier(values) for _ in range(int(_number(values))))
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path} is not a whole TextGrid in Praat's text form; save it again in Praat") from error


def _decode(path: Path) -> str:
    content = read_bytes(path)
    if content.startswith(b"ooBinaryFile"):
        raise DataError(f"{path} is in Praat's binary form; open it in Praat and choose 'Save as text file...'")
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE)) else "utf-8-sig"
    try:
        return content.decode(encoding).replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is neither UTF-8 nor UTF-16 ({error.reason}); save it again in Praat") from error


def _values(text: str) -> Iterator[str | float]:
    for match in _VALUE.finditer(text):
        if match["text"] is not None:
            yield match["text"].replace('""', '"')
        elif match["number"] is not None:
            yield float(match["number"])
        elif match["flag"] is not None:
            yield match["flag"]


def _tier(values: Iterator[str | float]) -> Tier:
    kind, name = _text(values), _text(values)
    _number(values), _number(values)  # from, to
    count = int(_number(values))
    if kind == "IntervalTier":
        return Tier(name, tuple(Mark(_number(values), _number(values), _text(values)) for _ in range(count)))
    if kind == "TextTier":
        times = ((_number(values), _text(values)) for _ in range(count))
        return Tier(name, tuple(Mark(time, time, text) for time, text in times))
    raise ValueError(kind)


def _text(values: Iterator[str | float]) -> str:
    value = next(values, None)
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _number(values: Iterator[str | float]) -> float:
    value = next(values, None)
    if not isinstance(value, float):
        raise TypeError(value)
    return value
