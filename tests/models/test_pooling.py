"""Probabilistic max pooling against its definition; each check must also refuse the mistakes known from public code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import tensorflow as tf

from cepscope.models import pooling, rectified

Array = npt.NDArray[np.float64]
DRAWS = 20_000


def _exact(logits: Array) -> Array:
    """Return the n + 1 probabilities of one block (all off last)."""
    weights = np.exp(np.append(logits, 0.0))
    return weights / weights.sum()


def _multinomial(logits: Array, seed: int) -> Array:
    """Draw DRAWS outcomes of one block with the code under test: (DRAWS, units)."""
    blocks = tf.constant(np.tile(logits[:, None], (1, DRAWS)), tf.float32)
    return pooling.sample(blocks, pooling.means(blocks), (seed, 7)).numpy().T


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
    blocks = tf.zeros((4, 4000, 2, 2))
    h = pooling.sample(blocks, pooling.means(blocks), (3, 1)).numpy()
    on = h.sum(axis=0).reshape(4000, 4)  # each on with probability .8
    correlation = np.corrcoef(on.T) - np.eye(4)
    assert np.abs(correlation).max() < 5 / np.sqrt(4000)  # 5 standard errors


def test_sampling_depends_only_on_its_seed() -> None:
    x = tf.zeros((4, 3, 2, 2, 5))
    first, again, other = (pooling.sample(x, pooling.means(x), seed).numpy() for seed in ((1, 2), (1, 2), (1, 3)))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_probabilities_and_partition_equal_their_definitions() -> None:
    x = np.random.default_rng(1).normal(0, 3, (6, 2, 3, 1, 4))
    blocks = tf.constant(x)
    e = np.exp(x)
    # float64 and numbers of order 1: rounding only
    np.testing.assert_allclose(pooling.log_partition(blocks), np.log(1 + e.sum(0)), rtol=1e-12)
    np.testing.assert_allclose(pooling.means(blocks), e / (1 + e.sum(0)), rtol=1e-12)
    np.testing.assert_allclose(pooling.pooled(blocks), 1 - 1 / (1 + e.sum(0)), rtol=1e-12)


def test_a_block_of_one_is_a_sigmoid() -> None:
    x = np.linspace(-30, 30, 61)[None]
    sigmoid = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(pooling.means(tf.constant(x)), sigmoid, rtol=1e-12)
    np.testing.assert_allclose(pooling.pooled(tf.constant(x)), sigmoid[0], rtol=1e-12)


def test_the_gradient_of_the_partition_is_the_probability() -> None:
    blocks = tf.constant(np.random.default_rng(2).normal(0, 2, (4, 2, 2, 3, 2)))
    with tf.GradientTape() as tape:
        tape.watch(blocks)
        total = tf.reduce_sum(pooling.log_partition(blocks))
    np.testing.assert_allclose(tape.gradient(total, blocks), pooling.means(blocks), rtol=1e-12)


@pytest.mark.parametrize("size", [88.0, 1e4])
@pytest.mark.parametrize("signs", [(1, 1), (-1, -1), (1, -1), (-1, 0)])
def test_huge_inputs_stay_finite_and_right(size: float, signs: tuple[int, int]) -> None:
    blocks = tf.constant(np.array(signs, np.float32)[:, None] * size)
    with tf.GradientTape() as tape:
        tape.watch(blocks)
        share = pooling.log_partition(blocks)
    gradient = tape.gradient(share, blocks).numpy().ravel()
    p = pooling.means(blocks).numpy().ravel()
    exact = np.logaddexp.reduce([0.0, *(np.array(signs) * size)])
    np.testing.assert_allclose(float(share.numpy().squeeze()), exact, rtol=1e-6, atol=1e-30)  # float32
    np.testing.assert_allclose(p, np.exp(np.array(signs) * size - exact), rtol=1e-5, atol=1e-37)
    np.testing.assert_allclose(gradient, p, rtol=1e-6, atol=1e-37)
    h = pooling.sample(blocks, pooling.means(blocks), (0, 0)).numpy()
    assert h.sum() <= 1


def test_tiny_probabilities_do_not_vanish() -> None:
    """exp(-40) is lost next to 1 in float32, but not by log1p and expm1: a quiet unit keeps its rank."""
    blocks = tf.constant(np.full((4, 1), -40, np.float32))
    exact = 4 * np.exp(-40.0)
    assert float(pooling.pooled(blocks).numpy().squeeze()) == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("largest", [0.0, 59.0, 61.0])
def test_small_and_large_inputs_are_handled_alike(largest: float) -> None:
    """Means by plain exponentials, and with the largest input taken out, meet where one takes over from the other."""
    x = np.random.default_rng(0).normal(0, 3, (4, 50)).astype(np.float32)
    x[0, 0] = largest
    e = np.exp(x.astype(np.float64))
    np.testing.assert_allclose(pooling.means(tf.constant(x)), e / (1 + e.sum(0)), rtol=3e-6)  # float32, |x| to 61


def test_rectified_units_have_a_slope_at_zero() -> None:
    blocks = tf.zeros((1, 3))
    with tf.GradientTape() as tape:
        tape.watch(blocks)
        total = tf.reduce_sum(rectified.log_partition(blocks))
    np.testing.assert_allclose(tape.gradient(total, blocks), np.log(2), rtol=1e-6)  # the mean, softplus(0)


def test_rectified_units_have_consistent_functions() -> None:
    """The mean is the derivative of the free energy's share; against numeric integration of softplus."""
    x = np.array([-50.0, -3, -0.5, 0, 0.5, 3, 20, 1e4])[None]
    share = rectified.log_partition(tf.constant(x)).numpy()
    exact = [
        scipy.integrate.quad(lambda t: np.logaddexp(0, t), -60, end, epsabs=1e-13, limit=500)[0] for end in x[0, :7]
    ]
    np.testing.assert_allclose(share[1:7], exact[1:], rtol=1e-8)  # what the series leaves out
    np.testing.assert_allclose(share[0], np.exp(-50.0), rtol=1e-6)  # the integral of e^t
    np.testing.assert_allclose(share[7], 0.5e8 + np.pi**2 / 6, rtol=1e-12)
    blocks = tf.constant(np.random.default_rng(0).normal(0, 4, (3, 20)))
    with tf.GradientTape() as tape:
        tape.watch(blocks)
        total = tf.reduce_sum(rectified.log_partition(blocks))
    np.testing.assert_allclose(tape.gradient(total, blocks), rectified.means(blocks), rtol=1e-6)
    assert rectified.pooled(blocks).shape == (20,)


