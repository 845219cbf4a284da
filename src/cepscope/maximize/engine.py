"""Activation maximization of all units in one batch, in one compiled loop.

A pattern maximizes its objective (see `cepscope.maximize.objectives`) less the weighted priors, over a ball in the
space of speech (Erhan et al. 2009 maximize over a norm ball of the input; here the norm is that of speech). Above the
mean of speech the objective counts as its logarithm, log(1 + a): where a unit can get ten times what any clip gives it,
the tenth must not outweigh the priors. Patterns never see each other: no step, norm or prior runs across the batch,
except between the variants of one unit that are asked to differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.corpora import Patches
from cepscope.errors import DataError, ParameterError
from cepscope.maximize.classic import climb
from cepscope.maximize.context import Context, fit_context
from cepscope.maximize.objectives import Objective, ObjectiveReader, objective_reader, parse, to_plain
from cepscope.maximize.parametrizations import Parametrization, parametrization
from cepscope.maximize.patterns import Patterns
from cepscope.maximize.priors import DEFAULT_PRIORS, build_priors, penalty
from cepscope.maximize.reach import fit_reach
from cepscope.maximize.search import (
    Ascend,
    Callback,
    Finish,
    FloatArray,
    IntArray,
    Kept,
    Plan,
    Progress,
    Search,
    run,
)
from cepscope.maximize.transforms import DEFAULT_TRANSFORMS, DRAWS, Transforms, build_transform
from cepscope.maximize.units import all_units
from cepscope.models.backend import keras, tf
from cepscope.models.checkpoint import key_of
from cepscope.models.checks import natural, positive

MODES = ("speech", "classic")
CLASSIC_START = 0.3  # root mean square of the classic recipe's noise
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Adam, Kingma and Ba 2015
VALUES_A_NUMBER = 24  # numbers that the loop keeps for each number of a pattern: spectra, patches of the mixture, ...
VALUES_A_UNIT = 3  # and for each number that a layer computes: itself, what came before it, its gradient
IMPROVEMENT = 1e-3  # of the score, below which a step counts as none
SMALL = 1e-6


def maximize(
    model: Any,
    patches: Patches,
    *,
    layers: str | Sequence[str] = "all",
    objectives: Sequence[Objective | str] = (),
    mode: str = "speech",
    space: str = "speech",
    steps: int = 64,
    learning_rate: float = 0.1,
    radius: float = 1.3,
    components: int = 600,
    shrinkage: float = 0.05,
    priors: Mapping[str, float] = DEFAULT_PRIORS,
    transforms: Transforms = DEFAULT_TRANSFORMS,
    headroom: float = 3.0,
    context: str | npt.ArrayLike = "",
    restarts: int = 1,
    variants: int = 1,
    diversity: float = 0.3,
    patience: int = 0,
    step: float = 1.0,
    memory: int = 256,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    callback: Callback | None = None,
    progress: Progress | None = None,
) -> Patterns:
    """Find the MFCC pattern that each unit, or each objective, prefers.

    Parameters
    ----------
    model : keras.Model
        Input (batch, n_mfcc, frames, 1).
    patches : Patches
        Real speech: its train split gives the space, the scale of the priors and of each term.
    layers : "all" or sequence of str
        Whose units to show.
    objectives : sequence of Objective or str
        What to maximize instead, if any; text as in ``"0.5 * crbm2:7 - crbm2:9"``.
    mode : {"speech", "classic"}
        Search in the space of speech, or climb the plain normalised gradient of the raw pattern from noise, which
        leaves speech at once and is here to compare with; of the settings below it takes `steps`, `step` and `seed`.
    space : str
        How patterns are written down; see `cepscope.maximize.parametrizations`.
    steps : int
        Steps of ascent.
    learning_rate : float
        Of Adam, in the coordinates of `space`: of speech, standard deviations.
    radius : float
        Largest root mean square of a pattern's coordinates; real speech has 1.
    components : int
        Principal components of speech that span the space.
    shrinkage : float
        See `fit_patch_space`.
    priors : mapping of str to float
        Weights of priors, each of which scores 1 on real speech; see `cepscope.maximize.priors`.
    transforms : Transforms
        Random changes at each step; by default some noise with the covariance of speech, without which other networks
        hear less in the sounds. ``Transforms()`` is none.
    headroom : float
        Decibels by which patterns stay below the level of real speech; see `cepscope.maximize.reach`.
    context : {"", "silence", "donor"} or array [shape=(n_mfcc, frames, 1)]
        What surrounds patterns that are no longer than their unit's receptive field; units then climb in the middle of
        their map. ``""``: patterns fill the patch. See `cepscope.maximize.context`.
    restarts : int
        Starts of each pattern, of which the best is kept.
    variants : int
        Patterns of each objective, named ``crbm2:7#0`` and so on if there are several.
    diversity : float
        Weight of the likeness between variants (mean cosine above the mean of speech).
    patience : int
        Leave a pattern alone after so many steps without a better score; 0 never does. With random changes scores are
        compared without them, every 16 steps.
    step : float
        Of the classic mode, in standard deviations.
    memory : int
        Megabytes that patterns, activations and gradients may take. As many patterns as that allows share a batch, at
        least the starts and variants of one objective; of the result only the last bits depend on it.
    seed : int
        Start of the ascent, derived for each pattern from its name: it does not depend on its neighbours.
    checkpoint : path, optional
        A file that keeps the state of the search; if it is there, and of the same search, that goes on.
    callback : callable, optional
        Called every few steps with (steps done, names, objectives); True ends the search of these patterns.
    progress : callable, optional
        Called with (steps done, steps in all).

    Returns
    -------
    Patterns

    Raises
    ------
    ParameterError
        If a setting is out of range, a layer does not exist, or the model takes other inputs than `patches`.
    DataError
        If the search ends in numbers that are not finite.
    """
    if mode not in MODES:
        raise ParameterError(f"`mode` must be one of {', '.join(MODES)}. Received: {mode!r}")
    positive(learning_rate=learning_rate, radius=radius, step=step)
    natural(1, steps=steps, components=components, restarts=restarts, variants=variants, memory=memory)
    natural(patience=patience, seed=seed)
    if not (np.isfinite(headroom) and 0 <= shrinkage < 1 and 0 <= diversity < np.inf):
        raise ParameterError(
            "`headroom` must be finite, `shrinkage` from 0 to below 1, `diversity` 0 or more. "
            f"Received: {headroom}, {shrinkage}, {diversity}"
        )
    if tuple(model.inputs[0].shape[1:]) != patches.input_shape:
        raise ParameterError(
            f"The model must take patches of {patches.input_shape}: (n_mfcc, frames, 1). "
            f"Received: a model that takes {tuple(model.inputs[0].shape[1:])}"
        )
    wanted = _objectives(model, patches, layers, objectives)
    around = None
    if mode == "speech" and not (isinstance(context, str) and context == ""):
        around, wanted = fit_context(context, model, patches, wanted)
    read = objective_reader(model, wanted, speech=patches.train.x)
    plan = Plan(wanted, restarts if mode == "speech" else 1, variants if mode == "speech" else 1, seed)
    used: dict[str, Any]
    if mode == "classic":
        search = _classic_search(read, patches, step=step)
        used = {"step": step}
    else:
        how = parametrization(space, patches, radius=radius, components=components, shrinkage=shrinkage, model=model)
        search = _search(
            read,
            how,
            patches,
            build=(model, priors, headroom, around),
            transforms=transforms,
            learning_rate=learning_rate,
            diversity=diversity if variants > 1 else 0.0,
            variants=variants,
            restarts=restarts,
            patience=patience or steps,
        )
        used = {
            "space": space,
            "learning_rate": learning_rate,
            "radius": radius,
            "components": how.shape[0] if space == "speech" else components,
            "shrinkage": shrinkage,
            "priors": dict(priors),
            "transforms": asdict(transforms),
            "headroom": headroom,
            "context": context if isinstance(context, str) else "array",
            "restarts": restarts,
            "variants": variants,
            "diversity": diversity,
            "patience": patience,
        }
    settings = {"mode": mode, "steps": steps, **used, "seed": seed}
    numbers = int(np.prod(patches.input_shape)) * VALUES_A_NUMBER + search.draws
    numbers += VALUES_A_UNIT * _numbers_of(model)
    many = max(1, (memory << 20) // (4 * numbers))
    state = ""
    if checkpoint is not None:
        plain, vectors = to_plain(wanted)
        state = key_of(
            patches.train.x,
            *([] if around is None else [around.patch]),
            *vectors.values(),
            *model.get_weights(),
            objectives=plain,
            model=model.to_json(),
            batch=many,
            **settings,
        )
    kept = Kept(None if checkpoint is None else Path(checkpoint), state)
    x, history = run(search, plan, many, steps, kept, callback, progress)
    if not np.isfinite(x).all():
        names = [name for name, one in zip(plan.names, x, strict=True) if not np.isfinite(one).all()]
        raise DataError(
            f"The search for {names[0]} ({len(names)} of {len(x)}) ended in NaN or Inf; take a smaller `learning_rate`."
        )
    owner = plan.owner[:: plan.restarts]
    own = read.measure_own(x, owner)
    plain, vectors = to_plain([wanted[i] for i in owner])
    return Patterns(
        units=plan.names,
        x=x,
        mfcc=patches.decode(x),
        spec=patches.spec,
        activation=own,
        history=history,
        settings=settings,
        objectives=tuple(plain),
        vectors=vectors,
    )


def _objectives(
    model: Any, patches: Patches, layers: str | Sequence[str], objectives: Sequence[Objective | str]
) -> list[Objective]:
    if isinstance(objectives, str | Objective):
        raise ParameterError(f"`objectives` must be a list. Received: {objectives!r}")
    if not objectives:
        return [Objective({unit: 1.0}) for unit in all_units(model, layers)]
    found = [parse(item) if isinstance(item, str) else item for item in objectives]
    resolved = [item.resolved(model, patches.classes) for item in found]
    names = [item.name for item in resolved]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ParameterError(f"Two objectives are called {twice!r}; use `variants` for several patterns of one.")
    return resolved


def _classic_search(read: ObjectiveReader, patches: Patches, *, step: float) -> Search:
    def compile_batch(owner: IntArray) -> tuple[Ascend, Finish]:
        def ascend(count: Any, _done: Any, x: Any, _draws: Any) -> tuple[Any, Any]:
            return climb(lambda p: read.own(p, owner), x, count, step)

        return _compiled(ascend), lambda state: (state[0].numpy()[..., 0], np.zeros(len(state[0]), np.float32))

    return Search(
        shape=patches.input_shape,
        start=lambda noise: [tf.constant(CLASSIC_START * noise)],
        compile=compile_batch,
    )


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    compiled: Callable[..., Any] = tf.function(function, jit_compile=False, reduce_retracing=True)
    return compiled


def _search(
    read: ObjectiveReader,
    how: Parametrization,
    patches: Patches,
    *,
    build: tuple[Any, Mapping[str, float], float, Context | None],
    transforms: Transforms,
    learning_rate: float,
    diversity: float,
    variants: int,
    restarts: int,
    patience: int,
) -> Search:
    model, weights, headroom, around = build
    reach = fit_reach(patches.decode(patches.train.x), patches.spec, patches.scaler, headroom=headroom)
    priors = build_priors(weights, patches, model=model, reach=reach)
    change = build_transform(transforms, patches) if transforms else None
    centre = patches.train.x[..., 0].mean(axis=0)

    def pattern(z: Any, owner: IntArray) -> tuple[Any, Any]:
        """Return patterns, and what they were before they were held to what is reachable."""
        raw = how.decode(z)
        if around is None:
            return raw if how.is_sound else reach(raw), raw
        # placed first, so that the level is that of the whole; and again, so that no context is made louder with it
        raw = around.place(raw, owner)
        return around.place(reach(raw), owner), raw

    def likeness(x: Any) -> Any:
        """Mean cosine between each variant and its siblings of the same start, which this one does not move."""
        flat = tf.math.l2_normalize(tf.reshape(x - centre, [-1, centre.size]), axis=1)
        flat = tf.reshape(flat, [-1, variants, restarts, centre.size])
        siblings = tf.reduce_sum(tf.stop_gradient(flat), axis=1, keepdims=True) - tf.stop_gradient(flat)
        return tf.reshape(tf.reduce_sum(flat * siblings, axis=3) / (variants - 1), [-1])

    def judge(x: Any, raw: Any, seen: Any, owner: IntArray) -> tuple[Any, Any]:
        own = read.own(seen[..., None], owner)  # (batch,)
        score = _rise(own) - penalty(priors, x, raw)
        return own, score - diversity * likeness(x) if diversity else score

    def compile_batch(owner: IntArray) -> tuple[Ascend, Finish]:
        def clean(z: Any) -> tuple[Any, Any]:
            x, raw = pattern(z, owner)
            return x, judge(x, raw, x, owner)[1]

        def objective(z: Any, draws: Any) -> tuple[Any, Any]:
            x, raw = pattern(z, owner)
            return judge(x, raw, x if change is None else change(x, draws), owner)

        ascend = _ascent(
            objective,
            how,
            learning_rate=learning_rate,
            patience=patience,
            clean=None if change is None else lambda z: clean(z)[1],
        )
        return ascend, lambda state: tuple(value.numpy() for value in clean(state[3]))  # once: not worth compiling

    return Search(
        shape=how.shape,
        start=lambda noise: _start(how.start * noise),
        compile=compile_batch,
        draws=DRAWS + transforms.normals if transforms else 0,
        normals=transforms.normals,
        resting=lambda state: bool(np.all(state[5].numpy() >= patience)),
        joint=bool(diversity),
    )


def _rise(own: Any) -> Any:
    """Return log(1 + a) of objectives above the mean of speech, and a below it."""
    return tf.where(own > 0, tf.math.log1p(tf.maximum(own, 0.0)), own)


def _start(z: FloatArray) -> list[Any]:
    """Return z, both moments of Adam, the best z so far, its score, and steps since it was found."""
    zeros = tf.zeros_like(z)
    return [tf.constant(z), zeros, zeros, tf.constant(z), tf.fill([len(z)], -np.inf), tf.zeros(len(z), tf.int32)]


def _ascent(
    objective: Callable[..., tuple[Any, Any]],
    how: Parametrization,
    *,
    learning_rate: float,
    patience: int,
    clean: Callable[[Any], Any] | None,
) -> Ascend:
    """Compile the loop: Adam on z, projected on the ball after each step, the best iterate kept.

    Where scores are random the best would be but the luckiest: then the iterate at the end of each call is scored
    without its random changes, by `clean`, and the best of these is kept.
    """
    wide = (slice(None), *(None,) * len(how.shape))  # (batch,) to (batch, 1, ...)

    def ascend(
        count: Any, done: Any, z: Any, m: Any, v: Any, best: Any, best_score: Any, stale: Any, draws: Any
    ) -> tuple[Any, ...]:
        def keep(z: Any, score: Any, best: Any, best_score: Any, stale: Any, steps: Any) -> tuple[Any, Any, Any]:
            awake = stale < patience
            better = awake & (score > best_score)
            clearly = awake & (score > best_score + IMPROVEMENT * tf.maximum(1.0, tf.abs(best_score)))
            stale = tf.where(clearly, 0, stale + steps)
            return tf.where(better[wide], z, best), tf.where(better, score, best_score), stale

        trace = tf.TensorArray(tf.float32, size=count)
        for i in tf.range(count):
            with tf.GradientTape() as tape:
                tape.watch(z)
                own, score = objective(z, draws[i])
            gradient = tape.gradient(score, z)
            if clean is None:
                best, best_score, stale = keep(z, score, best, best_score, stale, 1)
            trace = trace.write(i, own)
            step = tf.cast(done + i + 1, tf.float32)
            m = BETA1 * m + (1 - BETA1) * gradient
            v = BETA2 * v + (1 - BETA2) * gradient**2
            moved = z + learning_rate * (m / (1 - BETA1**step)) / (tf.sqrt(v / (1 - BETA2**step)) + EPSILON)
            z = tf.where((stale < patience)[wide], how.project(moved), z)
        if clean is not None:
            best, best_score, stale = keep(z, clean(z), best, best_score, stale, count)
        return z, m, v, best, best_score, stale, trace.stack()

    return _compiled(ascend)


def _numbers_of(model: Any) -> int:
    """Return how many numbers the layers of a model compute for one input, of those that are used once."""
    total = 0
    for layer in model.layers:
        try:
            outputs = keras.tree.flatten(layer.output)
        except (AttributeError, ValueError):  # used several times, it has no single output
            continue
        pooled = layer.pool_size if hasattr(layer, "pre_activation") else 1  # an RBM gives one number a block of units
        total += sum(int(np.prod([size or 1 for size in one.shape[1:]])) for one in outputs) * int(np.prod(pooled))
    return total
