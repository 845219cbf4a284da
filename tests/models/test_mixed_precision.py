"""Fine-tuning in half precision: as good, with float32 weights, and never where RBMs are trained."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from cepscope.models import build_cdbn, fit_classifier, learner, load_model, save_model


def _small() -> Any:
    return build_cdbn((8, 16, 1), 3, filters=(4, 6), kernel_sizes=((3, 3), (2, 3)), pool_sizes=((2, 2), (1, 2)))


def test_it_learns_as_well_and_leaves_an_ordinary_network(bars: Any, tmp_path: Path) -> None:
    full, half = _small(), _small()
    both = [
        fit_classifier(
            model, bars.x[:100], bars.y[:100], validation=(bars.x[100:], bars.y[100:]), epochs=25, batch_size=20,
            learning_rate=0.01, shift=2, mixed_precision=mixed,
        )
        for model, mixed in ((full, False), (half, True))
    ]  # fmt: skip
    assert both[1][-1]["val_accuracy"] > 0.9
    assert both[1][0]["loss"] == pytest.approx(both[0][0]["loss"], rel=0.05)
    assert both[1][0]["loss"] != both[0][0]["loss"]  # it was another precision
    assert {variable.dtype for variable in half.variables if "seed" not in variable.path} == {"float32"}
    assert {layer.dtype_policy.name for layer in half.layers} == {"float32"}
    save_model(half, tmp_path / "m.keras")
    np.testing.assert_array_equal(load_model(tmp_path / "m.keras").predict(bars.x), half.predict(bars.x))


def test_layers_compute_in_half_precision_and_are_given_back_even_after_an_error(bars: Any) -> None:
    model = _small()
    before = model(bars.x[:4]).numpy()
    changed = contextlib.ExitStack()
    assert changed.enter_context(learner.half_precision(model)) == 1.0
    assert model.get_layer("crbm1").compute_dtype == "bfloat16"
    assert model.layers[-1].compute_dtype == "float32"
    np.testing.assert_allclose(model(bars.x[:4]), before, atol=0.02)
    with pytest.raises(ZeroDivisionError), changed:
        raise ZeroDivisionError
    np.testing.assert_array_equal(model(bars.x[:4]), before)


def test_small_gradients_survive_float16(bars: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU does, done by the CPU: the loss is scaled, so that gradients below 6e-8 do not vanish."""
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda _kind: ["one"])
    model, twin = _small(), _small()
    y = keras.utils.to_categorical(bars.y, 3)[:20]
    with tf.GradientTape() as tape:
        loss = learner._losses(y, twin(bars.x[:20]), 20)
    expected = tape.gradient(loss, twin.trainable_weights)
    with learner.half_precision(model) as scale:
        assert (scale, model.get_layer("crbm2").compute_dtype) == (learner.SCALE, "float16")
        with tf.GradientTape() as tape:
            loss = learner._losses(y, model(bars.x[:20]), 20) * scale
        found = tape.gradient(loss, model.trainable_weights)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == tf.float32
        norm = float(tf.norm(b))
        assert float(tf.norm(a / scale - b)) < 0.2 * norm + 1e-6
