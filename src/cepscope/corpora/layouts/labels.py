"""Files of labels beside recordings: TIMIT's, csv, Audacity's label tracks, Praat's TextGrids."""

from __future__ import annotations

from pathlib import Path

from cepscope.corpora.layouts.rows import LABEL, listed, read_text
from cepscope.corpora.layouts.table import label_column, read_lines, stretch_times, time_columns
from cepscope.corpora.layouts.textgrid import Mark, read_textgrid
from cepscope.corpora.stretches import sound_rate
from cepscope.errors import DataError, ParameterError

_DIGITS = 15  # of a sample's number: more than a recording of any length has


def timit_labels(path: Path, recording: Path) -> list[Mark]:
    """Read TIMIT's .PHN or .WRD: a line is ``START END LABEL``, in samples of the recording."""
    rate = sound_rate(recording)
    marks = []
    for number, line in _lines(path):
        start, stop, text = (*line.split(None, 2), "", "", "")[:3]
        if not (_is_sample(start) and _is_sample(stop) and text):
            raise DataError(f"{path}, line {number}: expected START END LABEL, in samples. Received: {line!r}")
        marks.append(Mark(int(start) / rate, int(stop) / rate, text.strip()))
    return marks


def _is_sample(text: str) -> bool:
    return text.isdecimal() and len(text) <= _DIGITS


def audacity_labels(path: Path) -> list[Mark]:
    r"""Read a label track as Audacity exports it: ``START\tEND\tLABEL``, in seconds.

    Lines that begin with a backslash hold the frequencies of a label and are passed over.
    """
    marks = []
    for number, line in _lines(path):
        if line.startswith("\\"):
            continue
        start, stop, text = (*line.split("\t", 2), "", "")[:3]
        marks.append(Mark(*stretch_times(f"{path}, line {number}", start, stop), text.strip()))
    return marks


def is_audacity(path: Path) -> bool:
    """Tell whether a text file is a label track, by its first line."""
    try:
        line = next((line for _, line in _lines(path)), "")
        stretch_times("", *line.split("\t")[:2])
    except (DataError, TypeError):
        return False
    return True


def csv_labels(path: Path, label: str) -> list[Mark]:
    """Read a table with the columns ``start``, ``end`` (seconds) and the label's."""
    columns, lines = read_lines(path)
    wanted, times = label_column(columns, label), time_columns(columns)
    if times is None or wanted not in columns:
        found = ", ".join(columns) or "nothing"
        raise DataError(f"{path}: expected the columns start,end,{wanted}. Received: {found}")
    start, stop = times
    return [
        Mark(*stretch_times(f"{path}, line {number}", line[start], line[stop]), line[wanted]) for number, line in lines
    ]


def is_labels_csv(path: Path) -> bool:
    """Tell whether a csv holds stretches."""
    try:
        columns, _ = read_lines(path)
    except (DataError, OSError):
        return False
    return time_columns(columns) is not None


def textgrid_labels(path: Path, label: str) -> list[Mark]:
    """Read the tier of a TextGrid that is named by `label`, or its only tier."""
    tiers = read_textgrid(path)
    chosen = [tier for tier in tiers if tier.name == label] or (list(tiers) if label == LABEL else [])
    if len(chosen) != 1:
        there = listed([tier.name for tier in tiers]) if tiers else "none"
        raise ParameterError(f"{path}: name one tier as label. There are: {there}. Received: label={label!r}")
    return list(chosen[0].marks)


def _lines(path: Path) -> list[tuple[int, str]]:
    return [(number, line) for number, line in enumerate(read_text(path).splitlines(), start=1) if line.strip()]
