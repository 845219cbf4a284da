"""Chains, samples with a unit held on, and the way down, against enumeration and on real digits."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats

import cepscope as cs
from cepscope.errors import ParameterError
from cepscope.models import ConvolutionalRBM, build_cdbn
from cepscope.models.generation import gibbs_chains, reconstruct, reconstruction_errors, sample_unit, top_down

Array = npt.NDArray[Any]
SHAPE = (2, 3, 1)
CHAINS = 20_000


def _rbm(visible: str = "binary") -> ConvolutionalRBM:
    rbm = ConvolutionalRBM(2, (2, 2), pool_size=(1, 2), visible=visible, weight_scale=1.0, hidden_bias=-0.5, seed=2)
    rbm.build((None, *SHAPE))
    rbm.visible_offsets.assign([0.3])
    return rbm


def _states() -> Array:
    return np.array(list(itertools.product((0.0, 1.0), repeat=6)), np.float32).reshape(-1, *SHAPE)


def _given_on(rbm: ConvolutionalRBM, filter_index: int) -> Array:
    """Return P(v | the filter's only pooling unit is on) of every visible state, by summing over hidden states."""
    v = _states()
    inputs = rbm.hidden_input(v).numpy().astype(np.float64)[:, 0]  # (64, 2 places, 2 filters)
    visible = (v.reshape(64, -1) * rbm.visible_biases.numpy()).sum(1)
    other = np.log1p(np.exp(inputs[:, :, 1 - filter_index]).sum(1))  # free
    held = np.log(np.exp(inputs[:, :, filter_index]).sum(1))  # one of two, never none
    weights = np.exp(visible + other + held)
    return weights / weights.sum()


@pytest.mark.parametrize("filter_index", [0, 1])
def test_chains_with_a_unit_held_on_follow_the_conditional_distribution(filter_index: int) -> None:
    rbm = _rbm()
    clamp = np.zeros((1, 1, 2), bool)
    clamp[..., filter_index] = True
    start = np.zeros((CHAINS, *SHAPE))
    v = gibbs_chains(rbm, start, steps=30, thin=30, clamp=clamp, seed=1)[0]
    counts = np.bincount((v.reshape(CHAINS, 6) @ 2 ** np.arange(5, -1, -1)).astype(int), minlength=64)
    # a right chain fails this bound once in 10^5 seeds; the seed is fixed
    assert scipy.stats.chisquare(counts, CHAINS * _given_on(rbm, filter_index)).pvalue > 1e-5
    free = gibbs_chains(rbm, start, steps=30, thin=30, seed=1)[0]  # the same check refuses chains without the clamp
    counts = np.bincount((free.reshape(CHAINS, 6) @ 2 ** np.arange(5, -1, -1)).astype(int), minlength=64)
    assert scipy.stats.chisquare(counts, CHAINS * _given_on(rbm, filter_index)).pvalue < 1e-5


def test_chains_are_thinned_seeded_and_go_on() -> None:
    rbm, start = _rbm("gaussian"), np.zeros((3, *SHAPE))
    every = gibbs_chains(rbm, start, steps=6, seed=4)
    assert every.shape == (6, 3, *SHAPE)
    np.testing.assert_array_equal(gibbs_chains(rbm, start, steps=6, thin=2, seed=4), every[1::2])
    np.testing.assert_array_equal(gibbs_chains(rbm, start, steps=4, burn_in=2, seed=4), every[2:])
    assert (gibbs_chains(rbm, start, steps=6, seed=5) != every).any()
    means = gibbs_chains(rbm, start, steps=6, means=True, seed=4)
    assert np.abs(means - every).mean() > 0.3  # unit noise


def test_a_clamp_holds_whatever_the_weights() -> None:
    """Even a unit that all its inputs forbid is on in just one place."""
    rbm = _rbm()
    rbm.kernel.assign(100 * rbm.kernel.numpy())
    rbm.hidden_biases.assign([-1e4, -1e4])
    v = gibbs_chains(rbm, np.ones((5, *SHAPE)), steps=3, clamp=np.ones((1, 1, 2)), means=True)
    assert np.isfinite(v).all()
    assert (np.abs(v - 0.5) > 0.4).any()  # its weights are seen in the visible units


def _tiny() -> keras.Model:
    model = build_cdbn(
        (6, 12, 1), 2, filters=(3, 4), kernel_sizes=((3, 3), (2, 2)), pool_sizes=((1, 2), (1, 2)), seed=1
    )
    for depth, rbm in enumerate(model.layers[1:3]):
        rbm.kernel.assign(np.random.default_rng(depth).normal(0, 0.7, rbm.kernel.shape))
    return model


def test_the_way_down_without_pooling_is_the_conditional_mean() -> None:
    model = build_cdbn((6, 9, 1), 2, filters=(3,), kernel_sizes=((3, 3),), pool_sizes=((1, 1),), seed=0)
    rbm = model.layers[1]
    h = np.random.default_rng(0).random((2, 4, 7, 3)).astype(np.float32)
    np.testing.assert_allclose(top_down(model, "crbm1", h), rbm.mean_visibles(h, (2, 6, 9, 1)), rtol=1e-5, atol=1e-6)


def test_the_way_down_shares_out_what_a_block_has() -> None:
    """Without rounds every unit of a block has an equal part; with them, the parts agree with the input they cause."""
    model = _tiny()
    rbm = model.layers[1]
    on = (np.random.default_rng(0).random((2, 4, 5, 3)) < 0.3).astype(np.float32)
    flat = rbm.mean_visibles(np.repeat(on, 2, axis=2) / 2, (2, 6, 12, 1))
    np.testing.assert_allclose(top_down(model, "crbm1", on, rounds=0), flat, rtol=1e-5, atol=1e-5)
    v = top_down(model, "crbm1", on, rounds=200)
    inputs = rbm.hidden_input(v).numpy().reshape(2, 4, 5, 2, 3)
    share = np.exp(inputs - inputs.max(axis=3, keepdims=True))
    share /= share.sum(axis=3, keepdims=True)
    again = rbm.mean_visibles((share * on[:, :, :, None]).reshape(2, 4, 10, 3), (2, 6, 12, 1))
    np.testing.assert_allclose(v, again, atol=1e-3)  # a fixed point, as near as 200 rounds come


def test_samples_of_a_unit_excite_it() -> None:
    model = _tiny()
    top = keras.Model(model.input, model.layers[2].output)
    for index in range(4):
        found = sample_unit(model, "crbm2", index, place=(1, 1), chains=64, steps=40, seed=3)
        assert found.samples.shape == (64, 6, 12, 1)
        np.testing.assert_allclose(found.mean, found.samples.mean(axis=0))
        held = top.predict(found.samples, verbose=0)[:, 1, 1, index].mean()
        rest = np.concatenate(
            [sample_unit(model, "crbm2", other, place=(1, 1), steps=40).samples for other in range(4)]
        )
        assert held > top.predict(rest, verbose=0)[:, 1, 1, index].mean()
    again = sample_unit(model, "crbm2", 0, chains=8, steps=5, seed=3)
    np.testing.assert_array_equal(again.samples, sample_unit(model, "crbm2", 0, chains=8, steps=5, seed=3).samples)


@pytest.fixture(scope="module")
def pretrained(digit_patches: Any) -> keras.Model:
    """A CDBN of real digits before it learns from labels, which costs it some of what it can generate."""
    model = build_cdbn(digit_patches.input_shape, 10, filters=(16, 48), kernel_sizes=((5, 5), (3, 3)), seed=0)
    cs.pretrain(model, digit_patches, epochs=20, learning_rate=1e-2, batch_size=32)
    return model


def test_real_digits_come_back_through_the_layers(pretrained: keras.Model, digit_patches: Any) -> None:
    """Of unseen voices: through one layer, most of a patch; through two, more than the mean patch tells."""
    x = digit_patches.test.x[:40]
    errors = reconstruction_errors(pretrained, x)
    assert list(errors) == ["crbm1", "crbm2"]
    assert errors["crbm1"] < 0.5
    assert errors["crbm1"] < errors["crbm2"] < 1.0
    assert reconstruct(pretrained, x, layers=1).shape == x.shape


def test_what_is_generated_can_be_heard(pretrained: keras.Model, digit_patches: Any) -> None:
    found = sample_unit(pretrained, "crbm2", 3, chains=16, steps=20)
    mfcc = digit_patches.scaler.inverse_transform(found.mean[..., 0])
    sounds = cs.invert(mfcc[None], digit_patches.spec, iterations=5, refine_steps=2)
    assert sounds.audio.shape == (1, (48 - 1) * digit_patches.spec.hop)
    assert np.isfinite(sounds.audio).all()
    assert np.abs(sounds.audio).max() > 0.1


def test_wrong_requests_are_refused() -> None:
    model = _tiny()
    for message, call in (
        ("There is no RBM layer 'conv'", lambda: sample_unit(model, "conv", 0)),
        ("has filters 0 to 3", lambda: sample_unit(model, "crbm2", 4)),
        ("The map of crbm2 is", lambda: sample_unit(model, "crbm2", 0, place=(9, 0))),
        ("must be \\(n, 4, 5, 3\\)", lambda: top_down(model, "crbm1", np.zeros((1, 2, 2, 3)))),
        ("`layers` must be from 1 to 2", lambda: reconstruct(model, np.zeros((1, 6, 12, 1)), layers=3)),
        ("Patches must be", lambda: reconstruct(model, np.zeros((1, 6, 11, 1)))),
        ("`steps` must be at least 1", lambda: gibbs_chains(model.layers[1], np.zeros((1, 6, 12, 1)), steps=0)),
        ("`clamp` must be", lambda: gibbs_chains(model.layers[1], np.zeros((1, 6, 12, 1)), clamp=[True])),
        ("generates nothing", lambda: top_down(keras.Sequential([keras.Input((3,))]), "crbm1", np.zeros((1, 1, 1, 1)))),
    ):
        with pytest.raises(ParameterError, match=message):
            call()
