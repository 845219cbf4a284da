"""Whitening of single frames by principal components."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

from cepscope.atomic import load_npz, save_npz
from cepscope.errors import CorruptArtifactError, DataError, NotFittedError, ParameterError

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class PCAWhitener:
    """Turns frames into their principal components, each divided by the root of its variance plus `damping`.

    Damping keeps components of little variance, which are mostly noise, small: Lee, Largman, Pham, Ng 2009 (NIPS) add 3
    to variances that are themselves mostly below 1.

    Attributes
    ----------
    mean : array [shape=(n_in,)]
        Taken off first; zeros if it was not centred.
    components : array [shape=(n_out, n_in)]
        Orthonormal rows, of falling variance. The largest entry of each is positive.
    variances : array [shape=(n_out,)]
    damping : float
    """

    mean: Array
    components: Array
    variances: Array
    damping: float = 0.0

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
        frames : array [shape=(n, n_in, frames)] or sequence of arrays [shape=(n_in, frames)]
            Of the training side only.
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
        pieces = [np.asarray(piece, np.float64) for piece in frames]
        if not pieces or any(piece.ndim != 2 or len(piece) != len(pieces[0]) for piece in pieces):
            shapes = sorted({str(piece.shape) for piece in pieces})[:3]
            raise DataError(f"Frames must come as arrays (n_in, frames) of one n_in. Received: {shapes or 'none'}")
        size, count = len(pieces[0]), sum(piece.shape[1] for piece in pieces)
        kept = size if components is None else components
        if not 1 <= kept <= size:
            raise ParameterError(f"`components` must be from 1 to {size}. Received: {components}")
        if not count:
            raise DataError("There are no frames to whiten. Received: 0 frames")
        mean = sum(piece.sum(axis=1) for piece in pieces) / count if center else np.zeros(size)
        second = sum((piece - mean[:, None]) @ (piece - mean[:, None]).T for piece in pieces) / count
        if not np.isfinite(second).all():
            raise DataError("Frames must be finite to be whitened. Received: NaN or Inf")
        variances, vectors = scipy.linalg.eigh(second)
        rows = vectors[:, ::-1].T[:kept]
        rows = rows * np.sign(rows[np.arange(kept), np.abs(rows).argmax(axis=1)])[:, None]  # eigenvectors have no sign
        return cls(np.asarray(mean), rows, np.maximum(variances[::-1][:kept], 0.0), float(damping))

    @property
    def scale(self) -> Array:
        """What components are divided by (n_out,); 1 for one without any variance."""
        power = self.variances + self.damping
        dead = power <= 1e-12 * max(float(power.max()), 1e-300)
        return np.sqrt(np.where(dead, 1.0, power))

    def transform(self, frames: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Whiten frames (..., n_in, frames): (..., n_out, frames)."""
        given = self._checked(frames, len(self.mean))
        found = self.components @ (given - self.mean[:, None]) / self.scale[:, None]
        return found.astype(np.float32)

    def inverse_transform(self, whitened: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Undo `transform`, for (..., n_out, frames); what components that were left out held is lost."""
        given = self._checked(whitened, len(self.components))
        return (self.components.T @ (given * self.scale[:, None]) + self.mean[:, None]).astype(np.float32)

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
        except KeyError as error:
            raise CorruptArtifactError(f"{path} is not a whitener's npz: it has no {error}") from error
