"""Labelled clips with a train and a test side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from cepscope.corpora.columns import SIDES, Columns, ColumnsBuilder, Made
from cepscope.corpora.stretches import stretch_name
from cepscope.errors import ParameterError

Split = Literal["train", "test"]

SPLITS: tuple[Split, Split] = ("train", "test")


@dataclass(frozen=True, slots=True)
class Clip:
    """One labelled recording, or a labelled stretch of one.

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
    start, stop
        Where it begins and ends in the file, in seconds; None is the file's end.
    """

    path: Path
    label: str
    speaker: str
    split: Split
    start: float = 0.0
    stop: float | None = None


class Clips(Made[Clip]):
    """Clips below one folder, of which each is made when it is asked for; equal to any sequence of the same.

    Parameters
    ----------
    root
        The folder.
    columns
        The clips, each on a side.
    """

    def __init__(self, root: Path, columns: Columns) -> None:
        self.root, self.columns = root, columns

    @classmethod
    def of(cls, root: Path, clips: Iterable[Clip]) -> Clips:
        """Take any clips below a folder so."""
        if isinstance(clips, cls) and clips.root == root:
            return clips
        found = ColumnsBuilder()
        for clip in clips:
            name = clip.path.relative_to(root).as_posix()
            found.append(name, clip.label, clip.speaker, clip.split, clip.start, clip.stop)
        return cls(root, found.done())

    def part(self, first: int, stop: int) -> Clips:
        """Return the clips from `first` up to `stop`."""
        return Clips(self.root, self.columns.part(first, stop))

    def name(self, index: int) -> str:
        """Return a clip's path below the folder; a stretch ends in ``#t=START,STOP`` (seconds)."""
        return stretch_name(self.columns.names[index], *self.columns.stretch(index))

    def __len__(self) -> int:
        return len(self.columns)

    def __repr__(self) -> str:
        return f"Clips({str(self.root)!r}, {len(self)} clips)"

    def _made(self, index: int) -> Clip:
        every = self.columns
        side = SPLITS[every.sides[index]]
        path = self.root / every.names[index]
        return Clip(path, every.labels[index], every.speakers[index], side, *every.stretch(index))


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
    clips: Sequence[Clip]
    synthetic: bool = False
    note: str = ""

    @property
    def columns(self) -> Columns:
        """Return the clips by columns."""
        return Clips.of(self.root, self.clips).columns

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the classes, sorted."""
        return self.columns.labels.present

    @property
    def speakers(self) -> tuple[str, ...]:
        """Return the known speakers, sorted."""
        return tuple(speaker for speaker in self.columns.speakers.present if speaker)

    def split(self, which: Split) -> tuple[Clip, ...]:
        """Return the clips of "train" or of "test"."""
        if which not in SPLITS:
            raise ParameterError(f"a corpus has the splits 'train' and 'test'. Received: {which!r}")
        return tuple(clip for clip in self.clips if clip.split == which)

    def with_test(self, test: Iterable[int], note: str) -> Corpus:
        """Return the same clips, those with these indices in test and all others in train."""
        return replace(self, clips=Clips(self.root, self.columns.with_test(test)), note=note)

    def relative(self, clip: Clip) -> str:
        """Return a clip's path below the root, with forward slashes; a stretch ends in ``#t=START,STOP`` (seconds)."""
        return stretch_name(clip.path.relative_to(self.root).as_posix(), clip.start, clip.stop)

    def __repr__(self) -> str:
        train, test = np.bincount(self.columns.sides, minlength=len(SIDES))
        return f"Corpus({self.name!r}, {len(self.labels)} labels, {train} train + {test} test clips)"
