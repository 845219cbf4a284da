"""Running a search: which patterns share a batch, what each draws, and what is kept in case it is killed.

Batches know nothing of each other, so that any process can do any of them. What a search does in a step is not known
here; see `cepscope.maximize.ascent`.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.atomic import load_npz, save_npz
from cepscope.errors import CorruptArtifactError
from cepscope.maximize.objectives import Objective
from cepscope.models.backend import tf

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.intp]
Progress = Callable[[int, int], None]
Callback = Callable[[int, tuple[str, ...], FloatArray], bool | None]
Ascend = Callable[..., Any]  # (count, done, *state, draws) to (*state, trace)
Finish = Callable[[list[Any]], tuple[FloatArray, FloatArray]]  # a state to patterns (n, n_mfcc, frames) and scores

STEPS_PER_CALL = 16  # between two reports of progress
SECONDS = 5.0  # of work between two states of a batch: writing them takes its time


class Plan:
    """What the batch holds: for each objective its variants, for each variant its restarts, next to each other."""

    def __init__(self, objectives: Sequence[Objective], restarts: int, variants: int, seed: int) -> None:
        self.restarts, self.variants, self.seed = restarts, variants, seed
        several = [f"#{i}" for i in range(variants)] if variants > 1 else [""]
        self.names = tuple(f"{one.name}{number}" for one in objectives for number in several)
        self.owner = np.repeat(np.arange(len(objectives)), variants * restarts)  # objective of each row
        self.rows = [(name, again) for name in self.names for again in range(restarts)]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def group(self) -> int:
        """Rows that belong together and must share a batch."""
        return self.variants * self.restarts

    def batches(self, many: int) -> list[range]:
        """Return the rows of each batch, at most `many` of them, or those of one objective."""
        size = max(1, many // self.group) * self.group
        return [range(first, min(first + size, len(self))) for first in range(0, len(self), size)]

    def generator(self, row: int, purpose: int, done: int) -> np.random.Generator:
        """Return the generator of a row, whatever its neighbours: of its start (0), or of its draws (1) from a step."""
        name, again = self.rows[row]
        return np.random.default_rng([self.seed, zlib.crc32(name.encode()), again, purpose, done])


@dataclass(frozen=True, eq=False)
class Found:
    """What a batch found.

    Attributes
    ----------
    x : array [shape=(n, n_mfcc, frames, 1)]
    history : array [shape=(steps, n)]
    activation : array [shape=(n,)]
        Of each pattern's objective, in the network's own units.
    """

    x: FloatArray
    history: FloatArray
    activation: FloatArray


@dataclass(frozen=True)
class Search:
    """A way to climb: how rows start, take steps, and become patterns (n, n_mfcc, frames)."""

    shape: tuple[int, ...]  # of what a row starts from
    start: Callable[[FloatArray], list[Any]]  # standard normal numbers (n, *shape) to a state
    compile: Callable[[IntArray], tuple[Ascend, Finish]]  # for rows with these objectives
    draws: int = 0  # random numbers a row and step
    normals: int = 0  # how many of them, at the end, are normal; the others are uniform in -1 to 1
    resting: Callable[[list[Any]], bool] = lambda _state: False
    joint: bool = False  # whether the variants of an objective are judged together


class Kept:
    """One batch in a file: where its search stands, then what it found."""

    def __init__(self, path: Path | None, key: str) -> None:
        self.path, self.key = path, key
        self.arrays: dict[str, Any] = {}
        self._written = time.monotonic()
        if path is None or not path.is_file():
            return
        try:
            arrays = load_npz(path)
            if str(arrays["key"]) == key:
                self.arrays = arrays
        except (CorruptArtifactError, KeyError):
            return  # no file of ours: start anew

    def finished(self) -> Found | None:
        """Return what was found, if the search is over."""
        if "x" not in self.arrays:
            return None
        return Found(*(self.arrays[name] for name in ("x", "history", "activation")))

    def left(self) -> tuple[int, list[Any], list[FloatArray]] | None:
        """Return steps done, state and history of a search that was left."""
        if "done" not in self.arrays:
            return None
        state = [self.arrays[f"state{i}"] for i in range(int(self.arrays["states"]))]
        return int(self.arrays["done"]), [tf.constant(value) for value in state], [self.arrays["trace"]]

    def leave(self, done: int, state: list[Any], history: list[FloatArray]) -> None:
        """Write where the search stands, if it has gone on for a while."""
        if self.path is not None and time.monotonic() - self._written >= SECONDS:
            arrays = {f"state{i}": np.asarray(value) for i, value in enumerate(state)}
            trace = np.concatenate(history)
            save_npz(self.path, key=self.key, done=done, states=len(state), trace=trace, **arrays)
            self._written = time.monotonic()

    def finish(self, found: Found) -> None:
        """Write what was found."""
        if self.path is not None:
            save_npz(self.path, key=self.key, x=found.x, history=found.history, activation=found.activation)


def climb(
    search: Search,
    plan: Plan,
    rows: range,
    steps: int,
    kept: Kept,
    callback: Callback | None,
    report: Callable[[int], None],
) -> tuple[FloatArray, FloatArray, bool]:
    """Climb for one batch, or go on where it was left.

    Returns
    -------
    x : array [shape=(patterns, n_mfcc, frames)]
        Of each pattern's restarts the best.
    history : array [shape=(steps, patterns)]
        Their objectives.
    stopped : bool
        Whether the callback ended it: then it is no result of the settings.
    """
    ascend, finish = search.compile(plan.owner[rows.start : rows.stop])
    names = tuple(plan.names[row // plan.restarts] for row in rows)
    left = kept.left()
    if left is None:
        noise = np.stack([plan.generator(row, 0, 0).standard_normal(search.shape) for row in rows])
        left = 0, search.start(noise.astype(np.float32)), []
    done, state, history = left
    stopped = False
    while done < steps and not search.resting(state):
        count = min(STEPS_PER_CALL, steps - done)
        draws = np.stack([_draws(plan.generator(row, 1, done), search) for row in rows], axis=1)
        *state, trace = ascend(tf.constant(count), tf.constant(done), *state, tf.constant(draws))
        history.append(trace.numpy())
        done += count
        report(done)
        if callback is not None and callback(done, names, history[-1][-1]):
            stopped = True
            break
        if done < steps:
            kept.leave(done, state, history)
    x, score = finish(state)
    by_start = score.reshape(-1, plan.variants, plan.restarts)
    if search.joint:  # variants that were to differ from each other were so start by start
        by_start = np.repeat(by_start.sum(axis=1, keepdims=True), plan.variants, axis=1)
    best = by_start.argmax(axis=2).ravel() + np.arange(0, len(x), plan.restarts)
    trace = np.concatenate(history)
    full = np.concatenate([trace, np.repeat(trace[-1:], steps - len(trace), axis=0)])  # who rests stays where it is
    return x[best], full[:, best], stopped


def _draws(rng: np.random.Generator, search: Search) -> FloatArray:
    """Return what a row draws between two reports, however many steps there are left: (STEPS_PER_CALL, draws)."""
    if not search.draws:
        return np.zeros((STEPS_PER_CALL, 0), np.float32)
    uniform = rng.uniform(-1, 1, (STEPS_PER_CALL, search.draws - search.normals))
    normal = rng.standard_normal((STEPS_PER_CALL, search.normals))
    return np.concatenate([uniform, normal], axis=1).astype(np.float32)
