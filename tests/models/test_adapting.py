"""Networks of others behind cepscope's patches: the same outputs, units that are what their non-linearity sees."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from cepscope.errors import DataError
from cepscope.maximize.receptive import receptive_field
from cepscope.maximize.units import Unit, unit_activations, unit_layers
from cepscope.models import load_model
from cepscope.models.adapting import adapt, difference, first_filters, folded
from cepscope.models.feeding import Feed

ROWS, FRAMES = 7, 15
RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, ROWS, FRAMES, 1)).astype(np.float32)
MAP = (RNG.standard_normal((ROWS, ROWS)), RNG.standard_normal(ROWS))
SCALED = (np.diag(np.linspace(0.5, 2, ROWS)), np.linspace(-1, 1, ROWS))  # no coefficient reaches another
TIME_FIRST = Feed((FRAMES, ROWS), "time-first", "mfcc", ROWS, FRAMES)
PLANES = Feed((ROWS, FRAMES, 1), "coefficients-first", "mfcc", ROWS, FRAMES)

layers = keras.layers


def spread(model: keras.Model) -> keras.Model:
    """Give a network weights that leave no layer at its start: means, variances and gains of both signs."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if "seed" not in weight.path:
            value = rng.normal(0, 0.6, weight.shape)
            weight.assign(np.abs(value) + 0.3 if "variance" in weight.path else value)
    return model


@pytest.fixture(scope="module")
def sequences() -> keras.Model:
    """Conv1D and SeparableConv1D, with ways that part and meet, a layer used twice, and models inside."""
    x = keras.Input((FRAMES, ROWS), name="x")
    value = layers.BatchNormalization(name="first")(x)  # before any layer: it stays
    value = layers.Conv1D(5, 3, padding="causal", activation="relu", name="one")(value)
    value = layers.BatchNormalization(name="late")(value)  # behind the non-linearity: it stays
    twice = layers.Dense(5, name="twice")
    value = layers.Add()([twice(value), twice(layers.ReLU()(value))])
    branch = layers.SeparableConv1D(4, 3, use_bias=False, depth_multiplier=2, name="separable")(value)
    branch = layers.ReLU(name="rectified")(layers.BatchNormalization(name="folds", scale=False)(branch))
    inner = [layers.Conv1D(3, 2, name="one"), layers.BatchNormalization(name="folds_too"), layers.ReLU(name="relu")]
    branch = keras.Sequential([keras.Input((13, 4)), *inner], name="block")(branch)
    value = layers.Concatenate()([layers.Flatten()(branch), layers.GlobalAveragePooling1D()(value * 2.0)])
    return spread(keras.Model(x, layers.Dense(3, activation="softmax", name="classes")(value)))


@pytest.fixture(scope="module")
def planes() -> keras.Model:
    """DepthwiseConv2D and Conv2D, each with a normalisation behind it."""
    chain: list[Any] = [
        layers.Normalization(mean=0.3, variance=1.7, name="scaled"),
        layers.DepthwiseConv2D((3, 2), depth_multiplier=4, name="depthwise"),
        layers.BatchNormalization(name="n1"),
        layers.ReLU(),
        layers.Conv2D(3, (2, 3), strides=(1, 2), name="conv"),
        layers.BatchNormalization(name="n2", center=False),
        layers.LeakyReLU(),
        layers.Flatten(),
        layers.Dense(6, use_bias=False, name="hidden"),
        layers.BatchNormalization(name="n3"),
        layers.ReLU(),
        layers.Dropout(0.5),
        layers.Dense(2, name="logits"),
    ]
    return spread(keras.Sequential([keras.Input((ROWS, FRAMES, 1)), *chain]))


def given(feed: Feed, weights: Any, bias: Any) -> np.ndarray[Any, Any]:
    """Return what the original is given, written out."""
    frames = np.einsum("nkt,kc->ntc", X[..., 0], weights) + bias
    turned = frames if feed.layout == "time-first" else frames.transpose(0, 2, 1)
    return np.asarray(turned.reshape(-1, *feed.shape), np.float32)


@pytest.mark.parametrize(("which", "feed", "folds"), [("sequences", TIME_FIRST, 2), ("planes", PLANES, 3)])
def test_outputs_are_those_of_the_original_also_from_a_file(
    which: str, feed: Feed, folds: int, request: pytest.FixtureRequest, tmp_path: Any
) -> None:
    original = request.getfixturevalue(which)
    adapted = adapt(original, feed, MAP, name="adapted")
    expected = original(given(feed, *MAP)).numpy()
    np.testing.assert_allclose(adapted(X), expected, atol=2e-5 * np.abs(expected).max())  # float32
    assert difference(original, adapted, X, feed, MAP) < 2e-5
    assert folded(original) == folds
    kept = [layer.name for layer in adapted.layers if isinstance(layer, layers.BatchNormalization)]
    assert kept == (["first", "late"] if which == "sequences" else [])
    adapted.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(load_model(tmp_path / "model.keras")(X), adapted(X))


def softplus_means(maps: Any) -> np.ndarray[Any, Any]:
    values = np.log1p(np.exp(np.asarray(maps, np.float64)))
    return np.asarray(values.mean(axis=tuple(range(1, values.ndim - 1))))


