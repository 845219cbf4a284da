"""How many patterns climb in so much memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from cepscope.models.backend import keras, tf

USUAL = 256  # MB, without a GPU
SHARE = 0.5  # of a GPU's free memory: convolutions want room of their own
VALUES_A_NUMBER = 24  # numbers that the loop keeps for each number of a pattern: spectra, patches of the mixture, ...
VALUES_A_UNIT = 3  # and for each number that a layer computes: itself, what came before it, its gradient


def memory_of_device() -> int:
    """Return megabytes that a batch may take on this machine: a share of what a GPU has free, else what is usual."""
    from tensorflow.python.client import device_lib

    if not tf.config.list_physical_devices("GPU"):
        return USUAL
    limits = [one.memory_limit for one in device_lib.list_local_devices() if one.device_type == "GPU"]
    taken = int(tf.config.experimental.get_memory_info("GPU:0")["current"])
    return share_of(limits[0] - taken) if limits else USUAL


def share_of(free: int) -> int:
    """Return megabytes that a batch may take of so many free bytes of a GPU."""
    return max(USUAL, int(SHARE * free) >> 20)


def patterns_within(memory: int, model: Any, *, draws: int) -> int:
    """Return how many patterns climb in `memory` MB, one at least, if each draws so many numbers a step."""
    numbers = int(np.prod(model.inputs[0].shape[1:])) * VALUES_A_NUMBER + draws + VALUES_A_UNIT * _numbers_of(model)
    return max(1, (memory << 20) // (4 * numbers))


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
