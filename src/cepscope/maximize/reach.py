"""What a recording can be: patterns held to the front end's floor and to the level of conditioned speech.

No sound has mel power below the floor that the front end raises it to, and every recording reaches the network at one
level, because its peak is scaled to 1. A pattern that breaks either rule has an activation that no sound can keep. So
both rules stand between the search and the network, inside the graph: the log-mel spectrum is shifted until its loudest
frame is as loud as that of real speech, then raised to the floor, then transformed back.

MFCC without c0 say nothing about level, so each of their frames may be as loud as the loudest of real speech: every
frame is shifted, each by itself, and what is left is the floor under each spectrum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.features import MfccSpec, Scaling, mfcc_to_log_mel
from cepscope.models.backend import tf

FloatArray = npt.NDArray[np.float32]
NEPERS = math.log(10) / 10  # of power, a decibel
BLOCK = 1024  # recordings at a time
# Level of the loudest frame of conditioned speech, in dB above the mel power of white noise of power 1. Medians from -8
# to -5 were seen: 26, 40 and 80 bands of synthetic speech at 16 kHz and of human speech at 8 kHz.
SPEECH = -6.0


@dataclass(frozen=True)
class Reach:
    """Map any scaled pattern to the one that a conditioned recording could have.

    Attributes
    ----------
    to_log_mel : array [shape=(n_mels, rows)]
        Scaling undone, lifter undone, inverse of the kept part of the cosine transform: dB above `rest`.
    from_log_mel : array [shape=(rows, n_mels)]
        The way back.
    rest : array [shape=(n_mels, 1)]
        Log-mel spectrum of a frame of zeros, in dB: that of the mean MFCC, of mean level 0 without c0.
    floor, top_db : float
        Of the front end, in dB.
    level : float
        Mean mel power of the loudest frame of real speech, in dB.
    is_of_frames : bool
        Whether every frame is brought to the level, not the loudest alone: of MFCC without c0.
    """

    to_log_mel: FloatArray
    from_log_mel: FloatArray
    rest: FloatArray
    floor: float
    top_db: float
    level: float
    is_of_frames: bool = False

    def __call__(self, x: Any) -> Any:
        """Hold patterns (n, rows, frames) to what is reachable; differentiable."""
        log_mel = tf.matmul(self.to_log_mel, x) + self.rest
        if self.is_of_frames:
            log_mel += (self.level - power_of_frames(log_mel))[:, None]
        else:
            log_mel += (self.level - loudest_frame(log_mel))[:, None, None]
        log_mel = tf.maximum(log_mel, self.floor)
        if math.isfinite(self.top_db):
            log_mel = tf.maximum(log_mel, tf.reduce_max(log_mel, axis=[1, 2], keepdims=True) - self.top_db)
        return tf.matmul(self.from_log_mel, log_mel - self.rest)


def loudest_frame(log_mel: Any) -> Any:
    """Return the mean mel power of the loudest frame of log-mel spectra (n, n_mels, frames): (n,), in dB."""
    return tf.reduce_max(_nepers(log_mel), axis=1) / NEPERS


def power_of_frames(log_mel: Any) -> Any:
    """Return the mean mel power of each frame of log-mel spectra (n, n_mels, frames): (n, frames), in dB."""
    return _nepers(log_mel) / NEPERS


def _nepers(log_mel: Any) -> Any:
    """Return the natural logarithm of the mean mel power of each frame: (n, frames)."""
    return tf.reduce_logsumexp(NEPERS * log_mel, axis=1) - math.log(log_mel.shape[1])


def fit_reach(mfcc: FloatArray, spec: MfccSpec, scaler: Scaling, *, headroom: float = 0.0) -> Reach:
    """Measure the level of real speech; without c0, which alone holds it, take what is usual.

    Parameters
    ----------
    mfcc : array [shape=(n, n_mfcc, frames)]
        Unscaled MFCC of conditioned recordings.
    spec : MfccSpec
    scaler : CoefficientScaler or PCAWhitener
        Between these MFCC and patterns.
    headroom : float
        Decibels below the median recording. A pulse train with a voice's envelope peaks higher than a voice of the
        same power, so its level after peak normalisation is lower.
    """
    from_mfcc = mfcc_to_log_mel(np.eye(spec.n_mfcc, dtype=np.float32), spec).astype(np.float64)  # (n_mels, n_mfcc)
    if spec.c0:
        blocks = (mfcc_to_log_mel(mfcc[i : i + BLOCK], spec) for i in range(0, len(mfcc), BLOCK))
        level = float(np.median(np.concatenate([loudest_frame(tf.constant(block)).numpy() for block in blocks])))
    else:
        # white noise has in each bin the sum of the squared window, 3/8 win; filters have area 1 over Hz
        level = 10 * math.log10(0.375 * spec.win * spec.n_fft / spec.sr) + SPEECH
    return Reach(
        to_log_mel=(from_mfcc @ scaler.decoder).astype(np.float32),
        from_log_mel=(scaler.encoder @ np.linalg.pinv(from_mfcc)).astype(np.float32),
        rest=(from_mfcc @ scaler.mean[:, np.newaxis]).astype(np.float32),
        floor=10 * math.log10(spec.floor),
        top_db=spec.top_db,
        level=level - headroom,
        is_of_frames=not spec.c0,
    )
