"""The CDBN is an ordinary Keras model: it compiles, fits, predicts, is saved and loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from cepscope.errors import CorruptArtifactError, NotFittedError, ParameterError
from cepscope.models import ConvolutionalRBM, build_cdbn, build_cnn, load_model


def _small(**settings: Any) -> keras.Model:
    shapes: dict[str, Any] = {"filters": (4, 6), "kernel_sizes": ((3, 3), (2, 3)), "pool_sizes": ((2, 2), (1, 2))}
    return build_cdbn((8, 16, 1), 3, **(shapes | settings))


def test_layers_have_their_names() -> None:
    model = build_cdbn(
        (20, 64, 1), ("yes", "no"), filters=(3, 4, 5), kernel_sizes=((3, 3),) * 3, pool_sizes=((1, 2),) * 3
    )
    names = [layer.name for layer in model.layers]
    assert [name for name in names if name.startswith("crbm")] == ["crbm1", "crbm2", "crbm3"]
    assert names[-2:] == ["logits", "probabilities"]
    assert model.output_shape == (None, 2)
    kinds = [layer.visible for layer in model.layers if isinstance(layer, ConvolutionalRBM)]
    assert kinds == ["gaussian", "binary", "binary"]


def test_the_default_network_has_enough_units_to_show() -> None:
    model = build_cdbn((20, 64, 1))
    assert sum(layer.filters for layer in model.layers if isinstance(layer, ConvolutionalRBM)) + 10 >= 40


def test_the_plain_keras_way_works_and_survives_the_file(bars: Any, tmp_path: Path) -> None:
    model = _small()
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    history = model.fit(bars.x, bars.y, epochs=2, batch_size=25, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    before, after = (m.predict(bars.x, verbose=0) for m in (model, loaded))
    np.testing.assert_array_equal(after, before)
    np.testing.assert_allclose(before.sum(axis=1), 1, atol=1e-5)  # float32
    assert loaded.evaluate(bars.x, bars.y, verbose=0) == model.evaluate(bars.x, bars.y, verbose=0)


def test_deep_and_logit_layers_read_what_is_below_them(bars: Any) -> None:
    """Probabilities are the softmax of logits; the second RBM sees the first one's mean field."""
    model = _small()
    first, second = model.get_layer("crbm1"), model.get_layer("crbm2")
    taps = keras.Model(model.inputs, [second.output, model.get_layer("logits").output])
    deep, logits = taps.predict(bars.x[:4], verbose=0)
    np.testing.assert_allclose(deep, second(first(bars.x[:4])), rtol=1e-5, atol=1e-6)  # float32
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(model.predict(bars.x[:4], verbose=0), e / e.sum(axis=1, keepdims=True), rtol=1e-5)


def test_a_patch_is_judged_alone(bars: Any) -> None:
    """No unit depends on what else is in the batch (maximization runs all units in one batch)."""
    model = _small()
    together = model.predict(bars.x[:8], verbose=0)
    alone = np.concatenate([model.predict(x[None], verbose=0) for x in bars.x[:8]])
    np.testing.assert_allclose(together, alone, rtol=1e-5)  # float32; the order of sums may differ


def test_the_seed_fixes_every_weight() -> None:
    one, same, other = (_small(seed=seed).get_weights() for seed in (3, 3, 4))
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != c).any() for a, c in zip(one, other, strict=True))
    kernels = [w for w in one if w.ndim == 4]
    assert not np.isin(kernels[0].ravel()[:8], kernels[1]).any()  # layers draw different numbers


def test_the_scale_of_visible_units_is_the_first_layers() -> None:
    model = build_cdbn((20, 64, 1), 3, visible_scale=0.5)
    scales = [layer.visible_scale for layer in model.layers if isinstance(layer, ConvolutionalRBM)]
    assert scales == [0.5, 1.0]
    with pytest.raises(ParameterError, match="visible_scale"):
        build_cdbn((20, 64, 1), 3, visible="binary", visible_scale=0.5)


def test_visible_units_above_start_centred() -> None:
    """The offset of the second layer is the mean field of a first layer that sees nothing."""
    model = _small()
    quiet = model.get_layer("crbm1")(np.zeros((1, 8, 16, 1), np.float32)).numpy()
    np.testing.assert_allclose(model.get_layer("crbm2").visible_offsets.numpy(), quiet[0, 0, 0], rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((20, 64), 10), r"must be \(n_mfcc, frames, 1\)"),
        (((20, 64, 2), 10), r"must be \(n_mfcc, frames, 1\)"),
        (((20, 64, 1), 1), "at least two classes"),
        (((20, 64, 1), ["a"]), "at least two classes"),
        (((6, 64, 1), 10), "too small"),
    ],
)
def test_wrong_shapes_are_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        build_cdbn(*arguments)


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(ParameterError, match="one entry a layer"):
        build_cdbn((20, 64, 1), filters=(4,))


def test_missing_and_damaged_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="no model at"):
        load_model(tmp_path / "model.keras")
    (tmp_path / "model.keras").write_bytes(b"not a zip file")
    with pytest.raises(CorruptArtifactError, match="can't be loaded"):
        load_model(tmp_path / "model.keras")


def test_damage_anywhere_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    build_cdbn((20, 64, 1), 3, filters=(2,), kernel_sizes=((5, 5),), pool_sizes=((2, 2),)).save(path)
    whole = path.read_bytes()
    told = []
    places = [*range(50, len(whole) - 4, len(whole) // 12)]
    entry = whole.index(b"PK\x01\x02")  # of the archive's directory, byte by byte: versions, flags, sizes, names
    for place, count in [*((place, 4) for place in places), *((entry + i, 1) for i in range(4, 40, 2))]:
        wrong = bytes(255 - byte for byte in whole[place : place + count])
        path.write_bytes(whole[:place] + wrong + whole[place + count :])
        try:
            load_model(path)  # some bytes of a zip file say nothing
        except CorruptArtifactError as error:
            told.append(str(error))
    assert len(told) > 6
    assert not any("\n" in text for text in told)


@pytest.mark.parametrize("build", [build_cdbn, build_cnn])
@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((6, 64, 1), {}, "Layer 2: an input of .* is too small"),
        ((8, None, 1), {}, "`input_shape`"),
        ((20, 64, 1), {"dropout": 2.0}, "`dropout`"),
        ((20, 64, 1), {"kernel_sizes": (5, 5)}, "`kernel_sizes` must be two"),
        ((20, 64, 1), {"filters": (2.5, 3)}, "`filters`"),
    ],
)
def test_no_network_is_built_of_what_does_not_fit(build: Any, shape: Any, settings: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        build(shape, 3, **settings)


def test_classes_may_be_counted_by_numpy() -> None:
    assert build_cdbn((20, 64, 1), np.int64(3)).output_shape == (None, 3)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x + 1)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(CorruptArtifactError, match="can't be loaded"):
        load_model(tmp_path / "model.keras")


def test_importing_the_room_loads_no_tensorflow() -> None:
    code = "import sys, cepscope.models as m; assert m.__all__; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
