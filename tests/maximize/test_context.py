"""Receptive fields against the arithmetic of known networks, and patterns in a context."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from cepscope.corpora import Patches
from cepscope.errors import ParameterError
from cepscope.maximize.engine import maximize
from cepscope.maximize.objectives import objective_reader, objectives_of
from cepscope.maximize.patterns import Patterns
from cepscope.maximize.receptive import receptive_field, receptive_fields
from cepscope.models import build_cdbn, build_cnn


@pytest.mark.parametrize(
    ("layer", "place", "rows", "frames"),
    [
        ("crbm1", (0, 0), (0, 6), (0, 6)),  # kernels of 5, blocks of 2
        ("crbm1", (3, 7), (6, 12), (14, 20)),
        ("crbm2", (0, 0), (0, 12), (0, 16)),  # 6 + 2 * (4 - 1) rows; blocks of 2 see 4 x 6 pooling units
        ("crbm2", (1, 2), (4, 16), (8, 24)),
        ("logits", None, (0, 20), (0, 64)),
    ],
)
def test_fields_of_a_cdbn_are_those_of_arithmetic(
    layer: str, place: tuple[int, int] | None, rows: tuple[int, int], frames: tuple[int, int]
) -> None:
    field = receptive_field(build_cdbn((20, 64, 1), 3), layer, place)
    assert (field.rows, field.frames) == (slice(*rows), slice(*frames))


def test_rectifiers_and_maxima_hide_nothing() -> None:
    model = build_cnn((20, 64, 1), 3)
    assert receptive_field(model, "conv1", (2, 3)).shape == (5, 5)
    field = receptive_field(model, "conv2", (1, 2))  # pooling units 1 to 3 and 2 to 6, each of 6 x 6
    assert (field.rows, field.frames) == (slice(2, 12), slice(4, 18))


def test_rectifiers_that_are_mostly_dead_hide_nothing() -> None:
    model = build_cnn((20, 64, 1), 3)
    first = model.get_layer("conv1")
    kernel = first.get_weights()[0]
    first.set_weights([kernel, np.full(first.filters, -4 * float(np.sqrt(np.square(kernel).sum((0, 1, 2)).max())))])
    assert receptive_field(model, "conv2", (1, 2)).shape == (10, 14)


def test_strides_dilation_and_padding_count() -> None:
    inputs = keras.Input((12, 15, 1))
    value = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="a")(inputs)
    value = keras.layers.Conv2D(4, 3, dilation_rate=(1, 2), name="b")(value)
    model = keras.Model(inputs, value)
    assert receptive_field(model, "a", (0, 0)).shape == (3, 2)  # rows 0 to 2; the first frame of three is padding
    field = receptive_field(model, "b", (1, 1))
    assert (field.rows, field.frames) == (slice(2, 9), slice(1, 12))


@pytest.mark.parametrize("layer", ["crbm1", "crbm2", "a", "b"])
def test_all_fields_are_those_of_each_place(layer: str) -> None:
    if layer.startswith("crbm"):
        model = build_cdbn((20, 30, 1), 3)
    else:
        inputs = keras.Input((12, 15, 1))
        value = keras.layers.Permute((2, 1, 3))(inputs)  # time first, as others' models are
        value = keras.layers.Conv2D(4, (3, 2), strides=2, padding="same", activation="relu", name="a")(value)
        value = keras.layers.Conv2D(4, 3, padding="same", name="b")(value)
        model = keras.Model(inputs, value)
    fields = receptive_fields(model, layer)
    for place in list(fields)[:: max(1, len(fields) // 4)]:
        assert fields[place] == receptive_field(model, layer, place)


def test_no_such_place() -> None:
    with pytest.raises(ParameterError, match=r"The map of crbm1 is 8 x 30\. Received: place \(8, 0\)"):
        receptive_field(build_cdbn((20, 64, 1), 3), "crbm1", (8, 0))


@pytest.fixture(scope="module", params=["silence", pytest.param("donor", marks=pytest.mark.slow)])
def placed(request: pytest.FixtureRequest, digit_model: keras.Model, digit_patches: Patches) -> Patterns:
    return maximize(
        digit_model, digit_patches, layers=["crbm2", "logits"], steps=16, components=60, context=request.param
    )


def context_of(patterns: Patterns, patches: Patches) -> np.ndarray:
    if patterns.settings["context"] == "silence":
        return np.repeat(patches.scaler.transform(patches.spec.silence[:, None]), patches.frames, axis=1)
    x = patches.train.x[..., 0]
    return x[((x - x.mean(axis=0)) ** 2).sum(axis=(1, 2)).argmin()]


def test_outside_of_what_a_unit_sees_is_the_context(
    placed: Patterns, digit_model: keras.Model, digit_patches: Patches
) -> None:
    around = context_of(placed, digit_patches)
    height, width = digit_model.get_layer("crbm2").output.shape[1:3]
    frames = receptive_field(digit_model, "crbm2", (height // 2, width // 2)).frames
    inside = np.zeros(digit_patches.frames, bool)
    inside[frames] = True
    filters = placed.x[:8, :, :, 0]
    np.testing.assert_array_equal(filters[:, :, ~inside], np.broadcast_to(around, filters.shape)[:, :, ~inside])
    assert (np.abs(filters - around)[:, :, inside].mean(axis=(1, 2)) > 0.05).all()
    assert np.abs(placed.x[8:, :, :, 0] - around)[:, :, ~inside].max() > 0.1  # logits have the whole patch


def test_units_rise_above_what_the_context_alone_gives(
    placed: Patterns, digit_model: keras.Model, digit_patches: Patches
) -> None:
    assert (
        placed.units[0] == f"crbm2:0@{','.join(str(s // 2) for s in digit_model.get_layer('crbm2').output.shape[1:3])}"
    )
    read = objective_reader(digit_model, objectives_of(placed))
    alone = read.measure(context_of(placed, digit_patches)[None, :, :, None])[0]
    real = read.measure(digit_patches.test.x)
    rise = (placed.activation - alone) / (real.max(axis=0) - real.mean(axis=0))
    assert np.median(rise[:8]) > 0.5
    assert (rise > 0).all()


@pytest.mark.slow
def test_a_context_of_ones_own(digit_model: keras.Model, digit_patches: Patches) -> None:
    both = {"objectives": ["crbm1:1"], "steps": 4, "components": 30}
    mine = digit_patches.test.x[3]
    found = maximize(digit_model, digit_patches, context=mine, **both)
    np.testing.assert_array_equal(found.x[0, :, :10], mine[:, :10])
    again = maximize(digit_model, digit_patches, context=mine, **both)
    np.testing.assert_array_equal(found.x, again.x)


@pytest.mark.parametrize(
    ("context", "what"),
    [
        ("noise", "one of silence, donor"),
        (np.zeros((2, 3)), "of shape"),
        (np.full((20, 48, 1), np.nan), "must be finite"),
    ],
)
def test_no_such_context(context: object, what: str, digit_model: keras.Model, digit_patches: Patches) -> None:
    with pytest.raises(ParameterError, match=what):
        maximize(digit_model, digit_patches, context=context, steps=1)
