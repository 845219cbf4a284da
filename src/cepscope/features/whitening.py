"""Whitening of single frames by principal components.

A network whose kernels span all rows does not care which of them are neighbours, so frames may be turned until no two
rows are correlated and each varies as much (Lee, Largman, Pham, Ng 2009, NIPS, section 3.1).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cepscope.atomic import load_npz, save_npz
from cepscope.errors import CorruptArtifactError, DataError, NotFittedError, ParameterError
from cepscope.features.scaler import CoefficientScaler

Array: TypeAlias = npt.NDArray[np.float64]

SKEW = 1e-6  # by which components may miss being orthonormal


@dataclass(frozen=True)
class _Pieces:
    """Frames as arrays, each time anew."""

    frames: Iterable[Any]

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        return (np.asarray(piece) for piece in self.frames)


@dataclass(frozen=True)
class _Patches:
    """The patches of chunks, one after another, each time anew."""

    chunks: Iterable[npt.NDArray[np.float32]]

    def __iter__(self) -> Iterator[npt.NDArray[np.float32]]:
        return (patch for chunk in self.chunks for patch in chunk)


@dataclass(frozen=True, eq=False, slots=True)
class PCAWhitener:
    """Turns frames into their principal components, each divided by the root of its variance plus `damping`.

    Damping keeps components of little variance, which are mostly noise, small: Lee, Largman, Pham, Ng 2009 (NIPS) add 3
    to variances that are themselves mostly below 1. It has the methods of `CoefficientScaler` and takes its place in
    `cepscope.corpora.Patches`.

    Attributes
    ----------
    mean : array [shape=(n_in,)]
        Taken off first; zeros if it was not centred.
    components : array [shape=(n_out, n_in)]
        Orthonormal rows, of falling variance. The largest entry of each is positive.
    variances : array [shape=(n_out,)]
    damping : float

    Raises
    ------
    ParameterError
        Shapes do not fit together, numbers are not finite or are negative, or components are not orthonormal.
    """

    mean: Array
    components: Array
    variances: Array
    damping: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mean", "components", "variances"):
            values = np.array(getattr(self, name), np.float64)
            values.flags.writeable = False
            object.__setattr__(self, name, values)
        shapes = (self.mean.shape, self.components.shape, self.variances.shape)
        n_out, n_in = self.components.shape if self.components.ndim == 2 else (0, 0)
        if shapes != ((n_in,), (n_out, n_in), (n_out,)) or not n_out:
            expected = "(n_in,), (n_out, n_in) and (n_out,)"
            raise ParameterError(f"mean, components and variances must be {expected}. Received: {shapes}")
        if not all(np.isfinite(values).all() for values in (self.mean, self.components, self.variances)):
            raise ParameterError("mean, components and variances must be finite. Received: NaN or Inf")
        if not (np.isfinite(self.damping) and self.damping >= 0 and (self.variances >= 0).all()):
            least = self.variances.min()
            raise ParameterError(f"`damping` and variances must be at least 0. Received: {self.damping}, {least:g}")
        if np.abs(self.components @ self.components.T - np.eye(n_out)).max() > SKEW:
            raise ParameterError("components must be orthonormal rows. Received: rows that are not")

    @classmethod
    def fit(
        cls,
        frames: Iterable[Any],
        *,
        components: int | None = None,
        damping: float = 0.0,
        center: bool = True,
    ) -> PCAWhitener:
        """Measure the principal components, in float64.

        Parameters
        ----------
        frames : array [shape=(n, n_in, frames)] or iterable of arrays [shape=(n_in, frames)]
            Of the training side only; gone through repeatedly.
        components : int, optional
            How many are kept; default: all.
        damping : float
        center : bool
            Take the mean off; Lee et al. do not.

        Raises
        ------
        DataError
            There are no frames, or they hold NaN or Inf.
        ParameterError
            A number is out of range.
        """
        if not (np.isfinite(damping) and damping >= 0):
            raise ParameterError(f"`damping` must be at least 0. Received: {damping}")
        pieces = _Pieces(list(frames) if isinstance(frames, Iterator) else frames)
        found: Counter[tuple[int, ...]] = Counter(piece.shape for piece in pieces)
        if not found or any(len(shape) != 2 for shape in found) or len({shape[0] for shape in found}) > 1:
            shapes = sorted(map(str, found))[:3]
            raise DataError(f"Frames must come as arrays (n_in, frames) of one n_in. Received: {shapes or 'none'}")
        size, count = next(iter(found))[0], sum(shape[1] * times for shape, times in found.items())
        kept = size if components is None else components
        if not 1 <= kept <= size:
            raise ParameterError(f"`components` must be from 1 to {size}. Received: {components}")
        if not count:
            raise DataError("There are no frames to whiten. Received: 0 frames")
        mean, second = np.zeros(size), np.zeros((size, size))
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
            if center:
                mean = sum((piece.sum(axis=1, dtype=np.float64) for piece in pieces), mean) / count
            for piece in pieces:
                centred = piece - mean[:, None]
                second += centred @ centred.T / count
        if not np.isfinite(second).all():
            raise DataError("Frames must be finite to be whitened. Received: NaN or Inf")
        variances, vectors = np.linalg.eigh(second)
        rows = vectors[:, ::-1].T[:kept]
        rows = rows * np.sign(rows[np.arange(kept), np.abs(rows).argmax(axis=1)])[:, None]  # eigenvectors have no sign
        return cls(np.asarray(mean), rows, np.maximum(variances[::-1][:kept], 0.0), float(damping))

    @classmethod
    def fit_chunks(cls, chunks: Iterable[npt.NDArray[np.float32]]) -> PCAWhitener:
        """Do what `fit` does with patches (n, n_in, frames) that need not fit into memory: gone through repeatedly."""
        return cls.fit(_Patches(chunks))

    @property
    def scale(self) -> Array:
        """What components are divided by (n_out,); 1 for one without any variance."""
        power = self.variances + self.damping
        dead = power <= 1e-12 * max(float(power.max()), 1e-300)
        return np.sqrt(np.where(dead, 1.0, power))

    @property
    def encoder(self) -> Array:
        """`transform` as a matrix (n_out, n_in): x = encoder @ (frame - mean)."""
        return self.components / self.scale[:, None]

    @property
    def decoder(self) -> Array:
        """`inverse_transform` as a matrix (n_in, n_out): frame = decoder @ x + mean."""
        return self.components.T * self.scale

    def transform(self, frames: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Whiten frames (..., n_in, frames): (..., n_out, frames); each, to the last bit, whatever is around it."""
        given = self._checked(frames, len(self.mean))
        return _product(self.encoder, given - self.mean[:, None]).astype(np.float32)

    def inverse_transform(self, whitened: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Undo `transform`, for (..., n_out, frames); what components that were left out held is lost."""
        given = self._checked(whitened, len(self.components))
        return (_product(self.decoder, given) + self.mean[:, None]).astype(np.float32)

    def in_deviations(self, whitened: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return what pictures show of patterns (..., n_out, frames): (..., n_in, frames), without the mean.

        Each row is in units of its own standard deviation over the frames that whitening was fitted to.
        """
        deviation = np.sqrt(np.square(self.components.T) @ self.variances)  # of rows, (n_in,)
        deviation = np.where(deviation > 0, deviation, 1.0)
        given = self._checked(whitened, len(self.components))
        return _product(self.decoder / deviation[:, None], given).astype(np.float32)

    @staticmethod
    def _checked(frames: npt.ArrayLike, size: int) -> Array:
        given = np.asarray(frames, np.float64)
        if given.ndim < 2 or given.shape[-2] != size:
            raise ParameterError(f"this whitener takes frames of shape (..., {size}, frames). Received: {given.shape}")
        return given

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an npz, whole or not at all."""
        save_npz(
            path, mean=self.mean, components=self.components, variances=self.variances, damping=np.array(self.damping)
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PCAWhitener:
        """Read what `save` wrote; NotFittedError if it is missing, CorruptArtifactError if it is something else."""
        if not Path(path).is_file():
            raise NotFittedError(f"no whitener at {path}; fit one first")
        data = load_npz(path)
        try:
            return cls(data["mean"], data["components"], data["variances"], float(data["damping"]))
        except (ParameterError, KeyError, ValueError, TypeError) as error:
            raise CorruptArtifactError(f"{path} is not a whitener's npz ({error}); extract again") from error


Scaling: TypeAlias = CoefficientScaler | PCAWhitener


def load_scaling(path: str | os.PathLike[str]) -> Scaling:
    """Read a scaler or a whitener, whichever is there; errors are those of `CoefficientScaler.load`."""
    try:
        whitener = "components" in load_npz(path)
    except CorruptArtifactError:
        whitener = False  # missing or damaged: the scaler's own reading says so
    return PCAWhitener.load(path) if whitener else CoefficientScaler.load(path)


def _product(matrix: Array, frames: Array) -> Array:
    """Return matrix (m, n) times frames (..., n, t), summed in the order of n.

    BLAS would be faster, but its order of summation depends on shapes and on the number of threads, so a clip by itself
    could differ from the same clip among others.
    """
    out = np.zeros((*frames.shape[:-2], len(matrix), frames.shape[-1]))
    term = np.empty_like(out)
    for i, column in enumerate(matrix.T):
        out += np.multiply(column[:, None], frames[..., i : i + 1, :], out=term)
    return out