def test_units_are_what_their_non_linearity_sees(sequences: keras.Model, planes: keras.Model) -> None:
    """Of a folded layer, what its normalisation gives."""
    for original, feed, pairs in (
        (sequences, TIME_FIRST, {"separable": "folds"}),
        (planes, PLANES, {"depthwise": "n1", "conv": "n2", "hidden": "n3", "logits": "logits"}),
    ):
        adapted = adapt(original, feed, MAP, name="adapted")
        for name, normalised in pairs.items():
            maps = keras.Model(original.inputs[0], original.get_layer(normalised).output)(given(feed, *MAP))
            inner = maps[:, 2:] if name == "separable" else maps  # causal padding robs two places of a part of theirs
            expected = softplus_means(inner) if len(maps.shape) > 2 else maps
            np.testing.assert_allclose(unit_activations(adapted, X, layers=[name]), expected, rtol=1e-4, atol=1e-4)


def test_layers_of_models_inside_are_laid_open(sequences: keras.Model) -> None:
    adapted = adapt(sequences, TIME_FIRST, MAP, name="adapted")
    assert [layer.name for layer in unit_layers(adapted)] == ["one", "separable", "block_one", "classes"]
    inner = sequences.get_layer("block")
    below = keras.Model(sequences.inputs[0], sequences.get_layer("rectified").output)
    normalised = keras.Model(inner.inputs[0], inner.get_layer("folds_too").output)(below(given(TIME_FIRST, *MAP)))
    expected = softplus_means(normalised[:, 2:])
    np.testing.assert_allclose(unit_activations(adapted, X, layers=["block_one"]), expected, rtol=1e-4, atol=1e-4)


def test_fields_keep_to_their_rows_where_no_coefficient_reaches_another(planes: keras.Model) -> None:
    adapted = adapt(planes, PLANES, SCALED, name="adapted")
    field = receptive_field(adapted, "depthwise", (1, 4))
    assert (field.rows, field.frames) == (slice(1, 4), slice(4, 6))
    turned = keras.Sequential([keras.Input((FRAMES, ROWS, 1)), layers.Conv2D(2, (4, 3), name="conv"), layers.Flatten()])
    feed = Feed((FRAMES, ROWS, 1), "time-first", "mfcc", ROWS, FRAMES)
    field = receptive_field(adapt(turned, feed, SCALED, name="adapted"), "conv", (2, 1))
    assert (field.rows, field.frames) == (slice(1, 4), slice(2, 6))


def test_first_filters_are_drawn_rows_up_time_to_the_right(sequences: keras.Model, planes: keras.Model) -> None:
    plain = keras.Sequential([keras.Input((FRAMES, ROWS)), layers.Conv1D(2, 3, name="conv"), layers.Flatten()])
    pictures = first_filters(adapt(plain, TIME_FIRST, MAP, name="adapted"), TIME_FIRST)
    adapted = adapt(plain, TIME_FIRST, MAP, name="adapted")
    # a filter's response is the sum of its picture times the patch, and a bias
    response = keras.Model(adapted.inputs[0], adapted.get_layer("conv").output)(X).numpy()[:, 4]
    bias = response - np.einsum("nkt,fkt->nf", X[:, :, 4:7, 0], pictures["conv"])
    np.testing.assert_allclose(bias, np.tile(bias[:1], (len(X), 1)), atol=1e-5)
    tall = keras.Sequential([keras.Input((FRAMES, ROWS, 1)), layers.Conv2D(2, (4, 3), name="conv"), layers.Flatten()])
    feed = Feed((FRAMES, ROWS, 1), "time-first", "mfcc", ROWS, FRAMES)
    found = first_filters(adapt(tall, feed, SCALED, name="adapted"), feed)
    np.testing.assert_array_equal(found["conv"], tall.get_layer("conv").kernel.numpy()[:, :, 0].transpose(2, 1, 0))
    assert first_filters(adapt(planes, PLANES, MAP, name="adapted"), PLANES) == {}  # it stands behind another layer


def test_inputs_and_outputs_may_lie_in_a_dict() -> None:
    x = keras.Input((FRAMES, ROWS), name="x")
    named = keras.Model({"x": x}, {"y": layers.Dense(2, name="y")(layers.Flatten()(x))})
    adapted = adapt(named, TIME_FIRST, MAP, name="adapted")
    assert adapted.output_shape == (None, 2)
    assert difference(named, adapted, X, TIME_FIRST, MAP) < 2e-5


def test_half_precision_is_left_behind() -> None:
    half = [keras.Input((FRAMES, ROWS)), layers.Flatten(), layers.Dense(2, dtype="mixed_float16", name="out")]
    adapted = adapt(keras.Sequential(half), TIME_FIRST, MAP, name="adapted")
    assert adapted.get_layer("out").compute_dtype == "float32"
    assert unit_activations(adapted, X).dtype == np.float32


def test_what_can_not_be_asked_is_refused() -> None:
    x = keras.Input((FRAMES, ROWS))
    flat = layers.Flatten()(x)
    two = keras.Model(x, [layers.Dense(2)(flat), layers.Dense(3)(flat)], name="pair")
    with pytest.raises(DataError, match=r"pair has 2 outputs; expected one: save keras.Model"):
        adapt(two, TIME_FIRST, MAP, name="adapted")
    turned = layers.Conv2D(2, 3, data_format="channels_first", name="conv")
    model = keras.Sequential([keras.Input((1, FRAMES, ROWS)), turned, layers.Flatten()])
    with pytest.raises(DataError, match="conv keeps channels first"):
        adapt(model, Feed((1, FRAMES, ROWS), "time-first", "mfcc", ROWS, FRAMES), MAP, name="adapted")


@pytest.mark.parametrize("name", ["separable:3@4", "one:2@0", "block_one:0"])
def test_units_of_every_convolution_have_their_names(name: str, sequences: keras.Model) -> None:
    adapted = adapt(sequences, TIME_FIRST, MAP, name="adapted")
    assert str(Unit.parse(name).resolved(adapted, ())) == name
