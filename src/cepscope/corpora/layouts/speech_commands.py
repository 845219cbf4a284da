"""Speech Commands (Warden 2018, arXiv:1804.03209): ``WORD/SPEAKER_nohash_N.wav``, with lists of two sides."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Literal

from cepscope.corpora.layouts.rows import LABEL, Folder, Listing, Row, Rows, choose, read_text
from cepscope.errors import DataError

LISTS = {"validation": "validation_list.txt", "testing": "testing_list.txt"}
NOISE = "_background_noise_"
_NAME = re.compile(r"([0-9a-f]{8})_nohash_\d+")
_HASHES = 2**27  # as many as the rule tells apart
Side = Literal["training", "validation", "testing"]


def recognises(folder: Folder) -> bool:
    """Tell whether the lists are there, or every recording but noise is named that way, in a word's folder."""
    if all((folder.root / name).is_file() for name in LISTS.values()):
        return True
    found = False
    for path in folder.recordings:
        if path.parent.name != NOISE:
            found = True
            if path.parent.parent != folder.root or not _NAME.fullmatch(path.stem):
                return False
    return found


def read(folder: Folder, label: str) -> Listing:
    """List words (or, as label, speakers) with the official split; the official rule decides what no list names.

    The validation side joins train, since networks here are chosen by no third side.
    """
    listed: dict[str, Side] = {}
    for side, name in LISTS.items():
        if (folder.root / name).is_file():
            for line in read_text(folder.root / name).split():
                listed[line] = "validation" if side == "validation" else "testing"
    rows = Rows(folder.root)
    for path in folder.recordings:
        word, match = path.parent.name, _NAME.fullmatch(path.stem)
        if path.parent.parent != folder.root or word == NOISE or not match:
            continue
        found = choose(label, {LABEL: word, "speaker": match[1]})
        side = listed.get(f"{word}/{path.name}") or which_set(path.name)
        rows.append(Row(path, found, match[1], "test" if side == "testing" else "train"))
    if not len(rows):
        raise DataError(f"{folder.root} holds no WORD/SPEAKER_nohash_N.wav, as Speech Commands does")
    return Listing(rows, "the official split by speaker: its testing side in test, training and validation in train")


def which_set(name: str, *, validation: float = 10.0, testing: float = 10.0) -> Side:
    """Return the side of a recording by the corpus's own rule: a hash of what stands before ``_nohash_``.

    The same speaker is always on one side, and stays there when recordings are added.

    Parameters
    ----------
    name
        File name, or a path that ends in it.
    validation, testing
        Shares in percent.

    References
    ----------
    .. [1] P. Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", arXiv:1804.03209, 2018,
       section 7; the rule is ``which_set`` in the corpus's README.

    Examples
    --------
    >>> which_set("right/bb05582b_nohash_3.wav"), which_set("right/a69b9b3e_nohash_0.wav")
    ('testing', 'validation')
    """
    speaker = re.sub("_nohash_.*$", "", Path(name).name)
    number = int(hashlib.sha1(speaker.encode(), usedforsecurity=False).hexdigest(), 16) % _HASHES
    percent = number * (100.0 / (_HASHES - 1))
    if percent < validation:
        return "validation"
    return "testing" if percent < validation + testing else "training"
