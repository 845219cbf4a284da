"""Probabilistic max pooling: each block of hidden units is one multinomial choice, "all off" among its outcomes.

Lee, Grosse, Ranganath, Ng, "Convolutional deep belief networks for scalable unsupervised learning of hierarchical
representations", ICML 2009, section 3.3. At most one unit of a block is on, so with inputs ``I``

    P(unit i on) = exp(I_i) / (1 + sum_j exp(I_j)),    P(all off) = 1 / (1 + sum_j exp(I_j)),

and the block's pooling unit is on unless all are off. Everything is stable for inputs of any size: the largest of 0 and
the inputs is taken out of the exponentials first.
"""

from __future__ import annotations

from typing import Any

from cepscope.models.backend import tf

Pool = tuple[int, int]


def to_blocks(hidden: Any, pool: Pool) -> Any:
    """Gather blocks on one axis: (n, h*p, w*q, k) to (n, h, w, p*q, k)."""
    p, q = pool
    _, height, width, k = hidden.shape
    rows = tf.reshape(hidden, (-1, height // p, p, width // q, q * k))
    rows = tf.transpose(rows, (0, 1, 3, 2, 4))
    return tf.reshape(rows, (-1, height // p, width // q, p * q, k))


def from_blocks(blocks: Any, pool: Pool) -> Any:
    """Undo `to_blocks`."""
    p, q = pool
    _, h, w, _, k = blocks.shape
    rows = tf.transpose(tf.reshape(blocks, (-1, h, w, p, q * k)), (0, 1, 3, 2, 4))
    return tf.reshape(rows, (-1, h * p, w * q, k))


def block_log_partition(blocks: Any) -> Any:
    """Return log(1 + sum_j exp I_j) of each block: (n, h, w, p*q, k) to (n, h, w, k)."""
    top = tf.stop_gradient(tf.maximum(tf.reduce_max(blocks, axis=3), 0.0))
    total = tf.reduce_sum(tf.exp(blocks - top[:, :, :, None]), axis=3)
    return top + tf.math.log1p(total + tf.math.expm1(-top))  # exact for tiny `total` too: then top is 0


def block_probabilities(blocks: Any) -> Any:
    """Return the probability of each unit to be the one that is on, in the shape of `blocks`."""
    top = tf.stop_gradient(tf.maximum(tf.reduce_max(blocks, axis=3, keepdims=True), 0.0))
    weights = tf.exp(blocks - top)
    return weights / (tf.exp(-top) + tf.reduce_sum(weights, axis=3, keepdims=True))


def pooled_probabilities(blocks: Any) -> Any:
    """Return the probability of each pooling unit to be on: 1 - P(all off), (n, h, w, k)."""
    return -tf.math.expm1(-block_log_partition(blocks))


def sample_blocks(probabilities: Any, seed: Any) -> Any:
    """Draw one outcome a block by inverting its cumulative distribution, from one uniform number a block.

    Parameters
    ----------
    probabilities : tensor [shape=(n, h, w, p*q, k)]
        As `block_probabilities` gives them; what is missing to 1 is "all off".
    seed : tensor of int [shape=(2,)]
        Of a stateless generator.
    """
    upper = tf.cumsum(probabilities, axis=3)
    lower = tf.pad(upper[:, :, :, :-1], [[0, 0], [0, 0], [0, 0], [1, 0], [0, 0]])
    shape = tf.shape(probabilities)
    uniform = tf.random.stateless_uniform((shape[0], shape[1], shape[2], 1, shape[4]), seed, dtype=probabilities.dtype)
    return tf.cast((uniform >= lower) & (uniform < upper), probabilities.dtype)
