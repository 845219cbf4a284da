"""Annealed importance sampling against exact normalisers of tiny models."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cepscope.errors import CepscopeWarning, NotFittedError, ParameterError
from cepscope.models import ConvolutionalRBM, ais

Array = npt.NDArray[Any]
SHAPE = (2, 4, 1)  # 256 visible states
QUICK = range(0, 12, 2)  # seeds


def _rbm(seed: int, visible: str = "binary", scale: float = 1.0, pool: tuple[int, int] = (1, 2)) -> ConvolutionalRBM:
    """Return a model with weights of some scale; the last column of the input is not seen when blocks leave it out."""
    rng = np.random.default_rng(seed)
    rbm = ConvolutionalRBM(2, (2, 2), pool_size=pool, visible=visible, center_hidden=True)
    rbm.build((None, *SHAPE))
    for weight, size in zip(rbm.weights, (scale, 1.0, 1.0, 0.0, 0.5, 0.5), strict=True):
        weight.assign(rng.normal(0, size, weight.shape))
    rbm.visible_scales.assign([0.7 if visible == "gaussian" else 1.0])
    return rbm


def _hiddens(rbm: ConvolutionalRBM) -> Array:
    """Return every legal hidden state (S, H', W', K) of blocks of one row."""
    height, width = rbm.map_shape((None, *SHAPE))
    q = rbm.pool_size[1]
    options = [np.zeros(q), *np.eye(q)]
    blocks = height * width * rbm.filters // q
    states = np.array([np.concatenate(choice) for choice in itertools.product(options, repeat=blocks)])
    return np.moveaxis(states.reshape(-1, rbm.filters, height, width), 1, 3)


def _exact(rbm: ConvolutionalRBM) -> float:
    """Return log Z: over every visible state, or as a sum of Gaussian integrals over every hidden one."""
    shape = rbm.crop(np.zeros((1, *SHAPE), np.float32)).shape[1:]
    if rbm.visible == "binary":
        v = np.array(list(itertools.product((0.0, 1.0), repeat=int(np.prod(shape))))).reshape(-1, *shape)
        return float(np.logaddexp.reduce(-rbm.free_energy(v).numpy().astype(np.float64)))
    h = _hiddens(rbm)
    c, m, s = (w.numpy().astype(np.float64) for w in (rbm.visible_biases, rbm.visible_offsets, rbm.visible_scales))
    down = rbm.mean_visibles(h.astype(np.float32), (len(h), *shape)).numpy().astype(np.float64) - c
    free = h - rbm.hidden_offsets.numpy()
    exponent = (free * rbm.hidden_biases.numpy()).sum((1, 2, 3))
    exponent += ((down * (c - m) + 0.5 * down**2) / s**2).sum((1, 2, 3))
    return float(np.logaddexp.reduce(exponent) + np.prod(shape) * np.log(np.sqrt(2 * np.pi) * s[0]))


def _bad_base(seed: int) -> ais.Base:
    rng = np.random.default_rng(100 + seed)
    return ais.Base(rng.normal(0, 1.5, 1), rng.normal(0, 1.5, 2))


def _check_within_three_errors(visible: str, seeds: range = QUICK) -> None:
    """Six models a kind, or ten: large weights, base rates far from the model's, too few steps to hide a mistake."""
    for seed in seeds:
        rbm = _rbm(seed, visible, scale=1.0 + seed / 5 if visible == "binary" else 0.3 + seed / 20)
        found = ais.log_partition(rbm, SHAPE, chains=400, steps=150, base=_bad_base(seed), seed=seed)
        assert abs(found.value - _exact(rbm)) <= 3 * found.standard_error  # of a right estimate one in 370 is outside


@pytest.mark.parametrize("seeds", [QUICK, pytest.param(range(10), marks=pytest.mark.slow)])
@pytest.mark.parametrize("visible", ["binary", "gaussian"])
def test_the_estimate_is_within_three_standard_errors(visible: str, seeds: range) -> None:
    _check_within_three_errors(visible, seeds)


def test_the_check_refuses_a_wrong_normaliser_of_the_base(monkeypatch: pytest.MonkeyPatch) -> None:
    right = ais._log_partition_of_base

    def no_blocks(twin: Any, shape: Any, visible: Any, hidden: Any) -> float:  # units of a block as if independent
        twin.pool_size = (1, 1)
        try:
            return right(twin, shape, visible, hidden)
        finally:
            twin.pool_size = (1, 2)

    monkeypatch.setattr(ais, "_log_partition_of_base", no_blocks)
    with pytest.raises(AssertionError):
        _check_within_three_errors("binary")


