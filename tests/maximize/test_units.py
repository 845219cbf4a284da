"""Unit names and activations, against slow NumPy versions of their definitions."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from cepscope.errors import ParameterError
from cepscope.maximize.units import Seen, Unit, resolve_layer, unit_activations, unit_layers, unit_reader
from cepscope.models import build_cdbn


@pytest.fixture(scope="module")
def plain_cnn() -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((6, 9, 1)),
            keras.layers.Conv2D(3, (2, 3), activation="relu", name="first"),
            keras.layers.Flatten(),
            keras.layers.Dense(4, activation="softmax", name="classes"),
        ]
    )


@pytest.mark.parametrize("text", ["crbm1", "crbm1:", ":3", "crbm1:2@x", "crbm1:-1", ""])
def test_malformed_names_are_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="layer:index"):
        Unit.parse(text)


def test_names_round_trip() -> None:
    assert str(Unit.parse("block/conv:12")) == "block/conv:12"


def test_relu_filters_read_their_softplus_and_logits_their_input(plain_cnn: keras.Model) -> None:
    x = np.random.default_rng(0).standard_normal((5, 6, 9, 1)).astype(np.float32)
    kernel, bias = (w.numpy() for w in plain_cnn.get_layer("first").weights)
    out = np.zeros((5, 5, 7, 3))
    for i in range(5):
        for j in range(7):
            out[:, i, j] = np.einsum("nhw,hwk->nk", x[:, i : i + 2, j : j + 3, 0], kernel[:, :, 0]) + bias
    dense, offset = (w.numpy() for w in plain_cnn.get_layer("classes").weights)
    expected = np.concatenate(
        [np.log1p(np.exp(out)).mean(axis=(1, 2)), np.maximum(out, 0).reshape(5, -1) @ dense + offset], axis=1
    )
    # float32 sums of at most 105 terms of order 1
    np.testing.assert_allclose(unit_activations(plain_cnn, x), expected, atol=2e-5)
    assert plain_cnn.get_layer("classes").activation is keras.activations.softmax  # left as it was


def test_crbm_filters_read_the_log_partition_of_their_blocks() -> None:
    model = build_cdbn((6, 9, 1), 3, filters=(2,), kernel_sizes=((3, 2),), pool_sizes=((2, 4),), seed=3)
    x = np.random.default_rng(0).standard_normal((4, 6, 9, 1)).astype(np.float32)
    layer = model.get_layer("crbm1")
    hidden = np.asarray(layer.hidden_input(x), np.float64)  # (4, 4, 8, 2)
    blocks = hidden.reshape(4, 2, 2, 2, 4, 2)
    expected = np.log1p(np.exp(blocks).sum(axis=(2, 4))).mean(axis=(1, 2))
    np.testing.assert_allclose(unit_activations(model, x, layers=["crbm1"]), expected, atol=1e-5)


def test_layers_are_read_where_ways_part_and_meet() -> None:
    inputs = keras.Input((6, 9, 1))
    one = keras.layers.Conv2D(2, 3, padding="same", activation="relu", name="one")(inputs)
    two = keras.layers.Conv2D(2, 3, padding="same", activation="tanh", name="two")(one)
    three = keras.layers.Conv2D(3, 2, name="three")(keras.layers.Add()([one, two, inputs]))
    model = keras.Model(inputs, keras.layers.Dense(4, name="classes")(keras.layers.Flatten()(three)))
    x = np.random.default_rng(0).standard_normal((5, 6, 9, 1)).astype(np.float32)
    together = unit_activations(model, x)
    alone = [unit_activations(model, x, layers=[name]) for name in ("one", "two", "three", "classes")]
    np.testing.assert_allclose(together, np.concatenate(alone, axis=1), atol=1e-5)
    np.testing.assert_allclose(together[:, -4:], model(x), atol=1e-5)


def test_means_leave_out_what_padding_robs_of_its_field() -> None:
    inputs = keras.Input((8, 11, 1))
    value = keras.layers.Conv2D(2, 3, padding="same", activation="relu", name="one")(inputs)
    value = keras.layers.Conv2D(3, (1, 5), padding="same", strides=(1, 2), name="two")(value)
    model = keras.Model(inputs, value)
    x = np.random.default_rng(0).standard_normal((4, 8, 11, 1)).astype(np.float32)
    one = np.log1p(np.exp(keras.Model(inputs, model.get_layer("one").output)(x)))  # softplus of what is not cut off
    layer = model.get_layer("one")
    plain = keras.ops.conv(x, layer.kernel, padding="same") + layer.bias
    expected = np.log1p(np.exp(np.asarray(plain, np.float64)))[:, 1:-1, 1:-1].mean(axis=(1, 2))
    assert one.shape[1:3] == (8, 11)
    np.testing.assert_allclose(unit_activations(model, x, layers=["one"]), expected, atol=1e-5)
    # six columns, at frames 0, 2 ... 10, see two to each side of one, which sees one more: 0, 2, 8 and 10 lack some
    two = np.log1p(np.exp(np.asarray(model(x), np.float64)))[:, 1:-1, 2:-2].mean(axis=(1, 2))
    np.testing.assert_allclose(unit_activations(model, x, layers=["two"]), two, atol=1e-5)


@pytest.mark.parametrize("layers", [[], ["first", "conv2d"], ["flatten"]])
def test_layers_that_are_none_twice_or_have_no_units_are_refused(layers: list[str]) -> None:
    model = keras.Sequential(
        [
            keras.Input((6, 9, 1)),
            keras.layers.Conv2D(3, 2, name="first"),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(2),
        ]
    )
    with pytest.raises(ParameterError, match=r"at least one layer|no units of its own"):
        unit_layers(model, layers)


def test_batching_does_not_matter(plain_cnn: keras.Model) -> None:
    x = np.random.default_rng(0).standard_normal((7, 6, 9, 1)).astype(np.float32)
    whole = unit_activations(plain_cnn, x)
    np.testing.assert_allclose(unit_activations(plain_cnn, x, batch_size=2), whole, atol=1e-6)
    assert unit_activations(plain_cnn, x[:0]).shape == (0, 7)


def test_all_layers_are_found_in_order(plain_cnn: keras.Model) -> None:
    reader = unit_reader(plain_cnn)
    assert [str(unit) for unit in reader.terms[2:4]] == ["first:2", "classes:0"]
    assert len(reader.terms) == 7


def test_conv2d_means_the_first_convolution_unless_a_layer_has_that_name(plain_cnn: keras.Model) -> None:
    assert resolve_layer(plain_cnn, "conv2d").name == "first"
    named = keras.Sequential(
        [
            keras.Input((6, 9, 1)),
            keras.layers.Conv2D(1, 2, name="a"),
            keras.layers.Conv2D(1, 2, name="conv2d"),
        ]
    )
    assert resolve_layer(named, "conv2d").name == "conv2d"


def test_unknown_layers_are_refused_with_the_names_there_are(plain_cnn: keras.Model) -> None:
    with pytest.raises(ParameterError, match=r"'conv9'.*first.*classes"):
        unit_layers(plain_cnn, ["conv9"])


def test_a_model_without_units_is_refused() -> None:
    with pytest.raises(ParameterError, match="no unit"):
        unit_layers(keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()]))


@pytest.mark.parametrize("use_bias", [True, False])
def test_units_of_a_wide_layer_are_read_alone_as_among_all(use_bias: bool) -> None:
    keras.utils.set_random_seed(2)
    wide = keras.layers.Dense(200, activation="relu", use_bias=use_bias, bias_initializer="normal", name="wide")
    model = keras.Sequential([keras.Input((6, 9, 1)), keras.layers.Flatten(), wide])
    x = np.random.default_rng(0).standard_normal((5, 54)).astype(np.float32)
    indices = [199, 0, 7, 7, 64]
    found = Seen(model.get_layer("wide"), tf.constant(x)).mean_of(indices)
    weights = wide.get_weights()
    expected = np.sum(x * weights[0][:, indices].T, axis=1) + (weights[1][indices] if use_bias else 0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
