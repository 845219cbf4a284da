"""What a step of the search does: the objective less the priors, and Adam in a ball, compiled once for many batches.

Batches whose objectives are read in the same way share one graph, which is given the numbers that differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from cepscope.corpora import Patches
from cepscope.maximize.classic import climb
from cepscope.maximize.context import Context
from cepscope.maximize.objectives import ObjectiveReader
from cepscope.maximize.parametrizations import Parametrization
from cepscope.maximize.priors import build_priors, penalty
from cepscope.maximize.reach import fit_reach
from cepscope.maximize.search import Ascend, Finish, FloatArray, IntArray, Search
from cepscope.maximize.transforms import DRAWS, Transforms, build_transform
from cepscope.models.backend import tf

Given = tuple[Any, ...]  # numbers of a batch's objectives, and in a context what they see

CLASSIC_START = 0.3  # root mean square of the classic recipe's noise
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Adam, Kingma and Ba 2015
IMPROVEMENT = 1e-3  # of the score, below which a step counts as none
GRAPHS = 4  # kept: batches follow each other layer by layer


def classic_search(read: ObjectiveReader, patches: Patches, *, step: float) -> Search:
    """The plain normalised gradient of the raw pattern, from noise."""

    def build(owner: IntArray) -> tuple[Ascend, Callable[..., Any]]:
        def ascend(given: Given, count: Any, _done: Any, x: Any, _draws: Any) -> tuple[Any, Any]:
            return climb(lambda p: read.own(p, owner, given[:4]), x, count, step)

        return _compiled(ascend), lambda _given, state: (state[0].numpy()[..., 0], np.zeros(len(state[0]), np.float32))

    return Search(
        shape=patches.input_shape,
        start=lambda noise: [tf.constant(CLASSIC_START * noise)],
        compile=_sharing(build, read, None),
    )


def _sharing(
    build: Callable[[IntArray], tuple[Ascend, Callable[..., Any]]], read: ObjectiveReader, around: Context | None
) -> Callable[[IntArray], tuple[Ascend, Finish]]:
    """Return what compiles batches, of those that are read in the same way one for all."""
    graphs: dict[tuple[Any, ...], tuple[Ascend, Callable[..., Any]]] = {}

    def compile_batch(owner: IntArray) -> tuple[Ascend, Finish]:
        ways = read.ways(owner)
        if ways not in graphs:
            while len(graphs) >= GRAPHS:
                del graphs[next(iter(graphs))]  # the oldest
            graphs[ways] = build(owner)
        seen = () if around is None else (around.seen[owner],)
        given = tuple(tf.constant(one) for one in (*read.numbers(owner), *seen))
        ascend, finish = graphs[ways]
        return partial(ascend, given), partial(finish, given)

    return compile_batch


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    compiled: Callable[..., Any] = tf.function(function, jit_compile=False, reduce_retracing=True)
    return compiled


def speech_search(
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
    """Ascent over the space of speech, or another parametrization."""
    model, weights, headroom, around = build
    reach = fit_reach(patches.decode(patches.train.x), patches.spec, patches.scaler, headroom=headroom)
    priors = build_priors(weights, patches, model=model, reach=reach)
    change = build_transform(transforms, patches, speech=how.speech) if transforms else None
    centre = patches.train.x[..., 0].mean(axis=0)

    def pattern(z: Any, given: Given) -> tuple[Any, Any]:
        """Return patterns, and what they were before they were held to what is reachable."""
        raw = how.decode(z)
        if around is None:
            return raw if how.is_sound else reach(raw), raw
        # placed first, so that the level is that of the whole; and again, so that no context is made louder with it
        raw = around.place(raw, given[4])
        return around.place(reach(raw), given[4]), raw

    def likeness(x: Any) -> Any:
        """Mean cosine between each variant and its siblings of the same start, which this one does not move."""
        flat = tf.math.l2_normalize(tf.reshape(x - centre, [-1, centre.size]), axis=1)
        flat = tf.reshape(flat, [-1, variants, restarts, centre.size])
        siblings = tf.reduce_sum(tf.stop_gradient(flat), axis=1, keepdims=True) - tf.stop_gradient(flat)
        return tf.reshape(tf.reduce_sum(flat * siblings, axis=3) / (variants - 1), [-1])

    def judge(x: Any, raw: Any, seen: Any, owner: IntArray, given: Given) -> tuple[Any, Any]:
        own = read.own(seen[..., None], owner, given[:4])  # (batch,)
        score = _rise(own) - penalty(priors, x, raw)
        return own, score - diversity * likeness(x) if diversity else score

    def build_graph(owner: IntArray) -> tuple[Ascend, Callable[..., Any]]:
        def clean(given: Given, z: Any) -> tuple[Any, Any]:
            x, raw = pattern(z, given)
            return x, judge(x, raw, x, owner, given)[1]

        def objective(given: Given, z: Any, draws: Any) -> tuple[Any, Any]:
            x, raw = pattern(z, given)
            return judge(x, raw, x if change is None else change(x, draws), owner, given)

        ascend = _ascent(
            objective,
            how,
            learning_rate=learning_rate,
            patience=patience,
            clean=None if change is None else lambda given, z: clean(given, z)[1],
        )
        # once a batch: not worth compiling
        return ascend, lambda given, state: tuple(value.numpy() for value in clean(given, state[3]))

    return Search(
        shape=how.shape,
        start=lambda noise: _start(how.start * noise),
        compile=_sharing(build_graph, read, around),
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
    clean: Callable[[Given, Any], Any] | None,
) -> Ascend:
    """Compile the loop: Adam on z, projected on the ball after each step, the best iterate kept.

    Where scores are random the best would be but the luckiest: then the iterate at the end of each call is scored
    without its random changes, by `clean`, and the best of these is kept.
    """
    wide = (slice(None), *(None,) * len(how.shape))  # (batch,) to (batch, 1, ...)

    def ascend(
        given: Given, count: Any, done: Any, z: Any, m: Any, v: Any, best: Any, best_score: Any, stale: Any, draws: Any
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
                own, score = objective(given, z, draws[i])
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
            best, best_score, stale = keep(z, clean(given, z), best, best_score, stale, count)
        return z, m, v, best, best_score, stale, trace.stack()

    return _compiled(ascend)
