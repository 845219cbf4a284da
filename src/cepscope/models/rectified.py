"""Noisy rectified linear hidden units, with the functions of `pooling`.

One such unit stands for endless binary units of equal weights whose biases fall by one from each to the next, .5
below the first (Nair and Hinton 2010, "Rectified linear units improve restricted Boltzmann machines", ICML, section
2). Their expected sum is sum_i sigmoid(I - i + .5), softplus(I) to good approximation; a sample is
max(0, I + N(0, sigmoid(I))). The free energy here is the one whose derivative is exactly minus that mean,

    -integral of softplus up to I  =  Li2(-exp I).

Units of a block do not compete; the block shows its largest.
"""

from __future__ import annotations

import math
from typing import Any

from cepscope.models.backend import tf

SMALL, TERMS = 0.03, 8


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


def sample(blocks: Any, means: Any, seed: Any) -> Any:  # noqa: ARG001  as in `pooling`
    """Draw max(0, I + N(0, sigmoid(I))), in the shape of `blocks`."""
    noise = tf.random.stateless_normal(tf.shape(blocks), seed, dtype=blocks.dtype)
    return tf.nn.relu(blocks + tf.sqrt(tf.sigmoid(blocks)) * noise)
