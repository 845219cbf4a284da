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

from cepscope.corpora import Patches
from cepscope.errors import ParameterError
from cepscope.maximize.patterns import Patterns
from cepscope.maximize.space import PatchSpace, fit_patch_space
from cepscope.probe.naturalness import fit_judge
from cepscope.probe.selectivity import ranks
from cepscope.probe.signal import noise_floor, spectral_contrast

FloatArray = npt.NDArray[np.float32]
Column = npt.NDArray[np.float64]

PARTS = 4  # that progress counts


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
    real : array [shape=(clips, patterns)]
        Each objective by real held-out clips.
    x_sound : array [shape=(patterns, n_mfcc, frames, 1)]
        What the network is given of the sounds.
    """

    columns: dict[str, Column]
    real: FloatArray
    x_sound: FloatArray


def measure(
    model: Any,
    patches: Patches,
    patterns: Patterns,
    sounds: HasAudio,
    *,
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
    seed : int
        Of the judge of naturalness.
    progress : callable, optional
        Called with (parts done, parts in all).

    Returns
    -------
    Measures

    Raises
    ------
    ParameterError
        If sounds and patterns do not match, or there is no held-out speech.
    """
    from cepscope.maximize.objectives import objective_reader, objectives_of
    from cepscope.maximize.units import unit_activations

    if len(sounds.audio) != len(patterns):
        raise ParameterError(
            f"There must be one sound a pattern. Received: {len(patterns)} patterns and {len(sounds.audio)} sounds"
        )
    if not len(patches.test):
        raise ParameterError("Patterns are measured against held-out clips, and the test split has none.")
    report = progress or (lambda _done, _total: None)
    x_sound = np.stack([patches.encode(sound, sr=sounds.sr) for sound in sounds.audio])
    report(1, PARTS)
    own = np.arange(len(patterns))
    read = objective_reader(model, objectives_of(patterns))
    real = read.measure(patches.test.x)
    rest, natural = real.mean(axis=0), real.max(axis=0)
    space = fit_patch_space(patches.train.x, components=int(np.prod(patches.input_shape)))
    matched = at_radius(patterns.x, space, float(np.mean(radii(patches.test.x, space))))
    found = {
        name: read.measure_own(x, own)
        for name, x in {"pattern": patterns.x, "matched": matched, "sound": x_sound}.items()
    }
    columns: dict[str, Any] = {"natural_mean": rest, "natural_max": natural}
    columns |= {f"{name}_activation": found[name] for name in ("pattern", "sound")}
    columns |= {f"{name}_over_natural": _ratios(value - rest, natural - rest) for name, value in found.items()}
    columns["retention"] = _ratios(found["sound"] - rest, found["pattern"] - rest)
    report(2, PARTS)
    judge = fit_judge(patches, seed=seed)
    columns |= {"naturalness_z": judge.score(x_sound), "pattern_naturalness_z": judge.score(patterns.x)}
    report(3, PARTS)
    columns |= {
        "noise_floor": noise_floor(sounds.audio, patches.spec),
        "spectral_contrast": spectral_contrast(sounds.audio, patches.spec),
        "rank": np.full(len(patterns), math.nan),
    }
    layers, indices = np.array(patterns.layers), np.array(patterns.indices)
    for name in dict.fromkeys(layers[indices >= 0]):
        mine = (layers == name) & (indices >= 0)
        heard, clips = (unit_activations(model, x, layers=[str(name)]) for x in (x_sound[mine], patches.test.x))
        columns["rank"][mine] = ranks(heard, clips, list(indices[mine]))
    report(4, PARTS)
    return Measures({name: np.asarray(value, np.float64) for name, value in columns.items()}, real, x_sound)


def _ratios(values: Any, references: Any) -> Column:
    return np.array([ratio(value, reference) for value, reference in zip(values, references, strict=True)])


def ratio(value: Any, reference: Any) -> float:
    """Divide activations above the mean; undefined where the reference does not rise above it."""
    return float(value) / float(reference) if reference > 0 else math.nan


def radii(x: npt.ArrayLike, space: PatchSpace) -> Column:
    """Return the Mahalanobis radius of patterns (n, rows, frames, 1): the root mean square over `space`, (n,)."""
    return np.asarray(np.sqrt(np.mean(space.encode(np.asarray(x, np.float32)).astype(np.float64) ** 2, axis=1)))


def at_radius(x: npt.ArrayLike, space: PatchSpace, radius: float) -> FloatArray:
    """Move patterns (n, rows, frames, 1) along their ray from the mean of speech to a Mahalanobis radius."""
    x = np.asarray(x, np.float32)
    factors = radius / np.maximum(radii(x, space), 1e-9)[:, None]
    return space.decode((space.encode(x) * factors).astype(np.float32))[..., None]


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
