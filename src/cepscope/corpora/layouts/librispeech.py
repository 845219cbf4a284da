"""LibriSpeech (Panayotov et al. 2015): ``SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NNNN.flac`` and SPEAKERS.TXT."""

from __future__ import annotations

import re
from pathlib import Path

from cepscope.corpora.corpus import Split
from cepscope.corpora.layouts.rows import LABEL, Folder, Listing, Row, Rows, choose, read_text
from cepscope.errors import DataError

SPEAKERS = "SPEAKERS.TXT"
_NAME = re.compile(r"(\d+)-(\d+)-\d{4}")
_SEXES = {"F": "female", "M": "male"}


def recognises(folder: Folder) -> bool:
    """Tell whether every recording is named after the speaker's and the chapter's folder that it lies in."""
    return bool(folder.recordings) and all(_parts(path) for path in folder.recordings)


def read(folder: Folder, label: str) -> Listing:
    """List utterances by the reader's sex (or, as label, by reader).

    ``train-*`` is train and ``test-*`` test; ``dev-*`` is test where there is no other, else train. A single subset is
    split by reader.
    """
    first = next((path for path in folder.recordings if _parts(path)), None)
    if first is None:
        raise DataError(f"{folder.root} holds no SPEAKER/CHAPTER/SPEAKER-CHAPTER-NNNN.flac, as LibriSpeech does")
    table = {LABEL: "", "sex": ""} if label == "speaker" else {}
    sexes = {} if table else _sexes(folder.root, first)
    named = {parts[0] for path in folder.recordings if (parts := _parts(path))}
    subsets = {subset.partition("-")[0] for subset in named}
    rows = Rows(folder.root)
    for path in folder.recordings:
        if not (parts := _parts(path)):
            continue
        subset, speaker = parts
        sex = sexes.get(speaker, "")
        chosen = choose(label, {LABEL: sex, "sex": sex, "speaker": speaker})
        if not chosen:
            raise DataError(f"{SPEAKERS} does not list reader {speaker}; complete it, or use label='speaker'")
        rows.append(Row(path, chosen, speaker, _side(subset, subsets)))
    if len({row.split for row in rows}) == 1:
        return Listing(rows.undecided())
    return Listing(rows, f"the official subsets ({', '.join(sorted(named))})")


def _parts(path: Path) -> tuple[str, str] | None:
    """Return a recording's subset and speaker, or None when it is not named after its folders."""
    match = _NAME.fullmatch(path.stem)
    if not match or (path.parents[1].name, path.parent.name) != match.groups():
        return None
    return path.parents[2].name, match[1]


def _side(subset: str, subsets: set[str]) -> Split:
    kind = subset.partition("-")[0]
    return "test" if kind == "test" or (kind == "dev" and "test" not in subsets) else "train"


def _sexes(root: Path, recording: Path) -> dict[str, str]:
    """Return each reader's sex from SPEAKERS.TXT in the corpus's folder, or above the recording's subset."""
    places = [root / SPEAKERS, *(parent / SPEAKERS for parent in recording.parents[2:5])]
    table = next((place for place in places if place.is_file()), None)
    if table is None:
        raise DataError(f"{places[0]} is missing; the reader's sex is taken from it. Add it, or use label='speaker'")
    sexes = {}
    for line in read_text(table).splitlines():
        fields = [field.strip() for field in line.split("|")]
        if not line.startswith(";") and len(fields) > 2 and fields[1] in _SEXES:
            sexes[fields[0]] = _SEXES[fields[1]]
    return sexes
