"""Fixed-length MFCC patches: what a network sees, and the one way from sound to it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cepscope.corpora.columns import Columns, ColumnsBuilder
from cepscope.corpora.conditioning import conditioned, longest_read, sound_to_mfcc
from cepscope.corpora.corpus import SPLITS, Split
from cepscope.corpora.manifest import CLIPS, Manifest, read_manifest
from cepscope.corpora.shards import AGAIN
from cepscope.corpora.sides import open_side
from cepscope.corpora.stretches import parse_stretch, read_stretch
from cepscope.errors import CorruptArtifactError, DataError, ParameterError
from cepscope.features import MfccSpec, Scaling


@dataclass(frozen=True, eq=False, slots=True)
class PatchSplit:
    """The patches of train or of test.

    Attributes
    ----------
    x
        (n, n_mfcc, frames, 1) float32, scaled MFCC; read only where it is mapped from a file.
    y
        (n,) int32, index into `Patches.classes`.
    paths
        (n,) the clip of each patch, below `Patches.root`, with forward slashes; a stretch of a file ends in
        ``#t=START,STOP`` (seconds).
    speakers
        (n,) the speaker of each patch; "" when unknown.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int32]
    paths: Sequence[str]
    speakers: Sequence[str]

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        return f"PatchSplit(x={self.x.shape})"


@dataclass(frozen=True, eq=False)
class Patches:
    """Scaled MFCC patches of a corpus, and how to get there and back.

    Attributes
    ----------
    spec
        How MFCCs are computed.
    frames
        Frames in a patch.
    scaler
        Standardises each coefficient, or whitens each frame (`extract` with ``whiten=True``); fitted on train only.
    classes
        The labels, sorted; `PatchSplit.y` counts them.
    train, test
        The two sides.
    corpus_name
        For titles.
    skipped
        One line for each clip that could not be used.
    root
        The corpus's folder; empty when the patches came from nowhere on disk.
    """

    spec: MfccSpec
    frames: int
    scaler: Scaling
    classes: tuple[str, ...]
    train: PatchSplit
    test: PatchSplit
    corpus_name: str
    skipped: tuple[str, ...] = field(default=())
    root: str = ""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Return (n_mfcc, frames, 1), a model's input without the batch axis."""
        return (self.spec.n_mfcc, self.frames, 1)

    def __repr__(self) -> str:
        sides = f"{len(self.train)} train + {len(self.test)} test"
        return f"Patches({self.corpus_name!r}, {len(self.classes)} classes, {sides} of {self.input_shape})"

    def encode(self, y: ArrayLike, sr: int | None = None) -> NDArray[np.float32]:
        """Turn a sound into model input, as `extract` does: condition, MFCC, fixed length, scale.

        Parameters
        ----------
        y
            (samples,) audio.
        sr
            Its sampling rate in Hz; the patches' own when omitted.

        Returns
        -------
        x
            (n_mfcc, frames, 1) float32.

        Raises
        ------
        DataError
            `y` is empty or holds NaN or Inf.
        ParameterError
            `y` has more than one axis.
        """
        audio = np.asarray(y, dtype=np.float32)
        if audio.ndim != 1:
            raise ParameterError(f"encode takes one sound of shape (samples,). Received: {audio.shape}")
        if not audio.size or not np.isfinite(audio).all():
            what = "NaN or Inf" if audio.size else "no samples"
            raise DataError(f"the sound holds {what}; nothing was encoded")
        C = sound_to_mfcc(audio, self.spec.sr if sr is None else sr, self.spec, self.frames)
        return self.scaler.transform(C)[..., np.newaxis]

    def decode(self, x: ArrayLike) -> NDArray[np.float32]:
        """Undo the scaling.

        Parameters
        ----------
        x
            (..., n_mfcc, frames) or (..., n_mfcc, frames, 1) scaled MFCC.

        Returns
        -------
        mfcc
            (..., n_mfcc, frames) float32 in librosa's units.

        Raises
        ------
        ParameterError
            The shape is not that of patches.
        """
        scaled = np.asarray(x, dtype=np.float32)
        if scaled.shape[-3:] == self.input_shape:
            scaled = scaled[..., 0]
        if scaled.shape[-2:] != self.input_shape[:2]:
            expected = f"(..., {self.spec.n_mfcc}, {self.frames}) with or without a last axis of 1"
            raise ParameterError(f"a patch has the shape {expected}. Received: {np.shape(x)}")
        return self.scaler.inverse_transform(scaled)

    def load_wave(self, path: str | os.PathLike[str]) -> NDArray[np.float32]:
        """Return what is heard of a clip in its patch.

        Parameters
        ----------
        path
            One of `PatchSplit.paths`, or any sound file; ``a.flac#t=0.5,1.25`` is a stretch of one.

        Returns
        -------
        y
            ((frames - 1) * hop,) conditioned audio at `spec.sr`, cropped or padded as the patch is.

        Raises
        ------
        DataError
            The file is gone or unreadable.
        """
        name, begin, end = parse_stretch(os.fspath(path))
        longest = longest_read(self.spec, self.frames)
        audio, sr = read_stretch(Path(self.root) / name, begin, end, longest=longest)
        audio = conditioned(audio, sr, self.spec.sr)
        surplus = self.spec.frames_of(len(audio)) - self.frames  # frames that fit_length takes off or adds
        length = self.spec.samples_of(self.frames)
        if surplus >= 0:
            start = surplus // 2 * self.spec.hop
            audio = audio[start : start + length]
            before = 0
        else:
            before = -surplus // 2 * self.spec.hop
        wave = np.zeros(length, dtype=np.float32)
        audio = audio[: length - before]
        wave[before : before + len(audio)] = audio
        return wave

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Patches:
        """Read what `extract(..., out=folder)` wrote.

        Raises
        ------
        NotFittedError
            Nothing was extracted there yet.
        CorruptArtifactError
            A file is missing, damaged or was changed.
        """
        return load_patches(Path(folder), read_manifest(Path(folder)))


