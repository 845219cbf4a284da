"""A corpus's clips to MFCC patches: once, in parallel, and on from where it was stopped."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import overload

from cepscope.corpora.collecting import Found, collect
from cepscope.corpora.computing import Done, Piece, make_shard
from cepscope.corpora.corpus import Clips, Corpus
from cepscope.corpora.manifest import Manifest
from cepscope.corpora.patches import Patches, load_patches
from cepscope.corpora.shards import shard_name
from cepscope.corpora.stretches import stretch_name
from cepscope.errors import CepscopeWarning, DataError, ParameterError
from cepscope.features import MfccSpec
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
    found = Found(clips, done)
    classes = found.classes()
    manifest = collect(found, folder, corpus, spec, frames, classes, whiten)
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
