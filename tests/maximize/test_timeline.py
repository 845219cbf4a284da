"""The time that maps have, against what a change of a single frame does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cepscope.maximize.timeline import time_axis, time_reader
from cepscope.maximize.units import unit_activations
from cepscope.models import build_cdbn
from cepscope.models.backend import keras

layers = keras.layers


@pytest.fixture(scope="module")
def networks() -> dict[str, Any]:
    keras.utils.set_random_seed(0)
    x = keras.Input((6, 40, 1))
    turned = layers.Reshape((40, 6))(layers.Permute((2, 1, 3))(x))
    value = layers.Conv1D(3, 5, padding="same", activation="relu", name="first")(turned)
    value = layers.Conv1D(4, 3, strides=2, name="second")(layers.MaxPooling1D(2)(value))
    sequences = keras.Model(x, layers.Dense(2, name="logits")(layers.Flatten()(value)))
    rows = layers.Conv1D(3, 3, name="over_rows")(layers.Reshape((6, 40))(x))
    no_time = keras.Model(x, layers.Dense(2, name="logits")(layers.GlobalAveragePooling1D()(rows)))
    cdbn = build_cdbn((6, 40, 1), 2, filters=(3, 4), kernel_sizes=((3, 4), (2, 3)), pool_sizes=((1, 2), (1, 3)))
    return {"sequences": sequences, "no_time": no_time, "cdbn": cdbn}


@pytest.mark.parametrize(("name", "layer"), [("sequences", 0), ("sequences", 1), ("cdbn", 0), ("cdbn", 1)])
def test_a_column_changes_with_the_frames_that_it_sees_and_no_other(
    networks: dict[str, Any], name: str, layer: int
) -> None:
    reader = time_reader(networks[name])
    axis = reader.axes[layer]
    x = np.random.default_rng(1).standard_normal((1, 6, 40, 1)).astype(np.float32)
    changed = np.repeat(x, 40, axis=0)
    changed[np.arange(40), :, np.arange(40)] += 3.0
    before, after = reader.read(x)[1][layer][0], reader.read(changed)[1][layer]
    moved = np.abs(after - before).max(axis=2) > 1e-6  # (frames, columns)
    seen = np.abs(np.arange(40)[:, None] - axis.centres) <= (axis.span - 1) / 2
    assert not (moved & ~seen).any()
    # pooling by the maximum passes a change on only where it wins; each column sees most of its frames here
    assert moved[seen].mean() > (0.7 if name == "sequences" else 0.999)
    assert np.allclose(np.diff(axis.centres), axis.step)


def test_layers_without_time_have_one_value_a_patch(networks: dict[str, Any]) -> None:
    axes = time_reader(networks["no_time"]).axes
    assert [(one.axis, one.columns, one.span, float(one.centres[0])) for one in axes] == [(None, 1, 40, 19.5)] * 2
    assert time_axis(networks["cdbn"], "logits").axis is None


@pytest.mark.parametrize("name", ["sequences", "no_time", "cdbn"])
def test_means_over_columns_are_the_units_activations(networks: dict[str, Any], name: str) -> None:
    x = np.random.default_rng(2).standard_normal((5, 6, 40, 1)).astype(np.float32)
    output, found = time_reader(networks[name]).read(x)
    means = np.concatenate([one.mean(axis=1) for one in found], axis=1)
    np.testing.assert_allclose(means, unit_activations(networks[name], x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(output, networks[name](x).numpy(), rtol=1e-5, atol=1e-6)
