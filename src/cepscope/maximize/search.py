"""Running a search: which patterns share a batch, what each draws, and what is kept in case it is killed.

What a search does in a step is not known here; see `cepscope.maximize.engine`.
"""

from __future__ import annotations

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
from cepscope.models.backend import forgetting_gradients, tf

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.intp]
Progress = Callable[[int, int], None]
Callback = Callable[[int, tuple[str, ...], FloatArray], bool | None]
Ascend = Callable[..., Any]  # (count, done, *state, draws) to (*state, trace)
Finish = Callable[[list[Any]], tuple[FloatArray, FloatArray]]  # a state to patterns (n, n_mfcc, frames) and scores

STEPS_PER_CALL = 16  # between two reports of progress


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

    def generator(self, row: int, purpose: int, done: int) -> np.random.Generator:
        """Return the generator of a row, whatever its neighbours: of its start (0), or of its draws (1) from a step."""
        name, again = self.rows[row]
        return np.random.default_rng([self.seed, zlib.crc32(name.encode()), again, purpose, done])


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
    """The state of a search in a file: what is done, and where the batch in work stands."""

    def __init__(self, path: Path | None, key: str) -> None:
        self.path, self.key = path, key
        self.arrays: dict[str, Any] = {}
        if path is None or not path.is_file():
            return
        try:
            arrays = load_npz(path)
            if str(arrays["key"]) == key:
                self.arrays = arrays
        except (CorruptArtifactError, KeyError):
            return  # no file of ours: start anew

    def finished(self, first: int) -> tuple[FloatArray, FloatArray] | None:
        """Return patterns and history of a batch that is done."""
        if f"x{first}" not in self.arrays:
            return None
        return self.arrays[f"x{first}"], self.arrays[f"history{first}"]

    def left(self, first: int) -> tuple[int, list[Any], list[FloatArray]] | None:
        """Return steps done, state and history of a batch that was left."""
        if int(self.arrays.get("first", -1)) != first:
            return None
        state = [self.arrays[f"state{i}"] for i in range(int(self.arrays["states"]))]
        return int(self.arrays["done"]), [tf.constant(value) for value in state], [self.arrays["trace"]]

    def leave(self, first: int, done: int, state: list[Any], history: list[FloatArray]) -> None:
        """Write where a batch stands."""
        if self.path is None:
            return
        self.arrays = {name: value for name, value in self.arrays.items() if name.startswith(("x", "history"))}
        self.arrays |= {f"state{i}": np.asarray(value) for i, value in enumerate(state)}
        self.arrays |= {"first": first, "done": done, "states": len(state), "trace": np.concatenate(history)}
        save_npz(self.path, key=self.key, **self.arrays)

    def finish(self, first: int, x: FloatArray, history: FloatArray) -> None:
        """Write what a batch found."""
        if self.path is None:
            return
        self.arrays = {name: value for name, value in self.arrays.items() if name.startswith(("x", "history"))}
        self.arrays |= {f"x{first}": x, f"history{first}": history}
        save_npz(self.path, key=self.key, **self.arrays)


def run(
    search: Search,
    plan: Plan,
    many: int,
    steps: int,
    kept: Kept,
    callback: Callback | None,
    progress: Progress | None,
) -> tuple[FloatArray, FloatArray]:
    """Climb for all rows, `many` at once: patterns (n, n_mfcc, frames, 1), trace of their objectives (steps, n)."""
    size = max(1, many // plan.group) * plan.group
    total = steps * -(-len(plan) // size)
    xs, histories = [], []
    for number, first in enumerate(range(0, len(plan), size)):
        rows = range(first, min(first + size, len(plan)))
        found = kept.finished(first)
        if found is None:

            def report(done: int, number: int = number) -> None:
                if progress:
                    progress(steps * number + done, total)

            with forgetting_gradients():
                found = _climb(search, plan, rows, steps, kept, callback, report)
        xs.append(found[0])
        histories.append(found[1])
    return np.concatenate(xs)[..., None], np.concatenate(histories, axis=1)


def _climb(
    search: Search,
    plan: Plan,
    rows: range,
    steps: int,
    kept: Kept,
    callback: Callback | None,
    report: Callable[[int], None],
) -> tuple[FloatArray, FloatArray]:
    """Climb for one batch; of each pattern's restarts return the best."""
    ascend, finish = search.compile(plan.owner[rows.start : rows.stop])
    names = tuple(plan.names[row // plan.restarts] for row in rows)
    left = kept.left(rows.start)
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
            kept.leave(rows.start, done, state, history)
    x, score = finish(state)
    by_start = score.reshape(-1, plan.variants, plan.restarts)
    if search.joint:  # variants that were to differ from each other were so start by start
        by_start = np.repeat(by_start.sum(axis=1, keepdims=True), plan.variants, axis=1)
    best = by_start.argmax(axis=2).ravel() + np.arange(0, len(x), plan.restarts)
    trace = np.concatenate(history)
    full = np.concatenate([trace, np.repeat(trace[-1:], steps - len(trace), axis=0)])  # who rests stays where it is
    found = x[best], full[:, best]
    if not stopped:  # one that was is no result of these settings
        kept.finish(rows.start, *found)
    return found


def _draws(rng: np.random.Generator, search: Search) -> FloatArray:
    """Return what a row draws between two reports, however many steps there are left: (STEPS_PER_CALL, draws)."""
    if not search.draws:
        return np.zeros((STEPS_PER_CALL, 0), np.float32)
    uniform = rng.uniform(-1, 1, (STEPS_PER_CALL, search.draws - search.normals))
    normal = rng.standard_normal((STEPS_PER_CALL, search.normals))
    return np.concatenate([uniform, normal], axis=1).astype(np.float32)
