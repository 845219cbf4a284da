"""Priors on patterns, each scaled so that real speech scores 1 on average.

With that scale one set of weights serves every corpus, front end and network.

====================  =================================================================================================
``time_curvature``    squared second difference along time
``total_variation``   absolute first difference along time
``quefrency``         energy of the slope of the log-mel spectrum along frequency
``mahalanobis``       squared distance from the mean of speech, in its covariance
``quantile_range``    squared excess over the range of each coefficient
``frame_likelihood``  squared deviation of the log-likelihood of frames from that of speech, in standard deviations
``patch_likelihood``  the same of stretches of 8 frames
``free_energy``       the same of the free energy that the first RBM gives the pattern
``reachability``      squared distance from what a conditioned recording can have
====================  =================================================================================================

Likelihoods are held to that of speech, not raised: the likeliest pattern is smoother than any speech.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.corpora import Patches
from cepscope.errors import ParameterError
from cepscope.maximize.mixture import WIDTH, fit_patch_mixture, halves
from cepscope.maximize.space import fit_patch_space
from cepscope.models.backend import tf

Prior = Callable[[Any], Any]
FloatArray = npt.NDArray[np.float32]

MIN_FRAMES = 3
RANGE = (1.0, 99.0)  # percentiles of a coefficient
# the judge of probe/ uses other numbers and the other half of the clips; of that half, priors know only how likely
# clips that they were not fitted to are: a mean and a deviation
MIXTURES, DIRECTIONS, STRIDE = 8, 60, 3
SHRINKAGE = 0.05
DEFAULT_PRIORS: Mapping[str, float] = {"time_curvature": 0.03, "quefrency": 0.1, "patch_likelihood": 0.1}


def time_curvature(x: Any) -> Any:
    """Mean squared second difference along time: (n, n_mfcc, frames) to (n,)."""
    if x.shape[2] < MIN_FRAMES:
        return tf.zeros(tf.shape(x)[:1])
    second = np.diff(np.eye(x.shape[2], dtype=np.float32), n=2, axis=0).T  # a product has a faster gradient than slices
    return tf.reduce_mean(tf.matmul(x, second) ** 2, axis=[1, 2])


def total_variation(x: Any) -> Any:
    """Mean absolute first difference along time: (n, n_mfcc, frames) to (n,)."""
    if x.shape[2] < MIN_FRAMES - 1:
        return tf.zeros(tf.shape(x)[:1])
    return tf.reduce_mean(tf.abs(x[:, :, 1:] - x[:, :, :-1]), axis=[1, 2])


@dataclass(frozen=True)
class WeightedPrior:
    """A prior with its weight.

    Attributes
    ----------
    weight : float
    prior : callable
        Maps patterns (n, rows, frames) to (n,).
    is_of_raw : bool
        Whether it judges patterns before they are held to what is reachable.
    """

    weight: float
    prior: Prior
    is_of_raw: bool = False


@dataclass(frozen=True)
class Quefrency:
    """Roughness of the log-mel spectrum: the mean of ``k^2 |c_k|^2`` over orders k and frames.

    By Parseval's theorem for the cosine transform this is the energy of the slope of the log-mel spectrum along
    frequency, so a small value means a smooth spectral envelope.

    Attributes
    ----------
    mean : array [shape=(n_mfcc,)]
    decoder : array [shape=(n_mfcc, rows)]
        Undo scaling or whitening, and the lifter: C = decoder @ x + mean.
    orders : array [shape=(n_mfcc,)]
        Of the coefficients.
    """

    mean: FloatArray
    decoder: FloatArray
    orders: npt.NDArray[np.int64]

    def __call__(self, x: Any) -> Any:
        """Score patterns (n, rows, frames): (n,)."""
        cepstrum = tf.matmul(self.decoder, x) + self.mean[:, None]
        return tf.reduce_mean((self.orders.astype(np.float32)[:, None] * cepstrum) ** 2, axis=[1, 2])


@dataclass(frozen=True)
class Outside:
    """Mean squared excess over a range: zero for a pattern inside it.

    Attributes
    ----------
    low, high : array [shape=(rows, 1)]
    """

    low: FloatArray
    high: FloatArray

    def __call__(self, x: Any) -> Any:
        """Score patterns (n, rows, frames): (n,)."""
        return tf.reduce_mean(tf.nn.relu(x - self.high) ** 2 + tf.nn.relu(self.low - x) ** 2, axis=[1, 2])


@dataclass(frozen=True)
class Typical:
    """Squared deviation of a score from that of real speech, in standard deviations.

    Attributes
    ----------
    score : callable
        Patterns (n, rows, frames) to (n,).
    mean, deviation : float
        Of real speech.
    """

    score: Prior
    mean: float
    deviation: float

    def __call__(self, x: Any) -> Any:
        """Score patterns (n, rows, frames): (n,)."""
        return ((self.score(x) - self.mean) / self.deviation) ** 2


def build_priors(
    weights: Mapping[str, float], patches: Patches, *, model: Any = None, reach: Prior | None = None
) -> list[WeightedPrior]:
    """Fit the priors that have a weight to real speech.

    Parameters
    ----------
    weights : mapping of str to float
        Name of a prior to its weight; see the module.
    patches : Patches
        Whose train split is real speech.
    model : keras.Model, optional
        For ``free_energy``.
    reach : callable, optional
        For ``reachability``; see `cepscope.maximize.reach`.

    Returns
    -------
    list of WeightedPrior
        Each is 1 on average over real speech.

    Raises
    ------
    ParameterError
        If a name is unknown, a weight negative, or the model has no RBM.
    """
    for name, weight in weights.items():
        if name not in BUILDERS:
            raise ParameterError(f"`priors` may name {', '.join(BUILDERS)}. Received: {name!r}")
        if not (np.isfinite(weight) and weight >= 0):
            raise ParameterError(f"The weight of the prior {name!r} must be 0 or more. Received: {weight}")
    speech = patches.train.x[..., 0]
    return [
        WeightedPrior(
            float(weight), scaled_to_speech(BUILDERS[name](patches, model, reach), speech), name == "reachability"
        )
        for name, weight in weights.items()
        if weight
    ]


def penalty(priors: Sequence[WeightedPrior], x: Any, raw: Any) -> Any:
    """Return the weighted sum of priors (n,) of patterns (n, rows, frames).

    `raw` is what they were before they were held to what is reachable.
    """
    total = tf.zeros(tf.shape(x)[0])
    for one in priors:
        total += one.weight * one.prior(raw if one.is_of_raw else x)
    return total


def scaled_to_speech(prior: Prior, x: FloatArray) -> Prior:
    """Divide `prior` by its mean over real patches `x` (n, n_mfcc, frames)."""
    level = max(float(over_speech(prior, x).mean()), 1e-12)
    return lambda patterns: prior(patterns) / level


def over_speech(prior: Prior, x: FloatArray, *, batch_size: int = 512) -> FloatArray:
    """Return a prior of every real patch `x` (n, n_mfcc, frames)."""
    return np.concatenate([prior(tf.constant(x[i : i + batch_size])).numpy() for i in range(0, len(x), batch_size)])


def typical(score: Prior, x: FloatArray) -> Typical:
    """Hold a score to that of real patches `x` (n, n_mfcc, frames)."""
    real = over_speech(score, x)
    return Typical(score, float(real.mean()), max(float(real.std()), 1e-9))


def _quefrency(patches: Patches, _model: Any, _reach: Any) -> Prior:
    gains = patches.spec.coefficient_gains()
    mean, decoder = patches.scaler.mean / gains, patches.scaler.decoder / gains[:, None]
    return Quefrency(mean.astype(np.float32), decoder.astype(np.float32), patches.spec.orders)


def _mahalanobis(patches: Patches, _model: Any, _reach: Any) -> Prior:
    rows, frames = patches.input_shape[:2]
    space = fit_patch_space(patches.train.x, components=rows * frames, shrinkage=SHRINKAGE)
    mean, back = tf.constant(space.mean), tf.constant(space.basis / np.sum(space.basis**2, axis=0))
    return lambda x: tf.reduce_mean(tf.matmul(tf.reshape(x, [-1, rows * frames]) - mean, back) ** 2, axis=1)


def _quantile_range(patches: Patches, _model: Any, _reach: Any) -> Prior:
    low, high = np.percentile(patches.train.x[..., 0], RANGE, axis=(0, 2)).astype(np.float32)
    return Outside(low[:, None], high[:, None])


def _likelihood(width: int, stride: int) -> Callable[[Patches, Any, Any], Prior]:
    def build(patches: Patches, _model: Any, _reach: Any) -> Prior:
        silence = patches.scaler.transform(patches.spec.silence[:, None])[:, 0]
        x = patches.train.x
        fitted, other = halves(x)
        mixture = fit_patch_mixture(
            fitted, silence=silence, width=width, stride=stride, directions=DIRECTIONS, mixtures=MIXTURES, seed=1
        )
        return typical(mixture.tensor_log_likelihood, other[..., 0])

    return build


def _free_energy(patches: Patches, model: Any, _reach: Any) -> Prior:
    rbms = [layer for layer in getattr(model, "layers", ()) if hasattr(layer, "free_energy")]
    if not rbms or tuple(rbms[0].input.shape[1:]) != patches.input_shape:
        raise ParameterError("The prior 'free_energy' needs a model whose first layer is an RBM on the patches.")
    return typical(lambda x: rbms[0].free_energy(x[..., None]), patches.train.x[..., 0])


def _reachability(_patches: Patches, _model: Any, reach: Prior | None) -> Prior:
    if reach is None:
        raise ParameterError("The prior 'reachability' needs `reach`.")
    return lambda x: tf.reduce_mean((x - reach(x)) ** 2, axis=[1, 2])


BUILDERS: dict[str, Callable[[Patches, Any, Prior | None], Prior]] = {
    "time_curvature": lambda _patches, _model, _reach: time_curvature,
    "total_variation": lambda _patches, _model, _reach: total_variation,
    "quefrency": _quefrency,
    "mahalanobis": _mahalanobis,
    "quantile_range": _quantile_range,
    "frame_likelihood": _likelihood(1, 1),
    "patch_likelihood": _likelihood(WIDTH, STRIDE),
    "free_energy": _free_energy,
    "reachability": _reachability,
}
