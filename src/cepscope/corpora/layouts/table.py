"""A table of clips: metadata.csv (the audiofolder convention), or one with the stretches of recordings.

Its columns are ``file_name``, the label, and if they are known ``speaker``, ``split`` (train or test), ``start`` and
``end`` in seconds.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from cepscope.corpora.corpus import SPLITS, Split
from cepscope.corpora.layouts.rows import LABEL, MOST_TEXT, Folder, Listing, Row, Rows, is_file, names
from cepscope.errors import DataError

METADATA = "metadata.csv"
_LABELS = (LABEL, "phone", "word")  # the first of them that there is, unless another column is asked for
_STARTS = ("start", "start_s", "start_time")
_STOPS = ("end", "end_s", "end_time", "stop", "stop_s")


def is_audiofolder(folder: Folder) -> bool:
    """Tell whether there is a metadata.csv."""
    return (folder.root / METADATA).is_file()


def read_audiofolder(folder: Folder, label: str) -> Listing:
    """List the clips of metadata.csv."""
    return Listing(_read(folder.root / METADATA, label))


def is_table(folder: Folder) -> bool:
    """Tell whether there is one table of stretches, under any name."""
    return len(_tables(folder.root)) == 1


def read_table(folder: Folder, label: str) -> Listing:
    """List the stretches of the folder's one table."""
    tables = _tables(folder.root)
    if len(tables) != 1:
        found = names(tables, folder.root) or "none"
        raise DataError(f"{folder.root}: expected one csv with file_name,start,end,label. Received: {found}")
    return Listing(_read(tables[0], label))


def read_lines(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Return a table's columns, and its lines with their numbers; DataError when it is not CSV in UTF-8."""
    return read_columns(path), list(each_line(path))


def read_columns(path: Path) -> list[str]:
    """Return a table's columns; errors as `read_lines`."""
    with _table(path) as reader:
        return list(reader.fieldnames or ())


def each_line(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield a table's lines with their numbers, so that they are never all in memory; errors as `read_lines`."""
    with _table(path) as reader:
        columns = list(reader.fieldnames or ())
        for line in reader:
            yield reader.line_num, {key: (line.get(key) or "").strip() for key in columns}


@contextmanager
def _table(path: Path) -> Iterator[csv.DictReader[str]]:
    try:
        if (size := path.stat().st_size) > MOST_TEXT:
            raise DataError(f"{path} has {size} bytes, expected a table of at most {MOST_TEXT}; split the corpus")
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield csv.DictReader(file, strict=True)
    except OSError as error:
        raise DataError(f"can't read {path} ({(error.strerror or 'unreadable').lower()})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8 ({error})") from error


def label_column(columns: Iterable[str], label: str) -> str:
    """Return the column that holds the label."""
    return next((name for name in _LABELS if name in columns), label) if label == LABEL else label


def time_columns(columns: Iterable[str]) -> tuple[str, str] | None:
    """Return the columns that hold where stretches start and stop, in seconds; None when there are none."""
    columns = list(columns)
    start = next((name for name in _STARTS if name in columns), "")
    stop = next((name for name in _STOPS if name in columns), "")
    return (start, stop) if start and stop else None


def stretch_times(where: str, start: str, stop: str) -> tuple[float, float]:
    """Return a stretch's times as numbers; DataError unless 0 <= start <= stop."""
    try:
        times = float(start), float(stop)
    except ValueError:
        raise DataError(f"{where}: start and end must be seconds. Received: {start!r} and {stop!r}") from None
    if not 0 <= times[0] <= times[1] < float("inf"):
        raise DataError(f"{where}: a stretch starts at 0 s or later and ends after that. Received: {start} to {stop}")
    return times


def _tables(root: Path) -> list[Path]:
    found = []
    for path in filter(is_file, sorted(root.glob("*.csv"))):
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                columns = next(csv.reader(file), [])
        except (UnicodeDecodeError, csv.Error, OSError):
            continue
        if "file_name" in columns and time_columns(columns):
            found.append(path)
    return found


def _read(table: Path, label: str) -> Rows:
    columns = read_columns(table)
    wanted = label_column(columns, label)
    if missing := [name for name in ("file_name", wanted) if name not in columns]:
        found = ", ".join(columns) or "nothing"
        raise DataError(
            f"{table}: expected the columns file_name,{wanted}. Missing: {', '.join(missing)}. Received: {found}"
        )
    times = time_columns(columns)
    rows = Rows(table.parent, (_row(table, number, line, wanted, times) for number, line in each_line(table)))
    every = rows.columns()
    pairs = ((a, b) for a, b in pairwise(every.order().tolist()) if every.stretch(a) == every.stretch(b))
    if twice := sorted(a for a, b in pairs if every.names.raw(a) == every.names.raw(b)):
        paths = dict.fromkeys(table.parent / every.names[i] for i in twice)
        raise DataError(f"{table}: {names(paths, table.parent)} listed more than once; keep one row for each")
    absent = (name for name in every.names if not is_file(table.parent / name))
    if gone := dict.fromkeys(table.parent / name for name in absent):
        raise DataError(f"{table}: no such file: {names(gone, table.parent)}")
    return rows


def _row(table: Path, number: int, line: dict[str, str], wanted: str, times: tuple[str, str] | None) -> Row:
    where = f"{table}, line {number}"
    name, label, speaker, split = (line.get(key, "") for key in ("file_name", wanted, "speaker", "split"))
    if not name or not label:
        raise DataError(f"{where}: {wanted if name else 'file_name'} is empty")
    path = table.parent / name  # an absolute name stays absolute
    if ".." in Path(name).parts or not path.is_relative_to(table.parent):
        raise DataError(f"{where}: file_name must lie in the corpus's folder. Received: {name}")
    if split not in ("", *SPLITS):
        raise DataError(f"{where}: split must be train or test. Received: {split}")
    side: Split | None = "train" if split == "train" else "test" if split == "test" else None
    start, stop = (line[key] for key in times) if times else ("", "")
    if not start and not stop:
        return Row(path, label, speaker, side)
    return Row(path, label, speaker, side, *stretch_times(where, start, stop))
