"""Recordings with a file of labels beside each, under the same name: every labelled stretch is a clip."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from cepscope.corpora.corpus import SPLITS, Split
from cepscope.corpora.layouts.labels import (
    audacity_labels,
    csv_labels,
    is_audacity,
    is_labels_csv,
    textgrid_labels,
    timit_labels,
)
from cepscope.corpora.layouts.rows import LABEL, Folder, Listing, Row, Rows, choose, is_file
from cepscope.corpora.layouts.textgrid import Mark
from cepscope.errors import CepscopeWarning, DataError

_PHONES, _WORDS = (".PHN", ".phn"), (".WRD", ".wrd")
_TEXTGRID = (".TextGrid", ".textgrid", ".TEXTGRID")
_CSV, _TEXT = (".csv", ".CSV"), (".txt", ".TXT")
_TIMIT_SPEAKER = re.compile(r"([FM])[A-Z]{3}\d", re.IGNORECASE)
_SEXES = {"f": "female", "m": "male"}


def is_timit(folder: Folder) -> bool:
    """Tell whether a recording has a .PHN beside it."""
    return folder.has(*_PHONES) and any(_beside(path, _PHONES) for path in folder.recordings)


def read_timit(folder: Folder, label: str) -> Listing:
    """List phones (or, as label, words; or whole utterances by speaker or sex), split as TRAIN and TEST are."""
    suffixes = _WORDS if label == "word" else _PHONES
    rows = Rows(folder.root)
    for path, labels in _pairs(folder, suffixes):
        speaker = path.parent.name if _TIMIT_SPEAKER.fullmatch(path.parent.name) else ""
        side = _side(path, folder.root)
        if label in ("speaker", "sex"):
            chosen = choose(label, {"speaker": speaker, "sex": _SEXES.get(speaker[:1].lower(), "")})
            if not chosen:
                raise DataError(f"{path}: its folder is no TIMIT speaker (as FCJF0), so its {label} is not known")
            rows.append(Row(path, chosen, speaker, side))
            continue
        choose(label, dict.fromkeys((LABEL, "phone", "word", "speaker", "sex"), ""))
        for mark in timit_labels(labels, path):
            rows.append(Row(path, mark.text, speaker, side, mark.start, mark.stop))
    if {row.split for row in rows} != set(SPLITS):
        return Listing(rows.undecided())
    return Listing(rows, "the official split: TRAIN and TEST")


def is_textgrid(folder: Folder) -> bool:
    """Tell whether every recording has a TextGrid beside it."""
    return _all(folder, _TEXTGRID, Path.is_file)


def read_with_textgrids(folder: Folder, label: str) -> Listing:
    """List the labelled intervals of the one tier, or of the tier that `label` names."""
    return _read(folder, _TEXTGRID, lambda path: textgrid_labels(path, label))


def is_csv(folder: Folder) -> bool:
    """Tell whether every recording has a csv with start and end beside it."""
    return _all(folder, _CSV, is_labels_csv)


def read_with_csv(folder: Folder, label: str) -> Listing:
    """List the stretches of each recording's own csv."""
    return _read(folder, _CSV, lambda path: csv_labels(path, label))


def is_audacity_track(folder: Folder) -> bool:
    """Tell whether every recording has one of Audacity's label tracks beside it."""
    return _all(folder, _TEXT, is_audacity)


def read_with_audacity(folder: Folder, label: str) -> Listing:
    """List the labels of each recording's track."""
    choose(label, {LABEL: ""})
    return _read(folder, _TEXT, audacity_labels)


def _read(folder: Folder, suffixes: tuple[str, ...], marks_of: Callable[[Path], Iterable[Mark]]) -> Listing:
    rows = (
        Row(path, mark.text.strip(), start=mark.start, stop=mark.stop)
        for path, labels in _pairs(folder, suffixes)
        for mark in marks_of(labels)
        if mark.text.strip()  # intervals between the labelled ones are without text
    )
    return Listing(Rows(folder.root, rows))


def _pairs(folder: Folder, suffixes: tuple[str, ...]) -> list[tuple[Path, Path]]:
    """Return recordings and their label files; recordings without one are named and left out."""
    pairs = [(path, labels) for path in folder.recordings if (labels := _beside(path, suffixes))]
    if not pairs:
        raise DataError(f"{folder.root}: no recording has a file of labels (NAME{suffixes[0]}) beside it")
    if left_out := len(folder.recordings) - len(pairs):
        message = f"{folder.root}: {left_out} recordings without a {suffixes[0]} beside them were left out"
        warnings.warn(message, CepscopeWarning, stacklevel=2)
    return pairs


def _all(folder: Folder, suffixes: tuple[str, ...], fits: Callable[[Path], bool]) -> bool:
    found = ((labels := _beside(path, suffixes)) is not None and fits(labels) for path in folder.recordings)
    return bool(folder.recordings) and all(found)


def _beside(recording: Path, suffixes: tuple[str, ...]) -> Path | None:
    return next((path for suffix in suffixes if is_file(path := recording.with_suffix(suffix))), None)


def _side(path: Path, root: Path) -> Split | None:
    parts = {part.lower() for part in path.relative_to(root).parts[:-1]}
    return next((side for side in SPLITS if side in parts), None)
