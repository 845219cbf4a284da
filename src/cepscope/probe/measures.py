"""What is measured of every pattern and its sound: one number each, against real held-out speech.

The sound goes the way of any recording: conditioned, re-extracted by the front end, scaled, and read by the network.
All ratios are of pre-activations (see `cepscope.maximize.units`) above their mean over the held-out clips: a unit's
bias, and whatever it says of any clip, counts for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from cepscope.corpora import Patches
from cepscope.errors import ParameterError
from cepscope.maximize.patterns import Patterns
from cepscope.probe.selectivity import ranks_against
from cepscope.probe.signal import noise_floor, spectral_contrast
from cepscope.probe.yardstick import Yardstick, at_radius, fit_yardstick

FloatArray = npt.NDArray[np.float32]
Column = npt.NDArray[np.float64]

BLOCK = 128  # patterns that are measured together: the last bits may depend on how many


class HasAudio(Protocol):
    """What probing needs of sounds."""

    @property
    def audio(self) -> Any: ...  # noqa: D102
    @property
    def sr(self) -> int: ...  # noqa: D102
    @property
    def relative_error(self) -> Any: ...  # noqa: D102


@dataclass(frozen=True)
class Measures:
    """Numbers of patterns and sounds.

    Attributes
    ----------
    columns : dict of array [shape=(patterns,)]
        ``natural_mean`` and ``natural_max`` (of the objective by real clips), ``pattern_activation``,
        ``sound_activation``, ``pattern_over_natural``, ``matched_over_natural`` (the pattern moved to the radius of
        real held-out speech), ``sound_over_natural``, ``retention``, ``naturalness_z``, ``pattern_naturalness_z``,
        ``noise_floor`` and ``spectral_contrast`` (dB), ``rank`` (of the unit in its layer on its sound; NaN of what is
        no single unit).
    x_sound : array [shape=(patterns, n_mfcc, frames, 1)]
        What the network is given of the sounds.
    against : Yardstick
        What real held-out speech gives.
    """

    columns: dict[str, Column]
    x_sound: FloatArray
    against: Yardstick

    @property
    def real(self) -> FloatArray:
        """Return each objective by real held-out clips (clips, patterns)."""
        return self.against.real


class Meter:
    """What measures some of a network's patterns and their sounds.

    Parameters
    ----------
    model : keras.Model
    patches : Patches
    patterns : Patterns
        All of them.
    against : Yardstick
        What real speech gives.
    """

    def __init__(self, model: Any, patches: Patches, patterns: Patterns, against: Yardstick) -> None:
        from cepscope.maximize.objectives import objective_reader, objectives_of

        self.model, self.patches, self.patterns, self.against = model, patches, patterns, against
        self._read = objective_reader(model, objectives_of(patterns))
        self._layers, self._indices = np.array(patterns.layers), np.array(patterns.indices)

    def measure(self, rows: range, audio: npt.ArrayLike, sr: int) -> tuple[dict[str, Column], FloatArray]:
        """Measure a block of patterns, of `BLOCK` at most, and their sounds.

        Returns
        -------
        columns : dict of array
            As of `Measures`.
        x_sound : array [shape=(rows, n_mfcc, frames, 1)]
        """
        mine, against, spec = slice(rows.start, rows.stop), self.against, self.patches.spec
        x_sound = np.stack([self.patches.encode(sound, sr=sr) for sound in np.asarray(audio)])
        x = self.patterns.x[mine]
        rest, rise = against.rest[mine], (against.natural - against.rest)[mine]
        with threadpool_limits(1):  # the number of BLAS threads shows in the last bits
            matched = at_radius(x, against.space, against.radius)
            natural = {"naturalness_z": against.judge.score(x_sound), "pattern_naturalness_z": against.judge.score(x)}
        own = np.arange(rows.start, rows.stop)
        found = {
            name: self._read.measure_own(values, own)
            for name, values in {"pattern": x, "matched": matched, "sound": x_sound}.items()
        }
        columns: dict[str, Any] = {"natural_mean": rest, "natural_max": against.natural[mine]}
        columns |= {f"{name}_activation": found[name] for name in ("pattern", "sound")}
        columns |= {f"{name}_over_natural": _ratios(value - rest, rise) for name, value in found.items()}
        columns["retention"] = _ratios(found["sound"] - rest, found["pattern"] - rest)
        columns |= natural
        columns |= {
            "noise_floor": noise_floor(audio, spec),
            "spectral_contrast": spectral_contrast(audio, spec),
            "rank": self._ranks(mine, x_sound),
        }
        return {name: np.asarray(value, np.float64) for name, value in columns.items()}, x_sound

    def _ranks(self, mine: slice, x_sound: FloatArray) -> Column:
        from cepscope.maximize.units import unit_activations

        layers, indices = self._layers[mine], self._indices[mine]
        found = np.full(len(x_sound), math.nan)
        for name in dict.fromkeys(layers[indices >= 0]):
            here = (layers == name) & (indices >= 0)
            heard = unit_activations(self.model, x_sound[here], layers=[str(name)])
            found[here] = ranks_against(heard, *self.against.layers[str(name)], own=list(indices[here]))
        return found


def measure(
    model: Any,
    patches: Patches,
    patterns: Patterns,
    sounds: HasAudio,
    *,
    exemplars: int = 3,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Measures:
    """Measure every pattern and its sound.

    Parameters
    ----------
    model : keras.Model
    patches : Patches
        Its test split is the real held-out speech.
    patterns : Patterns
    sounds : Sounds
        One a pattern, in the same order.
    exemplars : int
        Real clips found for each pattern.
    seed : int
        Of the judge of naturalness.
    progress : callable, optional
        Called with (patterns done, patterns in all).

    Returns
    -------
    Measures

    Raises
    ------
    ParameterError
        If sounds and patterns do not match, or there is no held-out speech.
    """
    if len(sounds.audio) != len(patterns):
        raise ParameterError(
            f"There must be one sound a pattern. Received: {len(patterns)} patterns and {len(sounds.audio)} sounds"
        )
    against = fit_yardstick(model, patches, patterns, exemplars=exemplars, seed=seed)
    meter = Meter(model, patches, patterns, against)
    parts = []
    for first in range(0, len(patterns), BLOCK):
        rows = range(first, min(first + BLOCK, len(patterns)))
        parts.append(meter.measure(rows, sounds.audio[rows.start : rows.stop], sounds.sr))
        if progress:
            progress(rows.stop, len(patterns))
    columns = {name: np.concatenate([part[0][name] for part in parts]) for name in parts[0][0]}
    return Measures(columns, np.concatenate([part[1] for part in parts]), against)


def _ratios(values: Any, references: Any) -> Column:
    return np.array([ratio(value, reference) for value, reference in zip(values, references, strict=True)])


def ratio(value: Any, reference: Any) -> float:
    """Divide activations above the mean; undefined where the reference does not rise above it."""
    return float(value) / float(reference) if reference > 0 else math.nan


def logits_layer(model: Any, classes: int) -> str:
    """Return the name of the dense layer whose units are a model's classes; empty if it has none.

    It is the last layer, or what the last one makes probabilities of.
    """
    from cepscope.models.backend import keras

    if tuple(model.output_shape) != (None, classes):
        return ""
    last = model.layers[-1]
    if isinstance(last, keras.layers.Dense):
        return str(last.name)
    before = [layer for layer in model.layers[:-1] if layer.output is last.input]
    return str(before[0].name) if before and isinstance(before[0], keras.layers.Dense) else ""
