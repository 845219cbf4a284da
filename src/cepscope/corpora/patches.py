"""Fixed-length MFCC patches: what a network sees, and the one way from sound to it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cepscope.corpora.conditioning import conditioned, longest_read, one_thread, sound_to_mfcc
from cepscope.corpora.shards import Manifest, Shard, read_manifest, read_shard
from cepscope.corpora.stretches import parse_stretch, read_stretch
from cepscope.errors import DataError, ParameterError
from cepscope.features import CoefficientScaler, MfccSpec, PCAWhitener, Scaling

_BLOCK = 1024  # patches scaled at a time: bounds the copies made beside the patches themselves


@dataclass(frozen=True, eq=False, slots=True)
class PatchSplit:
    """The patches of train or of test.

    Attributes
    ----------
    x
        (n, n_mfcc, frames, 1) float32, scaled MFCC.
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
    paths: tuple[str, ...]
    speakers: tuple[str, ...]

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
        manifest = read_manifest(Path(folder))
        size = (manifest.spec.n_mfcc, manifest.frames)
        shards = (
            read_shard(Path(folder) / entry.file, shape=(entry.clips, *size), sha256=entry.sha256)
            for entry in manifest.shards
        )
        return assemble(manifest, shards, scaler=manifest.load_scaler(Path(folder)))


def assemble(manifest: Manifest, shards: Iterable[Shard], *, scaler: Scaling | None, whiten: bool = False) -> Patches:
    """Sort the clips' MFCCs into train and test and scale them.

    Parameters
    ----------
    manifest
        The clips, in the order of the shards' rows.
    shards
        Their MFCCs.
    scaler
        None fits one on train.
    whiten
        Fit a whitener.

    Raises
    ------
    DataError
        Too few usable clips are left.
    """
    spec, frames, clips = manifest.spec, manifest.frames, manifest.clips
    shape = (spec.n_mfcc, frames)
    x = {side: np.empty((sum(c.split == side for c in clips), *shape), np.float32) for side in ("train", "test")}
    kept: dict[str, list[int]] = {"train": [], "test": []}
    skipped: list[str] = []
    row = 0
    for shard in shards:
        for patch, problem in zip(shard.mfcc, shard.problems, strict=True):
            side = clips[row].split
            if not problem:
                x[side][len(kept[side])] = patch
                kept[side].append(row)
            else:
                skipped.append(f"{clips[row].path}: {problem}")
            row += 1
    usable = {side: [clips[i].label for i in rows] for side, rows in kept.items()}
    classes = _classes({clip.label for clip in clips}, usable, skipped)
    kind = PCAWhitener if whiten else CoefficientScaler
    with one_thread():
        fitted = scaler or kind.fit(x["train"][: len(kept["train"])])
    sides = {}
    for which, rows in kept.items():
        scaled = x[which][: len(rows)]
        for start in range(0, len(rows), _BLOCK):
            scaled[start : start + _BLOCK] = fitted.transform(scaled[start : start + _BLOCK])
        sides[which] = PatchSplit(
            x=scaled[..., np.newaxis],
            y=np.array([classes.index(clips[i].label) for i in rows], dtype=np.int32),
            paths=tuple(clips[i].path for i in rows),
            speakers=tuple(clips[i].speaker for i in rows),
        )
    return Patches(
        spec=spec,
        frames=frames,
        scaler=fitted,
        classes=classes,
        train=sides["train"],
        test=sides["test"],
        corpus_name=manifest.corpus_name,
        skipped=tuple(skipped),
        root=manifest.root,
    )


def _classes(wanted: set[str], labels: Mapping[str, Sequence[str]], skipped: Sequence[str]) -> tuple[str, ...]:
    """Return the sorted classes; DataError when the usable clips can't train and test a classifier of them all."""
    because = f"; {len(skipped)} clips were skipped, the first: {skipped[0]}" if skipped else ""
    for side in ("train", "test"):
        if not labels[side]:
            raise DataError(f"no usable clip is left in {side}{because}")
    if absent := sorted(wanted - set(labels["train"])):
        raise DataError(f"no usable clip of class {absent[0]!r} is left in train{because}; add recordings or remove it")
    return tuple(sorted(wanted))
