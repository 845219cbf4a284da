"""What the options of training do, and what stands in the history."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest

from cepscope.errors import CepscopeError, NotFittedError, ParameterError
from cepscope.models import (
    CDBNTransformer,
    ConvolutionalRBM,
    CRBMTrainer,
    build_cdbn,
    build_cnn,
    fit_classifier,
    pretrain,
)
from cepscope.models.diagnostics import layer_diagnostics, redundancy, treves_rolls

Array = npt.NDArray[Any]


def _small(**settings: Any) -> keras.Model:
    return build_cdbn(
        (8, 16, 1), 3, filters=(4, 6), kernel_sizes=((3, 3), (2, 3)), pool_sizes=((2, 2), (1, 2)), seed=0, **settings
    )


def _one(**settings: Any) -> keras.Model:
    """Return the same with its first layer only: each layer costs seconds to compile."""
    return build_cdbn((8, 16, 1), 3, filters=(4,), kernel_sizes=((3, 3),), pool_sizes=((2, 2),), seed=0, **settings)


@pytest.mark.parametrize(
    ("target", "hidden"),
    [
        (0.2, "binary"),
        (0.05, "relu"),
        *(pytest.param(*rest, marks=pytest.mark.slow) for rest in ((0.05, "binary"), (0.2, "relu"))),
    ],
)
def test_hidden_units_start_as_active_as_they_should_be(bars: Any, target: float, hidden: str) -> None:
    model = _small(hidden=hidden)
    rows = pretrain(model, bars.x, epochs=1, learning_rate=1e-9, sparsity=target, batch_size=50)
    # 64 patches tell the activity of all to a few percent
    assert [row["hidden_activity"] for row in rows] == pytest.approx([target, target], rel=0.25)
    assert model.get_layer("crbm1").visible_biases.numpy() == pytest.approx(bars.x.mean(), abs=1e-6)


def test_offsets_are_the_first_means(bars: Any) -> None:
    model = _one(center_hidden=True)
    pretrain(model, bars.x, epochs=1, learning_rate=1e-9, sparsity=0.1, batch_size=50)
    assert model.get_layer("crbm1").hidden_offsets.numpy() == pytest.approx([0.1] * 4, abs=1e-3)
    plain = _one(center_hidden=True)
    pretrain(plain, bars.x, epochs=1, learning_rate=1e-9, center=False)
    assert not plain.get_layer("crbm1").hidden_offsets.numpy().any()
    assert not plain.get_layer("crbm1").visible_offsets.numpy().any()


@pytest.mark.parametrize(
    ("factor", "rate", "cause"),
    [
        (1.0, 1e30, "the learning rate is too high"),
        (1e4, 1e25, "the patches are not scaled"),
        (np.nan, 1.0, "not finite"),
    ],
)
def test_divergence_names_layer_step_and_cause_and_costs_no_weights(
    bars: Any, factor: float, rate: float, cause: str
) -> None:
    model = _one()
    with pytest.raises(CepscopeError, match=rf"crbm1 diverged .*(at step \d+|in epoch 1).*{cause}.*are kept"):
        pretrain(
            model, bars.x * np.float32(factor), epochs=30, momentum=0.9, learning_rate=rate, initial_biases="constant"
        )
    assert all(np.isfinite(w).all() for w in model.get_layer("crbm1").get_weights()[:2])


def test_training_stops_when_the_gap_opens(bars: Any) -> None:
    """Held-out patches of another kind: what is learned of the others makes them ever less likely."""
    other = np.random.default_rng(1).normal(0, 1, (50, 8, 16, 1)).astype(np.float32)
    rows = pretrain(_small(), bars.x, held_out=other, epochs=40, learning_rate=0.02, patience=2)
    for layer in ("crbm1", "crbm2"):
        gaps = [row["free_energy_gap"] for row in rows if row["layer"] == layer]
        assert len(gaps) < 40
        assert min(gaps[-2:]) > min(gaps)
    with pytest.raises(ParameterError, match="needs `held_out`"):
        pretrain(_small(), bars.x, patience=2)


def test_scales_are_learned() -> None:
    """Data of standard deviation .5 without structure: the scale comes down to it from 1."""
    x = np.random.default_rng(0).normal(0, 0.5, (400, 6, 10, 1)).astype(np.float32)
    rbm = ConvolutionalRBM(2, (3, 3))
    trainer = CRBMTrainer(rbm, learn_scales=True)
    trainer.prepare((50, 6, 10, 1))
    trainer.compile(keras.optimizers.Adam(0.02))
    trainer.fit(x, batch_size=50, epochs=25, verbose=0)
    assert rbm.visible_scales.numpy()[0] == pytest.approx(0.5, abs=0.05)


def test_cross_entropy_draws_the_activity_to_its_target_too(bars: Any) -> None:
    settings: dict[str, Any] = {"sparsity": 0.1, "sparsity_kind": "cross_entropy", "sparsity_cost": 3.0}
    rows = pretrain(_one(), bars.x, epochs=30, learning_rate=0.01, initial_biases="constant", **settings)
    first = [row["hidden_activity"] for row in rows if row["layer"] == "crbm1"]
    assert abs(first[-1] - 0.1) < 0.03 < abs(first[0] - 0.1)


def test_momentum_changes_and_other_optimizers_work(bars: Any) -> None:
    seen: list[float] = []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(note.model.optimizer.momentum))
    pretrain(_one(), bars.x, epochs=4, learning_rate=0.1, momentum=(0.5, 0.9, 2), callbacks=[note])
    assert seen == [0.5, 0.5, 0.9, 0.9]
    model = _one()
    before = model.get_layer("crbm1").kernel.numpy()
    pretrain(model, bars.x, epochs=1, optimizer=keras.optimizers.RMSprop(0.01))
    assert (model.get_layer("crbm1").kernel.numpy() != before).all()


def test_the_likelihood_stands_in_the_history(bars: Any) -> None:
    rows = pretrain(_one(), bars.x, held_out=bars.x[:40], epochs=4, learning_rate=0.02, likelihood_every=2)
    assert ["log_likelihood" in row for row in rows] == [False, True, False, True]
    assert rows[3]["log_likelihood"] > rows[1]["log_likelihood"] - 1  # nats; it learns, and AIS errs a little


def test_frozen_layers_keep_their_weights(bars: Any) -> None:
    model = _small()
    before = {name: model.get_layer(name).get_weights() for name in ("crbm1", "crbm2", "logits")}
    fit_classifier(model, bars.x, bars.y, epochs=2, frozen=["crbm1"])
    np.testing.assert_array_equal(model.get_layer("crbm1").kernel.numpy(), before["crbm1"][0])
    assert (model.get_layer("crbm2").kernel.numpy() != before["crbm2"][0]).any()
    assert model.get_layer("crbm1").trainable
    with pytest.raises(ParameterError, match="must name layers of the model"):
        fit_classifier(model, bars.x, bars.y, frozen=["conv"])


def test_a_plain_network_of_the_same_shape(bars: Any) -> None:
    model = build_cnn((8, 16, 1), 3, filters=(4, 6), kernel_sizes=((3, 3), (2, 3)), pool_sizes=((2, 2), (1, 2)), seed=0)
    ours = _small()
    assert model.get_layer("logits").kernel.shape == ours.get_layer("logits").kernel.shape
    rows = fit_classifier(model, bars.x, bars.y, validation=(bars.x[:50], bars.y[:50]), epochs=20, batch_size=20)
    assert rows[-1]["val_accuracy"] > 0.9  # chance is .33


def test_rectified_layers_learn(bars: Any) -> None:
    rows = pretrain(_one(hidden="relu"), bars.x, epochs=15, learning_rate=0.01, batch_size=25)
    errors = [row["reconstruction_error"] for row in rows if row["layer"] == "crbm1"]
    assert errors[-1] < 0.95 * errors[0]


def test_diagnostics_of_known_filters() -> None:
    """One filter that never answers, one that always does, one that is a copy of it, moved."""
    rbm = ConvolutionalRBM(4, (2, 3), pool_size=(1, 1))
    rbm.build((None, 5, 9, 1))
    kernel = np.zeros((2, 3, 1, 4), np.float32)
    kernel[:, 0, 0, 1] = kernel[:, 2, 0, 2] = 1e-3
    kernel[0, :, 0, 3] = [1.0, -2.0, 1.0]
    rbm.kernel.assign(kernel)
    rbm.hidden_biases.assign([-9.0, 9.0, 0.0, 0.0])
    x = np.random.default_rng(0).standard_normal((30, 5, 9, 1)).astype(np.float32)
    found = layer_diagnostics(rbm, x, x + 1)
    assert (found["dead_filters"], found["saturated_filters"]) == (1, 1)
    assert found["weight_norm"] == pytest.approx(np.linalg.norm(kernel), rel=1e-5)
    exact = float(rbm.free_energy(x + 1).numpy().mean() - rbm.free_energy(x).numpy().mean())
    assert found["free_energy_gap"] == pytest.approx(exact, rel=1e-4)
    assert redundancy(kernel)[[0, 1, 2]] == pytest.approx([0, 1, 1], abs=1e-6)


def test_sparseness_of_known_activity() -> None:
    a = np.random.default_rng(0).random((20_000, 1))
    assert treves_rolls(a)[0] == pytest.approx(1 - 0.25 / (1 / 3), abs=0.01)  # of uniform numbers
    assert treves_rolls(np.zeros((5, 1)))[0] == 1


def test_options_that_contradict_are_refused(bars: Any) -> None:
    for settings, message in (
        ({"fast_learning_rate": 0.1}, "needs `persistent`"),
        ({"sparsity_kind": "l1"}, "`sparsity_kind` must be one of"),
        ({"initial_biases": "zero"}, "`initial_biases` must be data or constant"),
    ):
        with pytest.raises(ParameterError, match=message):
            pretrain(_small(), bars.x, **settings)
    with pytest.raises(ParameterError, match="Only Gaussian"):
        pretrain(_small(visible="binary"), (bars.x > 1).astype(np.float32), learn_scales=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sparsity": 0.3}, "one unit of 4"),
        ({"sparsity": 0.0}, "above 0"),
        ({"sparsity": float("nan")}, "above 0"),
        ({"momentum": 1.5}, "momentum"),
        ({"momentum": (0.1, 0.9)}, "early, late, epoch"),
        ({"patience": -1}, "patience"),
        ({"epochs": 2.5}, "epochs"),
        ({"seed": -1}, "seed"),
        ({"optimizer": "adam"}, "optimizer"),
        ({"held_out": np.zeros((4, 8, 20, 1))}, "held_out"),
        ({"k": 1.5}, "`k`"),
        ({"learning_rate": "fast"}, "`learning_rate`"),
        ({"momentum": "a"}, "momentum"),
        ({"weight_decay": -1.0}, "`weight_decay`"),
    ],
)
def test_what_no_layer_can_do_is_refused_before_the_first(settings: dict[str, Any], message: str, bars: Any) -> None:
    with pytest.raises(ParameterError, match=message):
        pretrain(_small(), bars.x, **{"epochs": 1, **settings})


def test_transposed_patches_and_late_refusals_come_first(bars: Any) -> None:
    with pytest.raises(ParameterError, match="as the model takes"):
        pretrain(_small(), np.swapaxes(bars.x, 1, 2), epochs=1)
    with pytest.raises(ParameterError, match="binary hidden"):
        pretrain(_small(hidden="relu"), bars.x, epochs=2, likelihood_every=2)
    with pytest.raises(ParameterError, match="scales to learn"):
        pretrain(_small(visible="binary"), bars.x, epochs=1, learn_scales=True)


def test_binary_units_take_only_what_is_in_their_range(bars: Any) -> None:
    with pytest.raises(ParameterError, match="in 0 to 1"):
        pretrain(_one(visible="binary"), bars.x, epochs=1)
    rows = pretrain(_one(visible="binary"), (bars.x > 1).astype(np.float32), epochs=1)
    assert np.isfinite(rows[-1]["reconstruction_error"])
    with pytest.raises(ParameterError, match="standardize=False"):
        CDBNTransformer(visible="binary").fit(np.zeros((8, 12)) + np.arange(12))
    with pytest.raises(ParameterError, match="binary hidden units"):
        pretrain(_one(hidden="relu"), bars.x, epochs=1, sparsity_kind="cross_entropy")


def test_momentum_is_not_used_with_an_optimizer(bars: Any) -> None:
    one, two = _one(), _one()
    pretrain(one, bars.x, epochs=2, optimizer=keras.optimizers.Adam(1e-3), momentum=(0.5, 0.9, 1))
    pretrain(two, bars.x, epochs=2, optimizer=keras.optimizers.Adam(1e-3))
    np.testing.assert_array_equal(one.get_layer("crbm1").kernel, two.get_layer("crbm1").kernel)


def test_double_precision_trains_too(bars: Any) -> None:
    keras.config.set_dtype_policy("float64")
    try:
        model = _one()
    finally:
        keras.config.set_dtype_policy("float32")
    rows = pretrain(model, bars.x, epochs=1)
    assert model.get_layer("crbm1").kernel.dtype == "float64"
    assert np.isfinite(rows[-1]["reconstruction_error"])


def test_a_trainer_says_what_it_was_not_told(bars: Any) -> None:
    trainer = CRBMTrainer(ConvolutionalRBM(2, (3, 3)))
    with pytest.raises(NotFittedError, match="prepare"):
        trainer.gradients(bars.x[:4])
    trainer.prepare((4, *bars.x.shape[1:]))
    with pytest.raises(ParameterError, match=r"Batches must be \(4, 8, 16, 1\).* Received: \(3, 8, 16, 1\)"):
        trainer.gradients(bars.x[:3])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": "turned"}, "`data` must be"),
        ({"validation": "turned"}, "`validation` must be"),
        ({"validation": "none"}, "n at least 1"),
        ({"seed": -1}, "`seed`"),
        ({"shift": 1.5}, "`shift`"),
        ({"epochs": 2.5}, "`epochs`"),
        ({"label_smoothing": 3.0}, "`label_smoothing`"),
    ],
)
def test_labels_are_checked_before_they_are_learned_from(settings: dict[str, Any], message: str, bars: Any) -> None:
    turned = np.swapaxes(bars.x, 1, 2)
    given: dict[str, Any] = {"data": bars.x, "validation": (bars.x[:9], bars.y[:9])}
    kinds = {"data": {"turned": turned}, "validation": {"turned": (turned, bars.y), "none": (bars.x[:0], bars.y[:0])}}
    given |= {name: kinds[name][value] if name in kinds else value for name, value in settings.items()}
    with pytest.raises(ParameterError, match=message):
        fit_classifier(_small(), given.pop("data"), bars.y, **given)


def test_scales_are_learned_where_there_are_any(bars: Any) -> None:
    model = _small()
    pretrain(model, bars.x, epochs=2, learning_rate=1e-2, learn_scales=True)
    assert not np.allclose(model.get_layer("crbm1").visible_scales.numpy(), 1)
    assert np.isfinite(model.get_layer("crbm2").kernel.numpy()).all()


def test_momentum_may_begin_at_zero(bars: Any) -> None:
    def kernel(momentum: Any, epochs: int) -> Array:
        model = _one()
        pretrain(model, bars.x, epochs=epochs, learning_rate=0.1, momentum=momentum)
        return np.array(model.get_layer("crbm1").kernel)

    np.testing.assert_array_equal(kernel((0.0, 0.9, 1), 1), kernel(0.0, 1))
    assert not np.array_equal(kernel((0.0, 0.9, 1), 2), kernel(0.0, 2))


def test_patches_that_hardly_vary_are_not_called_divergence(bars: Any) -> None:
    rows = pretrain(_one(), np.full_like(bars.x, 3.0), epochs=1)
    assert np.isfinite(rows[-1]["reconstruction_error"])
