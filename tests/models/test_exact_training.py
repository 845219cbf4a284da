"""Training against exact gradients, optima and transition matrices of models small enough to enumerate."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import scipy.optimize
import tensorflow as tf

from cepscope.models import ConvolutionalRBM, CRBMTrainer

Array = npt.NDArray[Any]
SHAPE = (2, 3, 1)  # 64 visible states


def _rbm(
    visible: str = "binary", pool: tuple[int, int] = (1, 2), scale: float = 0.8, seed: int = 0
) -> ConvolutionalRBM:
    rbm = ConvolutionalRBM(2, (2, 2), pool_size=pool, visible=visible, dtype="float64")
    rbm.build((None, *SHAPE))
    rng = np.random.default_rng(seed)
    for weight, size in zip(rbm.weights[:3], (scale, 0.5, 0.5), strict=True):
        weight.assign(rng.normal(0, size, weight.shape))
    return rbm


def _states() -> Array:
    return np.array(list(itertools.product((0.0, 1.0), repeat=6))).reshape(-1, *SHAPE)


def _hiddens(rbm: ConvolutionalRBM) -> Array:
    """Return every legal hidden state (S, 1, 2, 2): one row of two places, two filters."""
    q = rbm.pool_size[1]
    options = [np.zeros(q), *np.eye(q)]
    states = np.array([np.concatenate(choice) for choice in itertools.product(options, repeat=4 // q)])
    return np.moveaxis(states.reshape(-1, 2, 1, 2), 1, 3)


def _posterior(rbm: ConvolutionalRBM, v: Array, h: Array) -> Array:
    """Return P(h | v) (n, S) from the layer's own probabilities, block by block."""
    on = rbm.mean_hiddens(v).numpy()  # (n, 1, 2, 2)
    q = rbm.pool_size[1]
    blocks, states = (a.transpose(0, 3, 2, 1).reshape(len(a), 2, 2 // q, q) for a in (on, h))
    off = 1 - blocks.sum(3)
    chosen = np.einsum("nkbq,skbq->nskb", blocks, states)
    return np.where(states.any(3)[None], chosen, off[:, None]).prod((2, 3))


def _likelihoods(rbm: ConvolutionalRBM, h: Array, v: Array) -> Array:
    """Return P(v | h) of binary visible units (S, n)."""
    mean = rbm.mean_visibles(h, (len(h), *SHAPE)).numpy().reshape(len(h), 1, 6)
    flat = v.reshape(1, len(v), 6)
    return np.where(flat == 1, mean, 1 - mean).prod(2)


def _model(rbm: ConvolutionalRBM) -> Array:
    f = -rbm.free_energy(_states()).numpy()
    return np.exp(f - np.logaddexp.reduce(f))


# -- the chain


def _transition(rbm: ConvolutionalRBM) -> Array:
    v, h = _states(), _hiddens(rbm)
    return _posterior(rbm, v, h) @ _likelihoods(rbm, h, v)


def _check_invariant(matrix: Array, p: Array) -> None:
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(p @ matrix, p, atol=1e-12)


@pytest.mark.parametrize("pool", [(1, 1), (1, 2)])
def test_the_exact_transition_matrix_leaves_the_distribution_alone(pool: tuple[int, int]) -> None:
    rbm = _rbm(pool=pool)
    _check_invariant(_transition(rbm), _model(rbm))
    flow = _model(rbm)[:, None] * _transition(rbm)
    np.testing.assert_allclose(flow, flow.T, atol=1e-13)  # in detailed balance too


def test_the_invariance_check_refuses_known_mistakes() -> None:
    rbm = _rbm()
    v = _states()
    on = rbm.mean_hiddens(v).numpy()
    every = np.array(list(itertools.product((0.0, 1.0), repeat=4))).reshape(-1, 1, 2, 2)
    alone = np.where(every[None] == 1, on[:, None], 1 - on[:, None]).prod((2, 3, 4))  # each unit of a block by itself
    with pytest.raises(AssertionError):
        _check_invariant(alone @ _likelihoods(rbm, every, v), _model(rbm))
    plain = _rbm(pool=(1, 1))  # a free energy without blocks
    with pytest.raises(AssertionError):
        _check_invariant(_transition(rbm), _model(plain))


def test_joint_samples_agree_with_those_of_a_long_chain() -> None:
    """Geweke 2004, "Getting it right": Gaussian visible units, moments of exact samples and of the same after 20 steps.

    Exact: h from its marginal by enumeration, then v given h. A chain that is right leaves all moments as they were.
    """
    rbm, draws = _rbm("gaussian", scale=0.5), 40_000
    h = _hiddens(rbm)
    c = rbm.visible_biases.numpy()[0]
    down = rbm.mean_visibles(h, (len(h), *SHAPE)).numpy() - c
    exponent = (h * rbm.hidden_biases.numpy()).sum((1, 2, 3)) + (down * c + 0.5 * down**2).sum((1, 2, 3))
    p = np.exp(exponent - np.logaddexp.reduce(exponent))
    rng = np.random.default_rng(0)

    def moments(v: Array) -> Array:
        flat = v.reshape(len(v), 6)
        pairs = np.einsum("ni,nj->nij", flat, flat).reshape(len(v), 36)
        hidden = rbm.mean_hiddens(v).numpy().reshape(len(v), 4)
        return np.concatenate([flat, pairs, hidden, flat[:, :1] * hidden], axis=1)

    def z(step: Any) -> float:
        first, second = (
            c + down[rng.choice(len(h), draws, p=p)] + rng.standard_normal((draws, *SHAPE)) for _ in range(2)
        )
        v = tf.constant(second)
        for i in range(20):
            v = step(v, i)
        one, two = moments(first), moments(v.numpy())
        spread = np.sqrt((one.var(0) + two.var(0)) / draws)
        return float((np.abs(one.mean(0) - two.mean(0)) / spread).max())

    assert z(lambda v, i: rbm.gibbs(v, [(1, 2 * i), (1, 2 * i + 1)])[0]) < 4.5  # the largest of 50: once in 3000 seeds
    assert z(lambda v, i: rbm.gibbs(v, [(1, 2 * i), (1, 2 * i + 1)], noise=False)[0]) > 20  # means are no samples


# -- gradients


def _exact_gradient(rbm: ConvolutionalRBM, data: Array) -> Array:
    """Return the exact gradient of minus the mean log likelihood, a place of the hidden map, as one vector.

    Of Gaussian visible units by summing the closed-form integrals of every hidden state.
    """
    weights = [rbm.kernel.value, rbm.hidden_biases.value, rbm.visible_biases.value]
    h = tf.constant(_hiddens(rbm))
    with tf.GradientTape() as tape:
        tape.watch(weights)
        if rbm.visible == "binary":
            log_z = tf.reduce_logsumexp(-rbm.free_energy(_states()))
        else:
            conv = rbm.convolution((None, *SHAPE))
            down = conv.down(conv.from_map(h))
            c = tf.convert_to_tensor(rbm.visible_biases)
            exponent = tf.reduce_sum(h * rbm.hidden_biases, axis=[1, 2, 3])
            log_z = tf.reduce_logsumexp(exponent + tf.reduce_sum(down * c + 0.5 * down**2, axis=[1, 2, 3]))
        loss = tf.reduce_mean(rbm.free_energy(data)) + log_z
    return np.concatenate([g.numpy().ravel() for g in tape.gradient(loss, weights)]) / 2


def _cd_gradient(rbm: ConvolutionalRBM, data: Array, **settings: Any) -> Array:
    trainer = CRBMTrainer(rbm, sparsity_cost=0.0, weight_decay=0.0, dtype="float64", **settings)
    trainer.prepare(data.shape)
    return np.concatenate([np.asarray(g).ravel() for g in trainer.gradients(data)[0]])


@pytest.mark.parametrize("pool", [(1, 1), (1, 2)])
@pytest.mark.parametrize("visible", ["binary", "gaussian"])
def test_contrastive_divergence_becomes_exact_with_many_steps(visible: str, pool: tuple[int, int]) -> None:
    rbm, draws = _rbm(visible, pool, scale=0.8 if visible == "binary" else 0.5, seed=1), 40_000
    rng = np.random.default_rng(0)
    few = _states()[[0, 7, 56, 63]] if visible == "binary" else rng.normal(0, 1.5, (4, *SHAPE))
    data = np.repeat(few, draws // 4, axis=0)
    exact = _exact_gradient(rbm, data)
    errors = {k: np.abs(_cd_gradient(rbm, data, k=k) - exact).max() for k in (1, 4, 40)}
    # products of visible units (of variance below .25 or 3) with probabilities: 5 standard errors of 40,000 means
    noise = 5 * np.sqrt((0.25 if visible == "binary" else 3) / draws)
    assert errors[40] < noise
    assert errors[1] > 1.5 * errors[40]  # one step is biased, and the bias is seen
    assert errors[1] > errors[4]
    assert np.abs(exact).max() > 4 * noise


@pytest.mark.slow
def test_persistent_chains_learn_the_most_likely_model() -> None:
    """As likely (under the same weight decay) as what exact gradients find from the same start, to .01 nats."""
    data = _states()[np.random.default_rng(1).choice([0, 9, 27, 54, 63], 400)]
    rbm, decay = _rbm(scale=0.1), 0.01
    start = [w.numpy() for w in rbm.weights[:3]]

    def put(x: Array) -> None:
        first = 0
        for weight, shape in zip(rbm.weights[:3], [s.shape for s in start], strict=True):
            size = int(np.prod(shape))
            weight.assign(x[first : first + size].reshape(shape))
            first += size

    def cost() -> float:  # a place of the hidden map, of which there are two
        nats = tf.reduce_mean(rbm.free_energy(data)) + tf.reduce_logsumexp(-rbm.free_energy(_states()))
        return float(nats) / 2 + 0.5 * decay * float((rbm.kernel.numpy() ** 2).sum())

    def both(x: Array) -> tuple[float, Array]:
        put(x)
        gradient = _exact_gradient(rbm, data)
        gradient[: start[0].size] += decay * x[: start[0].size]
        return cost(), gradient

    x0 = np.concatenate([s.ravel() for s in start])
    best = scipy.optimize.minimize(both, x0, jac=True, method="L-BFGS-B", options={"maxiter": 500}).fun
    put(x0)
    before = cost()
    trainer = CRBMTrainer(rbm, persistent=True, k=3, sparsity_cost=0.0, weight_decay=decay, dtype="float64")
    trainer.prepare(data.shape)
    trainer.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.05, 1500)))
    step = tf.function(trainer.train_step)
    for _ in range(1500):
        step(data)
    assert cost() < best + 0.01
    assert before > best + 0.1
