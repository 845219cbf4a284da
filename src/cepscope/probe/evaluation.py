"""All that can be asked of a layer's patterns and sounds, in one table, with what chance gives beside it.

Chance is asked in two ways: patterns in random directions of the space of speech, at the radius of the found ones; and
patterns found for a network whose weights are shuffled. Both go the whole way to sound; the real network judges.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.corpora import Patches
from cepscope.errors import ParameterError
from cepscope.maximize.objectives import objective_reader, objectives_of
from cepscope.maximize.patterns import Patterns
from cepscope.maximize.reach import fit_reach
from cepscope.maximize.space import PatchSpace, fit_patch_space
from cepscope.maximize.units import is_convolution, map_shape, unit_activations, unit_layers
from cepscope.models.backend import keras
from cepscope.probe.alternatives import alternatives, similarity
from cepscope.probe.frechet import frechet_distance
from cepscope.probe.naturalness import fit_naturalness
from cepscope.probe.scores import HasAudio, ratio
from cepscope.probe.selectivity import heard_right, ranks, transfer
from cepscope.probe.signal import noise_floor, spectral_contrast

FloatArray = npt.NDArray[np.float32]
Table = dict[str, npt.NDArray[np.float64]]

RANGE = (5, 95)  # percentiles of real clips between which a sound's floor and contrast should be


def unit_table(
    model: Any,
    patches: Patches,
    patterns: Patterns,
    sounds: HasAudio,
    *,
    opposites: Patterns | None = None,
    others: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Table:
    """Measure every pattern and sound in every way that gives one number each.

    Parameters
    ----------
    model : keras.Model
    patches : Patches
        Its test split is real held-out speech.
    patterns : Patterns
        Of units.
    sounds : Sounds
        One a pattern.
    opposites : Patterns, optional
        What each unit likes least, for the two-alternative test.
    others : mapping of str to keras.Model, optional
        Networks that were not asked.
    seed : int
        Of the judge of naturalness.

    Returns
    -------
    dict of array [shape=(patterns,)]
        ``pattern_over_natural``, ``matched_over_natural`` (at the radius of real speech), ``sound_over_natural``,
        ``retention``, ``naturalness_z``, ``noise_floor`` and ``spectral_contrast`` (dB), ``rank`` (of the unit in its
        layer on its sound), ``alternatives`` (of clips that excite most and least) and ``alternatives_all`` (any two
        clips), and for each other network ``transfer_NAME``.

    Raises
    ------
    ParameterError
        If a pattern's objective is not a unit: it has no rank and no counterpart.
    """
    indices = np.array(patterns.indices)
    if (indices < 0).any():
        raise ParameterError("Only patterns of single units have a rank in their layer; choose those.")
    own = np.arange(len(patterns))
    read = objective_reader(model, objectives_of(patterns))
    x_sound = np.stack([patches.encode(sound, sr=sounds.sr) for sound in sounds.audio])
    space = fit_patch_space(patches.train.x, components=int(np.prod(patches.input_shape)))
    real = read.measure(patches.test.x)
    rest, natural = real.mean(axis=0), real.max(axis=0)
    values = {
        "pattern": read.measure(patterns.x)[own, own],
        "matched": read.measure(at_radius(patterns.x, space, 1.0))[own, own],
        "sound": read.measure(x_sound)[own, own],
    }
    rise = natural - rest
    table: Table = {
        f"{name}_over_natural": np.array([ratio(v - r, s) for v, r, s in zip(value, rest, rise, strict=True)])
        for name, value in values.items()
    }
    table["retention"] = np.array(
        [ratio(s - r, p - r) for s, p, r in zip(values["sound"], values["pattern"], rest, strict=True)]
    )
    silence = patches.scaler.transform(patches.spec.silence[:, None])[:, 0]
    judge = fit_naturalness(patches.train.x, patches.test.x, silence=silence, seed=seed)
    table["naturalness_z"] = judge.score(x_sound)
    table["noise_floor"] = noise_floor(sounds.audio, patches.spec)
    table["spectral_contrast"] = spectral_contrast(sounds.audio, patches.spec)
    if opposites is not None:
        most, least = (similarity(x, patches.test.x, patches.train.x) for x in (patterns.x, opposites.x))
        table["alternatives"] = alternatives(most - least, real)
        table["alternatives_all"] = alternatives(most - least, real, share=0.5)
    table["rank"] = np.zeros(len(patterns))
    every = {name: unit_activations(model, patches.test.x, layers=[name]) for name in dict.fromkeys(patterns.layers)}
    for name, clips in every.items():
        mine = np.array([layer == name for layer in patterns.layers])
        heard = unit_activations(model, x_sound[mine], layers=[name])
        table["rank"][mine] = ranks(heard, clips, list(indices[mine]))
    for other, network in (others or {}).items():
        table[f"transfer_{other}"] = transfer(
            real, unit_activations(network, x_sound), unit_activations(network, patches.test.x)
        )
    return table


def summarise(
    model: Any,
    patches: Patches,
    patterns: Patterns,
    sounds: HasAudio,
    *,
    opposites: Patterns | None = None,
    others: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Return medians per layer of `unit_table`, with what only a set of sounds has.

    Parameters
    ----------
    model, patches, patterns, sounds, opposites, others, seed
        As `unit_table`.

    Returns
    -------
    dict
        ``layers``: name to medians, ``first_in_layer`` (share of units that are the first on their own sound), shares
        of sounds whose floor and contrast are those of real clips; ``frechet`` distance of the sounds from real speech
        and of real speech from itself, in standardised activations of the model's filters; ``heard_right``: of class
        sounds, by the model and each other network.
    """
    table = unit_table(model, patches, patterns, sounds, opposites=opposites, others=others, seed=seed)
    limits = real_ranges(patches)
    ranges = {name: [round(value, 2) for value in limit] for name, limit in limits.items()}
    found: dict[str, Any] = {"layers": {}, "real_ranges": ranges}
    for name in dict.fromkeys(patterns.layers):
        mine = np.array([layer == name for layer in patterns.layers])
        row: dict[str, Any] = {"units": int(mine.sum())}
        for column, values in table.items():
            finite = values[mine][np.isfinite(values[mine])]
            row[column] = round(float(np.median(finite)), 4) if len(finite) else math.nan
        row["first_in_layer"] = round(float(np.mean(table["rank"][mine] == 1)), 4)
        for column, (low, high) in limits.items():
            inside = (table[column][mine] >= low) & (table[column][mine] <= high)
            row[f"{column}_as_real"] = round(float(np.mean(inside)), 4)
        found["layers"][name] = row
    x_sound = np.stack([patches.encode(sound, sr=sounds.sr) for sound in sounds.audio])
    filters = [layer.name for layer in unit_layers(model) if is_convolution(layer)]
    if filters:
        real, made = (unit_activations(model, x, layers=filters) for x in (patches.test.x, x_sound))
        real, made = ((values - real.mean(axis=0)) / real.std(axis=0) for values in (real, made))
        found["frechet"] = {
            "sounds": round(frechet_distance(made, real), 3),
            "real": round(frechet_distance(real[::2], real[1::2]), 3),
        }
    last = patterns.layers[-1]
    classes = np.array([layer == last for layer in patterns.layers])
    if map_shape(model.get_layer(last)) == tuple(model.output_shape[1:]):
        judges = {"itself": model, **(others or {})}
        wanted = np.array(patterns.indices)[classes]
        found["heard_right"] = {
            name: f"{heard_right(network, x_sound[classes], wanted)}/{len(wanted)}" for name, network in judges.items()
        }
    return found


