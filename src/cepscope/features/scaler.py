"""Scaling of each coefficient to mean 0 and standard deviation 1."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cepscope.atomic import load_npz, save_npz
from cepscope.errors import CorruptArtifactError, DataError, NotFittedError, ParameterError

CHUNK = 1024  # patches whose float64 deviations are held at once; their sums depend on it in the last bits
_CONSTANT = 1e-6  # relative spread below which a coefficient is constant: float32 rounding


@dataclass(frozen=True, eq=False, slots=True)
class CoefficientScaler:
    """Standardises MFCCs, each coefficient by itself, over clips and frames.

    Attributes
    ----------
    mean : array [shape=(n_mfcc,)]
        float32, in the MFCC's units.
    scale : array [shape=(n_mfcc,)]
        float32, above 0: the standard deviation, or 1 for a coefficient that is constant.

    Raises
    ------
    ParameterError
        The two are not vectors of one length, or not finite, or `scale` is not above 0.
    """

    mean: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        for name in ("mean", "scale"):
            vector = np.array(getattr(self, name), dtype=np.float32)
            vector.flags.writeable = False
            object.__setattr__(self, name, vector)
        if self.mean.ndim != 1 or self.mean.shape != self.scale.shape or not self.mean.size:
            shapes = f"{self.mean.shape} and {self.scale.shape}"
            raise ParameterError(f"mean and scale must be vectors of one length. Received: shapes {shapes}")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.scale).all() and (self.scale > 0).all()):
            raise ParameterError(f"mean must be finite, scale finite and above 0. Received: {self}")

    @classmethod
    def fit(cls, mfccs: npt.ArrayLike) -> CoefficientScaler:
        """Measure mean and standard deviation (two passes, in float64).

        Parameters
        ----------
        mfccs : array [shape=(n, n_mfcc, frames)]
            MFCC of the training side only.

        Raises
        ------
        DataError
            `mfccs` is empty or holds NaN or Inf.
        ParameterError
            `mfccs` does not have three axes.
        """
        given = np.asarray(mfccs)
        if given.ndim != 3:
            raise ParameterError(f"fit takes MFCCs of shape (n, n_mfcc, frames). Received: {given.shape}")
        return cls.fit_chunks([given[start : start + CHUNK] for start in range(0, len(given), CHUNK)])

    @classmethod
    def fit_chunks(cls, chunks: Iterable[npt.NDArray[np.float32]]) -> CoefficientScaler:
        """Do what `fit` does to the last bit, with MFCCs that need not fit into memory.

        Parameters
        ----------
        chunks : iterable of arrays [shape=(CHUNK, n_mfcc, frames)]
            Gone through twice; the last may have fewer patches.

        Raises
        ------
        DataError
            As `fit`.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
            count, total = 0, np.zeros(1)
            for chunk in chunks:
                count += chunk.shape[0] * chunk.shape[2]
                total = total + chunk.sum(axis=(0, 2), dtype=np.float64)
            if not count or not total.size:
                raise DataError("no MFCCs to fit a scaler on")
            mean = total / count  # (n_mfcc,)
            squares = sum(((chunk - mean[:, np.newaxis]) ** 2).sum(axis=(0, 2)) for chunk in chunks)
            deviation = np.sqrt(np.asarray(squares, dtype=np.float64) / count)
        if not (np.abs([mean, deviation]) <= np.finfo(np.float32).max).all():
            raise DataError("MFCCs must be finite in float32 to fit a scaler. Received: NaN, Inf or larger values")
        constant = deviation <= _CONSTANT * np.maximum(np.abs(mean), 1.0)
        return cls(mean.astype(np.float32), np.where(constant, 1.0, deviation).astype(np.float32))

    @property
    def encoder(self) -> npt.NDArray[np.float64]:
        """Return `transform` as a matrix: (n_mfcc, n_mfcc), so that x = encoder @ (C - mean)."""
        return np.diag(1 / self.scale.astype(np.float64))

    @property
    def decoder(self) -> npt.NDArray[np.float64]:
        """Return `inverse_transform` as a matrix: (n_mfcc, n_mfcc), so that C = decoder @ x + mean."""
        return np.diag(self.scale.astype(np.float64))

    def transform(self, mfccs: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Standardise MFCCs (..., n_mfcc, frames); float32. ParameterError for another n_mfcc."""
        return (self._checked(mfccs) - self.mean[:, np.newaxis]) / self.scale[:, np.newaxis]

    def inverse_transform(self, mfccs: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Undo `transform`, for MFCCs (..., n_mfcc, frames)."""
        return self._checked(mfccs) * self.scale[:, np.newaxis] + self.mean[:, np.newaxis]

    def in_deviations(self, patterns: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return what pictures show of patterns (..., n_mfcc, frames): standard deviations, which they are in."""
        return self._checked(patterns)

    def _checked(self, mfccs: npt.ArrayLike) -> npt.NDArray[np.float32]:
        given = np.asarray(mfccs, dtype=np.float32)
        if given.ndim < 2 or given.shape[-2] != len(self.mean):
            expected = f"(..., {len(self.mean)}, frames)"
            raise ParameterError(f"this scaler takes MFCCs of shape {expected}. Received: {given.shape}")
        return given

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an npz, whole or not at all."""
        save_npz(path, mean=self.mean, scale=self.scale)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CoefficientScaler:
        """Read what `save` wrote.

        Raises
        ------
        NotFittedError
            There is no such file.
        CorruptArtifactError
            The file is damaged or is something else.
        """
        if not Path(path).is_file():
            raise NotFittedError(f"no scaler at {path}; extract features first")
        try:
            data = load_npz(path)
            return cls(data["mean"], data["scale"])
        except (CorruptArtifactError, ValueError, KeyError, TypeError) as error:
            raise CorruptArtifactError(f"{path} is not a scaler's npz, or it is damaged; extract again") from error
