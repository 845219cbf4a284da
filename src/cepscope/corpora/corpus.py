"""Labelled clips with a train and a test side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
        if which not in SPLITS:
            raise ParameterError(f"a corpus has the splits 'train' and 'test'. Received: {which!r}")
        return tuple(clip for clip in self.clips if clip.split == which)

    def relative(self, clip: Clip) -> str:
        """Return a clip's path below the root, with forward slashes; a stretch ends in ``#t=START,STOP`` (seconds)."""
        return stretch_name(clip.path.relative_to(self.root).as_posix(), clip.start, clip.stop)

    def __repr__(self) -> str:
        train, test = (len(self.split(which)) for which in SPLITS)
        return f"Corpus({self.name!r}, {len(self.labels)} labels, {train} train + {test} test clips)"
