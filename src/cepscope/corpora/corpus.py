"""Labelled clips: the built-in corpus and anyone's folder, with a train and a test side."""

from __future__ import annotations

import csv
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Literal

from cepscope.corpora.splits import draw_split
from cepscope.errors import CepscopeWarning, DataError, ParameterError

Split = Literal["train", "test"]

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
BUILT_IN = "spoken-digits"
_BUILT_IN_NOTE = "synthetic: ten digits by 45 voices of espeak-ng and flite; no human speaks; voices split"
_SPLITS: tuple[Split, Split] = ("train", "test")


@dataclass(frozen=True, slots=True)
class Clip:
    """One labelled recording.

    Attributes
    ----------
    path
        The sound file.
    label
        What is said (the class).
    speaker
        Who says it; "" when unknown.
    split
        "train" or "test".
    """

    path: Path
    label: str
    speaker: str
    split: Split


@dataclass(frozen=True)
class Corpus:
    """Labelled clips under one folder.

    Attributes
    ----------
    name
        A short name for titles.
    root
        The folder that holds all clips.
    clips
        The clips, sorted by path.
    synthetic
        True when no human speaks.
    note
        One line about origin and split.
    """

    name: str
    root: Path
    clips: tuple[Clip, ...]
    synthetic: bool = False
    note: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the classes, sorted."""
        return tuple(sorted({clip.label for clip in self.clips}))

    @property
    def speakers(self) -> tuple[str, ...]:
        """Return the known speakers, sorted."""
        return tuple(sorted({clip.speaker for clip in self.clips if clip.speaker}))

    def split(self, which: Split) -> tuple[Clip, ...]:
        """Return the clips of "train" or of "test"."""
        if which not in _SPLITS:
            raise ParameterError(f"a corpus has the splits 'train' and 'test'. Received: {which!r}")
        return tuple(clip for clip in self.clips if clip.split == which)

    def relative(self, clip: Clip) -> str:
        """Return a clip's path below the root, with forward slashes."""
        return clip.path.relative_to(self.root).as_posix()

    def __repr__(self) -> str:
        train, test = (len(self.split(which)) for which in _SPLITS)
        return f"Corpus({self.name!r}, {len(self.labels)} labels, {train} train + {test} test clips)"


def load_corpus(name_or_folder: str | Path, *, seed: int = 0, test_share: float = 0.2) -> Corpus:
    """Load the built-in corpus, or a folder of recordings.

    A folder holds either ``metadata.csv`` with the columns ``file_name,label[,speaker][,split]`` (the
    audiofolder convention; it wins), or one subfolder for each class, or ``train/CLASS`` and ``test/CLASS``
    subfolders. Hidden files are passed over.

    Parameters
    ----------
    name_or_folder
        ``"spoken-digits"`` or a folder (``"./spoken-digits"`` for a folder of that name).
    seed
        Draws the split where the corpus brings none.
    test_share
        Share of the clips in test where the corpus brings no split. Speakers are kept apart when all clips
        name one of at least three speakers; otherwise every class is split at random.

    Returns
    -------
    Corpus

    Raises
    ------
    DataError
        No such folder, no clips, a file missing or outside the folder, a file listed twice, fewer than two
        classes, a class with one clip, a split without clips or with a class that train lacks.
    ParameterError
        `seed` or `test_share` out of range.
    """
    if not 0 < test_share < 1:
        raise ParameterError(f"test_share must lie between 0 and 1. Received: {test_share!r}")
    if seed < 0:
        raise ParameterError(f"seed must be a whole number from 0 up. Received: {seed!r}")
    if name_or_folder == BUILT_IN:
        corpus = _load_folder(_built_in_folder(), seed, test_share)
        return replace(corpus, name=BUILT_IN, synthetic=True, note=_BUILT_IN_NOTE)
    return _load_folder(Path(name_or_folder).expanduser(), seed, test_share)


def _built_in_folder() -> Path:
    packaged = Path(str(resources.files("cepscope"))) / "data" / BUILT_IN  # from the wheel
    checkout = Path(__file__).resolve().parents[3] / "data" / BUILT_IN  # editable: <repo>/src/cepscope/corpora
    for folder in (packaged, checkout):
        if (folder / "metadata.csv").is_file():
            return folder
    raise DataError(f"the built-in corpus {BUILT_IN!r} is not in this installation; reinstall cepscope")


def _load_folder(folder: Path, seed: int, test_share: float) -> Corpus:
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise DataError(f"a corpus is {BUILT_IN!r} or a folder of recordings. Received: {folder} ({what})")
    root = folder.resolve()
    metadata = root / "metadata.csv"
    rows = _read_metadata(metadata) if metadata.is_file() else _scan(root)
    rows.sort(key=lambda row: row.path.relative_to(root).as_posix())
    _check_classes(rows, folder)
    undecided = [row for row in rows if row.split is None]
    if not undecided:
        note, in_test = "the corpus's own split", {i for i, row in enumerate(rows) if row.split == "test"}
    elif len(undecided) == len(rows):
        labels, speakers = [row.label for row in rows], [row.speaker for row in rows]
        note, in_test = draw_split(labels, speakers, seed=seed, test_share=test_share)
    else:
        name = undecided[0].path.name
        raise DataError(f"{metadata}: {name} has no split while others have one; fill in all or none")
    clips = tuple(
        Clip(row.path, row.label, row.speaker, "test" if i in in_test else "train") for i, row in enumerate(rows)
    )
    _check_split(clips, folder)
    return Corpus(root.name, root, clips, note=note)


