"""What a recording can be: patterns held to the front end's floor and to the level of conditioned speech.

No sound has mel power below the floor that the front end raises it to, and every recording reaches the network at one
level, because its peak is scaled to 1. A pattern that breaks either rule has an activation that no sound can keep. So
both rules stand between the search and the network, inside the graph: the log-mel spectrum is shifted until its loudest
frame is as loud as that of real speech, then raised to the floor, then transformed back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.features import CoefficientScaler, MfccSpec, mfcc_to_log_mel
from cepscope.models.backend import tf

FloatArray = npt.NDArray[np.float32]
NEPERS = math.log(10) / 10  # of power, a decibel


@dataclass(frozen=True)
class Reach:
    """Map any scaled pattern to the one that a conditioned recording could have.

    Attributes
    ----------
    to_log_mel : array [shape=(n_mels, n_mfcc)]
        Inverse of the kept part of the cosine transform, lifter undone: dB.
    to_mfcc : array [shape=(n_mfcc, n_mels)]
    mean, scale : array [shape=(n_mfcc, 1)]
        The per-coefficient scaling.
    floor, top_db : float
        Of the front end, in dB.
    level : float
        Mean mel power of the loudest frame of real speech, in dB.
    """

    to_log_mel: FloatArray
    to_mfcc: FloatArray
    mean: FloatArray
    scale: FloatArray
    floor: float
    top_db: float
    level: float

    def __call__(self, x: Any) -> Any:
        """Hold patterns (n, n_mfcc, frames) to what is reachable; differentiable."""
        log_mel = tf.einsum("mk,nkt->nmt", self.to_log_mel, x * self.scale + self.mean)
        log_mel += (self.level - loudest_frame(log_mel))[:, None, None]
        log_mel = tf.maximum(log_mel, self.floor)
        if math.isfinite(self.top_db):
            log_mel = tf.maximum(log_mel, tf.reduce_max(log_mel, axis=[1, 2], keepdims=True) - self.top_db)
        return (tf.einsum("km,nmt->nkt", self.to_mfcc, log_mel) - self.mean) / self.scale


def loudest_frame(log_mel: Any) -> Any:
    """Return the mean mel power of the loudest frame of log-mel spectra (n, n_mels, frames): (n,), in dB."""
    power = tf.reduce_logsumexp(NEPERS * log_mel, axis=1) - math.log(log_mel.shape[1])
    return tf.reduce_max(power, axis=1) / NEPERS


def fit_reach(mfcc: FloatArray, spec: MfccSpec, scaler: CoefficientScaler, *, headroom: float = 0.0) -> Reach:
    """Measure the level of real speech.

    Parameters
    ----------
    mfcc : array [shape=(n, n_mfcc, frames)]
        Unscaled MFCC of conditioned recordings.
    spec : MfccSpec
    scaler : CoefficientScaler
    headroom : float
        Decibels below the median recording. A pulse train with a voice's envelope peaks higher than a voice of the
        same power, so its level after peak normalisation is lower.
    """
    to_log_mel = mfcc_to_log_mel(np.eye(spec.n_mfcc, dtype=np.float32), spec)  # (n_mels, n_mfcc)
    to_mfcc = np.linalg.pinv(to_log_mel.astype(np.float64))
    levels = loudest_frame(tf.constant(mfcc_to_log_mel(mfcc, spec), tf.float32)).numpy()
    return Reach(
        to_log_mel=np.asarray(to_log_mel, np.float32),
        to_mfcc=to_mfcc.astype(np.float32),
        mean=scaler.mean[:, None].astype(np.float32),
        scale=scaler.scale[:, None].astype(np.float32),
        floor=10 * math.log10(spec.floor),
        top_db=spec.top_db,
        level=float(np.median(levels)) - headroom,
    )
