"""Chains, samples with a unit held on, and the way down, against enumeration and on real digits."""

from __future__ import annotations

import gc
import itertools
import weakref
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats

import cepscope as cs
from cepscope.errors import DataError, ParameterError
from cepscope.maximize.receptive import receptive_field
from cepscope.models import ConvolutionalRBM, build_cdbn, generation
from cepscope.models.generation import (
    gibbs_chains,
    reconstruct,
    reconstruction_errors,
    sample_layer,
    sample_unit,
    top_down,
)

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


def test_gaussian_chains_with_a_unit_held_on_have_the_exact_mean() -> None:
    """P(v | on) is a mixture of Gaussians, one a legal hidden state, summed here state by state."""
    rbm, (c, s, m) = _rbm("gaussian"), (0.2, 0.8, 0.3)
    rbm.visible_biases.assign([c])
    rbm.visible_scales.assign([s])
    rbm.hidden_biases.assign([-4.0, -0.5])  # left free, the unit that is held would seldom be on
    kernel, b = rbm.kernel.numpy().astype(np.float64), rbm.hidden_biases.numpy().astype(np.float64)

    def down(place: int, k: int) -> Array:
        return np.pad(kernel[:, :, 0, k], ((0, 0), (place, 1 - place)))

    log_weights, means = [], []
    for on, other in itertools.product((0, 1), (None, 0, 1)):  # filter 0 is held: never off
        added = down(on, 0) + (0 if other is None else down(other, 1))
        bias = b[0] + (0 if other is None else b[1])
        log_weights.append(bias + (added.sum() * (c - m) + 0.5 * (added**2).sum()) / s**2)
        means.append(c + added)
    weights = np.exp(np.array(log_weights) - max(log_weights))
    expected = np.einsum("s,sxy->xy", weights / weights.sum(), np.array(means))
    clamp = np.array([[[True, False]]])
    v = gibbs_chains(rbm, np.zeros((CHAINS, *SHAPE)), steps=30, thin=30, clamp=clamp, seed=1)[0, ..., 0]
    z = (v.mean(axis=0) - expected) / (v.std(axis=0) / CHAINS**0.5)
    assert np.abs(z).max() < 4.5  # six numbers; a right chain fails once in 20,000 seeds, and the seed is fixed
    free = gibbs_chains(rbm, np.zeros((CHAINS, *SHAPE)), steps=30, thin=30, seed=1)[0, ..., 0]
    assert np.abs((free.mean(axis=0) - expected) / (free.std(axis=0) / CHAINS**0.5)).max() > 4.5


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


def test_tracing_is_done_once_follows_the_weights_and_keeps_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    for name in ("_advance", "_settle"):
        original = getattr(generation, name)

        def counted(*args: Any, _original: Any = original, _name: str = name) -> Any:
            built.append(_name)
            return _original(*args)

        counted.__name__ = name
        monkeypatch.setattr(generation, name, counted)
    model = _tiny()
    first = sample_unit(model, "crbm2", 0, chains=4, steps=3)
    for n in (1, 2, 7):
        sample_unit(model, "crbm2", 1, chains=n, steps=n, rounds=n)
    assert sorted(built) == ["_advance", "_settle"]
    model.layers[1].kernel.assign(2 * model.layers[1].kernel.numpy())
    assert (sample_unit(model, "crbm2", 0, chains=4, steps=3).samples != first.samples).any()
    rbm = _rbm()
    gibbs_chains(rbm, np.zeros((1, *SHAPE)), steps=1)
    alive = weakref.ref(rbm)
    del rbm
    gc.collect()
    assert alive() is None


def test_large_batches_are_cut() -> None:
    model = _tiny()
    x = np.random.default_rng(0).normal(size=(generation.BATCH + 3, 6, 12, 1)).astype(np.float32)
    alone = reconstruct(model, x[-5:])
    np.testing.assert_allclose(reconstruct(model, x)[-5:], alone, rtol=1e-4, atol=1e-4)  # float32, order of sums


def test_a_filter_can_be_held_on_everywhere() -> None:
    """With all other units off, one place is seen in its own field of the input only, all places in the whole input."""
    model = _tiny()
    model.layers[1].hidden_biases.assign([-20.0, -20.0, -20.0])  # what is not held is off
    one, every = (sample_unit(model, "crbm1", 1, everywhere=e, steps=30, seed=2).samples for e in (False, True))
    field = np.zeros((6, 12, 1), bool)
    field[2:5, 4:8] = True  # of the block in row 2, column 2: kernels of 3 x 3, blocks of 1 x 2
    np.testing.assert_array_equal(one[:, ~field], 0)  # the visible bias
    assert one[:, field].any(axis=0).all()
    assert every.any(axis=0).all()


def test_one_clip_needs_a_baseline() -> None:
    model, x = _tiny(), np.random.default_rng(0).normal(size=(1, 6, 12, 1))
    assert reconstruction_errors(model, x, baseline=np.zeros((6, 12, 1)))["crbm1"] > 0
    with pytest.raises(ParameterError, match="give more of them, or a `baseline`"):
        reconstruction_errors(model, x)


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
    cs.pretrain(model, digit_patches, epochs=12, learning_rate=1e-2, batch_size=32)
    return model


