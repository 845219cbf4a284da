"""Other ways to show a unit: each is what it says, at the place it says, and does not depend on its neighbours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from cepscope.corpora import Patches
from cepscope.errors import CorruptArtifactError
from cepscope.maximize import viewing
from cepscope.maximize.engine import maximize
from cepscope.maximize.patterns import Patterns
from cepscope.maximize.units import Seen
from cepscope.maximize.viewing import find_views
from cepscope.maximize.views import VIEWS, Views
from cepscope.models import build_cnn, sample_unit
from cepscope.models.filters import combine_filters, model_filters
from cepscope.models.generation import reconstruct, sample_layer
from cepscope.probe.agreement import agreement, chance_agreement, summarise_views

CHAINS = {"chains": 8, "steps": 2}


@pytest.fixture(scope="module")
def patterns(digit_model: keras.Model, digit_patches: Patches) -> Patterns:
    names = ["crbm1:4", "crbm1:1", "crbm2:3", "logits:7"]
    return maximize(digit_model, digit_patches, objectives=[*names, "crbm1:0 - crbm1:1"], steps=16, components=40)


@pytest.fixture(scope="module")
def views(patterns: Patterns, digit_model: keras.Model, digit_patches: Patches) -> Views:
    return find_views(digit_model, digit_patches, patterns, **CHAINS)


def unit_map(model: keras.Model, name: str, x: np.ndarray) -> np.ndarray:
    """One unit's map by patches (n, rows, frames, 1): (n, rows, columns)."""
    layer, _, index = name.partition(":")
    below = keras.Model(model.inputs[0], model.get_layer(layer).input)
    return np.asarray(Seen(model.get_layer(layer), below(x)).map)[..., int(index)]


@pytest.mark.slow
def test_only_single_units_have_views(views: Views) -> None:
    assert views.units == ("crbm1:4", "crbm1:1", "crbm2:3", "logits:7")
    has = np.isfinite(views.x).all(axis=(2, 3))
    assert has[:3].all()
    assert has[3].tolist() == [name != "samples" for name in VIEWS]  # a logit can't be held on


@pytest.mark.parametrize("row", range(3))
def test_the_exemplar_is_the_clip_and_place_that_excite_most(
    row: int, views: Views, digit_model: keras.Model, digit_patches: Patches
) -> None:
    maps = unit_map(digit_model, views.units[row], digit_patches.test.x)
    clip, *place = np.unravel_index(maps.argmax(), maps.shape)
    assert views.places[row, 1].tolist() == place
    mean = digit_patches.train.x.mean(axis=0)
    np.testing.assert_allclose(views.x[row, 1], (digit_patches.test.x[clip] - mean)[..., 0], atol=1e-6)
    pattern = unit_map(digit_model, views.units[row], (views.x[row, 0] + mean[..., 0])[None, ..., None])[0]
    assert views.places[row, 0].tolist() == list(np.unravel_index(pattern.argmax(), pattern.shape))


def test_nothing_outside_of_a_field_matters(views: Views, digit_model: keras.Model, digit_patches: Patches) -> None:
    mean = digit_patches.train.x[..., 0].mean(axis=0)
    for row, unit in enumerate(views.units[:3]):
        top, bottom, start, stop = views.fields[row, 1]
        alone = mean.copy()
        alone[top:bottom, start:stop] += views.crop(row, 1)
        place = tuple(views.places[row, 1])
        whole, part, rest = (
            unit_map(digit_model, unit, x[None, ..., None])[0][place] for x in (views.x[row, 1] + mean, alone, mean)
        )
        np.testing.assert_allclose(whole, part, rtol=1e-5)
        # every view, as long as the exemplar's, is read the same way
        crop = views.crop(row, 2)
        scaled = crop * np.linalg.norm(views.crop(row, 1)) / np.linalg.norm(crop)
        top, bottom, start, stop = views.fields[row, 2]
        alone = mean.copy()
        alone[top:bottom, start:stop] += scaled
        place = tuple(views.places[row, 2])
        value, ground = (unit_map(digit_model, unit, x[None, ..., None])[0][place] for x in (alone, mean))
        np.testing.assert_allclose(views.activation[row, 2], (value - ground) / (whole - rest), rtol=1e-3)
    np.testing.assert_allclose(views.activation[:, 1], 1, rtol=1e-5)


def test_a_combination_is_what_the_kernels_add_up_to(views: Views, digit_model: keras.Model) -> None:
    kernel = digit_model.get_layer("crbm1").kernel.numpy()[:, :, 0, 4]
    expected = sum(np.pad(kernel, [(i, 1 - i), (j, 1 - j)]) for i in range(2) for j in range(2)) / 4  # a block of 2 x 2
    np.testing.assert_allclose(views.crop(0, 2), expected, atol=1e-6)
    # a deeper one: what `model_filters` draws of one unit, averaged over its block
    picture = model_filters(digit_model)["crbm2"][3]
    stride = 2
    summed = sum(
        np.pad(picture, [(i * stride, (1 - i) * stride), (j * stride, (1 - j) * stride)])
        for i in range(2)
        for j in range(2)
    )
    np.testing.assert_allclose(views.crop(2, 2), summed / 4, atol=1e-5)


