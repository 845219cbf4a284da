"""Representations against what networks and other libraries give; controls against what they should keep."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import savgol_filter

from cepscope.errors import ParameterError
from cepscope.maximize.units import feature_maps
from cepscope.models import build_cdbn, build_cnn
from cepscope.probe.representations import (
    layer_features,
    pooled,
    random_filters,
    represent,
    sounding,
    statistics,
)

SHAPE = (12, 25, 1)


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((7, *SHAPE)).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    found = build_cdbn(SHAPE, 3, filters=(4, 5), kernel_sizes=((3, 4), (2, 3)), seed=0)
    rng = np.random.default_rng(1)
    found.set_weights([w + 0.3 * rng.standard_normal(w.shape).astype(np.float32) ** 2 for w in found.get_weights()])
    return found


def test_means_are_those_of_stretches_as_long_as_each_other() -> None:
    maps = np.random.default_rng(0).standard_normal((2, 3, 11, 4)).astype(np.float32)
    found = pooled(maps, 4).reshape(2, 3, 4, 4)
    for window, (start, stop) in enumerate([(0, 3), (2, 6), (5, 9), (8, 11)]):  # of 2.75 columns, edges in both
        np.testing.assert_allclose(found[:, :, window], maps[:, :, start:stop].mean(axis=2), atol=1e-6)
    np.testing.assert_allclose(pooled(maps, 11), maps.reshape(2, -1), atol=1e-7)
    with pytest.raises(ParameterError, match="12 stretches"):
        pooled(maps, 12)


@given(st.integers(1, 6), st.integers(6, 15), st.sampled_from(["mean", "max"]), st.data(), st.integers(0, 2**31))
def test_stretches_divide_what_sounds(windows: int, columns: int, reduce: str, data: st.DataObject, seed: int) -> None:
    maps = np.random.default_rng(seed).standard_normal((2, 2, columns, 3)).astype(np.float32)
    places = st.tuples(st.floats(0, columns - 0.01), st.floats(0.01, columns)).filter(lambda p: p[1] - p[0] > 0.01)
    extents = [data.draw(places) for _ in maps]
    found = pooled(maps, windows, reduce=reduce, extents=extents).reshape(2, 2, windows, 3)
    for i, (begin, end) in enumerate(extents):
        edges = begin + (end - begin) * np.arange(windows + 1) / windows
        for k in range(windows):
            inside = [c for c in range(columns) if c + 1 > edges[k] + 1e-6 and c < edges[k + 1] - 1e-6]
            if inside:  # an edge within rounding of a whole stretch leaves none
                expected = getattr(maps[i][:, inside], reduce)(axis=1)
                np.testing.assert_allclose(found[i, :, k], expected, atol=1e-5)


def test_a_slow_word_and_a_fast_one_have_the_same_stretches() -> None:
    word = np.random.default_rng(0).standard_normal((12, 20)).astype(np.float32)
    slow, fast = np.zeros((12, 60), np.float32), np.zeros((12, 60), np.float32)
    slow[:, 10:50], fast[:, 33:53] = np.repeat(word, 2, axis=1), word
    x = np.stack([slow, fast])[..., None]
    found = represent(x, ["mfcc_pooled"], windows=5, extents=[(10, 50), (33, 53)])["mfcc_pooled"]
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    whole = represent(x, ["mfcc_pooled"], windows=5)["mfcc_pooled"]
    assert np.abs(whole[0] - whole[1]).max() > 0.5


def test_where_clips_sound() -> None:
    levels = np.full((2, 30), -80.0)
    levels[0, 5:9], levels[0, 7] = -30.0, -10.0
    levels[1, 3], levels[1, 20] = -20.0, -44.9
    assert sounding(levels).tolist() == [[5, 9], [3, 21]]
    assert sounding(levels, quiet=15.0).tolist() == [[7, 8], [3, 4]]
    with pytest.raises(ParameterError, match="Levels"):
        sounding(np.zeros((0, 3)))


def test_maxima_of_a_layer_lie_where_its_columns_do(model: keras.Model, x: np.ndarray) -> None:
    extents = np.tile([5, 20], (7, 1))
    found = layer_features(model, x, layers=["crbm1"], windows=3, reduce="max", extents=extents)["crbm1"]
    maps = feature_maps(model, model.get_layer("crbm1"), x)
    own = extents * maps.shape[2] / x.shape[2]
    np.testing.assert_allclose(found, pooled(maps, 3, reduce="max", extents=own), atol=1e-6)


def test_layers_are_the_networks_own_outputs_pooled(model: keras.Model, x: np.ndarray) -> None:
    found = layer_features(model, x, layers=["crbm1", "crbm2", "logits"], windows=2, batch_size=3)
    for name in ("crbm1", "crbm2"):
        maps = feature_maps(model, model.get_layer(name), x)
        np.testing.assert_allclose(found[name], pooled(maps, 2), atol=1e-6)  # other batches
    np.testing.assert_allclose(found["logits"], feature_maps(model, model.get_layer("logits"), x), atol=1e-5)
    assert list(layer_features(model, x)) == ["crbm1", "crbm2"]


def test_statistics_are_of_mfcc_and_of_slopes_fitted_to_nine_frames(x: np.ndarray) -> None:
    found = statistics(x).reshape(7, 9, 12)
    for order in range(3):
        values = x[..., 0] if order == 0 else savgol_filter(x[..., 0], 9, order, deriv=order, axis=2, mode="interp")
        expected = [values.mean(axis=2), values.std(axis=2), values.max(axis=2)]
        np.testing.assert_allclose(found[:, 3 * order : 3 * order + 3], np.stack(expected, axis=1), atol=1e-5)
    with pytest.raises(ParameterError, match="9 frames"):
        statistics(x[:, :, :8])


def test_names_are_parts_side_by_side(model: keras.Model, x: np.ndarray) -> None:
    names = ["mfcc", "mfcc+crbm2", "crbm1", "crbm1+crbm2", "random:crbm1", "shuffled:crbm1+random:crbm1"]
    found = represent(x, names, model=model, windows=2, seed=3)
    assert list(found) == names
    np.testing.assert_array_equal(found["mfcc"], x.reshape(7, -1))
    one = found["crbm1"].shape[1]
    np.testing.assert_array_equal(found["crbm1+crbm2"][:, :one], found["crbm1"])
    np.testing.assert_array_equal(found["crbm1+crbm2"][:, one:], found["mfcc+crbm2"][:, 12 * 25 :])
    np.testing.assert_array_equal(found["shuffled:crbm1+random:crbm1"][:, one:], found["random:crbm1"])
    assert np.abs(found["random:crbm1"] - found["crbm1"]).max() > 0.01
    again = represent(x, names, model=model, windows=2, seed=3)
    assert all((again[name] == value).all() for name, value in found.items())
    other = represent(x, ["random:crbm1"], model=model, windows=2, seed=4)
    assert (other["random:crbm1"] != found["random:crbm1"]).any()


@pytest.mark.parametrize("build", [build_cdbn, build_cnn])
def test_fresh_weights_are_those_of_a_network_never_trained(build) -> None:
    plain = {"filters": (30,), "kernel_sizes": ((3, 4),), "pool_sizes": ((2, 2),)}
    model = build(SHAPE, 3, **plain, seed=5)
    first = model.get_weights()
    model.set_weights([w + 1 for w in first])
    fresh = random_filters(model, seed=0).get_weights()
    for own, started, trained in zip(fresh, first, model.get_weights(), strict=True):
        np.testing.assert_allclose(trained, started + 1)
        if own.ndim < 2:
            np.testing.assert_array_equal(own, started)  # biases and scales start the same whatever the seed
        else:
            assert (own != started).mean() > 0.99
            # 360 weights and more: the deviation's standard error is 4 %
            assert own.std() == pytest.approx(started.std(), rel=0.2)
            assert abs(own.mean()) < 4 * own.std() / np.sqrt(own.size)


def test_bad_names_are_refused_in_a_line(model: keras.Model, x: np.ndarray) -> None:
    with pytest.raises(ParameterError, match="give it as `model`"):
        represent(x, ["crbm1"])
    with pytest.raises(ParameterError, match=r"no layer 'crbm7'; it has mfcc, crbm1"):
        represent(x, ["mfcc", "crbm7"], model=model)
    with pytest.raises(ParameterError, match="no layer 'wrong:crbm1'"):
        represent(x, ["wrong:crbm1"], model=model)
    with pytest.raises(ParameterError, match="n at least 1"):
        represent(x[0], ["mfcc"])
    with pytest.raises(ParameterError, match="`reduce` must be one of mean, max"):
        represent(x, ["crbm1"], model=model, reduce="median")
    for wrong in ([(0, 9)], [(5, 5)] * 7, [(-1, 5)] * 7, [(0, 26)] * 7, [(0, np.nan)] * 7):
        with pytest.raises(ParameterError, match=r"`extents` must be \(7, 2\)"):
            represent(x, ["mfcc_pooled"], extents=wrong)
    with pytest.raises(ParameterError, match="no convolution"):
        layer_features(keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten()]), x)
