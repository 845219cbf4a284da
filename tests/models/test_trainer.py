"""Contrastive divergence: what one step does, what many steps reach, and that chance is under control."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
import tensorflow as tf

from cepscope.errors import ParameterError
from cepscope.models import ConvolutionalRBM, CRBMTrainer

Array = npt.NDArray[Any]
SHAPE = (2, 3, 1)


def _rbm(visible: str = "binary", seed: int = 0, **settings: Any) -> ConvolutionalRBM:
    rbm = ConvolutionalRBM(
        2, (2, 2), pool_size=(1, 2), visible=visible, seed=seed, hidden_bias=-0.3,
        **({"weight_scale": 1.0} | settings),
    )  # fmt: skip
    rbm.build((None, *SHAPE))
    return rbm


def _states() -> Array:
    return np.array(list(itertools.product((0.0, 1.0), repeat=6)), np.float32).reshape(-1, *SHAPE)


def _trainer(rbm: ConvolutionalRBM, optimizer: Any, batch: int, **settings: Any) -> CRBMTrainer:
    trainer = CRBMTrainer(rbm, **({"sparsity_cost": 0.0, "weight_decay": 0.0} | settings))
    trainer.prepare((batch, *SHAPE))
    trainer.compile(optimizer=optimizer)
    return trainer


def _likelihood(rbm: ConvolutionalRBM, data: Array) -> float:
    """Return the exact mean log likelihood (of 64 visible states)."""
    total = tf.reduce_logsumexp(-rbm.free_energy(_states()))
    return float(tf.reduce_mean(-rbm.free_energy(data)) - total)


def _one_step(optimizer: Any, **settings: Any) -> tuple[Array, Array]:
    """Return kernel and hidden biases after one step less those before it."""
    rbm = _rbm()
    before = [rbm.kernel.numpy(), rbm.hidden_biases.numpy()]
    _trainer(rbm, optimizer, 64, **settings).train_on_batch(_states())
    return rbm.kernel.numpy() - before[0], rbm.hidden_biases.numpy() - before[1]


@pytest.mark.parametrize(
    ("persistent", "k", "fast"), [(False, 2, 0.0), pytest.param(True, 1, 0.0, marks=pytest.mark.slow), (True, 1, 0.02)]
)
def test_training_raises_the_exact_likelihood(persistent: bool, k: int, fast: float) -> None:
    rng = np.random.default_rng(1)
    data = _states()[rng.choice([3, 24, 36, 63, 0], 256)]
    rbm = _rbm(weight_scale=0.1)
    before = _likelihood(rbm, data)
    trainer = _trainer(rbm, keras.optimizers.Adam(0.03), 64, persistent=persistent, k=k, fast_learning_rate=fast)
    trainer.fit(data, batch_size=64, epochs=40, verbose=0)
    # 6 bits cost 4.2 nats without structure; the two filters can express much of it
    assert _likelihood(rbm, data) > before + 0.4


def test_persistent_chains_reach_the_models_distribution() -> None:
    """With the weights at rest the chains are samples of the model, wherever they started."""
    rbm, chains = _rbm(seed=4), 6000
    trainer = _trainer(rbm, keras.optimizers.SGD(0.0), chains, persistent=True, k=5)
    for _ in range(8):
        trainer.train_on_batch(np.ones((chains, *SHAPE), np.float32))
    codes = (trainer.chains.numpy().reshape(chains, 6) @ 2.0 ** np.arange(5, -1, -1)).astype(int)
    f = -rbm.free_energy(_states()).numpy().astype(np.float64)
    p = np.exp(f - np.logaddexp.reduce(f))
    # a right chain fails this bound once in 10^5 seeds; the seed is fixed
    assert scipy.stats.chisquare(np.bincount(codes, minlength=64), chains * p / p.sum()).pvalue > 1e-5


def test_negative_phase_of_one_step_is_unbiased() -> None:
    """Over many draws the CD-1 update is its exact expectation: data minus one exact step of the chain."""
    rbm = _rbm()
    states = _states()
    data = np.repeat(states[[0, 8]], 20_000, axis=0)
    h = np.array(
        [[choice[0:1] == (j,) for j in range(2)] for choice in itertools.product(range(3))], np.float32
    )  # (3, 2): one filter's block: first on, second on, all off
    pairs = np.array([np.stack([a.ravel(), b.ravel()], -1) for a in h for b in h])[:, None]  # (9, 1, 2, 2)
    expected = 0.0
    for v in (states[0:1], states[8:9]):
        on = rbm.mean_hiddens(v).numpy()[0, 0]  # (2 places, 2 filters)
        off = 1 - on.sum(axis=0)
        p_h = np.array(
            [
                np.prod([on[:, k][s[0, :, k] == 1].sum() if s[0, :, k].any() else off[k] for k in range(2)])
                for s in pairs
            ]
        )
        mean = rbm.mean_visibles(pairs, (9, *SHAPE)).numpy().reshape(9, 1, 6)
        flat = states.reshape(1, 64, 6)
        p_v = p_h @ np.prod(np.where(flat == 1, mean, 1 - mean), axis=2)  # (64,) after one step
        expected = expected + 0.5 * (np.einsum("v,vijk->k", p_v, rbm.mean_hiddens(states).numpy()) - on.sum(axis=0))
    trainer = _trainer(rbm, keras.optimizers.SGD(1.0), len(data))
    before = rbm.hidden_biases.numpy()
    trainer.train_on_batch(data)
    got = before - rbm.hidden_biases.numpy()  # the gradient, per place of the map (2 of them)
    # P(h) is between 0 and 1, so a mean of 40,000 draws errs by less than .5 / 200; 5 standard errors
    np.testing.assert_allclose(got, expected / 2, atol=5 * 0.5 / 200)
    assert np.abs(expected / 2).max() > 0.03  # there was something to measure


def test_weight_decay_and_sparsity_act_where_they_should() -> None:
    sgd = keras.optimizers.SGD
    plain, decayed = _one_step(sgd(1.0)), _one_step(sgd(1.0), weight_decay=0.5)
    np.testing.assert_allclose(decayed[0] - plain[0], -0.5 * _rbm().kernel.numpy(), atol=1e-6)  # float32
    np.testing.assert_array_equal(decayed[1], plain[1])
    sparse = _one_step(sgd(1.0), sparsity=0.1, sparsity_cost=2.0)
    activity = _rbm().mean_hiddens(_states()).numpy().mean(axis=(0, 1, 2))
    np.testing.assert_array_equal(sparse[0], plain[0])  # on the hidden biases only
    np.testing.assert_allclose(sparse[1] - plain[1], -2.0 * (activity - 0.1), atol=1e-6)  # float32


def test_sparsity_draws_the_activity_to_its_target() -> None:
    rbm = _rbm("gaussian", weight_scale=0.3)
    data = np.random.default_rng(0).standard_normal((256, *SHAPE)).astype(np.float32)
    trainer = _trainer(rbm, keras.optimizers.Adam(0.02), 64, sparsity=0.1, sparsity_cost=5.0)
    trainer.fit(data, batch_size=64, epochs=60, verbose=0)
    assert rbm.mean_hiddens(data).numpy().mean() == pytest.approx(0.1, abs=0.03)  # CD pulls a little against it


def test_a_planted_filter_is_found() -> None:
    """Gaussian noise with one shape at random places: the best filter is that shape, up to a shift."""
    rng = np.random.default_rng(2)
    shape = np.array([[1, -1, 2], [0, 2, -1], [2, 0, 1.0]])
    data = rng.standard_normal((400, 9, 12, 1)).astype(np.float32)
    for patch in data[..., 0]:
        for _ in range(3):
            i, j = rng.integers(0, 6), rng.integers(0, 9)
            patch[i : i + 3, j : j + 3] += 1.5 * shape
    rbm = ConvolutionalRBM(2, (3, 3), pool_size=(1, 2), seed=1, hidden_bias=-3.0)
    rbm.build((None, 9, 12, 1))
    trainer = CRBMTrainer(rbm, sparsity=0.04, sparsity_cost=1.0)
    trainer.prepare((50, 9, 12, 1))
    trainer.compile(optimizer=keras.optimizers.Adam(0.02))
    trainer.fit(data, batch_size=50, epochs=25, verbose=0)
    best = 0.0
    for k in range(2):
        learned = rbm.kernel.numpy()[:, :, 0, k]
        for i, j in itertools.product(range(-1, 2), repeat=2):
            moved = np.zeros((3, 3))
            moved[max(i, 0) : 3 + min(i, 0), max(j, 0) : 3 + min(j, 0)] = shape[
                max(-i, 0) : 3 + min(-i, 0), max(-j, 0) : 3 + min(-j, 0)
            ]
            norms = np.linalg.norm(learned) * np.linalg.norm(moved)
            best = max(best, float((learned * moved).sum() / norms))
    assert best > 0.9


@pytest.mark.parametrize("persistent", [False, True])
def test_the_same_seed_gives_the_same_bits(persistent: bool) -> None:
    def kernel(seed: int) -> Array:
        rbm = _rbm("gaussian")
        data = np.random.default_rng(0).standard_normal((64, *SHAPE)).astype(np.float32)
        trainer = _trainer(rbm, keras.optimizers.Adam(0.01), 16, seed=seed, persistent=persistent)
        trainer.fit(data, batch_size=16, epochs=3, shuffle=False, verbose=0)
        return rbm.kernel.numpy()

    first = kernel(1)
    np.testing.assert_array_equal(kernel(1), first)
    if not persistent:
        assert (kernel(2) != first).all()


def test_no_draw_is_used_twice() -> None:
    """The counter moves on by two seeds a Gibbs step, so steps on one batch differ."""
    rbm = _rbm()
    trainer = _trainer(rbm, keras.optimizers.SGD(0.0), 64, k=3)
    errors = [trainer.train_on_batch(_states(), return_dict=True)["reconstruction_error"] for _ in range(3)]
    assert int(trainer.draws.numpy()) == 18
    assert len({float(error) for error in errors}) == 3


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ParameterError, match="`k` must be a whole number, 1 or more"):
        CRBMTrainer(_rbm(), k=0)
