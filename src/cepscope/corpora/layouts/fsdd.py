"""The Free Spoken Digit Dataset: ``recordings/DIGIT_SPEAKER_TAKE.wav``; takes 0 to 4 are the official test set."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

from cepscope.corpora.corpus import Split
from cepscope.corpora.layouts.rows import LABEL, Folder, Listing, Row, Rows, choose, names
from cepscope.errors import CepscopeWarning, DataError

_NAME = re.compile(r"(\d)_([A-Za-z]+)_(\d+)")
_TEST_TAKES = 5


def recognises(folder: Folder) -> bool:
    """Tell whether all recordings lie in ``recordings`` (or, given that folder, in it) and are named that way."""
    paths = folder.recordings
    lone = {path.parent for path in paths} in ({folder.root / "recordings"}, {folder.root})
    return bool(paths) and lone and all(_NAME.fullmatch(path.stem) for path in paths)


def read(folder: Folder, label: str) -> Listing:
    """List digits (or, as label, speakers) with the official split."""
    rows = Rows(folder.root)
    others: list[Path] = []
    for path in folder.recordings:
        if not (match := _NAME.fullmatch(path.stem)):
            others.append(path)
            continue
        digit, speaker, take = match.groups()
        side: Split = "test" if int(take) < _TEST_TAKES else "train"
        rows.append(Row(path, choose(label, {LABEL: digit, "speaker": speaker}), speaker, side))
    if not len(rows):
        raise DataError(f"{folder.root} holds no recordings named DIGIT_SPEAKER_TAKE.wav, as FSDD's are")
    if others:
        message = f"{names(others, folder.root)}: not named DIGIT_SPEAKER_TAKE; left out"
        warnings.warn(message, CepscopeWarning, stacklevel=2)
    return Listing(rows, "the official split: takes 0 to 4 in test; each speaker is on both sides")
