"""The convolutional RBM against brute force: every visible and every legal hidden state of tiny models, in float64."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
import tensorflow as tf

from cepscope.errors import ParameterError
from cepscope.models import ConvolutionalRBM, CRBMTrainer
from cepscope.models.convolution import BlockColumns, Direct, FrameColumns

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A tiny model. The input is larger than what whole blocks can see where the name says so."""

    kernel: tuple[int, int]
    pool: tuple[int, int]
    padding: str = "valid"
    size: tuple[int, int] = (3, 4)


CASES = {
    "rectangular-blocks": Case((2, 2), (1, 3)),
    "valid-with-crop": Case((2, 2), (2, 2)),
    "full-height": Case((3, 2), (1, 3)),
    "full-height-with-crop": Case((3, 2), (1, 2)),
    "same-with-crop": Case((2, 3), (2, 2), "same"),
    "no-pooling": Case((2, 3), (1, 1)),
}


class Oracle:
    """The definition by loops: hidden inputs place by place, hidden states by enumeration of legal blocks."""

    def __init__(self, case: Case, visible: str, seed: int = 0, filters: int = 2) -> None:
        rng = np.random.default_rng(seed)
        self.case, self.visible, self.filters = case, visible, filters
        (kh, kw), (p, q), (height, width) = case.kernel, case.pool, case.size
        self.W = rng.normal(0, 0.8, (kh, kw, 1, filters))
        self.b, self.c, self.m = rng.normal(0, 0.5, filters), rng.normal(0, 0.5, 1), rng.normal(0, 0.5, 1)
        self.l = rng.uniform(0, 0.5, filters)
        self.s = np.array([0.8 if visible == "gaussian" else 1.0])
        same = case.padding == "same"
        full = (height, width) if same else (height - kh + 1, width - kw + 1)
        self.map = (full[0] // p * p, full[1] // q * q)
        self.seen = (height, width) if same else (self.map[0] + kh - 1, self.map[1] + kw - 1)
        self.before = ((kh - 1) // 2, (kw - 1) // 2) if same else (0, 0)  # TensorFlow pads the rest at the end

    def layer(self) -> ConvolutionalRBM:
        """Return the layer under test with these weights."""
        layer = ConvolutionalRBM(
            self.filters, self.case.kernel, pool_size=self.case.pool, visible=self.visible,
            padding=self.case.padding, center_hidden=True, dtype="float64",
        )  # fmt: skip
        layer.build((None, *self.case.size, 1))
        self.assign(layer)
        return layer

    def assign(self, layer: ConvolutionalRBM) -> None:
        layer.kernel.assign(self.W)
        layer.hidden_biases.assign(self.b)
        layer.visible_biases.assign(self.c)
        layer.visible_offsets.assign(self.m)
        layer.hidden_offsets.assign(self.l)
        layer.visible_scales.assign(self.s)

    def visibles(self) -> Array:
        """Return every binary state (2^D, H, W, 1) of the visible units that whole blocks can see."""
        height, width = self.seen
        states = np.array(list(itertools.product((0.0, 1.0), repeat=height * width)))
        return states.reshape(-1, height, width, 1)

    def padded(self, v: Array) -> Array:
        """Fill up to the input's size with numbers that must not matter."""
        rest = [size - seen for size, seen in zip(self.case.size, self.seen, strict=True)]
        return np.pad(v, ((0, 0), (0, rest[0]), (0, rest[1]), (0, 0)), constant_values=7.0)

    def design(self) -> Array:
        """Return A with I = A (v - m) / s^2 + b: (H', W', K, H, W), one weight at a time."""
        (kh, kw), (height, width) = self.case.kernel, self.seen
        out = np.zeros((*self.map, self.filters, height, width))
        for i, j, a, b in np.ndindex(*self.map, kh, kw):
            row, column = i + a - self.before[0], j + b - self.before[1]
            if 0 <= row < height and 0 <= column < width:
                out[i, j, :, row, column] += self.W[a, b, 0]
        return out

    def inputs(self, v: Array) -> Array:
        """Return I: (n, H', W', K)."""
        return np.einsum("ijkxy,nxy->nijk", self.design(), (v[..., 0] - self.m) / self.s**2) + self.b

    def hiddens(self) -> Array:
        """Return every legal state (S, H', W', K): at most one unit of a block is on."""
        (p, q), (height, width) = self.case.pool, self.map
        spots = [
            [(i * p + a, j * q + b, k) for a in range(p) for b in range(q)]
            for i in range(height // p) for j in range(width // q) for k in range(self.filters)
        ]  # fmt: skip
        states = []
        for choice in itertools.product(*[[None, *block] for block in spots]):
            h = np.zeros((height, width, self.filters))
            for spot in choice:
                if spot is not None:
                    h[spot] = 1
            states.append(h)
        return np.array(states)

    def visible_term(self, v: Array) -> Array:
        if self.visible == "gaussian":
            return 0.5 * (((v - self.c) / self.s) ** 2).sum((1, 2, 3))
        return -(v * self.c).sum((1, 2, 3))

    def energies(self, v: Array) -> Array:
        """Return E(v, h) of every pair: (n, S)."""
        return self.visible_term(v)[:, None] - np.einsum("nijk,sijk->ns", self.inputs(v), self.hiddens() - self.l)

    def free_energy(self, v: Array) -> Array:
        return -np.logaddexp.reduce(-self.energies(v), axis=1)

    def posterior(self, v: Array) -> Array:
        """Return P(h | v) of every state: (n, S)."""
        e = -self.energies(v)
        return np.exp(e - np.logaddexp.reduce(e, axis=1)[:, None])

    def pooled(self, h: Array) -> Array:
        """Return which pooling units are on: (S, h, w, K)."""
        (p, q), (height, width) = self.case.pool, self.map
        return h.reshape(len(h), height // p, p, width // q, q, -1).max(axis=(2, 4))


def _some_visibles(oracle: Oracle, count: int = 40) -> Array:
    rng = np.random.default_rng(5)
    if oracle.visible == "gaussian":
        return rng.normal(0, 1.5, (count, *oracle.seen, 1))
    return rng.integers(0, 2, (count, *oracle.seen, 1)).astype(float)


def both_kinds(function: Callable[..., None]) -> Callable[..., None]:
    for name, values in (("visible", ["binary", "gaussian"]), ("case", list(CASES))):
        function = pytest.mark.parametrize(name, values)(function)
    return function


# -- energies and conditionals


def _check_free_energy(oracle: Oracle, free_energy: Callable[[Array], Any]) -> None:
    v = _some_visibles(oracle)
    # float64 and sums of fewer than 100 numbers of order 1
    np.testing.assert_allclose(free_energy(oracle.padded(v)), oracle.free_energy(v), rtol=1e-11, atol=1e-11)


@both_kinds
def test_free_energy_sums_over_every_legal_hidden_state(case: str, visible: str) -> None:
    oracle = Oracle(CASES[case], visible)
    _check_free_energy(oracle, oracle.layer().free_energy)


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
def test_the_free_energy_check_refuses_known_mistakes(visible: str) -> None:
    oracle = Oracle(CASES["rectangular-blocks"], visible)
    layer = oracle.layer()

    def no_blocks(v: Array) -> Array:  # sum of softplus: as if units of a block could be on together
        v = v[:, : oracle.seen[0], : oracle.seen[1]]
        inputs = oracle.inputs(v)
        return oracle.visible_term(v) + (inputs * oracle.l - np.logaddexp(0, inputs)).sum((1, 2, 3))

    def no_off_state(v: Array) -> Array:  # log sum exp I, without the 1
        inputs = oracle.inputs(v[:, : oracle.seen[0], : oracle.seen[1]])
        shares = np.logaddexp.reduce(layer.hidden_blocks(v)[0].numpy(), axis=0)
        return oracle.visible_term(v) + (inputs * oracle.l).sum((1, 2, 3)) - shares.sum()

    def no_visible_term(v: Array) -> Array:
        return layer.free_energy(v).numpy() - oracle.visible_term(v)

    def plain_max(v: Array) -> Array:  # the largest input of a block stands for it, as in plain max pooling
        v = v[:, : oracle.seen[0], : oracle.seen[1]]
        inputs = oracle.inputs(v)
        largest = oracle.pooled(inputs)
        return oracle.visible_term(v) + (inputs * oracle.l).sum((1, 2, 3)) - np.logaddexp(0, largest).sum((1, 2, 3))

    def wrong_sign(v: Array) -> Array:
        return layer.free_energy(v).numpy() - 2 * oracle.visible_term(v)

    for mistake in (no_blocks, no_off_state, no_visible_term, plain_max, wrong_sign):
        with pytest.raises(AssertionError):
            _check_free_energy(oracle, mistake)


@both_kinds
def test_conditionals_equal_enumeration(case: str, visible: str) -> None:
    oracle = Oracle(CASES[case], visible)
    layer, v, h = oracle.layer(), _some_visibles(oracle), oracle.hiddens()
    posterior = oracle.posterior(v)
    on, pooled = np.einsum("ns,sijk->nijk", posterior, h), np.einsum("ns,sijk->nijk", posterior, oracle.pooled(h))
    x = oracle.padded(v)
    np.testing.assert_allclose(layer.hidden_input(x), oracle.inputs(v), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(layer.mean_hiddens(x), on, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(layer(x), pooled, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(layer.pre_activation(x), -np.log1p(-pooled), rtol=1e-9, atol=1e-12)
    assert layer.compute_output_shape((None, *CASES[case].size, 1)) == (None, *layer(x).shape[1:])


@pytest.mark.parametrize("case", CASES)
def test_binary_reconstruction_is_the_mean_over_every_visible_state(case: str) -> None:
    oracle = Oracle(CASES[case], "binary")
    v, hiddens = oracle.visibles(), oracle.hiddens()
    chosen = np.random.default_rng(0).choice(len(hiddens), 8)
    e = -oracle.energies(v)[:, chosen]  # (2^D, 8)
    p = np.exp(e - np.logaddexp.reduce(e, axis=0))
    expected = np.einsum("vs,vxyc->sxyc", p, v)
    height, width = oracle.seen
    got = oracle.layer().mean_visibles(hiddens[chosen], (8, *oracle.case.size, 1)).numpy()
    np.testing.assert_allclose(got[:, :height, :width], expected, rtol=1e-10)
    outside = np.ones(oracle.case.size, bool)
    outside[:height, :width] = False  # no hidden unit sees these: only their bias speaks
    np.testing.assert_allclose(got[:, outside], 1 / (1 + np.exp(-oracle.c[0])), rtol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_gaussian_reconstruction_is_where_the_energy_is_least(case: str) -> None:
    """E is (v - mean)^2 / (2 s^2) + const, so its gradient at E[v | h] is 0 and its curvature 1 / s^2."""
    oracle = Oracle(CASES[case], "gaussian")
    hiddens = oracle.hiddens()[-5:]
    height, width = oracle.seen
    mean = oracle.layer().mean_visibles(hiddens, (5, *oracle.case.size, 1)).numpy()[:, :height, :width]
    expected = oracle.c + np.einsum("ijkxy,sijk->sxy", oracle.design(), hiddens - oracle.l)[..., None]
    np.testing.assert_allclose(mean, expected, rtol=1e-11, atol=1e-11)
    step = np.random.default_rng(1).standard_normal(mean.shape)

    def energy(v: Array) -> Array:
        return oracle.visible_term(v) - np.einsum("sijk,sijk->s", oracle.inputs(v), hiddens - oracle.l)

    rise = np.stack([energy(mean + step) - energy(mean), energy(mean - step) - energy(mean)])
    np.testing.assert_allclose(rise, 0.5 * ((step / oracle.s) ** 2).sum((1, 2, 3))[None].repeat(2, 0), rtol=1e-9)


def test_gaussian_free_energy_normalises_to_the_closed_form() -> None:
    """Integral of exp(-F) over two visible units on a grid, against a sum of Gaussian integrals over hidden states."""
    oracle = Oracle(Case((1, 1), (1, 2), size=(1, 2)), "gaussian")
    axis = np.linspace(-12, 12, 481)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 1, 2, 1)
    total = np.exp(-oracle.layer().free_energy(grid).numpy()).sum() * (axis[1] - axis[0]) ** 2
    h, A = oracle.hiddens(), oracle.design()
    h = h - oracle.l
    down = np.einsum("ijkxy,sijk->sxy", A, h)  # what h adds to the mean of v
    exponent = (down * (oracle.c - oracle.m)).sum((1, 2)) + 0.5 * (down**2).sum((1, 2))
    exact = 2 * np.pi * oracle.s[0] ** 2 * np.exp((h * oracle.b).sum((1, 2, 3)) + exponent / oracle.s**2).sum()
    assert total == pytest.approx(exact, rel=1e-9)  # the trapezoid rule is exact to rounding for Gaussians


@pytest.mark.parametrize("case", CASES)
def test_convolution_and_its_transpose_are_adjoint(case: str) -> None:
    """<A v, h> = <v, A^T h> for real numbers, so conditionals both ways come from one energy."""
    oracle = Oracle(CASES[case], "gaussian")
    oracle.b, oracle.c, oracle.m, oracle.l, oracle.s = np.zeros(2), np.zeros(1), np.zeros(1), np.zeros(2), np.ones(1)
    layer, rng = oracle.layer(), np.random.default_rng(2)
    v = rng.standard_normal((3, *oracle.case.size, 1))
    h = rng.standard_normal((3, *oracle.map, 2))
    up = (layer.hidden_input(v).numpy() * h).sum()
    down = (layer.mean_visibles(h, v.shape).numpy() * v).sum()
    assert up == pytest.approx(down, rel=1e-11)


def test_offsets_only_move_the_biases() -> None:
    """A model centred in its visible units is the plain model with other hidden biases."""
    oracle = Oracle(CASES["rectangular-blocks"], "binary")
    oracle.l = np.zeros(2)
    v = _some_visibles(oracle)
    centred = oracle.layer().free_energy(oracle.padded(v)).numpy()
    oracle.b, oracle.m = oracle.b - oracle.m * oracle.W.sum((0, 1, 2)), np.zeros(1)
    np.testing.assert_allclose(oracle.layer().free_energy(oracle.padded(v)), centred, rtol=1e-11)


# -- gradients


def _gradients(layer: ConvolutionalRBM, loss: Callable[[], Any]) -> list[Array]:
    values = [layer.kernel.value, layer.hidden_biases.value, layer.visible_biases.value]
    with tf.GradientTape() as tape:
        tape.watch(values)
        value = loss()
    return [g.numpy() for g in tape.gradient(value, values)]


def _differences(oracle: Oracle, function: Callable[[], float], step: float = 1e-5) -> list[Array]:
    """Return the central differences of a function of the oracle's weights."""
    out = []
    for weights in (oracle.W, oracle.b, oracle.c):
        gradient = np.zeros_like(weights)
        for place in np.ndindex(weights.shape):
            kept = weights[place]
            sides = []
            for sign in (1, -1):
                weights[place] = kept + sign * step
                sides.append(function())
            weights[place] = kept
            gradient[place] = (sides[0] - sides[1]) / (2 * step)
        out.append(gradient)
    return out


@both_kinds
def test_the_trainers_gradient_is_that_of_the_free_energies(case: str, visible: str) -> None:
    oracle = Oracle(CASES[case], visible)
    layer = oracle.layer()
    v = _some_visibles(oracle)
    data, state = v[:20], v[20:]
    places = float(np.prod(oracle.map))
    x, y = (tf.constant(oracle.padded(part)) for part in (data, state))
    got = _trainers_gradient(layer, x, y)

    def difference() -> Any:
        return (tf.reduce_mean(layer.free_energy(x)) - tf.reduce_mean(layer.free_energy(y))) / places

    exact = _gradients(layer, difference)
    numeric = _differences(
        oracle, lambda: (oracle.free_energy(data).mean() - oracle.free_energy(state).mean()) / places
    )
    for one, two, three in zip(got, exact, numeric, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(one, three, rtol=1e-6, atol=1e-8)  # error of central differences: step^2


def _trainers_gradient(layer: ConvolutionalRBM, data: Any, state: Any, **settings: Any) -> list[Array]:
    """Return the trainer's gradient when the chains end in `state`."""
    trainer = CRBMTrainer(layer, sparsity_cost=0.0, weight_decay=0.0, dtype="float64", **settings)
    trainer.prepare(data.shape)
    whole, at = state, [0]

    def gibbs(v: Any, *_: Any, **__: Any) -> tuple[Any, Any]:  # a batch is worked on in parts, one after the other
        part = whole[at[0] : at[0] + v.shape[0]]
        at[0] += v.shape[0]
        return part, part

    layer.gibbs = gibbs
    return [np.asarray(gradient) for gradient in trainer.gradients(data)[0]]


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("hidden", ["binary", "relu"])
@pytest.mark.parametrize(("channels", "height"), [(1, 3), (3, 3), (1, 7), (3, 7)])
def test_gradients_with_scales_channels_and_either_kind_of_hidden_units(
    channels: int, height: int, hidden: str, padding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the derivative that TensorFlow takes of the free energy; a batch in parts adds up to the whole."""
    layer = ConvolutionalRBM(
        4, (3, 4), pool_size=(1, 2), hidden=hidden, padding=padding, weight_scale=0.3, center_hidden=True,
        dtype="float64",
    )  # fmt: skip
    rng = np.random.default_rng(3)
    shape = (6, height, 9, channels)
    layer.build((None, *shape[1:]))
    for weight in layer.weights[1:]:
        weight.assign(rng.normal(0, 0.4, weight.shape))
    layer.visible_scales.assign(rng.uniform(0.6, 1.4, channels))
    x, y = (tf.constant(rng.standard_normal(shape)) for _ in range(2))
    places = float(np.prod(layer.map_shape(shape)))
    values = [w.value for w in (layer.kernel, layer.hidden_biases, layer.visible_biases, layer.visible_scales)]
    with tf.GradientTape() as tape:
        tape.watch(values)
        loss = (tf.reduce_mean(layer.free_energy(x)) - tf.reduce_mean(layer.free_energy(y))) / places
    exact = tape.gradient(loss, values)
    for units in (10**9, 1):  # one part, six parts
        monkeypatch.setattr("cepscope.models.trainer.UNITS_A_PART", units)
        for one, two in zip(_trainers_gradient(layer, x, y, learn_scales=True), exact, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("hidden", ["binary", "relu"])
@pytest.mark.parametrize(("channels", "height"), [(1, 3), (3, 3), (2, 7)])
def test_parts_of_what_a_layer_computes_are_those_of_the_whole(
    padding: str, hidden: str, channels: int, height: int
) -> None:
    rbm = ConvolutionalRBM(4, (height, 4), pool_size=(1, 2), hidden=hidden, padding=padding, weight_scale=0.6)
    v = np.random.default_rng(0).standard_normal((5, 7, 11, channels)).astype(np.float32)
    output = rbm(v)
    whole = rbm.pre_activation(v)
    both = rbm.pre_activation_and_output(v)
    np.testing.assert_array_equal(both[0], whole)
    np.testing.assert_allclose(both[1], output, rtol=1e-6)  # elsewhere in memory, rounded otherwise
    filters = [3, 0, 2, 2, 1]
    own = rbm.pre_activation_of(v, filters)
    # the same sums in another order, in float32
    np.testing.assert_allclose(own, np.asarray(whole)[np.arange(5), :, :, filters], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("size", [(7, 9), (6, 6), (5, 11)])
@pytest.mark.parametrize("pool", [(1, 1), (2, 2), (1, 3), (3, 2)])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 4), (0, 4), (0, 1)], ids=str)
def test_all_convolutions_give_the_same(
    kernel: tuple[int, int], pool: tuple[int, int], size: tuple[int, int], channels: int
) -> None:
    """Inputs, transposes, correlations, maps and gradients, to the round-off of float64."""
    rng = np.random.default_rng(1)
    kinds = [Direct, BlockColumns]
    if not kernel[0]:  # as high as the input
        kinds, kernel, pool = [Direct, BlockColumns, FrameColumns], (size[0], kernel[1]), (1, pool[1])
    (kh, kw), k = kernel, 5
    h, w = (size[0] - kh + 1) // pool[0] * pool[0], (size[1] - kw + 1) // pool[1] * pool[1]
    seen = (h + kh - 1, w + kw - 1)
    weights, biases = tf.constant(rng.standard_normal((kh, kw, channels, k))), tf.constant(rng.standard_normal(k))
    v, hidden = tf.constant(rng.standard_normal((4, *seen, channels))), tf.constant(rng.standard_normal((4, h, w, k)))
    found = []
    for kind in kinds:
        with tf.GradientTape() as tape:
            tape.watch([v, weights, biases])
            conv = kind(weights, biases, seen, pool)
            columns = conv.columns(v)
            blocks = conv.up(columns)
            loss = tf.reduce_sum(conv.to_map(blocks) * hidden**2)
        gradients = tape.gradient(loss, [v, weights, biases])
        back = conv.from_map(hidden)
        assert conv.map == (h, w)
        np.testing.assert_array_equal(conv.to_map(back), hidden)
        largest = tf.reduce_max(blocks, axis=0)
        np.testing.assert_array_equal(conv.unpooled(conv.pooled(largest)), largest)
        steps = tf.cumsum(back, axis=0)
        found.append(
            [
                conv.to_map(blocks),
                conv.down(back),
                conv.down(steps, steps=True),
                *conv.correlate(columns, back),
                conv.pooled(largest),
                *gradients,
            ]
        )
    np.testing.assert_allclose(found[0][1], found[0][2], rtol=1e-11, atol=1e-11)
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-11, atol=1e-11)
    valid = tf.nn.conv2d(v, weights, 1, "VALID") + biases
    np.testing.assert_allclose(found[1][0], valid[:, :h, :w], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("case", ["rectangular-blocks", "full-height"])
def test_likelihood_gradient_is_exact(case: str) -> None:
    """Mean F(data) minus the model's own mean of F has the gradient of the exact -log likelihood."""
    oracle = Oracle(CASES[case], "binary")
    layer, every = oracle.layer(), oracle.visibles()
    data = _some_visibles(oracle)
    x, all_x = (tf.constant(oracle.padded(part)) for part in (data, every))
    f = -oracle.free_energy(every)
    p = np.exp(f - np.logaddexp.reduce(f))

    def phases() -> Any:
        return tf.reduce_mean(layer.free_energy(x)) - tf.reduce_sum(p * layer.free_energy(all_x))

    def loss() -> float:
        return float(oracle.free_energy(data).mean() + np.logaddexp.reduce(-oracle.free_energy(every)))

    for got, numeric in zip(_gradients(layer, phases), _differences(oracle, loss), strict=True):
        np.testing.assert_allclose(got, numeric, rtol=1e-6, atol=1e-8)  # error of central differences


# -- sampling


def _tiny(visible: str = "binary") -> Oracle:
    return Oracle(Case((2, 2), (1, 2), size=(2, 3)), visible, seed=3)  # 64 visible, 9 hidden states


def _check_stationary(step: Callable[[ConvolutionalRBM, Array, int], Array]) -> None:
    oracle, draws = _tiny(), 30_000
    every = oracle.visibles()
    f = -oracle.free_energy(every)
    p = np.exp(f - np.logaddexp.reduce(f))
    v = every[np.random.default_rng(0).choice(64, draws, p=p)]
    for i in range(3):
        v = step(oracle.layer(), v, i)
    codes = (v.reshape(draws, 6) @ 2.0 ** np.arange(5, -1, -1)).astype(int)
    # a right chain fails this bound once in 10^5 seeds; the seed is fixed
    assert scipy.stats.chisquare(np.bincount(codes, minlength=64), draws * p).pvalue > 1e-5


def test_the_models_distribution_is_stationary_under_gibbs() -> None:
    _check_stationary(lambda layer, v, i: layer.gibbs(tf.constant(v), [(0, 2 * i), (0, 2 * i + 1)])[0].numpy())


def test_the_stationarity_check_refuses_independent_sampling_in_a_block() -> None:
    def wrong(layer: ConvolutionalRBM, v: Array, i: int) -> Array:
        rng = np.random.default_rng(i)
        p = layer.mean_hiddens(v).numpy()
        mean = layer.mean_visibles((rng.random(p.shape) < p).astype(float), v.shape).numpy()
        return (rng.random(mean.shape) < mean).astype(float)

    with pytest.raises(AssertionError):
        _check_stationary(wrong)


def test_gaussian_visible_samples_have_their_mean_and_variance() -> None:
    layer, mean = _tiny("gaussian").layer(), np.array([-2.0, 0.0, 5.0])
    drawn = layer.sample_visibles(tf.constant(np.tile(mean, (20_000, 1))), (1, 2)).numpy()
    noise = (drawn - mean) / 0.8
    assert np.abs(noise.mean(axis=0)).max() < 5 / np.sqrt(20_000)  # 5 standard errors
    assert np.abs(noise.var(axis=0) - 1).max() < 5 * np.sqrt(2 / 20_000)


def test_hidden_samples_have_the_means_they_are_drawn_from() -> None:
    oracle = _tiny()
    v = np.repeat(oracle.visibles()[[13]], 20_000, axis=0)
    h = oracle.layer().sample_hiddens(v, (4, 4)).numpy()
    assert h.reshape(-1, 1, 1, 1, 2, 2).sum(axis=4).max() <= 1  # a block is (1, 2)
    p = oracle.layer().mean_hiddens(v[:1]).numpy()[0]
    assert (np.abs(h.mean(axis=0) - p) < 5 * np.sqrt(p * (1 - p) / 20_000)).all()  # 5 standard errors


# -- the layer as a Keras layer


def test_huge_inputs_stay_finite() -> None:
    layer = _tiny("gaussian").layer()
    for size in (1e4, -1e4):
        x = np.full((1, 2, 3, 1), size)
        for value in (layer(x), layer.pre_activation(x), layer.free_energy(x), layer.mean_hiddens(x)):
            assert np.isfinite(value).all()


def test_a_moved_input_moves_the_pooled_map() -> None:
    layer = ConvolutionalRBM(3, (4, 3), pool_size=(1, 2), seed=1, weight_scale=1.0)
    x = np.random.default_rng(0).standard_normal((1, 4, 18, 1)).astype(np.float32)
    moved = np.roll(x, 2, axis=2)  # one block
    np.testing.assert_allclose(layer(moved)[:, :, 1:], layer(x)[:, :, :-1], rtol=1e-4, atol=1e-6)  # float32


@pytest.mark.parametrize("hidden", ["binary", "relu"])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_file_round_trip_keeps_everything(tmp_path: Path, padding: str, hidden: str) -> None:
    layer = ConvolutionalRBM(
        3, (2, 3), pool_size=(2, 1), visible="binary", padding=padding, weight_scale=0.5, hidden_bias=0.3,
        visible_offset=0.2, hidden=hidden, center_hidden=True, seed=7, name="first",
    )  # fmt: skip
    model = keras.Sequential([keras.Input((6, 7, 1)), layer])
    layer.visible_biases.assign([0.7])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    x = np.random.default_rng(0).standard_normal((4, 6, 7, 1)).astype(np.float32)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert loaded.get_layer("first").get_config() == layer.get_config()
    np.testing.assert_array_equal(loaded.get_layer("first").free_energy(x), layer.free_energy(x))


def test_seeds_fix_the_weights() -> None:
    kernels = []
    for seed in (1, 1, 2):
        layer = ConvolutionalRBM(3, (2, 3), seed=seed)
        layer.build((None, 6, 7, 1))
        kernels.append(layer.kernel.numpy())
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert (kernels[0] != kernels[2]).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"filters": 0}, "`filters` must be a whole number, 1 or more"),
        ({"kernel_size": (3,)}, "`kernel_size` must be two positive integers"),
        ({"pool_size": (0, 2)}, "`pool_size` must be two positive integers"),
        ({"visible": "poisson"}, "`visible` must be one of gaussian, binary"),
        ({"hidden": "softplus"}, "`hidden` must be one of binary, relu"),
        ({"visible_scale": 0.0}, "`visible_scale` must be positive"),
        ({"visible": "binary", "visible_scale": 2.0}, "1 for binary visible units"),
        ({"padding": "full"}, "`padding` must be one of valid, same"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        ConvolutionalRBM(**({"filters": 2, "kernel_size": (2, 2)} | settings))


def test_too_small_an_input_is_refused() -> None:
    with pytest.raises(ParameterError, match="too small"):
        ConvolutionalRBM(2, (5, 5)).build((None, 5, 20, 1))
