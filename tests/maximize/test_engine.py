"""The ascent on a real, briefly trained network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import cepscope as cs
from cepscope.config.schema import MaximizeConfig
from cepscope.corpora import Patches
from cepscope.errors import CorruptArtifactError, ParameterError
from cepscope.maximize import search
from cepscope.maximize.engine import maximize
from cepscope.maximize.maximization import Maximization
from cepscope.maximize.memory import share_of
from cepscope.maximize.objectives import direction, objective_reader, objectives_of, unit
from cepscope.maximize.parametrizations import parametrization
from cepscope.maximize.patterns import Patterns
from cepscope.maximize.transforms import Transforms
from cepscope.maximize.units import unit_activations
from cepscope.models.backend import gradients_kept


@pytest.fixture(scope="module")
def patterns(digit_model: keras.Model, digit_patches: Patches) -> Patterns:
    return maximize(digit_model, digit_patches, steps=20, components=60, seed=4)


def test_every_unit_of_every_layer_gets_a_pattern(patterns: Patterns, digit_patches: Patches) -> None:
    n_mfcc, frames, _ = digit_patches.input_shape
    assert patterns.x.shape == (len(patterns), n_mfcc, frames, 1)
    assert set(patterns.layers) == {"crbm1", "crbm2", "logits"}
    assert patterns.history.shape == (20, len(patterns))
    assert np.isfinite(patterns.x).all()


def test_patterns_climb_and_match_their_reported_activation(patterns: Patterns, digit_model: keras.Model) -> None:
    own = np.diag(unit_activations(digit_model, patterns.x))
    np.testing.assert_allclose(patterns.activation, own, rtol=1e-6)
    assert np.mean(patterns.history[-1] > patterns.history[0]) > 0.95


@pytest.mark.parametrize("name", ["speech", "cosine"])
def test_projection_ends_on_the_ball(name: str, digit_patches: Patches) -> None:
    how = parametrization(name, digit_patches, radius=1.3, components=60)
    z = np.random.default_rng(0).standard_normal((4, *how.shape)).astype(np.float32)
    z *= np.array([0.1, 1, 2, 50], np.float32).reshape(-1, *(1,) * len(how.shape))
    found = how.project(tf.constant(z)).numpy()
    rms = np.sqrt(np.mean(found.reshape(4, -1).astype(np.float64) ** 2, axis=1))
    np.testing.assert_allclose(rms[2:], 1.3, rtol=1e-6)  # float32
    np.testing.assert_array_equal(found[:2], z[:2])  # inside nothing moves
    np.testing.assert_allclose(found[3] / z[3], (found[3] / z[3]).flat[0], rtol=1e-5)


def test_a_unit_alone_gets_the_pattern_it_gets_among_others(
    patterns: Patterns, digit_model: keras.Model, digit_patches: Patches
) -> None:
    alone = maximize(digit_model, digit_patches, layers=["logits"], steps=20, components=60, seed=4)
    first = patterns.units.index("logits:0")
    own = slice(first, first + len(alone))
    np.testing.assert_allclose(patterns.history[0, own], alone.history[0], atol=1e-6)  # one step: float32 sums
    # sums run in another order in another batch; Adam, which divides by small moments, and the floor let that grow
    np.testing.assert_allclose(patterns.history[:, own], alone.history, rtol=1e-3)
    np.testing.assert_allclose(patterns.x[own], alone.x, atol=1e-2)


def test_values_and_gradients_of_a_batch_are_those_of_each(digit_model: keras.Model, digit_patches: Patches) -> None:
    read = objective_reader(digit_model, [unit("crbm2:1"), unit("logits:3")], speech=digit_patches.train.x)

    def pull(x: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with tf.GradientTape() as tape:
            point = tf.constant(x)
            tape.watch(point)
            value = read.own(point, owner)
        return value.numpy(), tape.gradient(value, point).numpy()

    x = digit_patches.test.x[:24]
    owner = np.arange(len(x)) % 2  # not in the order of layers
    values, gradients = pull(x, owner)
    for i in range(len(x)):
        value, gradient = pull(x[i : i + 1], owner[i : i + 1])
        np.testing.assert_allclose(values[i], value[0], atol=1e-6)  # in units of the best real clip
        np.testing.assert_allclose(gradients[i], gradient[0], atol=1e-6)


def test_the_same_seed_gives_the_same_bits_and_another_does_not(
    patterns: Patterns, digit_model: keras.Model, digit_patches: Patches
) -> None:
    again = maximize(digit_model, digit_patches, steps=20, components=60, seed=4)
    other = maximize(digit_model, digit_patches, objectives=["crbm1:0"], steps=2, components=60, seed=5)
    assert np.array_equal(again.x, patterns.x)
    assert not np.allclose(other.history[0], patterns.history[0, 0])


def test_strong_priors_give_smoother_patterns(digit_model: keras.Model, digit_patches: Patches) -> None:
    def roughness(weight: float) -> float:
        found = maximize(
            digit_model, digit_patches, layers=["crbm1"], steps=20, components=60, priors={"time_curvature": weight}
        )
        return float(np.mean(np.diff(found.x, 2, axis=2) ** 2))

    assert roughness(3.0) < 0.7 * roughness(0.0)


@pytest.mark.parametrize("setting", [
        {"steps": 0}, {"radius": -1.0}, {"learning_rate": float("nan")}, {"restarts": 1.5}, {"seed": -1},
        {"patience": -1}, {"headroom": float("nan")}, {"shrinkage": 3.0},
    ])  # fmt: skip
def test_bad_settings_are_refused(setting: dict[str, float], digit_model: keras.Model, digit_patches: Patches) -> None:
    with pytest.raises(ParameterError, match=next(iter(setting))):
        maximize(digit_model, digit_patches, **setting)  # type: ignore[arg-type]


def test_patterns_round_trip_and_damage_is_told(patterns: Patterns, tmp_path: Path) -> None:
    path = tmp_path / "patterns.npz"
    patterns.save(path)
    loaded = Patterns.load(path)
    assert loaded.units == patterns.units
    assert loaded.spec == patterns.spec
    assert loaded.settings == patterns.settings
    assert np.array_equal(loaded.x, patterns.x)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CorruptArtifactError, match="again"):
        Patterns.load(path)


def test_the_room_can_be_called() -> None:
    import cepscope.maximize.engine

    assert callable(cs.maximize)
    assert cs.maximize.engine is cepscope.maximize.engine


def test_the_classic_recipe_climbs_and_leaves_speech(digit_model: keras.Model, digit_patches: Patches) -> None:
    n_mfcc, frames, _ = digit_patches.input_shape
    start = cs.generate_pattern(digit_model, "conv2d", 0, size=frames, iterations=1, step=1e-6)
    pattern = cs.generate_pattern(digit_model, "conv2d", 0, size=frames, iterations=20, step=1.0)
    assert pattern.shape == (n_mfcc, frames)
    before, after = (unit_activations(digit_model, p[None, ..., None])[0, 0] for p in (start, pattern))
    assert after > 2 * before
    assert np.sqrt(np.mean(pattern**2)) > 5  # sd of speech: far outside, which is why the priors exist


def test_the_classic_recipe_takes_another_size_below_the_dense_layer(digit_model: keras.Model) -> None:
    n_mfcc = digit_model.input_shape[1]
    assert cs.generate_pattern(digit_model, "crbm2", 1, size=40, iterations=2).shape == (n_mfcc, 40)


@pytest.mark.parametrize(("layer", "index", "size"), [("logits", 0, 40), ("crbm1", 99, None), ("nope", 0, None)])
def test_the_classic_recipe_refuses_what_it_cannot_do(
    layer: str, index: int, size: int | None, digit_model: keras.Model
) -> None:
    with pytest.raises(ParameterError):
        cs.generate_pattern(digit_model, layer, index, size=size)


def test_the_classic_mode_climbs_all_units_at_once_and_leaves_speech(
    digit_model: keras.Model, digit_patches: Patches
) -> None:
    found = maximize(digit_model, digit_patches, mode="classic", steps=20)
    assert found.settings == {"mode": "classic", "steps": 20, "step": 1.0, "seed": 0}
    assert np.all(found.history[-1] > found.history[0])
    assert np.median(np.sqrt(np.mean(found.x**2, axis=(1, 2, 3)))) > 5
    with pytest.raises(ParameterError, match="speech, classic"):
        maximize(digit_model, digit_patches, mode="plain")


@pytest.mark.slow
def test_equal_objectives_are_equal_only_with_equal_seeds(digit_model: keras.Model, digit_patches: Patches) -> None:
    def one(seed: int, *names: str) -> np.ndarray:
        objectives = [unit("crbm2:3").named(name) for name in names]
        return maximize(digit_model, digit_patches, objectives=objectives, steps=8, components=40, seed=seed).x

    # a start comes from seed and name: a pattern in a batch is the pattern by itself
    twins = one(1, "a", "b")
    # (products of another size round differently in float32, and Adam divides by small moments)
    np.testing.assert_allclose(twins[0], one(1, "a")[0], atol=1e-5)
    assert not np.allclose(twins[0], twins[1], atol=1e-2)
    assert not np.allclose(one(2, "a"), twins[0], atol=1e-2)


def test_minimising_goes_the_other_way(digit_model: keras.Model, digit_patches: Patches) -> None:
    most, least = maximize(
        digit_model, digit_patches, objectives=["logits:2", "-logits:2"], steps=30, components=60
    ).activation * np.array([1, -1])  # the activation of an objective has its weights
    real = unit_activations(digit_model, digit_patches.test.x, layers=["logits"])[:, 2]
    assert least < real.min() < real.max() < most


def test_composite_objectives_climb_and_are_kept(
    digit_model: keras.Model, digit_patches: Patches, tmp_path: Path
) -> None:
    tells = 0.5 * unit("crbm2:1") - direction("crbm1", np.arange(6) - 2.5, tag="slope")
    found = maximize(digit_model, digit_patches, objectives=[tells, "logits:2 - logits:3"], steps=20, components=60)
    assert found.units == ("0.5 * crbm2:1 - direction(crbm1, slope)", "logits:2 - logits:3")
    assert found.layers == ("crbm1", "logits")
    assert found.indices == (-1, -1)
    assert np.all(found.history[-1] > found.history[0] + 1)
    found.save(tmp_path / "p.npz")
    back = Patterns.load(tmp_path / "p.npz")
    read = objective_reader(digit_model, objectives_of(back))
    np.testing.assert_allclose(np.diag(read.measure(back.x)), found.activation, rtol=1e-5)


@pytest.mark.slow
def test_variants_differ_and_diversity_drives_them_apart(digit_model: keras.Model, digit_patches: Patches) -> None:
    def likeness(weight: float, restarts: int) -> float:
        found = maximize(
            digit_model, digit_patches, objectives=["crbm2:0", "crbm2:4"], variants=3, diversity=weight,
            restarts=restarts, steps=30, components=60,
        )  # fmt: skip
        assert found.units[:4] == ("crbm2:0#0", "crbm2:0#1", "crbm2:0#2", "crbm2:4#0")
        x = (found.x - digit_patches.train.x.mean(axis=0)).reshape(2, 3, -1)
        x /= np.linalg.norm(x, axis=2, keepdims=True)
        return float(np.mean([np.triu(group @ group.T, 1).sum() / 3 for group in x]))

    assert likeness(0.0, 1) > 0.8
    assert likeness(2.0, 1) < 0.5
    assert likeness(2.0, 2) < 0.5  # and those that are chosen from two starts were driven apart together


def test_of_restarts_the_best_is_kept(digit_model: keras.Model, digit_patches: Patches) -> None:
    both: dict[str, Any] = {"layers": ["logits"], "steps": 8, "components": 40}
    both |= {"priors": {}, "transforms": Transforms()}
    one = maximize(digit_model, digit_patches, **both)
    several = maximize(digit_model, digit_patches, restarts=4, **both)
    assert several.units == one.units
    # the score is what the activation says when there is no prior, and the first start is among the four
    assert np.all(several.activation >= one.activation - 1e-4)
    assert np.any(several.activation > one.activation + 1e-3)


def test_who_finds_no_better_rests(digit_model: keras.Model, digit_patches: Patches) -> None:
    done: list[int] = []
    found = maximize(
        digit_model, digit_patches, layers=["logits"], steps=400, components=20, patience=3, transforms=Transforms(),
        progress=lambda now, _total: done.append(now),
    )  # fmt: skip
    assert done[-1] < 400
    assert found.history.shape == (400, 10)


def test_a_callback_sees_and_may_stop(digit_model: keras.Model, digit_patches: Patches) -> None:
    seen: list[tuple[int, tuple[str, ...], int]] = []

    def look(done: int, names: tuple[str, ...], activation: Any) -> bool:
        seen.append((done, names[:1], len(activation)))
        return done >= 32

    found = maximize(digit_model, digit_patches, layers=["logits"], steps=64, components=20, callback=look)
    assert seen == [(16, ("logits:0",), 10), (32, ("logits:0",), 10)]
    assert np.array_equal(found.history[32:], np.repeat(found.history[31:32], 32, axis=0))


@pytest.mark.slow
def test_a_longer_search_begins_as_a_shorter_one_and_progress_counts_to_the_end(
    digit_model: keras.Model, digit_patches: Patches
) -> None:
    seen: list[tuple[int, int]] = []
    short, long = (
        maximize(
            digit_model, digit_patches, layers=["crbm1"], steps=steps, components=30,
            progress=lambda done, total: seen.append((done, total)),
        ).history
        for steps in (20, 24)
    )  # fmt: skip
    np.testing.assert_array_equal(short, long[:20])
    assert seen == [(16, 20), (20, 20), (16, 24), (24, 24)]


@pytest.mark.slow
def test_a_search_goes_on_only_from_its_own_files(
    digit_model: keras.Model, digit_patches: Patches, tmp_path: Path
) -> None:
    def one(vector: np.ndarray, **more: Any) -> np.ndarray:
        objectives = [direction("crbm1", vector, tag="t").named("x")]
        return maximize(digit_model, digit_patches, objectives=objectives, components=20, **more).x

    first, second = np.eye(6)[0], np.eye(6)[1]
    path = tmp_path / "search"
    # what a callback has ended early is not what the settings ask for, and no result
    cut = one(first, steps=20, checkpoint=path, callback=lambda *_: True)
    whole = one(first, steps=20, checkpoint=path)
    assert not np.array_equal(cut, whole)
    # the same name, another direction
    assert not np.array_equal(one(second, steps=20, checkpoint=path), whole)


@pytest.mark.slow
def test_with_noise_the_best_is_chosen_without_it(digit_model: keras.Model, digit_patches: Patches) -> None:
    both: dict[str, Any] = {"layers": ["crbm2"], "components": 40, "priors": {}, "learning_rate": 2.0}
    kept = maximize(digit_model, digit_patches, steps=64, **both)
    ends = [maximize(digit_model, digit_patches, steps=steps, **both).activation for steps in (16, 32, 48)]
    assert np.all(kept.activation >= np.max(ends, axis=0) - 1e-5)


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_to_the_same_bits(
    digit_model: keras.Model, digit_patches: Patches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "SECONDS", 0.0)
    # 5 patterns a batch, of 6
    both: dict[str, Any] = {"steps": 40, "components": 30, "layers": ["crbm1"], "memory": 1}
    expected = maximize(digit_model, digit_patches, **both)
    path, calls = tmp_path / "search", 0

    class Killed(Exception):
        pass

    def kill(_done: int, _total: int) -> None:
        nonlocal calls
        calls += 1
        if calls in (2, 6):  # in the first batch, then in the second
            raise Killed

    found = None
    for _ in range(3):
        try:
            found = maximize(digit_model, digit_patches, checkpoint=path, progress=kill, **both)
        except Killed:
            continue
    assert found is not None
    assert calls < 6 + 2 + 1  # six calls in all, two of them twice
    np.testing.assert_array_equal(found.x, expected.x)
    np.testing.assert_array_equal(found.history, expected.history)


def test_memory_decides_how_many_share_a_batch_and_nothing_else(
    digit_model: keras.Model, digit_patches: Patches
) -> None:
    both: dict[str, Any] = {"layers": ["crbm1"], "steps": 16, "components": 30}
    steps: dict[int, int] = {}
    kept: dict[int, int] = {}

    def climb(memory: int) -> Patterns:
        def progress(_done: int, total: int) -> None:
            steps[memory] = total

        before = len(gradients_kept())
        found = maximize(digit_model, digit_patches, memory=memory, progress=progress, **both)
        kept[memory] = len(gradients_kept()) - before
        return found

    much, little = climb(256), climb(1)
    assert steps == {256: 16, 1: 32}  # one batch, two batches
    assert kept[1] == kept[256]  # nothing of a batch stays
    assert gradients_kept()
    np.testing.assert_allclose(little.history, much.history, rtol=1e-3, atol=1e-5)  # sums run in another order
    np.testing.assert_allclose(little.x, much.x, atol=1e-2)
    with pytest.raises(ParameterError, match="memory"):
        climb(-1)


def laid_out(model: keras.Model, patches: Patches, **given: Any) -> Maximization:
    settings = MaximizeConfig().model_dump()
    settings |= {"transforms": Transforms(**settings["transforms"]), "steps": 20, "components": 60, "seed": 4}
    return Maximization(model=model, patches=patches, **(settings | given))


def test_batches_are_cut_by_settings_alone(digit_model: keras.Model, digit_patches: Patches) -> None:
    def sizes(**given: Any) -> list[int]:
        return [len(rows) for rows in laid_out(digit_model, digit_patches, **given).batches]

    assert sizes() == sizes(memory=0) == [24]  # without a GPU 0 is what is usual
    assert sizes(batch=10) == [10, 10, 4]
    assert sizes(batch=0, memory=1) == sizes(memory=1) != [24]
    assert sizes(batch=10, restarts=2, variants=2) == [8] * 12  # what belongs to one unit stays together
    assert sizes(batch=10, mode="classic", restarts=2) == [10, 10, 4]


def test_batches_come_out_the_same_in_any_order_and_process(
    digit_model: keras.Model, digit_patches: Patches, tmp_path: Path
) -> None:
    layers = {"layers": ["crbm2"], "batch": 3, "priors": {}}
    one, other = (laid_out(digit_model, digit_patches, **layers) for _ in range(2))
    expected = [one.climb(rows) for rows in one.batches]
    found = {rows: other.climb(rows, tmp_path / f"{rows.start}", key="k") for rows in reversed(other.batches)}
    for rows, part in zip(one.batches, expected, strict=True):
        for name in ("x", "history", "activation"):
            np.testing.assert_array_equal(getattr(found[rows], name), getattr(part, name))
    # batches that are read alike share what was compiled, others do not
    compiled = [other._search.compile(other.plan.owner[rows.start : rows.stop])[0].func for rows in other.batches]
    assert compiled[0] is compiled[1] is not compiled[2]
    kept = one.climb(one.batches[1], tmp_path / "3", key="k", report=lambda _done: pytest.fail("it is there"))
    np.testing.assert_array_equal(kept.x, expected[1].x)


def test_a_gpu_gives_a_share_of_what_it_has_free() -> None:
    assert share_of(20 << 30) == 10 << 10
    assert share_of(1 << 20) == 256


def test_objectives_must_be_a_list_of_different_ones(digit_model: keras.Model, digit_patches: Patches) -> None:
    with pytest.raises(ParameterError, match="list"):
        maximize(digit_model, digit_patches, objectives="crbm1:0")
    with pytest.raises(ParameterError, match=r"must take patches of \(20, 48, 1\)"):
        maximize(keras.Sequential([keras.Input((48, 20, 1)), keras.layers.Conv2D(2, 3)]), digit_patches)
    with pytest.raises(ParameterError, match="variants"):
        maximize(digit_model, digit_patches, objectives=["crbm1:0", unit("crbm1:0")])
