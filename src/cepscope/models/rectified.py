"""Noisy rectified linear hidden units, with the functions of `pooling`.

One such unit stands for endless binary units of equal weights whose biases fall by one from each to the next, .5
below the first (Nair and Hinton 2010, "Rectified linear units improve restricted Boltzmann machines", ICML, section
2). Their expected sum is sum_i sigmoid(I - i + .5), softplus(I) to good approximation (5 % at I = -3, 1.5 % at 0). The
free energy here is the one whose derivative is exactly minus that mean,

    -integral of softplus up to I  =  Li2(-exp I).

A sample is the sum of those binary units, each drawn by itself. The paper's short cut, max(0, I + N(0, sigmoid(I))),
has another mean, .28 for .69 at I = 0 and practically 0 for .05 at -3, where sparse units are: chains that draw it and
statistics that take softplus for its mean then speak of two models.

Units of a block do not compete; the block shows its largest.
"""

from __future__ import annotations

import math
from typing import Any

from cepscope.models import draws
from cepscope.models.backend import tf

SMALL, TERMS = 0.03, 8
OPEN = 6  # binary units farther than that from where a unit's input is are on, or off, but for e^-6
LOW = -15.0  # input below which softplus is the exponential, in float32 too


def log_partition(blocks: Any) -> Any:
    """Return the sum over each block of -Li2(-exp I): (p*q, ...) to (...)."""
    x = tf.exp(tf.where(blocks > 0, -blocks, blocks))  # of -|I|, with a slope at 0 too
    # Li2(-x) = -x + x^2/4 - x^3/9 + ..., where 1 + x would lose digits; what is left out is below 1e-12 of it
    series = tf.zeros_like(x)
    for k in range(TERMS, 0, -1):
        series = x * ((-1) ** k / k**2 + series)
    small = tf.where(x < SMALL, series, tf.math.special.spence(1.0 + x))
    # inversion: -Li2(-e^I) = I^2/2 + pi^2/6 + Li2(-e^-I)
    return tf.reduce_sum(tf.where(blocks > 0, 0.5 * blocks**2 + math.pi**2 / 6 + small, -small), axis=0)


def means(blocks: Any) -> Any:
    """Return softplus(I), in the shape of `blocks`."""
    return tf.math.softplus(blocks)


def pooled(blocks: Any) -> Any:
    """Return the mean of the block's largest unit: (p*q, ...) to (...)."""
    return tf.math.softplus(tf.reduce_max(blocks, axis=0))


def shares(blocks: Any) -> Any:
    """Return how the units of a block share what it has, in proportion to their means: (p*q, ...), sums of 1."""
    logs = tf.where(blocks < LOW, blocks, tf.math.log(tf.math.softplus(tf.maximum(blocks, LOW))))
    return tf.nn.softmax(logs, axis=0)


def sample(blocks: Any, means: Any, seed: Any) -> Any:  # noqa: ARG001  as in `pooling`
    """Draw the sum of a unit's binary units, in the shape of `blocks`."""
    sure = tf.maximum(tf.floor(blocks) - OPEN, 0.0)  # that many are on
    total = sure
    for i, own in enumerate(draws.split(seed, 2 * OPEN), start=1):
        p = tf.sigmoid(blocks - sure - (i - 0.5))
        total += tf.cast(draws.uniform(tf.shape(blocks), own, dtype=blocks.dtype) < p, blocks.dtype)
    return total
