"""How likely is a stretch of speech? A Gaussian mixture of short patches of real speech.

Patches of a few frames are projected on their principal components and modelled by a Gaussian mixture; what the
projection leaves out is modelled as isotropic noise (probabilistic PCA, Tipping and Bishop 1999). Frames alone are
patches of one frame. The same mixture is a judge (`cepscope.probe`, NumPy) and a prior (TensorFlow, differentiable),
each with numbers of its own, fitted to clips of its own.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import DataError

FloatArray = npt.NDArray[np.float64]

WIDTH, STRIDE = 8, 4  # frames
DIRECTIONS, MIXTURES = 40, 12
MAX_PATCHES = 6_000  # more do not change the fit
SPREAD = 1e-2  # least variance along a direction, in variances of speech: digital silence has none of its own
BLOCK = 1024  # clips looked at together
STILL = 1e-3  # a frame this near to digital silence says nothing about speech


@dataclass(frozen=True)
class PatchMixture:
    """A mixture fitted to patches of real speech.

    Attributes
    ----------
    mean : array [shape=(n_mfcc * width,)]
    directions : array [shape=(n_mfcc * width, kept)]
        Orthonormal principal directions.
    log_weights : array [shape=(mixtures,)]
        Of the mixture, with each Gaussian's constant.
    centres : array [shape=(mixtures, kept)]
    whiteners : array [shape=(mixtures, kept, kept)]
        ``(y - centre) @ whitener`` is white: Cholesky factors of the precisions.
    residual : float
        Variance of what the projection leaves out.
    silence : array [shape=(n_mfcc,)]
        Scaled MFCC of digital silence; patches of it are not judged.
    width, stride : int
        Frames.
    """

    mean: FloatArray
    directions: FloatArray
    log_weights: FloatArray
    centres: FloatArray
    whiteners: FloatArray
    residual: float
    silence: npt.NDArray[np.float32]
    width: int
    stride: int

    def log_likelihood(self, x: npt.ArrayLike) -> FloatArray:
        """Return the mean log-likelihood per dimension of patterns (n, n_mfcc, frames[, 1]): (n,), in nats."""
        patches, sounding = cut(np.asarray(x, np.float32), self.silence, self.width, self.stride)
        n, count, size = patches.shape
        flat = patches.reshape(-1, size).astype(np.float64) - self.mean
        projected = flat @ self.directions
        rest = np.sum(flat**2, axis=1) - np.sum(projected**2, axis=1)
        scores = [
            weight - 0.5 * np.sum(((projected - centre) @ whitener) ** 2, axis=1)
            for weight, centre, whitener in zip(self.log_weights, self.centres, self.whiteners, strict=True)
        ]
        score = np.logaddexp.reduce(scores, axis=0) - 0.5 * rest / self.residual
        weights = np.where(sounding.any(axis=1, keepdims=True), sounding, True).astype(np.float64)  # (n, count)
        total: FloatArray = np.sum(score.reshape(n, count) * weights, axis=1) / weights.sum(axis=1) / size
        return total

    def tensor_log_likelihood(self, x: Any) -> Any:
        """Do the same to a tensor (n, n_mfcc, frames), differentiably and in float32."""
        from cepscope.models.backend import tf

        rows, frames = x.shape[1], x.shape[2]
        starts = range(0, frames - self.width + 1, self.stride)
        size, count, kept = rows * self.width, len(starts), self.directions.shape[1]
        # every patch times each direction and the mean, as one convolution along time
        along = np.concatenate([self.directions, self.mean[:, None]], axis=1).astype(np.float32)
        along = along.reshape(rows, self.width, kept + 1).transpose(1, 0, 2)
        found = tf.nn.conv1d(tf.transpose(x, (0, 2, 1)), along, self.stride, "VALID")  # (n, count, kept + 1)
        projected = tf.reshape(found[:, :, :kept], [-1, kept]) - (self.mean @ self.directions).astype(np.float32)
        inside = np.stack([np.eye(frames, dtype=np.float32)[s : s + self.width].sum(axis=0) for s in starts], axis=1)
        energy = tf.matmul(tf.reduce_sum(x**2, axis=1), inside)  # (n, count)
        rest = energy - 2 * found[:, :, kept] + np.float32(self.mean @ self.mean)
        rest = tf.reshape(rest, [-1]) - tf.reduce_sum(projected**2, axis=1)
        # (y - centre) W for all mixtures in one product: y [W1 W2 ...] - [centre1 W1, ...]
        wide = np.concatenate(list(self.whiteners), axis=1).astype(np.float32)
        offsets = np.einsum("mk,mkj->mj", self.centres, self.whiteners).reshape(-1).astype(np.float32)
        white = tf.reshape(tf.matmul(projected, wide) - offsets, [-1, len(self.log_weights), kept])
        score = tf.reduce_logsumexp(self.log_weights.astype(np.float32) - 0.5 * tf.reduce_sum(white**2, axis=2), axis=1)
        score = tf.reshape(score - 0.5 * rest / self.residual, [-1, count])
        quiet = tf.cast(tf.reduce_all(tf.abs(x - self.silence[:, None]) < STILL, axis=1), tf.float32)  # (n, frames)
        weights = tf.cast(tf.matmul(quiet, inside) <= 0.5 * self.width, tf.float32)  # (n, count)
        weights = tf.where(tf.reduce_sum(weights, axis=1, keepdims=True) > 0, weights, tf.ones_like(weights))
        return tf.reduce_sum(score * weights, axis=1) / tf.reduce_sum(weights, axis=1) / size


def halves(x: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Split clips (n, ...) into those that priors are fitted to and those that the judge is fitted to."""
    return (x[::2], x[1::2]) if len(x) > 1 else (x, x)


