"""The gain that brings a sound's MFCC nearest to a pattern."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cepscope.features import MfccSpec
from cepscope.invert.envelope import mel_bands
from cepscope.invert.matching import limited, mel_power

FARTHEST = 200.0  # dB, both ways
ENOUGH = 0.01  # dB
STEPS = 6  # of Newton's method; the distance is piecewise quadratic in the gain


def best_gain_db(y: npt.ArrayLike, C: npt.ArrayLike, spec: MfccSpec) -> float:
    """Return the gain in dB that brings the MFCC of a sound [shape=(samples,)] nearest to `C` [shape=(n_mfcc, frames)].

    Were there no floor, this would be c0's mean offset; bands at the floor do not follow the gain, so it is searched
    from there and from no gain, and the better one is taken. Without c0 a pattern asks for no level, and the gain is
    0 dB.
    """
    if not spec.c0:
        return 0.0
    bands = mel_bands(spec)
    L = 10 * np.log10(np.maximum(mel_power(np.asarray(y, np.float32), spec), np.float32(1e-30)))
    wanted = (np.asarray(C) / bands.lifter[:, None]).astype(np.float32)
    floor_db = np.float32(10 * np.log10(spec.floor))
    mean_dct = float(bands.dct[0, 0])  # of the row of order 0

    def look(gain: float) -> tuple[float, float]:
        """Return the distance at a gain and the step that Newton's method takes from there."""
        shifted = L + np.float32(gain)
        heard = limited(shifted, spec)
        off = wanted - bands.dct @ heard
        follow = bands.dct @ (heard > floor_db).astype(np.float32)  # the slope of the coefficients
        power = float((follow * follow).sum())
        return float(np.linalg.norm(off)), float((off * follow).sum()) / power if power else 0.0

    tried = {0.0: look(0.0)}
    offset = float(wanted[0].mean()) / (mean_dct * spec.n_mels) - float(L.mean())
    for start in (0.0, float(np.clip(offset, -FARTHEST, FARTHEST))):
        gain = start
        for _ in range(STEPS):
            tried[gain] = tried.get(gain) or look(gain)
            step = tried[gain][1]
            if abs(step) < ENOUGH:
                break
            gain = float(np.clip(gain + step, -FARTHEST, FARTHEST))
    return min(tried, key=lambda gain: tried[gain][0])
