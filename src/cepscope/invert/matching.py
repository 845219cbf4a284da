"""Match a sound's MFCC to a target by projecting on the gains of mel bands.

The smallest change of a log-mel spectrum that gives it the target's coefficients is the transposed cosine transform of
their difference. Spread over the bins and applied as gains to the sound's own transform, it changes only what the
coefficients see: harmonics and fine structure survive. Repeated, because neighbouring frames share samples.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cepscope.features import MfccSpec, mfcc, mfcc_to_log_mel
from cepscope.invert.envelope import spread_matrix
from cepscope.invert.stft import istft, stft

FloatArray = npt.NDArray[np.float64]
LARGEST = 20.0  # dB that one step may change a bin by: larger steps overshoot


def match(y: FloatArray, target: npt.ArrayLike, spec: MfccSpec, *, iterations: int = 20) -> FloatArray:
    """Change a sound until the front end extracts the target.

    Parameters
    ----------
    y : array [shape=(samples,)]
        A sound with about the right envelope.
    target : array [shape=(n_mfcc, frames)]
    spec : MfccSpec
        The front end, its floor among it.
    iterations : int

    Returns
    -------
    array [shape=(samples,)]
        The best sound met on the way, the start among them.
    """
    wanted = np.asarray(target, np.float64)
    spread = spread_matrix(spec)
    best, best_error = y, np.inf
    for step in range(iterations + 1):
        missing = wanted - mfcc(y.astype(np.float32), spec)
        error = float(np.sum(missing**2))
        if error < best_error:
            best, best_error = y, error
        if step == iterations:
            break
        gain = np.clip(mfcc_to_log_mel(missing, spec).T @ spread, -LARGEST, LARGEST)  # (frames, bins) in dB
        y = istft(stft(y, spec) * 10 ** (gain / 20), spec, len(y))
    return best


def relative_error(found: npt.ArrayLike, target: npt.ArrayLike) -> float:
    """Return ||found - target|| / ||target - its mean over time|| of MFCCs (n_mfcc, frames)."""
    found, target = np.asarray(found, np.float64), np.asarray(target, np.float64)
    spread = np.linalg.norm(target - target.mean(axis=-1, keepdims=True))
    return float(np.linalg.norm(found - target) / max(spread, 1e-9))