@dataclass(frozen=True, slots=True)
class _Row:
    """A clip whose split may still be open."""

    path: Path
    label: str
    speaker: str = ""
    split: Split | None = None


def _read_metadata(metadata: Path) -> list[_Row]:
    try:
        with metadata.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or ()
            if missing := [name for name in ("file_name", "label") if name not in columns]:
                found = ", ".join(columns) or "nothing"
                raise DataError(
                    f"{metadata}: expected the columns file_name,label. Missing: {', '.join(missing)}. "
                    f"Received: {found}"
                )
            lines = [(reader.line_num, line) for line in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{metadata} is not a CSV file in UTF-8 ({error})") from error
    rows = [_row_of(metadata, number, line) for number, line in lines]
    if twice := [path for path, count in Counter(row.path for row in rows).items() if count > 1]:
        raise DataError(f"{metadata}: {_names(twice, metadata.parent)} listed more than once; keep one row for each")
    if gone := [row.path for row in rows if not row.path.is_file()]:
        raise DataError(f"{metadata}: no such file: {_names(gone, metadata.parent)}")
    return rows


def _row_of(metadata: Path, number: int, line: dict[str, str | None]) -> _Row:
    where = f"{metadata}, line {number}"
    name, label, speaker, split = ((line.get(key) or "").strip() for key in ("file_name", "label", "speaker", "split"))
    if not name or not label:
        raise DataError(f"{where}: {'label' if name else 'file_name'} is empty")
    path = metadata.parent / name  # an absolute name stays absolute
    if ".." in Path(name).parts or not path.is_relative_to(metadata.parent):
        raise DataError(f"{where}: file_name must lie in the corpus's folder. Received: {name}")
    if split not in ("", *_SPLITS):
        raise DataError(f"{where}: split must be train or test. Received: {split}")
    side: Split | None = "train" if split == "train" else "test" if split == "test" else None
    return _Row(path, label, speaker, side)


def _scan(root: Path) -> list[_Row]:
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if {folder.name for folder in folders} == set(_SPLITS):
        return [replace(row, split=side) for side in _SPLITS for row in _scan_classes(root / side)]
    return _scan_classes(root)


def _scan_classes(root: Path) -> list[_Row]:
    rows, loose = [], 0
    for path in _audio_files(root):
        parts = path.relative_to(root).parts
        if len(parts) == 1:
            loose += 1
        else:
            rows.append(_Row(path, label=parts[0]))
    if loose and rows:
        message = f"{root}: {loose} recordings beside the class subfolders have no label and were left out"
        warnings.warn(message, CepscopeWarning, stacklevel=2)
    if loose and not rows:
        raise DataError(
            f"{root} holds {loose} recordings without labels; put them into one subfolder for each class, "
            "or add a metadata.csv with the columns file_name,label"
        )
    return rows


def _audio_files(root: Path) -> Iterator[Path]:
    """Yield the recordings below a folder; a linked folder is followed once, so loops end."""
    seen: set[str] = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and name.lower().endswith(AUDIO_SUFFIXES):
                yield Path(folder) / name


def _check_classes(rows: Sequence[_Row], folder: Path) -> None:
    if not rows:
        raise DataError(
            f"{folder} holds no recordings ({' '.join(AUDIO_SUFFIXES)}); expected metadata.csv or one "
            "subfolder for each class"
        )
    counts = Counter(row.label for row in rows)
    if len(counts) < 2:
        raise DataError(f"{folder} holds one class only ({next(iter(counts))!r}); a classifier needs at least two")
    if single := sorted(label for label, count in counts.items() if count == 1):
        raise DataError(
            f"{folder}: one clip only in class {_listed(single)}; each class needs at least one clip in "
            "train and one in test: add recordings or remove the class"
        )


def _check_split(clips: Sequence[Clip], folder: Path) -> None:
    labels = {which: {clip.label for clip in clips if clip.split == which} for which in _SPLITS}
    for which in _SPLITS:
        if not labels[which]:
            raise DataError(f"{folder}: the split puts no clip into {which}; both sides need clips")
    if absent := sorted(labels["test"] - labels["train"]):
        raise DataError(f"{folder}: class {_listed(absent)} is in test but not in train; nothing could learn it")


def _names(paths: Iterable[Path], root: Path) -> str:
    return _listed([path.relative_to(root).as_posix() for path in paths], quote=False)


def _listed(names: Sequence[str], *, quote: bool = True) -> str:
    shown = ", ".join(repr(name) if quote else name for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
