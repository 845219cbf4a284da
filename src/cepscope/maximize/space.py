"""The space of speech: principal components of real patches, in which patterns are searched.

A pattern is ``x = mean + basis @ z``, with the basis scaled so that real speech has unit variance along every
component. A ball in `z` is then a Mahalanobis ball of speech, and a step costs the same in every direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

from cepscope.errors import DataError

FloatArray = npt.NDArray[np.float32]
MIN_PATCHES = 8
BLOCK = 4096  # patches at a time


@dataclass(frozen=True)
class PatchSpace:
    """Mean and scaled principal directions of patches of speech.

    Attributes
    ----------
    mean : array [shape=(n_mfcc * frames,)]
    basis : array [shape=(n_mfcc * frames, components)]
        Columns are eigenvectors of the covariance times the square root of their eigenvalue.
    shape : tuple of int
        (n_mfcc, frames).
    """

    mean: FloatArray
    basis: FloatArray
    shape: tuple[int, int]

    @property
    def components(self) -> int:
        """Number of directions."""
        return int(self.basis.shape[1])

    def decode(self, z: FloatArray) -> FloatArray:
        """Turn coordinates (n, components) into patterns (n, n_mfcc, frames)."""
        return (self.mean + z @ self.basis.T).reshape(-1, *self.shape).astype(np.float32)

    def encode(self, x: FloatArray) -> FloatArray:
        """Project patterns (n, n_mfcc, frames[, 1]) on the directions: (n, components)."""
        flat = np.asarray(x, np.float32).reshape(len(x), -1) - self.mean
        return np.asarray(flat @ (self.basis / np.sum(self.basis**2, axis=0)), np.float32)


def directions_kept(x: npt.NDArray[np.float32], components: int) -> int:
    """Return how many directions patches (n, n_mfcc, frames, 1) span, `components` at most."""
    return min(components, int(x.shape[1] * x.shape[2]), len(x) - 1)


def fit_patch_space(x: npt.ArrayLike, *, components: int = 200, shrinkage: float = 0.05) -> PatchSpace:
    """Fit the space of speech to real patches.

    Parameters
    ----------
    x : array [shape=(n, n_mfcc, frames, 1)]
        Scaled MFCC patches.
    components : int
        Directions kept; never more than ``n - 1`` or ``n_mfcc * frames``.
    shrinkage : float in [0, 1)
        Weight of the diagonal in the covariance; steadies it when patches are few.

    Raises
    ------
    DataError
        If there are too few patches, or they do not vary.
    """
    x = np.asarray(x, np.float32)
    if len(x) < MIN_PATCHES:
        raise DataError(
            f"The space of speech needs at least {MIN_PATCHES} patches. Received: {len(x)}. Add recordings."
        )
    shape = (int(x.shape[1]), int(x.shape[2]))
    flat = x.reshape(len(x), -1)
    mean = flat.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((flat.shape[1], flat.shape[1]))
    for i in range(0, len(flat), BLOCK):
        block = flat[i : i + BLOCK] - mean
        covariance += block.T @ block
    covariance /= len(flat) - 1
    covariance = (1 - shrinkage) * covariance + shrinkage * np.diag(np.diag(covariance))
    size = len(covariance)
    kept = directions_kept(x, components)
    values, vectors = scipy.linalg.eigh(covariance, subset_by_index=[size - kept, size - 1])
    values, vectors = values[::-1], vectors[:, ::-1]
    if values[0] <= 0:
        raise DataError("All patches are equal, so speech spans no space. Add recordings that differ.")
    values = np.maximum(values, values[0] * 1e-9)
    # an eigenvector's sign is arbitrary: make its largest entry positive, so that every LAPACK agrees
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(kept)])
    basis = vectors * signs * np.sqrt(values)
    return PatchSpace(mean.astype(np.float32), basis.astype(np.float32), shape)
