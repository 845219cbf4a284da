"""How much does a pattern look like speech? The likelihood of its patches under a mixture fitted to real ones.

Short patches (8 frames) are projected on their principal components and modelled by a Gaussian mixture; what the
projection leaves out is modelled as isotropic noise (probabilistic PCA, Tipping and Bishop 1999). The score is the mean
log-likelihood of a pattern's patches, standardised by that of real held-out clips: 0 is an average clip, negative is
less likely than speech, positive is smoother than speech.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from cepscope.errors import DataError

FloatArray = npt.NDArray[np.float64]

WIDTH, STRIDE = 8, 4  # frames
DIRECTIONS, MIXTURES = 40, 12
MAX_PATCHES = 6_000  # more do not change the fit
SPREAD = 1e-2  # least variance along a direction, in variances of speech: digital silence has none of its own
MIN_CLIPS = 2


@dataclass(frozen=True)
class Naturalness:
    """A fitted judge of patterns.

    Attributes
    ----------
    pca, mixture : fitted scikit-learn models
    residual : float
        Variance of what the projection leaves out.
    silence : array [shape=(n_mfcc,)]
        Scaled MFCC of digital silence; patches of it say nothing about speech and are not judged.
    mean, deviation : float
        Of the score of real held-out clips.
    """

    pca: Any
    mixture: Any
    residual: float
    silence: npt.NDArray[np.float32]
    mean: float = 0.0
    deviation: float = 1.0

    def log_likelihood(self, x: npt.ArrayLike) -> FloatArray:
        """Return the mean log-likelihood per dimension of patterns (n, n_mfcc, frames[, 1]): (n,), in nats."""
        patches, sounding = _cut(np.asarray(x, np.float32), self.silence)
        n, count, size = patches.shape
        flat = patches.reshape(-1, size).astype(np.float64)
        projected = self.pca.transform(flat)
        rest = np.sum((flat - self.pca.mean_) ** 2, axis=1) - np.sum(projected**2, axis=1)
        left = size - projected.shape[1]
        with threadpool_limits(1):
            score = self.mixture.score_samples(projected)
        score -= 0.5 * (rest / self.residual + left * np.log(2 * np.pi * self.residual))
        weights = np.where(sounding.any(axis=1, keepdims=True), sounding, True).astype(np.float64)  # (n, count)
        total: FloatArray = np.sum(score.reshape(n, count) * weights, axis=1) / weights.sum(axis=1) / size
        return total

    def score(self, x: npt.ArrayLike) -> FloatArray:
        """Return the standardised score of patterns (n, n_mfcc, frames[, 1]): (n,)."""
        return (self.log_likelihood(x) - self.mean) / self.deviation


def fit_naturalness(
    train: npt.ArrayLike, held_out: npt.ArrayLike, *, silence: npt.ArrayLike, seed: int = 0
) -> Naturalness:
    """Fit the judge to real speech.

    Parameters
    ----------
    train : array [shape=(n, n_mfcc, frames, 1)]
        Scaled patches to which the mixture is fitted.
    held_out : array [shape=(m, n_mfcc, frames, 1)]
        Scaled patches that set the zero and the unit of the score.
    silence : array [shape=(n_mfcc,)]
        Scaled MFCC of digital silence.
    seed : int
        Of the choice of patches and the start of the mixture.

    Raises
    ------
    DataError
        If there is too little speech to fit.
    """
    from sklearn.decomposition import PCA
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    still = np.asarray(silence, np.float32)
    patches, sounding = _cut(np.asarray(train, np.float32), still)
    flat = patches[sounding].astype(np.float64)
    if len(flat) < 2 * MIXTURES or len(np.asarray(held_out)) < MIN_CLIPS:
        raise DataError(
            f"Naturalness needs at least {2 * MIXTURES} sounding patches of {WIDTH} frames and {MIN_CLIPS} held-out "
            f"clips. Received: {len(flat)} and {len(np.asarray(held_out))}. Add recordings."
        )
    rng = np.random.default_rng(seed)
    flat = flat[rng.permutation(len(flat))[:MAX_PATCHES]]
    directions = min(DIRECTIONS, flat.shape[1] - 1, len(flat) - 1)
    pca = PCA(directions, svd_solver="full").fit(flat)
    mixture = GaussianMixture(MIXTURES, reg_covar=SPREAD, random_state=seed, max_iter=60)
    with threadpool_limits(1), warnings.catch_warnings():  # many small products: threads only get in each other's way
        warnings.simplefilter("ignore", ConvergenceWarning)  # 60 rounds are enough for a score
        mixture.fit(pca.transform(flat))
    residual = max(float(pca.noise_variance_), SPREAD)
    judge = Naturalness(pca, mixture, residual, still)
    real = judge.log_likelihood(held_out)
    return Naturalness(pca, mixture, residual, still, float(real.mean()), max(float(real.std()), 1e-9))


def _cut(x: npt.NDArray[np.float32], silence: npt.NDArray[np.float32]) -> tuple[Any, npt.NDArray[np.bool_]]:
    """Cut patterns into patches (n, count, n_mfcc * WIDTH); tell which are at least half sound."""
    x = x.reshape(x.shape[0], x.shape[1], x.shape[2])
    width = min(WIDTH, x.shape[2])
    starts = range(0, x.shape[2] - width + 1, STRIDE)
    quiet = np.all(np.abs(x - silence[:, None]) < 1e-3, axis=1)
    patches = np.stack([x[:, :, s : s + width].reshape(len(x), -1) for s in starts], axis=1)
    sounding = np.stack([~(quiet[:, s : s + width].mean(axis=1) > 0.5) for s in starts], axis=1)
    return patches, sounding