def test_the_check_refuses_chains_that_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transitions that leave no intermediate distribution alone: visible units set to their means."""
    gibbs = ConvolutionalRBM.gibbs

    def wrong(self: ConvolutionalRBM, v: Any, seeds: Any, **settings: Any) -> Any:
        return gibbs(self, v, seeds, noise=False)

    monkeypatch.setattr(ConvolutionalRBM, "gibbs", wrong)
    with pytest.raises(AssertionError):
        _check_within_three_errors("gaussian")


def _exact_samples(rbm: ConvolutionalRBM, count: int, seed: int) -> Array:
    v = np.array(list(itertools.product((0.0, 1.0), repeat=8))).reshape(-1, *SHAPE)
    f = -rbm.free_energy(v).numpy().astype(np.float64)
    return v[np.random.default_rng(seed).choice(256, count, p=np.exp(f - np.logaddexp.reduce(f)))]


@pytest.mark.slow
def test_both_directions_bracket_the_truth_on_average() -> None:
    """With few steps the bounds are loose, and on their sides."""
    below, above = [], []
    for seed in range(6):
        rbm = _rbm(seed, scale=2.0, pool=(1, 1))
        exact, start = _exact(rbm), _exact_samples(rbm, 50, seed)
        settings: dict[str, Any] = {"chains": 50, "steps": 5, "base": _bad_base(seed), "seed": seed}
        below.append(ais.log_partition(rbm, SHAPE, **settings).value - exact)
        above.append(ais.log_partition(rbm, SHAPE, **settings, samples=start).value - exact)
    assert np.mean(below) < -0.05
    assert np.mean(above) > 0.05
    assert np.mean(np.abs(below)) < 5


def test_more_steps_make_the_weights_more_equal() -> None:
    rbm = _rbm(3, scale=2.0)
    few, many = (ais.log_partition(rbm, SHAPE, chains=100, steps=steps).effective_samples for steps in (3, 300))
    assert few < 0.7 * many
    assert many > 90


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
def test_without_interactions_it_is_exact(visible: str) -> None:
    """Weights of zero and the model's own biases: every weight is 1, and Z is the closed form."""
    rbm = _rbm(0, visible, scale=0.0)
    found = ais.log_partition(rbm, SHAPE, chains=5, steps=3)
    np.testing.assert_allclose(found.log_weights, 0, atol=1e-12)
    assert found.value == pytest.approx(_exact(rbm), abs=1e-4)  # the check is in float32
    assert found.effective_samples == pytest.approx(5)


def test_likelihoods_add_up_to_one() -> None:
    rbm = _rbm(1)
    exact = ais.LogPartition(_exact(rbm), 0.0, 1.0, np.zeros(1))
    v = np.array(list(itertools.product((0.0, 1.0), repeat=6))).reshape(-1, 2, 3, 1)  # of what whole blocks see
    p = [np.exp(ais.log_likelihood(rbm, one[None], exact)) for one in v]
    assert sum(p) == pytest.approx(1, abs=1e-4)  # float32


def test_rates_of_data_make_a_better_base() -> None:
    data = (np.random.default_rng(0).random((200, *SHAPE)) < 0.1).astype(np.float32)
    base = ais.base_rates(_rbm(0), data)
    seen = data[:, :, :3].mean()
    assert base.visible[0] == pytest.approx(np.log(seen / (1 - seen)), rel=1e-5)


@pytest.mark.parametrize("visible", [pytest.param("binary", marks=pytest.mark.slow), "gaussian"])
def test_long_chains_stand_in_for_exact_samples(visible: str) -> None:
    """Both estimates within three errors, the second from chains of the model's own."""
    rbm = _rbm(1, visible, scale=0.8)
    settings: dict[str, Any] = {"chains": 200, "steps": 100, "burn_in": 100, "base": _bad_base(1), "seed": 1}
    pair = ais.bracket(rbm, SHAPE, **settings)
    for found in pair:
        assert abs(found.value - _exact(rbm)) < 3 * found.standard_error
    for one, other in zip(pair, ais.bracket(rbm, SHAPE, **settings), strict=True):
        np.testing.assert_array_equal(one.log_weights, other.log_weights)


def test_one_chain_with_all_the_weight_is_told() -> None:
    """The standard error is then 1 at most, whatever is wrong: it must not be believed."""
    rbm = _rbm(5, "gaussian")
    far = ais.Base(np.full(1, 10.0), np.zeros(2))
    with pytest.warns(CepscopeWarning, match="nearly all the weight"):
        found = ais.log_partition(rbm, SHAPE, chains=50, steps=1, base=far)
    assert found.effective_samples < 2
    assert found.standard_error <= 1
    assert _exact(rbm) - found.value > 3


def test_wrong_settings_are_refused() -> None:
    def refuses(match: str, shape: Any = SHAPE, **settings: Any) -> None:
        with pytest.raises(ParameterError, match=match):
            ais.log_partition(_rbm(0), shape, **settings)

    with pytest.raises(ParameterError, match="binary hidden units only"):
        ais.log_partition(ConvolutionalRBM(2, (2, 2), hidden="relu"), SHAPE)
    refuses("At least 2 `chains`", chains=1)
    refuses("1 of `steps`", steps=0)
    refuses(r"`input_shape` must be \(height, width, 1\)", shape=(2, 4, 3))
    # these would be broadcast over all filters, and counted once in the normaliser
    refuses(r"`base.hidden` must be finite, of shape \(2,\)", base=ais.Base(np.zeros(1), np.zeros(1)))
    refuses("`base.visible` must be finite", base=ais.Base(np.full(1, np.nan), np.zeros(2)))
    refuses("`samples` must be .2 or more", samples=np.zeros((9, 2, 5, 1)))
    refuses("`samples` must be finite", samples=np.full((4, *SHAPE), np.nan))
    with pytest.raises(NotFittedError, match="no weights yet"):
        ais.log_partition(ConvolutionalRBM(3, (1, 2)), SHAPE)
    with pytest.raises(ParameterError, match="`burn_in` must be at least 1"):
        ais.bracket(_rbm(0), SHAPE, burn_in=0)
