"""Networks to files, to the bit."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from cepscope.errors import DataError
from cepscope.models import build_cdbn, load_model, save_model


def _model() -> keras.Model:
    keras.utils.clear_session()  # automatic names count up in a process
    model = build_cdbn(
        (8, 16, 1), 3, filters=(4, 6), kernel_sizes=((3, 3), (2, 3)), pool_sizes=((2, 2), (1, 2)), seed=0
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def test_the_same_network_gives_the_same_bytes_which_are_read_as_keras_own(tmp_path: Path) -> None:
    one, two, plain = (tmp_path / name for name in ("one.keras", "two.keras", "plain.keras"))
    first = _model()
    save_model(first, one)
    keep = [keras.dtype_policies.DTypePolicy("float32") for _ in range(10)]  # so that the next lies elsewhere
    second = _model()
    time.sleep(max(0.0, 2.1 - (time.time() - one.stat().st_mtime)))  # zip counts in two seconds
    save_model(second, two)
    assert one.read_bytes() == two.read_bytes()
    assert len(keep) == 10
    second.save(plain)
    assert plain.read_bytes() != two.read_bytes()  # else there was nothing to do
    x = np.random.default_rng(0).normal(size=(5, 8, 16, 1)).astype(np.float32)
    for path in (one, plain):
        found = load_model(path)
        np.testing.assert_array_equal(found.predict(x, verbose=0), first.predict(x, verbose=0))
        assert [layer.dtype_policy.name for layer in found.layers] == ["float32"] * len(found.layers)
    with zipfile.ZipFile(one) as ours, zipfile.ZipFile(plain) as theirs:
        assert ours.namelist() == theirs.namelist()
        assert ours.read("model.weights.h5") == theirs.read("model.weights.h5")


def test_what_was_there_stays_if_it_can_t_be_saved(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="can't write"):
        save_model(_model(), tmp_path / "file" / "model.keras")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