def load_patches(folder: Path, manifest: Manifest, *, mapped: bool = True) -> Patches:
    """Return the patches of an extraction, mapped from their files or in memory; errors as `Patches.load`."""
    scaler = manifest.load_scaler(folder)
    found = {side: ColumnsBuilder() for side in SPLITS}
    skipped = []
    try:
        for line in manifest.lines(folder):
            if line.problem:
                skipped.append(f"{line.path}: {line.problem}")
            else:
                found[SPLITS[SPLITS.index(line.split)]].append(line.path, line.label, line.speaker, line.split)
        sides = [_side(folder, manifest, side, found[side].done(), mapped=mapped) for side in SPLITS]
    except ValueError as error:
        raise CorruptArtifactError(f"{folder / CLIPS} is damaged ({error}); {AGAIN}") from error
    return Patches(
        spec=manifest.spec,
        frames=manifest.frames,
        scaler=scaler,
        classes=manifest.classes,
        train=sides[0],
        test=sides[1],
        corpus_name=manifest.corpus_name,
        skipped=tuple(skipped),
        root=manifest.root,
    )


def open_split(folder: Path, manifest: Manifest, side: Split, *, mapped: bool = True) -> NDArray[np.float32]:
    """Return the scaled patches (n, n_mfcc, frames, 1) of train or of test; errors as `Patches.load`."""
    entry = manifest.train if side == "train" else manifest.test
    shape = (entry.clips, manifest.spec.n_mfcc, manifest.frames)
    return open_side(folder / entry.file, shape, entry.sha256, mapped=mapped)


def _side(folder: Path, manifest: Manifest, side: Split, clips: Columns, *, mapped: bool) -> PatchSplit:
    x = open_split(folder, manifest, side, mapped=mapped)
    if len(clips) != len(x):
        raise ValueError(f"{len(clips)} clips of {side}, expected {len(x)}")
    numbers = np.array([manifest.classes.index(label) for label in clips.labels.values], np.int32)
    return PatchSplit(x=x, y=numbers[clips.labels.codes], paths=clips.names, speakers=clips.speakers)
