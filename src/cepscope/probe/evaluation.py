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
from cepscope.maximize.space import fit_patch_space
from cepscope.maximize.units import is_convolution, unit_activations, unit_layers
from cepscope.models.backend import keras
from cepscope.probe.alternatives import alternatives, similarity
from cepscope.probe.frechet import MIN_ROWS, frechet_distance
from cepscope.probe.measures import HasAudio, logits_layer, measure
from cepscope.probe.selectivity import heard_right, transfer
from cepscope.probe.signal import noise_floor, spectral_contrast
from cepscope.probe.yardstick import radii

FloatArray = npt.NDArray[np.float32]
Table = dict[str, npt.NDArray[np.float64]]

RAW = ("natural_mean", "natural_max", "pattern_activation", "sound_activation")
DRAWS = 8  # of real clips, to compare the Frechet distance of sounds with
DEAD = 1e-6  # deviation of a filter that says the same of every clip, but for float32
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
        The columns of `cepscope.probe.measures.Measures` that are no raw activations; with `opposites`,
        ``alternatives`` (of clips that excite most and least) and ``alternatives_all`` (any two clips); and for each
        other network ``transfer_NAME``.

    Raises
    ------
    ParameterError
        If a pattern's objective is not a unit: it has no rank and no counterpart.
    """
    return _measured(model, patches, patterns, sounds, opposites, others or {}, seed)[0]


def _measured(
    model: Any,
    patches: Patches,
    patterns: Patterns,
    sounds: HasAudio,
    opposites: Patterns | None,
    others: Mapping[str, Any],
    seed: int,
) -> tuple[Table, FloatArray]:
    """Return the table of `unit_table`, and what the network is given of the sounds."""
    if min(patterns.indices, default=-1) < 0:
        raise ParameterError("Only patterns of single units have a rank in their layer; choose those.")
    found = measure(model, patches, patterns, sounds, seed=seed)
    table = {name: values for name, values in found.columns.items() if name not in RAW}
    if opposites is not None:
        most, least = (similarity(x, patches.test.x, patches.train.x) for x in (patterns.x, opposites.x))
        table["alternatives"] = alternatives(most - least, found.real)
        table["alternatives_all"] = alternatives(most - least, found.real, share=0.5)
    for other, network in others.items():
        heard, clips = (unit_activations(network, x) for x in (found.x_sound, patches.test.x))
        table[f"transfer_{other}"] = transfer(found.real, heard, clips)
    return table, found.x_sound


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
    table, x_sound = _measured(model, patches, patterns, sounds, opposites, others or {}, seed)
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
    found["frechet"] = set_distance(model, x_sound, patches.test.x, seed=seed)
    logits = logits_layer(model, len(patches.classes))
    classes = np.array([layer == logits for layer in patterns.layers])
    if classes.any():
        judges = {"itself": model, **(others or {})}
        wanted = np.array(patterns.indices)[classes]
        found["heard_right"] = {
            name: f"{heard_right(network, x_sound[classes], wanted)}/{len(wanted)}" for name, network in judges.items()
        }
    return found


def set_distance(model: Any, x_sound: FloatArray, x_real: FloatArray, *, seed: int = 0) -> dict[str, float]:
    """Return the Frechet distance of sounds from real speech, and that of as many real clips, which chance gives.

    Both are distances from the same other real clips, in standardised activations of the model's filters; the estimate
    depends on how many there are, so as many are taken. Empty where there are too few, or no filters.
    """
    filters = [layer.name for layer in unit_layers(model) if is_convolution(layer)]
    count = min(len(x_sound), len(x_real) // 2)
    if count < MIN_ROWS or not filters:
        return {}
    real, made = (unit_activations(model, x, layers=filters).astype(np.float64) for x in (x_real, x_sound))
    alive = real.std(axis=0) > DEAD
    mean, deviation = real[:, alive].mean(axis=0), real[:, alive].std(axis=0)
    real, made = ((values[:, alive] - mean) / deviation for values in (real, made))
    rng = np.random.default_rng(seed)
    distances = []
    for _ in range(DRAWS):
        order = rng.permutation(len(real))
        some, rest = real[order[:count]], real[order[count:]]
        distances.append([frechet_distance(rows, rest) for rows in (rng.permutation(made)[:count], some)])
    sounds, chance = np.mean(distances, axis=0)
    return {"sounds": round(float(sounds), 3), "real": round(float(chance), 3)}


def real_ranges(patches: Patches) -> dict[str, tuple[float, float]]:
    """Return between what percentiles noise floor and spectral contrast of real held-out clips lie."""
    waves = np.stack([patches.load_wave(path) for path in patches.test.paths])
    measured = {
        "noise_floor": np.percentile(noise_floor(waves, patches.spec), RANGE),
        "spectral_contrast": np.percentile(spectral_contrast(waves, patches.spec), RANGE),
    }
    return {name: (float(low), float(high)) for name, (low, high) in measured.items()}


def random_patterns(model: Any, patterns: Patterns, patches: Patches, *, seed: int = 0) -> Patterns:
    """Return patterns of the same names in random directions of the space of speech, made reachable.

    Their radius is that of the found ones, before they are held to what is reachable, which moves them a little.
    """
    settings = patterns.settings
    shrinkage = {"shrinkage": float(settings["shrinkage"])} if "shrinkage" in settings else {}
    space = fit_patch_space(patches.train.x, components=int(settings.get("components", 600)), **shrinkage)
    reach = fit_reach(
        patches.decode(patches.train.x), patches.spec, patches.scaler, headroom=float(settings.get("headroom", 3.0))
    )
    z = np.random.default_rng(seed).standard_normal((len(patterns), space.components))
    z *= radii(patterns.x, space)[:, None] / np.sqrt(np.mean(z**2, axis=1, keepdims=True))
    x = np.asarray(reach(space.decode(z.astype(np.float32))), np.float32)[..., None]
    own = np.arange(len(patterns))
    activation = objective_reader(model, objectives_of(patterns)).measure_own(x, own)
    return replace(patterns, x=x, mfcc=patches.decode(x), activation=activation, history=activation[None])


def shuffled(model: Any, *, seed: int = 0) -> Any:
    """Return the network with the numbers of every array of weights in another order (Adebayo et al. 2018, NeurIPS)."""
    rng = np.random.default_rng(seed)
    copy = keras.models.clone_model(model)
    copy.set_weights([rng.permuted(w.reshape(-1)).reshape(w.shape) for w in model.get_weights()])
    return copy
