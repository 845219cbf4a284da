"""Probabilistic max pooling against its definition; each check must also refuse the mistakes known from public code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
import tensorflow as tf

from cepscope.models import pooling

Array = npt.NDArray[np.float64]
DRAWS = 20_000


def _exact(logits: Array) -> Array:
    """Return the n + 1 probabilities of one block (all off last)."""
    weights = np.exp(np.append(logits, 0.0))
    return weights / weights.sum()


def _multinomial(logits: Array, seed: int) -> Array:
    """Draw DRAWS outcomes of one block with the code under test: (DRAWS, units)."""
    blocks = tf.constant(np.tile(logits[:, None], (DRAWS, 1, 1, 1, 1)), tf.float32)
    return pooling.sample_blocks(pooling.block_probabilities(blocks), (seed, 7)).numpy()[:, 0, 0, :, 0]


def _independent(logits: Array, seed: int) -> Array:
    """Draw each unit of a block by itself from its correct marginal: the mistake of several public versions."""
    rng = np.random.default_rng(seed)
    return (rng.random((DRAWS, len(logits))) < _exact(logits)[:-1]).astype(np.float64)


def _sigmoid(logits: Array, seed: int) -> Array:
    """Draw one unit a block, but from a softmax over sigmoids instead of inputs: another known mistake."""
    p = _exact(1 / (1 + np.exp(-logits)))
    chosen = np.random.default_rng(seed).choice(len(p), DRAWS, p=p)
    return np.eye(len(p))[chosen, :-1]


def _check_samples(draw: Callable[[Array, int], Array], logits: Array, seed: int) -> None:
    h = draw(logits, seed)
    assert set(np.unique(h)) <= {0.0, 1.0}
    assert h.sum(axis=1).max() <= 1, "two units of a block are on"
    counts = np.append(h.sum(axis=0), DRAWS - h.sum())
    # a correct sampler fails this bound once in 10^5 seeds; the seeds are fixed
    assert scipy.stats.chisquare(counts, DRAWS * _exact(logits)).pvalue > 1e-5


LOGITS = [np.zeros(4), np.array([2.0, -1.0, 0.5]), np.array([1.5]), np.array([-3.0, -2, 1, 0, 0.3, -1])]


@pytest.mark.parametrize("logits", LOGITS, ids=len)
def test_block_samples_follow_the_multinomial(logits: Array) -> None:
    _check_samples(_multinomial, logits, seed=len(logits))


@pytest.mark.parametrize("mistake", [_independent, _sigmoid])
def test_the_sample_check_refuses_known_mistakes(mistake: Callable[[Array, int], Array]) -> None:
    with pytest.raises(AssertionError):
        _check_samples(mistake, LOGITS[0], seed=1)
    with pytest.raises(AssertionError):
        _check_samples(mistake, LOGITS[1], seed=1)


def test_blocks_of_one_batch_are_drawn_independently() -> None:
    """Two blocks of a row, and two filters of a block, share no random number."""
    blocks = tf.zeros((4000, 1, 2, 4, 2))
    h = pooling.sample_blocks(pooling.block_probabilities(blocks), (3, 1)).numpy()
    on = h.sum(axis=3).reshape(4000, 4)  # each on with probability .8
    correlation = np.corrcoef(on.T) - np.eye(4)
    assert np.abs(correlation).max() < 5 / np.sqrt(4000)  # 5 standard errors


def test_sampling_depends_only_on_its_seed() -> None:
    p = pooling.block_probabilities(tf.zeros((3, 2, 2, 4, 5)))
    first, again, other = (pooling.sample_blocks(p, seed).numpy() for seed in ((1, 2), (1, 2), (1, 3)))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("pool", [(1, 1), (2, 2), (1, 3), (3, 1), (2, 4)])
def test_blocks_are_gathered_and_put_back(pool: tuple[int, int]) -> None:
    p, q = pool
    x = np.random.default_rng(0).standard_normal((2, 2 * p, 3 * q, 5))
    blocks = pooling.to_blocks(tf.constant(x), pool)
    expected = np.stack(
        [x[:, i * p : (i + 1) * p, j * q : (j + 1) * q].reshape(2, p * q, 5) for i in range(2) for j in range(3)],
        axis=1,
    ).reshape(2, 2, 3, p * q, 5)
    np.testing.assert_array_equal(blocks.numpy(), expected)
    np.testing.assert_array_equal(pooling.from_blocks(blocks, pool).numpy(), x)


def test_probabilities_and_partition_equal_their_definitions() -> None:
    x = np.random.default_rng(1).normal(0, 3, (2, 3, 1, 6, 4))
    blocks = tf.constant(x)
    e = np.exp(x)
    # float64 and numbers of order 1: rounding only
    np.testing.assert_allclose(pooling.block_log_partition(blocks), np.log(1 + e.sum(3)), rtol=1e-12)
    np.testing.assert_allclose(pooling.block_probabilities(blocks), e / (1 + e.sum(3, keepdims=True)), rtol=1e-12)
    np.testing.assert_allclose(pooling.pooled_probabilities(blocks), 1 - 1 / (1 + e.sum(3)), rtol=1e-12)


def test_a_block_of_one_is_a_sigmoid() -> None:
    x = np.linspace(-30, 30, 61).reshape(1, 1, 61, 1, 1)
    sigmoid = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(pooling.block_probabilities(tf.constant(x)), sigmoid, rtol=1e-12)
    np.testing.assert_allclose(pooling.pooled_probabilities(tf.constant(x))[..., None, :], sigmoid, rtol=1e-12)


def test_the_gradient_of_the_partition_is_the_probability() -> None:
    blocks = tf.constant(np.random.default_rng(2).normal(0, 2, (2, 2, 3, 4, 2)))
    with tf.GradientTape() as tape:
        tape.watch(blocks)
        total = tf.reduce_sum(pooling.block_log_partition(blocks))
    np.testing.assert_allclose(tape.gradient(total, blocks), pooling.block_probabilities(blocks), rtol=1e-12)


@pytest.mark.parametrize("size", [88.0, 1e4])
@pytest.mark.parametrize("signs", [(1, 1), (-1, -1), (1, -1), (-1, 0)])
def test_huge_inputs_stay_finite_and_right(size: float, signs: tuple[int, int]) -> None:
    blocks = tf.constant(np.array(signs, np.float32)[None, None, None, :, None] * size)
    with tf.GradientTape() as tape:
        tape.watch(blocks)
        share = pooling.block_log_partition(blocks)
    gradient = tape.gradient(share, blocks).numpy().ravel()
    p = pooling.block_probabilities(blocks).numpy().ravel()
    exact = np.logaddexp.reduce([0.0, *(np.array(signs) * size)])
    np.testing.assert_allclose(float(share.numpy().squeeze()), exact, rtol=1e-6, atol=1e-30)  # float32
    np.testing.assert_allclose(p, np.exp(np.array(signs) * size - exact), rtol=1e-5, atol=1e-37)
    np.testing.assert_allclose(gradient, p, rtol=1e-6, atol=1e-37)
    h = pooling.sample_blocks(pooling.block_probabilities(blocks), (0, 0)).numpy()
    assert h.sum() <= 1


def test_tiny_probabilities_do_not_vanish() -> None:
    """exp(-40) is lost next to 1 in float32, but not by log1p and expm1: a quiet unit keeps its rank."""
    blocks = tf.constant(np.full((1, 1, 1, 4, 1), -40, np.float32))
    exact = 4 * np.exp(-40.0)
    assert float(pooling.pooled_probabilities(blocks).numpy().squeeze()) == pytest.approx(exact, rel=1e-5)
