"""What every benchmark needs: runs in turn, medians, and the speed of a plain product of matrices."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

Run = Callable[[], object]


def seconds(run: Run) -> float:
    """Return the wall time of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def turns(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """Run all in turn, once to warm up and then `rounds` times; return the seconds of each, round by round."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(seconds(run))
    return times


def alternate(runs: dict[str, Run], rounds: int) -> dict[str, float]:
    """Do as `turns` does; return the median seconds of each."""
    return {name: statistics.median(found) for name, found in turns(runs, rounds).items()}


def busy_elsewhere() -> Callable[[], float | None]:
    """Start counting; the result tells how many cores other processes have kept busy since, None where unknown.

    Runs on several threads lose more to others than runs on one: above a few tenths of a core, distrust the figures.
    """
    stat = Path("/proc/stat")

    def busy() -> float:
        user, nice, system = stat.read_text().split()[1:4]
        return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK") - time.process_time()

    if not stat.exists():
        return lambda: None
    wall, before = time.perf_counter(), busy()
    return lambda: round(max(0.0, busy() - before) / (time.perf_counter() - wall), 2)


def sgemm_run(size: int = 2048) -> tuple[Run, float]:
    """Return a product of two square float32 matrices and its floating-point operations."""
    from cepscope.models.backend import tf

    a = tf.random.stateless_normal((size, size), (0, 0))
    product = tf.function(lambda x: tf.matmul(x, x))
    return lambda: product(a), 2.0 * size**3
