"""The table of units, on a real network: real clips in place of patterns and sounds, and chance."""

from __future__ import annotations

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from cepscope.corpora import Patches
from cepscope.errors import ParameterError
from cepscope.maximize.engine import maximize
from cepscope.maximize.patterns import Patterns
from cepscope.maximize.space import fit_patch_space
from cepscope.maximize.units import unit_activations, unit_reader
from cepscope.models import build_cnn
from cepscope.probe.evaluation import random_patterns, real_ranges, set_distance, shuffled, summarise, unit_table
from cepscope.probe.measures import logits_layer
from cepscope.probe.signal import noise_floor, spectral_contrast
from cepscope.probe.yardstick import at_radius, radii


def as_patterns(model: keras.Model, patches: Patches, which: np.ndarray) -> tuple[Patterns, SimpleNamespace]:
    """Held-out clips in place of patterns and of their sounds."""
    units = unit_reader(model).terms
    x = patches.test.x[which]
    own = unit_activations(model, x)[np.arange(len(units)), np.arange(len(units))]
    patterns = Patterns(tuple(map(str, units)), x, patches.decode(x), patches.spec, own, own[None], {})
    audio = np.stack([patches.load_wave(patches.test.paths[i]) for i in which])
    return patterns, SimpleNamespace(audio=audio, sr=patches.spec.sr, relative_error=np.zeros(len(which)))


@pytest.fixture(scope="module")
def other(digit_patches: Patches) -> keras.Model:
    return build_cnn(digit_patches.input_shape, digit_patches.classes, filters=(4, 4), seed=1)


@pytest.fixture(scope="module")
def best(digit_model: keras.Model, digit_patches: Patches, other: keras.Model) -> dict[str, np.ndarray]:
    """The table when every unit's best clip is its pattern and its sound, and its worst is the opposite."""
    real = unit_activations(digit_model, digit_patches.test.x)
    patterns, sounds = as_patterns(digit_model, digit_patches, real.argmax(axis=0))
    opposites, _ = as_patterns(digit_model, digit_patches, real.argmin(axis=0))
    return unit_table(digit_model, digit_patches, patterns, sounds, opposites=opposites, others={"cnn": other})


def test_the_best_real_clip_scores_one(best: dict[str, np.ndarray]) -> None:
    for name in ("pattern_over_natural", "sound_over_natural", "retention"):
        assert np.median(best[name]) == pytest.approx(1, abs=1e-3)  # samples of 16 bits
        assert best[name].min() > 0.8  # a clip longer than a patch may lose its peak, and is then made louder
    assert abs(np.median(best["naturalness_z"])) < 1.5  # it is speech


def test_the_best_and_worst_clips_tell_clips_apart(best: dict[str, np.ndarray]) -> None:
    assert np.median(best["alternatives"]) > 0.7  # they are among the clips, and others of their word are too


def test_a_best_clip_excites_its_counterpart_elsewhere(best: dict[str, np.ndarray]) -> None:
    assert np.median(best["transfer_cnn"]) > 0.7


def test_medians_and_shares_are_those_of_the_table(
    digit_model: keras.Model, digit_patches: Patches, best: dict[str, np.ndarray], other: keras.Model
) -> None:
    real = unit_activations(digit_model, digit_patches.test.x)
    patterns, sounds = as_patterns(digit_model, digit_patches, real.argmax(axis=0))
    found = summarise(digit_model, digit_patches, patterns, sounds, others={"cnn": other})
    mine = np.array(patterns.layers) == "crbm2"
    row = found["layers"]["crbm2"]
    assert row["units"] == mine.sum()
    assert row["noise_floor"] == pytest.approx(np.median(best["noise_floor"][mine]), abs=1e-3)
    assert row["first_in_layer"] == pytest.approx(np.mean(best["rank"][mine] == 1), abs=1e-3)
    low, high = real_ranges(digit_patches)["spectral_contrast"]
    inside = [low <= value <= high for value in best["spectral_contrast"][mine]]
    assert row["spectral_contrast_as_real"] == pytest.approx(np.mean(inside), abs=1e-3)
    assert set(found["heard_right"]) == {"itself", "cnn"}
    assert found["frechet"]["sounds"] > found["frechet"]["real"] > 0  # few clips, chosen to be extreme


