"""Objectives: their arithmetic, and every term against its definition in NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from cepscope.corpora import Patches
from cepscope.errors import ParameterError
from cepscope.maximize import objectives as ob
from cepscope.maximize.objectives import Objective, objective_reader, parse, unit
from cepscope.maximize.units import Seen, Unit, unit_activations

WEIGHTS = st.floats(-8, 8).map(lambda w: round(w * 16) / 16)  # sums and products of these are exact in binary


def measured(model: keras.Model, x: np.ndarray, *objectives: Objective, classes: tuple[str, ...] = ()) -> np.ndarray:
    return objective_reader(model, [one.resolved(model, classes) for one in objectives]).measure(x)


def maps(model: keras.Model, layer: str, x: np.ndarray) -> np.ndarray:
    chosen = model.get_layer(layer)
    return np.asarray(Seen(chosen, keras.Model(model.inputs[0], chosen.input)(x)).map, np.float64)


@given(WEIGHTS, WEIGHTS, WEIGHTS)
def test_arithmetic_is_exact(a: float, b: float, c: float) -> None:
    one, two = unit("crbm1:0"), unit("crbm1:1")
    found = c * (a * one - b * two) + one - two / 2
    assert found.weights == {Unit("crbm1", 0): c * a + 1, Unit("crbm1", 1): -c * b - 0.5}
    assert (-found).weights == {term: -weight for term, weight in found.weights.items()}
    assert set((found - found).weights.values()) == {0.0}


@given(st.dictionaries(st.sampled_from(["a:0", "b/c:12", "crbm2:7@3,10"]), WEIGHTS.filter(bool), min_size=1))
def test_what_is_written_can_be_read(weights: dict[str, float]) -> None:
    objective = sum((weight * unit(name) for name, weight in weights.items()), Objective({}))
    assert parse(str(objective)).weights == objective.weights


def test_every_kind_that_can_be_written_can_be_read(digit_model: keras.Model) -> None:
    written = 2 * ob.layer("crbm2") - ob.probability("crbm1:3") + 0.5 * ob.free_energy("crbm1") - unit("logits:1")
    assert parse(str(written)).weights == written.weights
    parse(str(written)).resolved(digit_model)
    with pytest.raises(ParameterError, match="A unit is written"):
        parse("direction(crbm1, x)")


def test_what_is_read_is_the_sum_of_its_terms(digit_model: keras.Model, digit_patches: Patches) -> None:
    x = digit_patches.test.x[:4]
    found = measured(digit_model, x, 0.5 * unit("crbm2:1") - 3 * unit("crbm1:2") + unit("logits:4"))[:, 0]
    first, second, classes = (unit_activations(digit_model, x, layers=[n]) for n in ("crbm1", "crbm2", "logits"))
    np.testing.assert_allclose(found, 0.5 * second[:, 1] - 3 * first[:, 2] + classes[:, 4], rtol=1e-5, atol=1e-5)


def test_ones_own_objective_is_what_the_whole_network_gives(digit_model: keras.Model, digit_patches: Patches) -> None:
    x, speech = digit_patches.test.x[:9], digit_patches.train.x[:60]
    wanted = [
        unit("logits:3"), -2 * unit("crbm2:5"), unit("crbm1:0"), unit("crbm2:1"), unit("crbm1:2@1,4"),
        unit("crbm2:1") - 0.5 * unit("logits:2"), unit("crbm1:3"), ob.layer("crbm1"), ob.probability("crbm2:2"),
    ]  # fmt: skip
    read = objective_reader(digit_model, wanted, speech=speech)
    natural = (read.terms.measure(x) - read.rest) / read.scale @ read.weights.T  # (inputs, objectives)
    owner = np.array([5, 2, 0, 8, 1, 7, 3, 4, 6])
    expected = natural[np.arange(9), owner]
    np.testing.assert_allclose(read.own(tf.constant(x), owner), expected, rtol=1e-4, atol=1e-5)  # float32 sums


def test_every_term_is_its_definition(digit_model: keras.Model, digit_patches: Patches) -> None:
    x, speech = digit_patches.test.x[:5], digit_patches.train.x[:40]
    values = maps(digit_model, "crbm2", x)
    vector = np.random.default_rng(0).standard_normal(values.shape[-1])
    rbm = digit_model.get_layer("crbm1")
    real = maps(digit_model, "crbm2", speech)
    above = maps(digit_model, "crbm2", x[:1])[0] - real.mean(axis=0)
    v = (values - real.mean(axis=0)).reshape(5, -1)
    along = v @ above.reshape(-1) / np.linalg.norm(above)
    expected = {
        "place": (unit("crbm2:3@1,2"), values[:, 1, 2, 3]),
        "layer": (ob.layer("crbm2"), (values**2).mean(axis=(1, 2, 3))),
        "direction": (ob.direction("crbm2", vector), values.mean(axis=(1, 2)) @ vector / np.linalg.norm(vector)),
        "probability": (ob.probability("crbm1:2"), rbm(x).numpy()[..., 2].mean(axis=(1, 2))),
        "free_energy": (ob.free_energy("crbm1"), rbm.free_energy(x).numpy()),
        "caricature": (
            ob.caricature(digit_model, "crbm2", x[0], speech),
            along * np.maximum(along / np.linalg.norm(v, axis=1), 0.1),
        ),
    }
    found = measured(digit_model, x, *(objective for objective, _ in expected.values()))
    for column, (name, (_, wanted)) in zip(found.T, expected.items(), strict=True):
        np.testing.assert_allclose(column, wanted, rtol=2e-5, atol=2e-4, err_msg=name)  # float32 sums over maps


def test_a_unit_of_several_networks_is_read_in_any_order(digit_model: keras.Model, digit_patches: Patches) -> None:
    x = digit_patches.test.x[:3]
    names = ["logits:2", "crbm1:5", "crbm2:0@0,1", "crbm1:0", "logits:0"]
    together = measured(digit_model, x, *(unit(name) for name in names))
    alone = np.stack([measured(digit_model, x, unit(name))[:, 0] for name in names], axis=1)
    np.testing.assert_allclose(together, alone, rtol=1e-6, atol=1e-6)


def test_a_class_goes_by_its_label(digit_model: keras.Model, digit_patches: Patches) -> None:
    x, classes = digit_patches.test.x[:3], digit_patches.classes
    for objective in (ob.logit(classes[3]), unit(f"logits:{classes[3]}")):
        found = measured(digit_model, x, objective, classes=classes)
        np.testing.assert_array_equal(found, measured(digit_model, x, unit("logits:3")))
    with pytest.raises(ParameterError, match="eleven"):
        ob.logit("eleven").resolved(digit_model, classes)


def test_a_concept_points_to_clips_that_have_it(digit_model: keras.Model, digit_patches: Patches) -> None:
    train, test = digit_patches.train, digit_patches.test
    concept = ob.concept(digit_model, "crbm2", train.x[train.y == 6], train.x[train.y != 6], tag="six")
    assert concept.name == "direction(crbm2, six)"
    # area under the curve, of which chance is .5; the held-out voices have only six clips of the digit
    for side, least in ((train, 0.95), (test, 0.7)):
        values = measured(digit_model, side.x, concept)[:, 0]
        have, others = values[side.y == 6], values[side.y != 6]
        assert np.mean(have[:, None] > others) > least


def test_gradients_are_those_of_finite_differences(digit_model: keras.Model, digit_patches: Patches) -> None:
    x, speech = digit_patches.test.x[:1], digit_patches.train.x[:40]
    wanted = [ob.layer("crbm2"), ob.probability("crbm1:1"), ob.caricature(digit_model, "crbm2", speech[0], speech)]
    read = objective_reader(digit_model, wanted)
    along = np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)
    for column in range(len(wanted)):
        with tf.GradientTape() as tape:
            v = tf.constant(x)
            tape.watch(v)
            value = read.terms.read(v)[0, column]
        slope = float(tf.reduce_sum(tape.gradient(value, v) * along))
        h = 1e-2  # float32: smaller steps drown in rounding, larger ones in curvature
        up, down = (float(read.terms.read(tf.constant(x + s * h * along))[0, column]) for s in (1, -1))
        np.testing.assert_allclose(slope, (up - down) / (2 * h), rtol=2e-2)


def test_objectives_survive_being_written_down(digit_model: keras.Model, digit_patches: Patches) -> None:
    speech = digit_patches.train.x[:20]
    wanted = [
        (unit("crbm2:1@1,2") - 2 * ob.direction("crbm1", np.arange(1, 7))).named("mine"),
        ob.caricature(digit_model, "crbm1", speech[3], speech) + ob.free_energy("crbm1"),
    ]
    back = ob.from_plain(*ob.to_plain(wanted))
    assert back == wanted
    assert [one.name for one in back] == [one.name for one in wanted]
    x = digit_patches.test.x[:2]
    np.testing.assert_array_equal(measured(digit_model, x, *back), measured(digit_model, x, *wanted))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("crbm2", "layer:index"),
        ("crbm2:7@x", "layer:index"),
        ("crbm2:-1", "layer:index"),
        ("half * crbm2:1", "0.5"),
        ("crbm2:99", "units 0 to"),
        ("crbm2:1@99,0", "map of crbm2"),
        ("logits:1@0,0", "no map"),
        ("nope:1", "no layer"),
        ("crbm1:1 - crbm1:1", "not all 0"),
    ],
)
def test_what_is_not_there_is_refused(text: str, message: str, digit_model: keras.Model) -> None:
    with pytest.raises(ParameterError, match=message):
        parse(text).resolved(digit_model, ())


def test_terms_that_do_not_fit_a_layer_are_refused(digit_model: keras.Model, digit_patches: Patches) -> None:
    speech = digit_patches.train.x[:4]
    with pytest.raises(ParameterError, match="no RBM"):
        ob.free_energy("logits").resolved(digit_model)
    with pytest.raises(ParameterError, match="not 0"):
        ob.direction("crbm1", np.zeros(6))
    with pytest.raises(ParameterError, match="one a unit"):
        ob.direction("crbm1", np.ones(5)).resolved(digit_model)
    with pytest.raises(ParameterError, match="both sides"):
        ob.concept(digit_model, "crbm1", speech, speech[:0])
    with pytest.raises(ParameterError, match="shape"):
        ob.caricature(digit_model, "crbm1", speech[0, :, :3], speech)
    with pytest.raises(ParameterError, match="no units of its own"):
        unit("probabilities:0").resolved(digit_model)
    with pytest.raises(ParameterError, match="not all 0"):
        (unit("conv2d:0") - unit("crbm1:0")).resolved(digit_model)  # two names of one unit
    with pytest.raises(ParameterError, match="divided by 0"):
        unit("crbm1:0") / 0


def test_other_numbers_make_another_term_whatever_it_is_called(
    digit_model: keras.Model, digit_patches: Patches
) -> None:
    one, other = (ob.direction("crbm1", np.eye(6)[i], tag="t") for i in range(2))
    assert len((one + other).weights) == 2
    assert len((one + one).weights) == 1
    speech = digit_patches.train.x
    clip = ob.caricature(digit_model, "crbm1", speech[0], speech[:4], tag="t")
    assert len((clip + ob.caricature(digit_model, "crbm1", speech[0], speech[4:8], tag="t")).weights) == 2
    back = ob.from_plain(*ob.to_plain([one + 2 * clip]))
    assert back[0].weights == (one + 2 * clip).weights


@pytest.mark.parametrize("number", range(1, 60))
def test_division_undoes_multiplication(number: int) -> None:
    assert ((unit("a:1") * number) / number).weights == unit("a:1").weights


def test_the_alias_of_the_first_convolution_is_its_layer(digit_model: keras.Model) -> None:
    for objective in (ob.layer("conv2d"), ob.probability("conv2d:0"), ob.free_energy("conv2d"), unit("conv2d:0")):
        assert {term.layer for term in objective.resolved(digit_model).weights} == {"crbm1"}
