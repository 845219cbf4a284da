"""The pitch of a recording, frame by frame, as `invert` takes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.features import MfccSpec
from cepscope.invert.harmonicity import HOP_SECONDS, harmonics_to_noise

Array = npt.NDArray[Any]

AROUND = 5  # frames of 10 ms whose median counts: lone jumps of an octave go


def track_pitch(y: npt.ArrayLike, spec: MfccSpec, *, lowest: float = 60.0, highest: float = 400.0) -> Array:
    """Track the pitch of a sound on the frames of a front end.

    Parameters
    ----------
    y : array [shape=(samples,)]
        At ``spec.sr``.
    spec : MfccSpec
    lowest, highest : float
        Hz.

    Returns
    -------
    array [shape=(frames,)]
        Hz, 0 where unvoiced: what `invert` takes as `f0`.

    Raises
    ------
    DataError
        `y` is empty or holds NaN or Inf.

    See Also
    --------
    cepscope.invert.harmonics_to_noise : Boersma's autocorrelation, whose pitch this is.
    """
    sound = np.asarray(y)
    _, track = harmonics_to_noise(sound, spec.sr, lowest=lowest, highest=highest)
    f0 = np.where(track > 0, np.nan, 0.0)
    for i in np.flatnonzero(track):
        near = track[max(0, i - AROUND // 2) : i + AROUND // 2 + 1]
        f0[i] = np.median(near[near > 0])
    # frames of the track lie around the middle of the sound
    hop = max(1, round(HOP_SECONDS * spec.sr))
    times = sound.shape[-1] / 2 + (np.arange(len(f0)) - (len(f0) - 1) / 2) * hop
    wanted = spec.times(spec.frames_of(sound.shape[-1])) * spec.sr
    nearest = np.clip(np.ceil((wanted - times[0]) / hop - 0.5), 0, len(times) - 1).astype(np.intp)
    found: Array = f0[nearest]
    return found
