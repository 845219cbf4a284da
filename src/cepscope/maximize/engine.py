"""Activation maximization of all units in one batch, in one compiled loop.

The pattern of a unit maximizes its activation above the mean of real speech, in units of the largest that a real clip
reaches, minus the weighted priors, over a ball in the space of speech (Erhan et al. 2009 maximize over a norm ball of
the input; here the norm is that of speech). Patterns never see each other: no step, norm or prior runs across the
batch.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.corpora import Patches
from cepscope.errors import ParameterError
from cepscope.maximize.classic import climb
from cepscope.maximize.patterns import Patterns
from cepscope.maximize.priors import Prior, Quefrency, scaled_to_speech, time_curvature
from cepscope.maximize.reach import Reach, fit_reach
from cepscope.maximize.space import PatchSpace, fit_patch_space
from cepscope.maximize.units import Unit, UnitReader, unit_reader
from cepscope.models.backend import tf

FloatArray = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]

MODES = ("speech", "classic")
START = 0.3  # root mean square of the first coordinates, in standard deviations of speech
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Adam, Kingma and Ba 2015
STEPS_PER_CALL = 16  # between two reports of progress
UNITS_PER_BATCH = 128  # bounds memory; patterns do not depend on it


def maximize(
    model: Any,
    patches: Patches,
    *,
    layers: str | Sequence[str] = "all",
    mode: str = "speech",
    steps: int = 64,
    learning_rate: float = 0.1,
    radius: float = 1.3,
    components: int = 200,
    shrinkage: float = 0.05,
    time_smoothness: float = 0.1,
    quefrency: float = 0.3,
    headroom: float = 3.0,
    step: float = 1.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Patterns:
    """Find the MFCC pattern that each unit prefers.

    Parameters
    ----------
    model : keras.Model
        Input (batch, n_mfcc, frames, 1).
    patches : Patches
        Real speech: its train split gives the space, the scale of the priors and of each unit.
    layers : "all" or sequence of str
        Whose units to show.
    mode : {"speech", "classic"}
        Search in the space of speech, or climb the plain normalised gradient of the raw pattern from noise, which
        leaves speech at once and is here to compare with; of the settings below it takes `steps`, `step` and `seed`.
    steps : int
        Steps of ascent.
    learning_rate : float
        Of Adam, in standard deviations of speech.
    radius : float
        Largest root mean square of a pattern's coordinates; real speech has 1.
    components : int
        Principal components of speech that span the space.
    shrinkage : float
        See `fit_patch_space`.
    time_smoothness, quefrency : float
        Weights of the priors, each of which scores 1 on real speech.
    headroom : float
        Decibels by which patterns stay below the level of real speech; see `cepscope.maximize.reach`.
    step : float
        Of the classic mode, in standard deviations.
    seed : int
        Start of the ascent, derived for each unit from its name: a unit's pattern does not depend on its neighbours.
    progress : callable, optional
        Called with (steps done, steps in all).

    Returns
    -------
    Patterns

    Raises
    ------
    ParameterError
        If a setting is out of range or a layer does not exist.
    """
    if mode not in MODES:
        raise ParameterError(f"`mode` must be one of {', '.join(MODES)}. Received: {mode!r}")
    _check(steps=steps, learning_rate=learning_rate, radius=radius, components=components, step=step)
    reader = unit_reader(model, layers)
    real = reader.measure(patches.train.x)  # (clips, units)
    rest = real.mean(axis=0)
    scale = np.maximum(real.max(axis=0) - rest, 1e-6)
    used: dict[str, Any]
    if mode == "classic":
        search = _classic_search(reader, patches, step=step, seed=seed)
        used = {"step": step}
    else:
        space = fit_patch_space(patches.train.x, components=components, shrinkage=shrinkage)
        priors = _priors(patches, time_smoothness=time_smoothness, quefrency=quefrency)
        reach = fit_reach(patches.decode(patches.train.x), patches.spec, patches.scaler, headroom=headroom)
        ascend = _compile_ascent(reader.read, space, reach, priors, learning_rate=learning_rate, radius=radius)
        search = _Search(
            start=lambda batch: _start(np.stack([_noise(unit, seed, (space.components,)) for unit in batch])),
            ascend=ascend,
            finish=lambda state: reach(tf.constant(space.decode(state[3].numpy()))).numpy(),
        )
        used = {
            "learning_rate": learning_rate,
            "radius": radius,
            "components": space.components,
            "shrinkage": shrinkage,
            "time_smoothness": time_smoothness,
            "quefrency": quefrency,
            "headroom": headroom,
        }
    x, history = _run(search, reader.units, rest, scale, steps=steps, progress=progress)
    own = reader.measure(x)[np.arange(len(x)), np.arange(len(x))]
    return Patterns(
        units=tuple(str(unit) for unit in reader.units),
        x=x,
        mfcc=patches.decode(x),
        spec=patches.spec,
        activation=own,
        history=history,
        settings={"mode": mode, "steps": steps, **used, "seed": seed},
    )


@dataclass(frozen=True)
class _Search:
    """A way to climb: how a batch of units starts, takes steps, and becomes patterns (n, n_mfcc, frames)."""

    start: Callable[[Sequence[Unit]], list[Any]]
    ascend: Callable[..., Any]  # (count, done, *state, select, rest, scale) to (*state, trace)
    finish: Callable[[list[Any]], FloatArray]


def _run(
    search: _Search,
    units: Sequence[Unit],
    rest: FloatArray,
    scale: FloatArray,
    *,
    steps: int,
    progress: Progress | None,
) -> tuple[FloatArray, FloatArray]:
    """Climb for all units: patterns (n, n_mfcc, frames, 1) and the trace of their activations (steps, n)."""
    total = steps * -(-len(units) // UNITS_PER_BATCH)
    xs, histories = [], []
    for first in range(0, len(units), UNITS_PER_BATCH):
        batch = units[first : first + UNITS_PER_BATCH]
        select = np.eye(len(units), dtype=np.float32)[first : first + len(batch)]  # (batch, units)
        state = search.start(batch)
        history = []
        for done in range(0, steps, STEPS_PER_CALL):
            count = min(STEPS_PER_CALL, steps - done)
            *state, trace = search.ascend(
                tf.constant(count), tf.constant(done), *state, select, rest[None], scale[None]
            )
            history.append(trace.numpy())
            if progress:
                progress(steps * (first // UNITS_PER_BATCH) + done + count, total)
        xs.append(search.finish(state))
        histories.append(np.concatenate(history))
    return np.concatenate(xs)[..., None], np.concatenate(histories, axis=1)


def _classic_search(reader: UnitReader, patches: Patches, *, step: float, seed: int) -> _Search:
    shape = patches.input_shape

    def ascend(count: Any, _done: Any, x: Any, select: Any, rest: Any, scale: Any) -> tuple[Any, Any]:
        return climb(lambda p: tf.reduce_sum((reader.read(p) - rest) / scale * select, axis=1), x, count, step)

    return _Search(
        start=lambda batch: [tf.constant(np.stack([_noise(unit, seed, shape) for unit in batch]))],
        ascend=tf.function(ascend, jit_compile=False, reduce_retracing=True),
        finish=lambda state: state[0].numpy()[..., 0],
    )


def _priors(patches: Patches, *, time_smoothness: float, quefrency: float) -> list[tuple[float, Prior]]:
    """Return the priors that have a weight, each scaled to real speech."""
    scaler, speech = patches.scaler, patches.train.x[..., 0]
    smooth_spectrum = Quefrency(scaler.mean.astype(np.float32), scaler.decoder.astype(np.float32))
    weighted = ((time_smoothness, time_curvature), (quefrency, smooth_spectrum))
    return [(weight, scaled_to_speech(prior, speech)) for weight, prior in weighted if weight]


def _check(**settings: float) -> None:
    for name, value in settings.items():
        if not (np.isfinite(value) and value > 0):
            raise ParameterError(f"`{name}` must be a positive number. Received: {value}")


def _noise(unit: Unit, seed: int, shape: tuple[int, ...]) -> FloatArray:
    """Return where a unit starts, whatever its neighbours."""
    rng = np.random.default_rng([seed, zlib.crc32(str(unit).encode())])
    return (START * rng.standard_normal(shape)).astype(np.float32)


def _start(z: FloatArray) -> list[Any]:
    """Return z, both moments of Adam, the best z so far and its score."""
    zeros = tf.zeros_like(z)
    return [tf.constant(z), zeros, zeros, tf.constant(z), tf.fill([len(z)], -np.inf)]


def _compile_ascent(
    read: Callable[[Any], Any],
    space: PatchSpace,
    reach: Reach,
    priors: Sequence[tuple[float, Prior]],
    *,
    learning_rate: float,
    radius: float,
) -> Callable[..., Any]:
    """Compile the loop: Adam on z, projected on the ball after each step, the best iterate kept."""
    mean, basis, shape = tf.constant(space.mean), tf.constant(space.basis), space.shape

    def objective(z: Any, select: Any, rest: Any, scale: Any) -> tuple[Any, Any]:
        x = tf.reshape(mean + tf.matmul(z, basis, transpose_b=True), [-1, *shape])  # (batch, n_mfcc, frames)
        x = reach(x)
        own = tf.reduce_sum((read(x[..., None]) - rest) / scale * select, axis=1)  # (batch,)
        score = own
        for weight, prior in priors:
            score -= weight * prior(x)
        return own, score

    def ascend(
        count: Any, done: Any, z: Any, m: Any, v: Any, best: Any, best_score: Any, select: Any, rest: Any, scale: Any
    ) -> tuple[Any, ...]:
        trace = tf.TensorArray(tf.float32, size=count)
        for i in tf.range(count):
            with tf.GradientTape() as tape:
                tape.watch(z)
                own, score = objective(z, select, rest, scale)
            gradient = tape.gradient(score, z)
            better = score > best_score
            best = tf.where(better[:, None], z, best)
            best_score = tf.where(better, score, best_score)
            trace = trace.write(i, own)
            step = tf.cast(done + i + 1, tf.float32)
            m = BETA1 * m + (1 - BETA1) * gradient
            v = BETA2 * v + (1 - BETA2) * gradient**2
            z += learning_rate * (m / (1 - BETA1**step)) / (tf.sqrt(v / (1 - BETA2**step)) + EPSILON)
            rms = tf.sqrt(tf.reduce_mean(z**2, axis=1, keepdims=True))
            z *= tf.minimum(1.0, radius / tf.maximum(rms, EPSILON))
        return z, m, v, best, best_score, trace.stack()

    compiled: Callable[..., Any] = tf.function(ascend, jit_compile=False, reduce_retracing=True)
    return compiled
