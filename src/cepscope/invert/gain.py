"""The gain that brings a sound's MFCC nearest to a pattern."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.features import MfccSpec
from cepscope.invert.envelope import mel_bands
from cepscope.invert.matching import limited, mel_power

FARTHEST = 120.0  # dB that the gain is searched up to, both ways
STEPS = (12.0, 2.0, 0.3, 0.05, 0.01)  # dB: each grid lies around the best place of the one before


def best_gain_db(y: npt.ArrayLike, C: npt.ArrayLike, spec: MfccSpec) -> float:
    """Return the gain in dB that brings the MFCC of a sound [shape=(samples,)] nearest to `C` [shape=(n_mfcc, frames)].

    Were there no floor, this would be c0's mean offset; bands at the floor do not follow the gain, so it is searched.
    Without c0 a pattern asks for no level, and the gain is 0 dB.
    """
    if not spec.c0:
        return 0.0
    bands = mel_bands(spec)
    L = 10 * np.log10(np.maximum(mel_power(np.asarray(y, np.float32), spec), np.float32(1e-30)))
    wanted = (np.asarray(C) / bands.lifter[:, None]).astype(np.float32)

    def distances(gains: npt.NDArray[Any]) -> npt.NDArray[Any]:
        shifted = limited(L + gains.astype(np.float32)[:, None, None], spec)  # (gains, n_mels, frames)
        off = (bands.dct @ shifted - wanted).astype(np.float64)
        found: npt.NDArray[Any] = np.linalg.norm(off, axis=(-2, -1))
        return found

    best, reach = 0.0, FARTHEST
    for step in STEPS:
        gains = best + np.arange(-round(reach / step), round(reach / step) + 1) * step
        best = float(gains[np.argmin(distances(gains))])
        reach = step
    unchanged, found = distances(np.array([0.0, best]))
    return best if found < unchanged else 0.0