def test_a_logit_combines_what_its_weights_do_to_a_linear_network(views: Views, digit_model: keras.Model) -> None:
    """The derivative of the logit, had pooling units the mean of their block's input and nothing else."""
    rbms = [digit_model.get_layer(name) for name in ("crbm1", "crbm2")]
    weights = (
        digit_model.get_layer("logits").kernel.numpy()[:, 7] * digit_model.get_layer("normalization").gamma.numpy()
    )
    x = tf.zeros((1, *digit_model.inputs[0].shape[1:]))
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = x
        for rbm in rbms:
            height, width = rbm.map_shape(value.shape)
            hidden = tf.nn.conv2d(value, rbm.kernel, 1, "VALID")[:, :height, :width]
            value = tf.nn.avg_pool2d(hidden, 2, 2, "VALID")
        total = tf.reduce_sum(tf.reshape(value, (-1,)) * weights)
    np.testing.assert_allclose(views.x[3, 2], tape.gradient(total, x)[0, ..., 0], atol=1e-5)


def test_samples_and_reconstructions_are_counted_from_what_is_no_units(
    views: Views, digit_model: keras.Model, digit_patches: Patches
) -> None:
    held = sample_unit(digit_model, "crbm2", 3, **CHAINS).mean - sample_layer(digit_model, "crbm2", **CHAINS).mean(
        axis=0
    )
    np.testing.assert_allclose(views.x[2, 3], held[..., 0], atol=1e-5)
    clip = views.x[2, 1][..., None] + digit_patches.train.x.mean(axis=0)
    back = reconstruct(digit_model, clip[None], layers=2)[0] - reconstruct(
        digit_model, digit_patches.test.x, layers=2
    ).mean(axis=0)
    np.testing.assert_allclose(views.x[2, 4], back[..., 0], atol=1e-4)


def test_a_unit_has_the_same_views_alone(
    views: Views, patterns: Patterns, digit_model: keras.Model, digit_patches: Patches
) -> None:
    objective = {"objectives": patterns.objectives[1:2], "x": patterns.x[1:2], "units": patterns.units[1:2]}
    alone = find_views(digit_model, digit_patches, replace(patterns, **objective), **CHAINS)
    np.testing.assert_allclose(alone.x[0], views.x[1], atol=1e-5)
    np.testing.assert_array_equal(alone.places[0], views.places[1])


def test_a_plain_network_shows_patterns_and_exemplars(digit_patches: Patches) -> None:
    model = build_cnn(digit_patches.input_shape, digit_patches.classes, filters=(3, 3), seed=0)
    found = maximize(model, digit_patches, objectives=["conv2:1"], steps=4, components=20)
    views = find_views(model, digit_patches, found)
    assert np.isfinite(views.x).all(axis=(2, 3)).tolist() == [[True, True, False, False, False]]


def test_agreement_is_the_cosine_of_what_is_seen(views: Views) -> None:
    found, chance = agreement(views), chance_agreement(views)
    one, other = views.crop(0, 0).ravel(), views.crop(0, 1).ravel()
    np.testing.assert_allclose(found[0, 0, 1], one @ other / np.linalg.norm(one) / np.linalg.norm(other), rtol=1e-5)
    np.testing.assert_allclose(np.diagonal(found, axis1=1, axis2=2)[:3], 1, rtol=1e-6)
    stranger = views.crop(1, 1).ravel()
    np.testing.assert_allclose(
        chance[0, 0, 1], one @ stranger / np.linalg.norm(one) / np.linalg.norm(stranger), rtol=1e-5
    )  # there is only one other unit of that layer
    assert np.isnan(found[3, 0, 3])
    assert np.isnan(chance[3]).all()  # the only unit of its layer
    assert summarise_views(views)["crbm1"]["pattern"]["agreement"] == 1


def test_combinations_need_a_map_of_their_layer(digit_model: keras.Model) -> None:
    from cepscope.errors import DataError, ParameterError

    with pytest.raises(ParameterError, match=r"must be \(n, "):
        combine_filters(digit_model, "crbm1", np.zeros((1, 2, 3, 6)))
    shape = digit_model.get_layer("crbm1").output.shape[1:]
    with pytest.raises(DataError, match="finite"):
        combine_filters(digit_model, "crbm1", np.full((1, *shape), np.nan))


def test_views_come_out_the_same_in_any_order_and_company(
    views: Views, patterns: Patterns, digit_model: keras.Model, digit_patches: Patches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewing, "TOGETHER", 1)
    finder = viewing.ViewFinder(digit_model, digit_patches, patterns, **CHAINS)
    assert finder.pieces == [range(i, i + 1) for i in range(4)]
    found = [finder.find(piece) for piece in reversed(finder.pieces)]
    again = finder.gather(reversed(found))
    assert again.units == views.units
    np.testing.assert_allclose(again.x, views.x, atol=1e-6)
    for name in ("fields", "places"):
        np.testing.assert_array_equal(getattr(again, name), getattr(views, name))
    np.testing.assert_allclose(again.activation, views.activation, rtol=1e-4)


def test_views_round_trip_and_damage_is_told(views: Views, tmp_path: Path) -> None:
    path = tmp_path / "views.npz"
    views.save(path)
    back = Views.load(path)
    assert back.units == views.units
    for name in ("x", "fields", "places", "activation"):
        np.testing.assert_array_equal(getattr(back, name), getattr(views, name))
    np.savez(path, units=np.array(["a"]))
    with pytest.raises(CorruptArtifactError):
        Views.load(path)
