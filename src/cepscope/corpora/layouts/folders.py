"""One subfolder for each class, or ``train/CLASS`` and ``test/CLASS``."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

from cepscope.corpora.corpus import SPLITS
from cepscope.corpora.layouts.rows import LABEL, Folder, Listing, Row, Rows, choose
from cepscope.errors import CepscopeWarning, DataError


def recognises(folder: Folder) -> bool:
    """Tell that this is what any other folder is taken for."""
    return folder.root.is_dir()


def read(folder: Folder, label: str) -> Listing:
    """List the recordings below each class's subfolder."""
    choose(label, {LABEL: ""})
    root = folder.root
    subfolders = {entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
    if subfolders == set(SPLITS):
        sides = (replace(row, split=side) for side in SPLITS for row in _classes(folder, root / side))
        return Listing(Rows(root, sides))
    return Listing(_classes(folder, root))


def _classes(folder: Folder, root: Path) -> Rows:
    rows, loose = Rows(folder.root), 0
    for path in folder.recordings:
        if not path.is_relative_to(root):
            continue
        parts = path.relative_to(root).parts
        if len(parts) == 1:
            loose += 1
        else:
            rows.append(Row(path, label=parts[0]))
    if loose and len(rows):
        message = f"{root}: {loose} recordings beside the class subfolders have no label and were left out"
        warnings.warn(message, CepscopeWarning, stacklevel=2)
    if loose and not len(rows):
        raise DataError(
            f"{root} holds {loose} recordings without labels; put them into one subfolder for each class, "
            "or add a metadata.csv with the columns file_name,label"
        )
    return rows
