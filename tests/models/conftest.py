"""Small patches with something to learn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest


class Labelled(NamedTuple):
    """Patches (n, 8, 16, 1) and their classes."""

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int32]


@pytest.fixture(scope="session")
def bars() -> Labelled:
    """Noise with one bar in it, at a random time: class 0 rises, class 1 falls, class 2 stays."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.3, (150, 8, 16, 1)).astype(np.float32)
    y = rng.integers(0, 3, 150).astype(np.int32)
    for patch, kind in zip(x[..., 0], y, strict=True):
        start = rng.integers(0, 9)
        for i in range(8):
            patch[(i, 7 - i, 4)[kind], start + i] += 2.5
    return Labelled(x - x.mean(), y)
