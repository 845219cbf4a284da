"""AudioMNIST (Becker et al. 2018, arXiv:1807.03418): ``data/NN/DIGIT_NN_TAKE.wav`` by 60 speakers."""

from __future__ import annotations

import json
import re
from pathlib import Path

from cepscope.corpora.layouts.rows import LABEL, Folder, Listing, Row, Rows, choose, read_text
from cepscope.errors import DataError

META = "audioMNIST_meta.txt"
_NAME = re.compile(r"(\d)_(\d\d)_(\d+)")
_TEST = frozenset((5, 13, 18, 22, 26, 32, 33, 42, 45, 51, 52, 60))  # of the first of the authors' five digit splits


def recognises(folder: Folder) -> bool:
    """Tell whether every recording is named that way and lies in its speaker's folder."""
    paths = folder.recordings
    return bool(paths) and all((match := _NAME.fullmatch(p.stem)) and match[2] == p.parent.name for p in paths)


def read(folder: Folder, label: str) -> Listing:
    """List digits (or, as label, speakers or their sex), split by speaker as the authors' first digit split is."""
    rows = Rows(folder.root)
    first = next((path for path in folder.recordings if _NAME.fullmatch(path.stem)), None)
    if first is None:
        raise DataError(f"{folder.root} holds no NN/DIGIT_NN_TAKE.wav, as AudioMNIST does")
    sex = _sexes(first.parents[1] / META) if label == "sex" else {}
    for path in folder.recordings:
        if not (match := _NAME.fullmatch(path.stem)):
            continue
        digit, speaker, _ = match.groups()
        facts = {LABEL: digit, "speaker": speaker, "sex": sex.get(speaker, "")}
        if not (chosen := choose(label, facts)):
            raise DataError(f"{META} does not tell the gender of speaker {speaker}; add it, or use label='label'")
        rows.append(Row(path, chosen, speaker, "test" if int(speaker) in _TEST else "train"))
    if len({row.split for row in rows}) == 1:  # some speakers only: nothing official is left to follow
        return Listing(rows.undecided())
    return Listing(rows, "the authors' first digit split: 12 speakers in test")


def _sexes(meta: Path) -> dict[str, str]:
    """Return each speaker's gender; DataError when the authors' table is missing or is something else."""
    try:
        table = json.loads(read_text(meta))
        return {speaker: str(facts["gender"]).strip().lower() for speaker, facts in table.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{meta} can't be read ({error}); label 'sex' is taken from it") from error
