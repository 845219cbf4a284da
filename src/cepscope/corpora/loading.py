"""Corpora by name or folder, in any of the layouts."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np

from cepscope.corpora.columns import OPEN, SIDES, Columns
from cepscope.corpora.corpus import Clips, Corpus
from cepscope.corpora.known import KNOWN, expanded, find_known
from cepscope.corpora.layouts import list_clips
from cepscope.corpora.layouts.rows import AUDIO_SUFFIXES, LABEL, OWN_SPLIT, Folder, is_text, listed
from cepscope.corpora.splits import GIVEN, draw_split, resplit
from cepscope.errors import CepscopeWarning, DataError, ParameterError

BUILT_IN = "spoken-digits"
_BUILT_IN_NOTE = "synthetic: ten digits by 45 voices of espeak-ng and flite; no human speaks; voices split"


def load_corpus(
    name_or_folder: str | Path,
    *,
    seed: int = 0,
    test_share: float = 0.2,
    layout: str | None = None,
    label: str = LABEL,
    split: str = GIVEN,
    margin: float = 0.0,
) -> Corpus:
    """Load the built-in corpus, a fetched one, or a folder of recordings.

    A folder is read by the first layout that recognises it: ``audiofolder`` (``metadata.csv`` with the columns
    ``file_name,label[,speaker][,split][,start,end]``), ``fsdd``, ``speech-commands``, ``audiomnist``, ``librispeech``,
    ``table`` (one csv with ``file_name,start,end,label``), recordings with files of labels beside them (``timit``,
    ``textgrid``, ``csv``, ``audacity``), or ``folders``: one subfolder for each class, or ``train/CLASS`` and
    ``test/CLASS`` subfolders. Hidden files are passed over. Times are in seconds; each labelled stretch is a clip.

    Parameters
    ----------
    name_or_folder
        ``"spoken-digits"``, ``"fsdd"`` or ``"speech-commands"`` after ``cepscope fetch``, or a folder
        (``"./spoken-digits"`` for a folder of that name).
    seed
        Draws the split where the corpus brings none.
    test_share
        Share of the clips in test where the corpus brings no split. Speakers are kept apart when all clips name one
        of at least three speakers, else recordings when clips are stretches of them; otherwise every class is split
        at random.
    layout
        One of those names, where a folder could be read in several ways.
    label
        What is the class: by default what the layout is about. ``"speaker"`` and ``"sex"`` where they are known,
        ``"word"`` for TIMIT, a column of a table, a tier of a TextGrid.
    split
        ``"given"`` (the corpus's own, or as `test_share` says), or another: see `cepscope.corpora.splits.resplit`.
    margin
        Seconds to add before and after each labelled stretch. A label that marks a point in time needs some.

    Returns
    -------
    Corpus

    Raises
    ------
    DataError
        No such folder, no clips, a file missing or outside the folder, a file listed twice, fewer than two
        classes, a class with one clip, a split without clips or with a class that train lacks.
    ParameterError
        `seed`, `test_share` or `margin` out of range; no such `layout`, `label` or `split`.
    """
    if not 0 < test_share < 1:
        raise ParameterError(f"test_share must lie between 0 and 1. Received: {test_share!r}")
    if seed < 0:
        raise ParameterError(f"seed must be a whole number from 0 up. Received: {seed!r}")
    if not (math.isfinite(margin) and margin >= 0):
        raise ParameterError(f"margin must be 0 or more seconds. Received: {margin!r}")
    folder = _find(name_or_folder)
    try:
        is_folder, what = folder.is_dir(), "is a file" if folder.exists() else "does not exist"
    except OSError as error:  # as a name that is too long
        is_folder, what = False, (error.strerror or "unreadable").lower()
    if not is_folder:
        raise DataError(f"a corpus is {BUILT_IN!r} or a folder of recordings. Received: {folder} ({what})")
    root = folder.resolve()
    if not is_text(root):
        raise DataError(f"the name of the folder {str(root)!a} is not UTF-8; rename it")
    listing = list_clips(Folder(root), layout=layout, label=label)
    found = _usable(_widened(listing.rows.columns(), margin, folder), folder).sorted()
    _check_classes(found, folder)
    note, found = _own_or_drawn(found, listing.note, folder, seed=seed, test_share=test_share, own=split == GIVEN)
    corpus = Corpus(root.name, root, Clips(root, found), note=note)
    corpus = resplit(corpus, split, seed=seed, test_share=test_share)
    _check_split(corpus.columns, folder)
    if name_or_folder == BUILT_IN:
        return replace(corpus, name=BUILT_IN, synthetic=True, note=_BUILT_IN_NOTE if split == GIVEN else corpus.note)
    return corpus


def _find(name_or_folder: str | Path) -> Path:
    if name_or_folder == BUILT_IN:
        return _built_in_folder()
    if name_or_folder in KNOWN and not Path(name_or_folder).is_dir():
        return find_known(str(name_or_folder))
    return expanded(name_or_folder)


def _built_in_folder() -> Path:
    packaged = Path(str(resources.files("cepscope"))) / "data" / BUILT_IN  # from the wheel
    checkout = Path(__file__).resolve().parents[3] / "data" / BUILT_IN  # editable: <repo>/src/cepscope/corpora
    for folder in (packaged, checkout):
        if (folder / "metadata.csv").is_file():
            return folder
    raise DataError(f"the built-in corpus {BUILT_IN!r} is not in this installation; reinstall cepscope")


def _widened(rows: Columns, margin: float, folder: Path) -> Columns:
    """Add the margin to stretches; points without one are left out."""
    stretched = rows.stretched
    if rows.times is None or not stretched.any():
        return rows
    times = rows.times.copy()
    times[stretched, 0] = np.maximum(0.0, times[stretched, 0] - margin)
    times[stretched, 1] += margin
    kept = ~stretched | (times[:, 1] > times[:, 0])
    rows = replace(rows, times=times)
    if points := int((~kept).sum()):
        message = f"{folder}: {points} labels mark points in time and were left out; a margin (seconds) keeps them"
        if not kept.any():
            raise DataError(message)
        warnings.warn(message, CepscopeWarning, stacklevel=3)
        return rows.take(np.flatnonzero(kept))
    return rows


def _usable(rows: Columns, folder: Path) -> Columns:
    """Leave out classes of a single stretch: labels of running speech have rare ones, and nobody can add to them."""
    counts = np.bincount(rows.labels.codes, minlength=len(rows.labels.values))
    single = rows.stretched & (counts[rows.labels.codes] == 1)
    rare = rows.labels.take(np.flatnonzero(single)).present
    if rare and len(rare) < np.count_nonzero(counts):
        message = f"{folder}: {len(rare)} classes with a single stretch were left out: {listed(rare)}"
        warnings.warn(message, CepscopeWarning, stacklevel=3)
        return rows.take(np.flatnonzero(~single))
    return rows


def _own_or_drawn(
    rows: Columns, note: str, folder: Path, *, seed: int, test_share: float, own: bool
) -> tuple[str, Columns]:
    """Return a note and the clips with their sides; nothing is drawn where another split will be."""
    undecided = rows.sides == OPEN
    if undecided.any() and not undecided.all():
        name = Path(rows.names[int(undecided.argmax())]).name
        raise DataError(f"{folder}: {name} has no split while others have one; fill in all or none")
    if not undecided.any():
        return note, rows
    if not own:
        return OWN_SPLIT, rows.with_test(())
    recordings = rows.names if rows.stretched.any() else None
    note, test = draw_split(rows.labels, rows.speakers, seed=seed, test_share=test_share, recordings=recordings)
    return note, rows.with_test(test)


def _check_classes(rows: Columns, folder: Path) -> None:
    if not len(rows):
        raise DataError(
            f"{folder} holds no recordings ({' '.join(AUDIO_SUFFIXES)}); expected metadata.csv or one "
            "subfolder for each class"
        )
    there = rows.labels.present
    if len(there) < 2:
        raise DataError(f"{folder} holds one class only ({there[0]!r}); a classifier needs at least two")
    counts = np.bincount(rows.labels.codes, minlength=len(rows.labels.values))
    if single := sorted(label for label, count in zip(rows.labels.values, counts, strict=True) if count == 1):
        raise DataError(
            f"{folder}: one clip only in class {listed(single)}; each class needs at least one clip in "
            "train and one in test: add recordings or remove the class"
        )


def _check_split(clips: Columns, folder: Path) -> None:
    labels = {side: set(clips.labels.take(np.flatnonzero(clips.sides == i)).present) for i, side in enumerate(SIDES)}
    for side, there in labels.items():
        if not there:
            raise DataError(f"{folder}: the split puts no clip into {side}; both sides need clips")
    if absent := sorted(labels["test"] - labels["train"]):
        raise DataError(f"{folder}: class {listed(absent)} is in test but not in train; nothing could learn it")
