"""A corpus's clips to MFCC patches: once, in parallel, and on from where it was stopped."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import overload

import numpy as np

from cepscope import atomic
from cepscope.corpora.computing import Done, Piece, make_shard
from cepscope.corpora.conditioning import one_thread
from cepscope.corpora.corpus import SPLITS, Clips, Corpus
from cepscope.corpora.manifest import SCALER, SIDES, Entry, Manifest, write_clips, write_manifest
from cepscope.corpora.patches import Patches, load_patches
from cepscope.corpora.shards import read_shard, shard_name
from cepscope.corpora.sides import SideFile
from cepscope.corpora.stretches import stretch_name
from cepscope.errors import CepscopeWarning, DataError, ParameterError
from cepscope.features import CoefficientScaler, MfccSpec, PCAWhitener
from cepscope.workers import Share, Workers

SHARD = 256  # clips: some 30 ms of work for a second of sound each, a dozen shards of a few thousand clips

Progress = Callable[[int, int], object]


def extract(
    corpus: Corpus,
    spec: MfccSpec | None = None,
    *,
    frames: int = 64,
    whiten: bool = False,
    workers: int | Workers = 1,
    strict: bool = False,
    out: str | os.PathLike[str] | None = None,
    shard_size: int = SHARD,
    progress: Progress | None = None,
) -> Patches:
    """Compute the MFCC patch of every clip: condition, MFCC, fixed length, scale.

    The scaler is fitted on train only. A clip longer than a patch is cropped at its centre, a shorter one is
    padded with silence on both sides. Of a clip longer than a minute only the middle minute is read, and its level is
    taken from that. The result is the same, bit for bit, whatever `workers` and `shard_size` are.

    Parameters
    ----------
    corpus
        From `load_corpus`.
    spec
        How MFCCs are computed; ``MfccSpec()`` when omitted. Clips are resampled to its rate.
    frames
        Frames in a patch.
    whiten
        Turn and scale whole frames, so that all rows are uncorrelated and of variance 1 (`PCAWhitener`), instead of
        scaling each coefficient by itself. Rows are then principal components, which have no neighbours: kernels
        should span them all, ``kernel_sizes=((n_mfcc, 6), ...)``.
    workers
        Processes, or who else shares the work.
    strict
        Raise at the first clip that can't be used, instead of passing over it with a `CepscopeWarning`.
    out
        Folder for what `write_features` leaves, to be read by `Patches.load`: patches are then files of which only what
        is looked at comes into memory. Without one they are in memory, all of them.
    shard_size
        Clips in a shard.
    progress
        Called as ``progress(clips_done, clips_in_all)`` in this process.

    Returns
    -------
    Patches

    Raises
    ------
    DataError
        No clips are left to train or to test on; `strict` and a clip is unreadable, shorter than 0.05 s (a
        labelled stretch: 0.01 s) or holds NaN or Inf; `out` can't be written.
    ParameterError
        `frames`, `workers` or `shard_size` below 1.
    """
    with TemporaryDirectory(prefix="cepscope-") if out is None else ExitStack() as temporary:
        folder = Path(temporary) if isinstance(temporary, str) else Path(out or "")
        manifest = write_features(
            *(corpus, folder, spec),
            frames=frames,
            whiten=whiten,
            workers=workers,
            strict=strict,
            shard_size=shard_size,
            progress=progress,
        )
        return load_patches(folder, manifest, mapped=out is not None)


@overload
def write_features(
    corpus: Corpus,
    folder: str | os.PathLike[str],
    spec: MfccSpec | None = ...,
    *,
    frames: int = ...,
    whiten: bool = ...,
    workers: int | Workers = ...,
    strict: bool = ...,
    shard_size: int = ...,
    progress: Progress | None = ...,
) -> Manifest: ...
@overload
def write_features(
    corpus: Corpus,
    folder: str | os.PathLike[str],
    spec: MfccSpec | None = ...,
    *,
    frames: int = ...,
    whiten: bool = ...,
    workers: int | Workers = ...,
    strict: bool = ...,
    shard_size: int = ...,
    progress: Progress | None = ...,
    share: Share | None,
) -> Manifest | None: ...
def write_features(
    corpus: Corpus,
    folder: str | os.PathLike[str],
    spec: MfccSpec | None = None,
    *,
    frames: int = 64,
    whiten: bool = False,
    workers: int | Workers = 1,
    strict: bool = False,
    shard_size: int = SHARD,
    progress: Progress | None = None,
    share: Share | None = None,
) -> Manifest | None:
    """Do what `extract` does and leave the patches in their files, so that the memory it takes does not grow with them.

    In the folder are then shards (MFCC of some clips each, for the next extraction), train.npy and test.npy (scaled
    patches), scaler.npz, clips.csv and manifest.json. Shards that are there for the same clips (path, size, time of
    change) and settings are used again.

    Parameters
    ----------
    corpus, spec, frames, whiten, workers, strict, shard_size, progress
        As in `extract`.
    folder
        Made if it is not there.
    share
        Only these shards are made and left for a later extraction to find, nothing else is written or removed; others
        may make theirs at the same time.

    Returns
    -------
    Manifest or None
        None of a share.

    Raises
    ------
    DataError, ParameterError
        As `extract`.
    """
    for name, value in (("frames", frames), ("shard_size", shard_size)):
        if value < 1:
            raise ParameterError(f"{name} must be at least 1. Received: {value!r}")
    if isinstance(workers, int):
        if workers < 1:
            raise ParameterError(f"workers must be at least 1. Received: {workers!r}")
        workers = Workers(count=workers)
    spec, folder = spec or MfccSpec(), _writable(Path(folder))
    clips = Clips.of(corpus.root, corpus.clips)
    pieces: Sequence[Piece] = [
        _piece(number, folder, clips.part(start, start + shard_size), spec, frames)
        for number, start in enumerate(range(0, len(clips), shard_size))
    ]
    if share:
        pieces = share.of(pieces)
    done = _make(pieces, workers, strict=strict, progress=progress, folder=folder)
    if share:
        return None
    found = _Found(clips, done)
    classes = found.classes()
    manifest = _write(found, folder, corpus, spec, frames, classes, whiten)
    for line in found.skipped():  # said only now: a failure is one line, of its own
        warnings.warn(f"skipped {line}", CepscopeWarning, stacklevel=3)
    return manifest


def _piece(number: int, folder: Path, clips: Clips, spec: MfccSpec, frames: int) -> Piece:
    return Piece(number, folder / shard_name(spec, frames, clips), clips, spec, frames)


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"can't make the folder {folder} ({error.strerror}); choose another") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"can't write into {folder}; choose another folder")
    return folder


def _make(
    pieces: Sequence[Piece], workers: Workers, *, strict: bool, progress: Progress | None, folder: Path
) -> list[Done]:
    """Have all shards made; with `strict`, raise at the first clip that can't be used."""
    missing = sum(not piece.path.is_file() for piece in pieces)
    if missing <= 1 and not workers.cluster:
        workers = Workers(count=1)  # what is there is read faster than processes start
    total, count = sum(len(piece.clips) for piece in pieces), 0
    waiting = {piece.number: piece for piece in pieces}
    come: dict[int, Done] = {}

    def one(done: Done) -> None:
        nonlocal count
        count += done.entry.clips
        if progress:
            progress(count, total)
        if strict:
            come[done.number] = done
            while waiting and (first := next(iter(waiting))) in come:
                _refuse(waiting.pop(first), come.pop(first))

    return workers.map(make_shard, pieces, folder=folder, done=one)


def _refuse(piece: Piece, done: Done) -> None:
    """Raise at the first clip that could not be used."""
    for i, problem in done.problems.items():
        name = stretch_name(str(piece.clips[i].path), *piece.clips.columns.stretch(i))
        raise DataError(f"{name}: {problem}")


@dataclass(frozen=True)
class _Found:
    """All clips, and what became of them in their shards."""

    clips: Clips
    done: Sequence[Done]

    def problems(self) -> Iterator[str]:
        """Yield why each clip could not be used, "" for a good one."""
        return chain.from_iterable((done.problems.get(i, "") for i in range(done.entry.clips)) for done in self.done)

    def skipped(self) -> list[str]:
        """Return a line for each clip that could not be used."""
        return [f"{self.clips.name(i)}: {problem}" for i, problem in enumerate(self.problems()) if problem]

    def usable(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
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


def _write(
    found: _Found, folder: Path, corpus: Corpus, spec: MfccSpec, frames: int, classes: tuple[str, ...], whiten: bool
) -> Manifest:
    """Bring the patches of all shards to their sides, fit the scaler on train, scale, and list everything."""
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
