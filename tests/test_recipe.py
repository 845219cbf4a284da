"""The starting recipe runs as written, on top of the real engine."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure

from cepscope import (
    build_cdbn,
    generate_pattern,
    visualize_activation_maximization,
    visualize_feature_maps,
    visualize_filters,
)
from cepscope.corpora import Patches
from cepscope.errors import ParameterError


@pytest.mark.slow
def test_the_recipe_runs_as_written(digit_patches: Patches) -> None:
    X_train, y_train = digit_patches.train.x[:40], digit_patches.train.y[:40]
    X_test, mfccs = digit_patches.test.x, digit_patches.test.x[0]
    input_shape = digit_patches.input_shape

    model = build_cdbn(input_shape)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(X_train, y_train, epochs=10, batch_size=1, verbose=0)
    filters = visualize_filters(model, "conv2d")
    maps = visualize_feature_maps(model, "conv2d", mfccs)
    pattern = generate_pattern(model, "conv2d", 0, size=64, iterations=40, step=1.0)
    figure = visualize_activation_maximization(model, "conv2d", 0)
    predicted = model.predict(X_test, verbose=0)

    assert history.history["loss"][-1] < history.history["loss"][0]
    assert pattern.shape == (input_shape[0], 64)
    assert np.isfinite(pattern).all()
    assert predicted.shape == (len(X_test), 10)
    np.testing.assert_allclose(predicted.sum(axis=1), 1, rtol=1e-5)  # float32 softmax
    assert all(isinstance(drawn, Figure) for drawn in (filters, maps, figure))
    assert len(filters.axes) >= 24  # a picture a filter


def test_the_pictures_take_any_convolutional_network() -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((13, 20, 1)), keras.layers.Conv2D(4, 3, name="conv2d"), keras.layers.Flatten()]
    )
    assert len(visualize_filters(model, "conv2d").axes) >= 4
    for mfccs in (np.zeros((13, 20)), np.zeros((13, 20, 1)), np.zeros((2, 13, 20, 1)), np.zeros((2, 13, 20))):
        assert len(visualize_feature_maps(model, "conv2d", mfccs).axes) >= 4
    with pytest.raises(ParameterError, match="Received"):
        visualize_feature_maps(model, "conv2d", np.zeros((12, 20)))
    with pytest.raises(ParameterError, match="no filters"):
        visualize_filters(model, model.layers[-1].name)
