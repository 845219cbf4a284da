"""Is a sound its own unit's, or does it excite everybody? And do other networks hear the same?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError

FloatArray = npt.NDArray[np.float64]


def ranks(activation: npt.ArrayLike, real: npt.ArrayLike, own: Sequence[int]) -> npt.NDArray[np.intp]:
    """Rank a unit among the units of its layer on its own sound; each counted in deviations of real speech.

    Parameters
    ----------
    activation : array [shape=(sounds, units)]
        Of all units of one layer by the sounds.
    real : array [shape=(clips, units)]
        By real clips, which set each unit's zero and scale.
    own : sequence of int
        Each sound's unit.

    Returns
    -------
    array [shape=(sounds,)]
        1 is the first.
    """
    values, clips = np.asarray(activation, np.float64), np.asarray(real, np.float64)
    if values.ndim != 2 or values.shape[1:] != clips.shape[1:] or len(own) != len(values):
        raise ParameterError(
            f"Activations must be (sounds, units) and (clips, units). Received: {values.shape}, {clips.shape}"
        )
    z = (values - clips.mean(axis=0)) / np.maximum(clips.std(axis=0), 1e-9)
    mine = z[np.arange(len(z)), list(own)]
    return np.asarray(1 + np.sum(z > mine[:, None], axis=1), np.intp)


def counterparts(real: npt.ArrayLike, other: npt.ArrayLike) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """Find for each unit the unit of another network that goes along with it most over real clips.

    Parameters
    ----------
    real, other : array [shape=(clips, units), (clips, others)]
        Activations by the same clips.

    Returns
    -------
    index, correlation : array [shape=(units,)]
        Of the best unit of the other network, and Pearson's r with it.
    """
    one, two = (_standard(np.asarray(values, np.float64)) for values in (real, other))
    correlation = one.T @ two / len(one)
    index = correlation.argmax(axis=1)
    return index, correlation.max(axis=1)


def transfer(real: npt.ArrayLike, other_activation: npt.ArrayLike, other_real: npt.ArrayLike) -> FloatArray:
    """Return where sounds stand, among real clips, with the counterparts of their units in another network.

    Parameters
    ----------
    real : array [shape=(clips, sounds)]
        Each sound's unit by real clips.
    other_activation : array [shape=(sounds, others)]
        All units of the other network by the sounds.
    other_real : array [shape=(clips, others)]

    Returns
    -------
    array [shape=(sounds,)]
        Share of real clips that excite the counterpart less than the sound does.
    """
    index, _ = counterparts(real, other_real)
    clips, values = np.asarray(other_real), np.asarray(other_activation)
    if len(values) != len(index):
        raise ParameterError(f"There must be one unit a sound. Received: {len(index)} units, {len(values)} sounds")
    return np.array([np.mean(clips[:, j] < row[j]) for row, j in zip(values, index, strict=True)])


def heard_right(network: Any, x: npt.ArrayLike, classes: Sequence[int]) -> int:
    """Count the sounds (n, n_mfcc, frames, 1) that a network says are of their class."""
    said = np.asarray(network(np.asarray(x, np.float32), training=False)).argmax(axis=1)
    return int(np.sum(said == np.asarray(classes)))


def _standard(values: FloatArray) -> FloatArray:
    return np.asarray((values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-9))