def test_rectified_samples_are_sums_of_their_binary_units() -> None:
    level = np.array([-3.0, -1.0, 0.0, 2.0, 30.3])
    blocks = tf.constant(np.tile(level[:, None], (1, DRAWS)))
    means = rectified.means(blocks)
    h = rectified.sample(blocks, means, (1, 2)).numpy()
    assert h.min() == 0
    np.testing.assert_array_equal(h, np.round(h))
    error = 5 * h.std(axis=1) / np.sqrt(DRAWS)  # 5 standard errors
    p = scipy.special.expit(level - (np.arange(1, 60) - 0.5)[:, None])  # endless units, but for e^-29
    assert (np.abs(h.mean(axis=1) - p.sum(axis=0)) < error + 3e-3).all()  # and what lies more than 6 away
    np.testing.assert_allclose(h.var(axis=1), (p * (1 - p)).sum(axis=0), rtol=0.06)  # of so many draws
    # and the mean that statistics take is that of the samples, but for the paper's approximation
    assert (np.abs(h.mean(axis=1) - means[:, 0].numpy()) < 0.06 * means[:, 0].numpy() + error).all()


def test_shares_are_each_family_s_own() -> None:
    x = np.array([[-200.0, -16.0, 3.0, 50.0], [-199.0, -14.0, 1.0, 40.0]])
    mean = np.logaddexp(0, x)
    np.testing.assert_allclose(rectified.shares(tf.constant(x)), mean / mean.sum(axis=0), rtol=1e-5)
    np.testing.assert_allclose(pooling.shares(tf.constant(x)), scipy.special.softmax(x, axis=0), rtol=1e-9)