def real_ranges(patches: Patches) -> dict[str, tuple[float, float]]:
    """Return between what percentiles noise floor and spectral contrast of real held-out clips lie."""
    waves = np.stack([patches.load_wave(path) for path in patches.test.paths])
    measured = {
        "noise_floor": np.percentile(noise_floor(waves, patches.spec), RANGE),
        "spectral_contrast": np.percentile(spectral_contrast(waves, patches.spec), RANGE),
    }
    return {name: (float(low), float(high)) for name, (low, high) in measured.items()}


def at_radius(x: npt.ArrayLike, space: PatchSpace, radius: float) -> FloatArray:
    """Move patterns (n, rows, frames, 1) along their ray from the mean of speech to a Mahalanobis radius.

    The radius is the root mean square over `space`, in which real speech has 1.
    """
    z = space.encode(np.asarray(x, np.float32))
    rms = np.sqrt(np.mean(z.astype(np.float64) ** 2, axis=1, keepdims=True))
    return space.decode((z * radius / np.maximum(rms, 1e-9)).astype(np.float32))[..., None]


def random_patterns(patterns: Patterns, patches: Patches, *, seed: int = 0) -> Patterns:
    """Return patterns of the same names and radii in random directions of the space of speech, made reachable."""
    settings = patterns.settings
    space = fit_patch_space(patches.train.x, components=int(settings.get("components", 600)))
    reach = fit_reach(
        patches.decode(patches.train.x), patches.spec, patches.scaler, headroom=float(settings.get("headroom", 3.0))
    )
    rms = np.sqrt(np.mean(space.encode(patterns.x).astype(np.float64) ** 2, axis=1, keepdims=True))
    z = np.random.default_rng(seed).standard_normal((len(patterns), space.components))
    z *= rms / np.sqrt(np.mean(z**2, axis=1, keepdims=True))
    x = np.asarray(reach(space.decode(z.astype(np.float32))), np.float32)[..., None]
    return replace(patterns, x=x, mfcc=patches.decode(x))


def shuffled(model: Any, *, seed: int = 0) -> Any:
    """Return the network with the numbers of every array of weights in another order (Adebayo et al. 2018, NeurIPS)."""
    rng = np.random.default_rng(seed)
    copy = keras.models.clone_model(model)
    copy.set_weights([rng.permuted(w.reshape(-1)).reshape(w.shape) for w in model.get_weights()])
    return copy
