"""Activations over time, counted as real speech is, and what is picked from them: moments and stretches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Moment:
    """A peak of a unit's activation.

    Attributes
    ----------
    unit, layer : str
    label : str
        Class of a logit, else empty.
    time : float
        Of the peak, in s.
    start, stop : float
        What the unit sees then, in s, as far as it lies in the recording.
    activation : float
        Relative: 0 is the mean of real held-out clips, 1 the strongest moment of any of them.
    """

    unit: str
    layer: str
    label: str
    time: float
    start: float
    stop: float
    activation: float


@dataclass(frozen=True)
class Stretch:
    """A part of a recording in which one class is the likeliest: from `start` to `stop` in s, at most as likely."""

    start: float
    stop: float
    label: str
    probability: float


@dataclass(frozen=True, eq=False)
class Reach:
    """What real held-out clips reach in a layer: three numbers a unit, each an array [shape=(units,)].

    Attributes
    ----------
    mean, patch
        Mean and largest activation of a whole patch: ``natural_mean`` and ``natural_max`` of a run's table.
    moment
        Largest activation at one moment.
    """

    mean: FloatArray
    patch: FloatArray
    moment: FloatArray


@dataclass(frozen=True, eq=False)
class Track:
    """The activations of a layer's units over a recording.

    Attributes
    ----------
    layer : str
    units : tuple of str
    labels : tuple of str
        Class of each logit, else empty.
    times : array [shape=(moments,)]
        Middle of what the units see, in s. Those before 0 or behind the end lie in the silence around the recording.
    span : float
        How long a stretch a unit sees at a moment, in s.
    activation : array [shape=(moments, units)]
        Before the non-linearity, a filter's mean over the coefficients; where windows overlap, their mean.
    patches : array [shape=(windows, units)]
        Of each window as a whole, as `cepscope.maximize.units.unit_activations` measures it.
    reach : Reach
    """

    layer: str
    units: tuple[str, ...]
    labels: tuple[str, ...]
    times: npt.NDArray[np.float64]
    span: float
    activation: FloatArray
    patches: FloatArray
    reach: Reach

    @cached_property
    def relative(self) -> FloatArray:
        """Return the activations counted as `Moment.activation` is: (moments, units)."""
        return _relative(self.activation, self.reach.mean, self.reach.moment)

    @cached_property
    def relative_patches(self) -> FloatArray:
        """Return those of the windows: 0 is the mean of real held-out clips, 1 the best of them (windows, units)."""
        return _relative(self.patches, self.reach.mean, self.reach.patch)


def _relative(values: FloatArray, mean: FloatArray, best: FloatArray) -> FloatArray:
    """Count activations from the mean of real clips, in units of the best; 0 of a unit that no clip moves."""
    above = best - mean
    moves = above > 1e-6 * np.maximum(1.0, np.abs(mean))  # else it is rounding
    return np.where(moves, (values - mean) / np.where(moves, above, 1), 0).astype(np.float32)
