"""Shards to what training reads: scaled patches of each side, in the memory of a few shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cepscope import atomic
from cepscope.corpora.computing import Done
from cepscope.corpora.conditioning import one_thread
from cepscope.corpora.corpus import SPLITS, Clips, Corpus
from cepscope.corpora.manifest import SCALER, SIDES, Entry, Manifest, write_clips, write_manifest
from cepscope.corpora.shards import read_shard
from cepscope.corpora.sides import SideFile
from cepscope.errors import DataError
from cepscope.features import CoefficientScaler, MfccSpec, PCAWhitener


@dataclass(frozen=True)
class Found:
    """All clips, and what became of them in their shards."""

    clips: Clips
    done: Sequence[Done]

    def problems(self) -> Iterator[str]:
        """Yield why each clip could not be used, "" for a good one."""
        return chain.from_iterable((done.problems.get(i, "") for i in range(done.entry.clips)) for done in self.done)

    def skipped(self) -> list[str]:
        """Return a line for each clip that could not be used."""
        return [f"{self.clips.name(i)}: {problem}" for i, problem in enumerate(self.problems()) if problem]

    def usable(self) -> NDArray[np.bool_]:
        """Return which clips could be used [shape=(n,)]."""
        return np.fromiter((not problem for problem in self.problems()), bool, len(self.clips))

    def classes(self) -> tuple[str, ...]:
        """Return the sorted classes; DataError when usable clips can't train and test a classifier of them all."""
        every, usable = self.clips.columns, self.usable()
        skipped = self.skipped()
        because = f"; {len(skipped)} clips were skipped, the first: {skipped[0]}" if skipped else ""
        sides = {side: np.flatnonzero(usable & (every.sides == i)) for i, side in enumerate(SPLITS)}
        for side, rows in sides.items():
            if not len(rows):
                raise DataError(f"no usable clip is left in {side}{because}")
        wanted = every.labels.present
        if absent := sorted({*wanted} - {*every.labels.take(sides["train"]).present}):
            raise DataError(
                f"no usable clip of class {absent[0]!r} is left in train{because}; add recordings or remove it"
            )
        return wanted


def collect(
    found: Found, folder: Path, corpus: Corpus, spec: MfccSpec, frames: int, classes: tuple[str, ...], whiten: bool
) -> Manifest:
    """Bring the patches of all shards to their sides, fit the scaler on train, scale, and list everything.

    None of the patches stays in memory: shards are read once, what comes of them three times.
    """
    usable, sides = found.usable(), found.clips.columns.sides
    shape = (spec.n_mfcc, frames)
    counts = [int(np.count_nonzero(usable & (sides == i))) for i in range(len(SPLITS))]
    with ExitStack() as opened:
        paths = [opened.enter_context(atomic.atomic_path(folder / SIDES[side])) for side in SPLITS]
        files = [SideFile(path, (count, *shape)) for path, count in zip(paths, counts, strict=True)]
        first = 0
        for done in found.done:
            rows = slice(first, first := first + done.entry.clips)
            mfcc = read_shard(folder / done.entry.file, shape=(done.entry.clips, *shape)).mfcc
            for i, file in enumerate(files):
                file.append(mfcc[usable[rows] & (sides[rows] == i)])
        with one_thread():
            scaler = (PCAWhitener if whiten else CoefficientScaler).fit_chunks(files[SPLITS.index("train")])
            sums = [file.scale(scaler) for file in files]
    scaler.save(folder / SCALER)
    train, test = (
        Entry(SIDES[side], *facts) for side, facts in zip(SPLITS, zip(counts, sums, strict=True), strict=True)
    )
    manifest = Manifest(
        *(corpus.name, str(corpus.root), corpus.synthetic, corpus.note, spec, frames, classes),
        clips=write_clips(folder, found.clips, found.problems()),
        train=train,
        test=test,
        shards=tuple(done.entry for done in found.done),
        scaler=Entry(SCALER, counts[0], atomic.sha256(folder / SCALER)),
    )
    write_manifest(folder, manifest)
    return manifest
