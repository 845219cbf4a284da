"""Windows that slide over a recording: where they begin, what a network is given of them, how loud they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cepscope.corpora.recordings import Recording
from cepscope.features import Scaling

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.intp]


def hop_for(frames: int, steps: Sequence[int]) -> int:
    """Return how many frames windows are apart: about a quarter of a patch, a multiple of all layers' steps.

    Where no such number is at most half a patch, it is a quarter, and times are exact to half a step.

    Examples
    --------
    >>> hop_for(64, [2, 4]), hop_for(50, [2, 4]), hop_for(49, []), hop_for(64, [7, 9])
    (16, 12, 12, 16)
    """
    step = math.lcm(*steps)
    quarter = max(1, frames // 4)
    return max(step, quarter // step * step) if step <= frames / 2 else quarter


def window_starts(recorded: int, frames: int, hop: int) -> IntArray:
    """Return the first frame of each window of a recording of so many frames.

    One is that of `cepscope.features.fit_length`; of a recording no longer than a patch it is the only one.

    Examples
    --------
    >>> window_starts(100, 64, 16), window_starts(50, 64, 16)
    (array([-14,   2,  18,  34,  50]), array([-7]))
    """
    surplus = recorded - frames
    if surplus <= 0:
        return np.array([-(-surplus // 2)], dtype=np.intp)
    middle = surplus // 2
    before, behind = -(-middle // hop), -(-(surplus - middle) // hop)
    return middle + hop * np.arange(-before, behind + 1, dtype=np.intp)


def windows(recording: Recording, scaler: Scaling, starts: IntArray, frames: int) -> FloatArray:
    """Return the windows (windows, n_mfcc, frames, 1) that begin at some frames, in order, scaled."""
    first = int(starts[0])
    C = scaler.transform(recording.mfcc(first, int(starts[-1]) + frames))
    sliding = np.lib.stride_tricks.sliding_window_view(C, frames, axis=1)  # (n_mfcc, windows, frames)
    return np.ascontiguousarray(sliding[:, starts - first].transpose(1, 0, 2))[..., np.newaxis]


def window_energies(recording: Recording, starts: IntArray, frames: int) -> npt.NDArray[np.float64]:
    """Return the energy of the sound in each window (windows,)."""
    hop, length = recording.spec.hop, recording.spec.samples_of(frames)
    first = int(starts[0]) * hop
    y = recording.audio(first, int(starts[-1]) * hop + length).astype(np.float64)
    sums = np.concatenate([[0.0], np.cumsum(y**2)])
    begins = starts * hop - first
    return np.asarray(sums[begins + length] - sums[begins])
