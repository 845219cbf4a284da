"""Priors on patterns, each scaled so that real speech scores 1 on average.

With that scale one set of weights serves every corpus and front end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.models.backend import tf

Prior = Callable[[Any], Any]
MIN_FRAMES = 3


def time_curvature(x: Any) -> Any:
    """Mean squared second difference along time: (n, n_mfcc, frames) to (n,)."""
    if x.shape[2] < MIN_FRAMES:
        return tf.zeros(tf.shape(x)[:1])
    return tf.reduce_mean((x[:, :, 2:] - 2 * x[:, :, 1:-1] + x[:, :, :-2]) ** 2, axis=[1, 2])


@dataclass(frozen=True)
class Quefrency:
    """Roughness of the log-mel spectrum: the mean of ``k^2 |c_k|^2`` over coefficients k and frames.

    By Parseval's theorem for the cosine transform this is the energy of the slope of the log-mel spectrum along
    frequency, so a small value means a smooth spectral envelope.

    Attributes
    ----------
    mean : array [shape=(n_mfcc,)]
    decoder : array [shape=(n_mfcc, rows)]
        Undo the scaling or whitening: C = decoder @ x + mean.
    """

    mean: npt.NDArray[np.float32]
    decoder: npt.NDArray[np.float32]

    def __call__(self, x: Any) -> Any:
        """Score patterns (n, rows, frames): (n,)."""
        order = np.arange(len(self.mean), dtype=np.float32)[:, None]
        cepstrum = tf.einsum("ck,nkt->nct", self.decoder, x) + self.mean[:, None]
        return tf.reduce_mean((order * cepstrum) ** 2, axis=[1, 2])


def scaled_to_speech(prior: Prior, x: npt.NDArray[np.float32], *, batch_size: int = 512) -> Prior:
    """Divide `prior` by its mean over real patches `x` (n, n_mfcc, frames)."""
    scores = [prior(tf.constant(x[i : i + batch_size])).numpy() for i in range(0, len(x), batch_size)]
    level = max(float(np.mean(np.concatenate(scores))), 1e-12)
    return lambda patterns: prior(patterns) / level
