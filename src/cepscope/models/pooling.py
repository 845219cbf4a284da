"""Probabilistic max pooling: each block of hidden units is one multinomial choice, "all off" among its outcomes.

Lee, Grosse, Ranganath, Ng, "Convolutional deep belief networks for scalable unsupervised learning of hierarchical
representations", ICML 2009, section 3.3. At most one unit of a block is on, so with inputs ``I``

    P(unit i on) = exp(I_i) / (1 + sum_j exp(I_j)),    P(all off) = 1 / (1 + sum_j exp(I_j)),

and the block's pooling unit is on unless all are off. Everything is stable for inputs of any size.

Tensors have the units of a block on their first axis, (p*q, ...): sums and choices within a block are then sums and
choices between whole tensors. What the other axes are is the business of `cepscope.models.convolution`.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from cepscope.models import draws
from cepscope.models.backend import tf

SAFE = 1e30  # sums of exponentials up to here are far from overflow, and their inverse from underflow


@tf.custom_gradient  # type: ignore[untyped-decorator]
def log_partition(blocks: Any) -> Any:
    """Return log(1 + sum_j exp I_j) of each block: (p*q, ...) to (...)."""
    weights = tf.exp(blocks)
    total = tf.add_n(tf.unstack(weights))
    safe = tf.reduce_max(total) < SAFE

    def scaled() -> Any:
        top, shifted = _shifted(blocks)
        return top + tf.math.log1p(tf.reduce_sum(shifted, axis=0) + tf.math.expm1(-top))

    value = tf.cond(safe, lambda: tf.math.log1p(total), scaled)
    # a unit's part of the derivative is its probability, written so that few whole tensors are gone through
    return value, lambda d: tf.cond(safe, lambda: weights * (d / (1.0 + total)), lambda: _scaled_means(blocks) * d)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def means(blocks: Any) -> Any:
    """Return the probability of each unit to be the one that is on, in the shape of `blocks`."""
    weights = tf.exp(blocks)
    total = 1.0 + tf.add_n(tf.unstack(weights))
    fast = lambda: weights * tf.math.reciprocal(total)  # noqa: E731
    p = tf.cond(tf.reduce_max(total) < SAFE, fast, lambda: _scaled_means(blocks))
    return p, lambda d: p * (d - tf.reduce_sum(d * p, axis=0))


def _shifted(blocks: Any) -> tuple[Any, Any]:
    """Return the largest of 0 and the inputs of each block, and the exponentials with it taken out."""
    top = tf.maximum(tf.reduce_max(blocks, axis=0), 0.0)
    return top, tf.exp(blocks - top)


def _scaled_means(blocks: Any) -> Any:
    """Do what `means` does, for inputs of any size."""
    top, weights = _shifted(blocks)
    return weights / (tf.exp(-top) + tf.reduce_sum(weights, axis=0))


def shares(blocks: Any) -> Any:
    """Return how the units of a block that is on share that: (p*q, ...), sums of 1."""
    return tf.nn.softmax(blocks, axis=0)


def pooled(blocks: Any) -> Any:
    """Return the probability of each pooling unit to be on: 1 - P(all off), (p*q, ...) to (...)."""
    return is_on(log_partition(blocks))


def is_on(log_partition: Any) -> Any:
    """Return the same, given what `log_partition` gives."""
    return -tf.math.expm1(-log_partition)


def sample(blocks: Any, means: Any, seed: Any) -> Any:
    """Draw one outcome a block: (p*q, ...) of 0 and 1; see `sample_steps`."""
    steps = tf.unstack(sample_steps(blocks, means, seed))
    return tf.stack([steps[0], *[upper - lower for lower, upper in itertools.pairwise(steps)]])


def sample_steps(blocks: Any, means: Any, seed: Any) -> Any:  # noqa: ARG001  the means say all; other families need both
    """Draw one outcome a block by inverting its cumulative distribution, from one uniform number a block.

    Parameters
    ----------
    blocks : tensor [shape=(p*q, ...)]
        Inputs.
    means : tensor [shape=(p*q, ...)]
        As `means` gives them; what is missing to 1 is "all off".
    seed : tensor of int [shape=(2,)] or draws.Share
        Of a stateless generator.

    Returns
    -------
    tensor [shape=(p*q, ...)]
        1 for the unit that is on and all that follow it in the block, else 0: what the comparison of uniform numbers
        with the cumulative distribution gives, and what a product with differences of kernels can use as it is.
    """
    units = tf.unstack(means)
    # cumulative probabilities end at 1 up to rounding; numbers above that rounding keep their excess below 1
    least = 4.0 * len(units) * float(np.finfo(means.dtype.as_numpy_dtype).eps)
    excess = -draws.uniform(tf.shape(units[0]), seed, minval=least, maxval=1.0, dtype=means.dtype)
    over = []  # cumulative probability less the uniform number
    for unit in units:
        excess = excess + unit
        over.append(excess)
    return tf.math.ceil(tf.stack(over))  # 1 if positive, else 0; a comparison is far slower