@pytest.mark.slow
def test_real_digits_come_back_through_the_layers(pretrained: keras.Model, digit_patches: Any) -> None:
    """Of unseen voices: through one layer, most of a patch; through two, more than the mean patch tells."""
    x = digit_patches.test.x[:40]
    errors = reconstruction_errors(pretrained, x)
    assert list(errors) == ["crbm1", "crbm2"]
    assert errors["crbm1"] < 0.5
    assert errors["crbm1"] < errors["crbm2"] < 1.0
    assert reconstruct(pretrained, x, layers=1).shape == x.shape


@pytest.mark.slow
def test_two_rectified_layers_come_down_no_worse_than_the_mean_patch(digit_patches: Any) -> None:
    model = build_cdbn(digit_patches.input_shape, 10, filters=(8, 12), hidden="relu", seed=0)
    cs.pretrain(model, digit_patches, epochs=15, learning_rate=3e-3, batch_size=32)
    scales = model.get_layer("crbm2").visible_scales.numpy()
    assert (scales < 0.6).all()  # of what it sees, which varies far less than patches do
    mean = digit_patches.train.x.mean(axis=0)
    errors = reconstruction_errors(model, digit_patches.test.x[:40], baseline=mean)
    assert errors["crbm1"] < 0.8
    assert errors["crbm2"] < 1


def test_chains_of_one_seed_differ_only_by_what_is_held_on(pretrained: keras.Model) -> None:
    """So what holding a unit on changes stands out of few samples: where the unit's kernel is, and nowhere else."""
    free = sample_layer(pretrained, "crbm1", chains=16, steps=1).mean(axis=0)
    held = sample_unit(pretrained, "crbm1", 5, chains=16, steps=1).mean
    moved = np.abs(held - free)[..., 0] > 1e-5
    rows, frames = np.nonzero(moved)
    field = receptive_field(pretrained, "crbm1")
    assert (rows.min(), rows.max() + 1) == (field.rows.start, field.rows.stop)
    assert (frames.min(), frames.max() + 1) == (field.frames.start, field.frames.stop)


def test_what_is_generated_can_be_heard(pretrained: keras.Model, digit_patches: Any) -> None:
    found = sample_unit(pretrained, "crbm2", 3, chains=16, steps=20)
    mfcc = digit_patches.scaler.inverse_transform(found.mean[..., 0])
    sounds = cs.invert(mfcc[None], digit_patches.spec, iterations=5, refine_steps=2)
    assert sounds.audio.shape == (1, (48 - 1) * digit_patches.spec.hop)
    assert np.isfinite(sounds.audio).all()
    assert np.abs(sounds.audio).max() > 0.1


def test_wrong_requests_are_refused() -> None:
    model = _tiny()
    rectified = build_cdbn((6, 12, 1), 2, filters=(3,), kernel_sizes=((3, 3),), pool_sizes=((1, 2),), hidden="relu")
    for message, call in (
        ("There is no RBM layer 'conv'", lambda: sample_unit(model, "conv", 0)),
        ("has filters 0 to 3", lambda: sample_unit(model, "crbm2", 4)),
        ("The map of crbm2 is", lambda: sample_unit(model, "crbm2", 0, place=(9, 0))),
        ("The map of crbm2 is", lambda: sample_unit(model, "crbm2", 0, place=(1,))),
        ("`filter_index` must be", lambda: sample_unit(model, "crbm2", 0.5)),
        ("`seed` must be", lambda: sample_layer(model, "crbm2", seed=-1)),
        ("must be \\(n, 4, 5, 3\\)", lambda: top_down(model, "crbm1", np.zeros((1, 2, 2, 3)))),
        ("`layers` must be from 1 to 2", lambda: reconstruct(model, np.zeros((1, 6, 12, 1)), layers=3)),
        ("Patches must be", lambda: reconstruct(model, np.zeros((1, 6, 11, 1)))),
        (
            "`steps` must be a whole number, 1 or more",
            lambda: gibbs_chains(model.layers[1], np.zeros((1, 6, 12, 1)), steps=0),
        ),
        ("`thin` must be at most", lambda: gibbs_chains(model.layers[1], np.zeros((1, 6, 12, 1)), steps=2, thin=3)),
        ("`start` must be", lambda: gibbs_chains(model.layers[1], np.zeros((1, 6, 12, 3)))),
        ("too small", lambda: gibbs_chains(model.layers[1], np.zeros((1, 2, 2, 1)))),
        ("`chains` must be", lambda: sample_unit(model, "crbm1", 0, chains=0)),
        ("0 or more", lambda: top_down(rectified, "crbm1", np.full((1, 4, 5, 3), -1.0))),
        ("in 0 to 1", lambda: top_down(model, "crbm1", np.full((1, 4, 5, 3), 7))),
        ("`rounds` must be", lambda: top_down(model, "crbm1", np.zeros((1, 4, 5, 3)), rounds=-1)),
        ("at least one patch", lambda: reconstruct(model, np.zeros((0, 6, 12, 1)))),
        ("`clamp` must be", lambda: gibbs_chains(model.layers[1], np.zeros((1, 6, 12, 1)), clamp=[True])),
        ("generates nothing", lambda: top_down(keras.Sequential([keras.Input((3,))]), "crbm1", np.zeros((1, 1, 1, 1)))),
    ):
        with pytest.raises(ParameterError, match=message):
            call()
    for call in (
        lambda: top_down(model, "crbm1", np.full((1, 4, 5, 3), np.nan)),
        lambda: reconstruct(model, np.full((1, 6, 12, 1), np.inf)),
        lambda: gibbs_chains(model.layers[1], np.full((1, 6, 12, 1), np.nan)),
    ):
        with pytest.raises(DataError, match="must be finite"):
            call()