def fit_patch_mixture(
    x: npt.ArrayLike,
    *,
    silence: npt.ArrayLike,
    width: int = WIDTH,
    stride: int = STRIDE,
    directions: int = DIRECTIONS,
    mixtures: int = MIXTURES,
    seed: int = 0,
) -> PatchMixture:
    """Fit the mixture to real speech.

    Parameters
    ----------
    x : array [shape=(n, n_mfcc, frames, 1)]
        Scaled patches.
    silence : array [shape=(n_mfcc,)]
        Scaled MFCC of digital silence.
    width, stride : int
        Frames of a patch, and between two.
    directions, mixtures : int
        Principal components and Gaussians.
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
    from threadpoolctl import threadpool_limits

    x = np.asarray(x, np.float32)
    still = np.asarray(silence, np.float32)
    width = min(width, x.shape[2])
    x = x.reshape(x.shape[:3])
    clips, places = np.nonzero(
        np.concatenate([_sounding(x[i : i + BLOCK], still, width, stride) for i in range(0, len(x), BLOCK)])
    )
    if len(clips) < 2 * mixtures:
        raise DataError(
            f"A mixture of speech needs at least {2 * mixtures} sounding patches of {width} frames. "
            f"Received: {len(clips)}. Add recordings."
        )
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(clips))[:MAX_PATCHES]  # only these are cut: all would be several times the corpus
    starts = zip(clips[chosen], places[chosen] * stride, strict=True)
    flat = np.stack([x[clip, :, s : s + width].ravel() for clip, s in starts]).astype(np.float64)
    kept = min(directions, flat.shape[1] - 1, len(flat) - 1)
    pca = PCA(kept, svd_solver="full").fit(flat)
    mixture = GaussianMixture(mixtures, reg_covar=SPREAD, random_state=seed, max_iter=60)
    with threadpool_limits(1), warnings.catch_warnings():  # many small products: threads only get in each other's way
        warnings.simplefilter("ignore", ConvergenceWarning)  # 60 rounds are enough for a score
        mixture.fit(pca.transform(flat))
    residual = max(float(pca.noise_variance_), SPREAD)
    left = flat.shape[1] - kept
    whiteners = np.asarray(mixture.precisions_cholesky_)
    constants = np.log(np.diagonal(whiteners, axis1=1, axis2=2)).sum(axis=1) - 0.5 * kept * np.log(2 * np.pi)
    constants -= 0.5 * left * np.log(2 * np.pi * residual)
    return PatchMixture(
        mean=pca.mean_,
        directions=pca.components_.T,
        log_weights=np.log(mixture.weights_) + constants,
        centres=mixture.means_,
        whiteners=whiteners,
        residual=residual,
        silence=still,
        width=width,
        stride=stride,
    )


def cut(
    x: npt.NDArray[np.float32], silence: npt.NDArray[np.float32], width: int, stride: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Cut patterns into patches (n, count, n_mfcc * width); tell which are at least half sound."""
    x = x.reshape(x.shape[0], x.shape[1], x.shape[2])
    patches = np.stack([x[:, :, s : s + width].reshape(len(x), -1) for s in _starts(x, width, stride)], axis=1)
    return patches, _sounding(x, silence, width, stride)


def _sounding(
    x: npt.NDArray[np.float32], silence: npt.NDArray[np.float32], width: int, stride: int
) -> npt.NDArray[np.bool_]:
    """Tell which patches of patterns (n, n_mfcc, frames) are at least half sound: (n, count)."""
    quiet = np.all(np.abs(x - silence[:, None]) < STILL, axis=1)
    return np.stack([~(quiet[:, s : s + width].mean(axis=1) > 0.5) for s in _starts(x, width, stride)], axis=1)


def _starts(x: npt.NDArray[np.float32], width: int, stride: int) -> range:
    return range(0, x.shape[2] - width + 1, stride)
