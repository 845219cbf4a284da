"""What patterns are measured against, kept in a file: it measures the same."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from cepscope.corpora import Patches
from cepscope.maximize.patterns import Patterns
from cepscope.maximize.units import unit_activations, unit_reader
from cepscope.probe.measures import Meter
from cepscope.probe.yardstick import Yardstick, fit_yardstick


def test_a_stored_yardstick_measures_the_same(digit_model: keras.Model, digit_patches: Patches, tmp_path: Path) -> None:
    names = [str(term) for term in unit_reader(digit_model, ["crbm2", "logits"]).terms]
    real = unit_activations(digit_model, digit_patches.test.x, layers=["crbm2", "logits"])
    x = digit_patches.test.x[: len(names)]
    own = real[np.arange(len(names)), np.arange(len(names))]
    patterns = Patterns(tuple(names), x, digit_patches.decode(x), digit_patches.spec, own, own[None])
    one = fit_yardstick(digit_model, digit_patches, patterns, exemplars=2)
    np.testing.assert_array_equal(one.exemplars[:, 0], real.argmax(axis=0))
    np.testing.assert_allclose(one.natural, real.max(axis=0), rtol=1e-6)
    path = tmp_path / "yardstick.npz"
    assert Yardstick.load(path, "key") is None
    one.save(path, "key")
    assert Yardstick.load(path, "other") is None
    stored = Yardstick.load(path, "key")
    assert stored is not None
    assert stored.accuracy == one.accuracy
    np.testing.assert_array_equal(stored.exemplar_activations, one.exemplar_activations)
    audio = np.stack([digit_patches.load_wave(path) for path in digit_patches.test.paths[: len(names)]])
    rows = range(4, 9)
    columns, sounds = zip(
        *(Meter(digit_model, digit_patches, patterns, each).measure(rows, audio[4:9], 8000) for each in (one, stored)),
        strict=True,
    )
    np.testing.assert_array_equal(*sounds)
    for name in columns[0]:
        np.testing.assert_array_equal(columns[0][name], columns[1][name])
    np.testing.assert_array_equal(columns[0]["pattern_activation"], own[4:9])