def test_floor_and_contrast_of_most_real_clips_are_in_their_own_range(digit_patches: Patches) -> None:
    waves = np.stack([digit_patches.load_wave(path) for path in digit_patches.test.paths])
    for measure in (noise_floor, spectral_contrast):
        low, high = real_ranges(digit_patches)[measure.__name__]
        values = measure(waves, digit_patches.spec)
        assert 0.88 <= np.mean((values >= low) & (values <= high)) <= 0.92  # 5 to 95 of 100, of 60 clips


def test_as_many_real_clips_as_sounds_are_as_far_from_speech_as_real_clips(
    digit_model: keras.Model, digit_patches: Patches
) -> None:
    x = digit_patches.test.x
    same = set_distance(digit_model, x[::2], x)
    assert same["sounds"] == pytest.approx(same["real"], rel=0.35)  # clips against clips; some are on both sides
    noise = np.random.default_rng(0).standard_normal(x[:20].shape).astype(np.float32)
    made = set_distance(digit_model, noise, x)
    assert made["sounds"] > 3 * made["real"]
    assert set_distance(digit_model, x[:1], x) == {}
    dead = build_cnn(digit_patches.input_shape, digit_patches.classes, filters=(4, 4), seed=1)
    dead.get_layer("conv2").set_weights([0 * w for w in dead.get_layer("conv2").get_weights()])
    assert np.isfinite(list(set_distance(dead, x[:20], x).values())).all()


def test_the_layer_of_logits_is_known_whatever_the_layers_are_called(
    digit_model: keras.Model, digit_patches: Patches
) -> None:
    assert logits_layer(digit_model, 10) == "logits"
    assert logits_layer(digit_model, 9) == ""
    assert logits_layer(keras.Model(digit_model.inputs, digit_model.get_layer("crbm1").output), 10) == ""
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(7), keras.layers.Dense(3, "softmax", name="say")])
    assert logits_layer(plain, 3) == "say"


def test_at_radius_is_at_that_radius(digit_patches: Patches) -> None:
    space = fit_patch_space(digit_patches.train.x, components=60)
    moved = at_radius(digit_patches.test.x[:5], space, 0.7)
    np.testing.assert_allclose(radii(moved, space), 0.7, rtol=1e-4)  # float32


@pytest.mark.slow
def test_chance_keeps_names_and_is_drawn_from_its_seed(digit_model: keras.Model, digit_patches: Patches) -> None:
    patterns = maximize(digit_model, digit_patches, layers=["logits"], steps=4, components=40)
    one, again, another = (random_patterns(digit_model, patterns, digit_patches, seed=seed) for seed in (1, 1, 2))
    assert one.units == patterns.units
    np.testing.assert_array_equal(one.x, again.x)
    assert np.abs(one.x - another.x).mean() > 0.1
    np.testing.assert_allclose(
        one.activation, np.diag(unit_activations(digit_model, one.x, layers=["logits"])), rtol=1e-4
    )
    reached = unit_activations(digit_model, one.x, layers=["logits"])
    climbed = unit_activations(digit_model, patterns.x, layers=["logits"])
    assert np.median(np.diag(climbed)) > np.median(np.diag(reached))


def test_shuffled_weights_are_the_same_numbers_elsewhere(digit_model: keras.Model) -> None:
    copy = shuffled(digit_model, seed=3)
    moved = 0
    for before, after in zip(digit_model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_array_equal(np.sort(before, axis=None), np.sort(after, axis=None))
        moved += not np.array_equal(before, after)
    assert moved >= 3  # kernels of three layers
    np.testing.assert_array_equal(copy.get_weights()[0], shuffled(digit_model, seed=3).get_weights()[0])


@pytest.mark.slow
def test_patterns_of_composites_have_no_rank(digit_model: keras.Model, digit_patches: Patches) -> None:
    found = maximize(digit_model, digit_patches, objectives=["crbm2:1 - crbm2:2"], steps=2, components=20)
    sounds = SimpleNamespace(audio=np.zeros((1, 8000), np.float32), sr=8000, relative_error=np.zeros(1))
    with pytest.raises(ParameterError, match="Only patterns of single units"):
        unit_table(digit_model, digit_patches, found, sounds)
