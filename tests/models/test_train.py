"""Pretraining and fine-tuning: order, augmentation, reproducibility, rows, and what they reach."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest

from cepscope.errors import CepscopeError, ParameterError
from cepscope.models import CRBMTrainer, build_cdbn, fit_classifier, pretrain
from cepscope.models.batches import EpochBatches, shifted
from cepscope.models.greedy import enough

Array = npt.NDArray[Any]


def _small(seed: int = 0) -> keras.Model:
    return build_cdbn(
        (8, 16, 1), 3, filters=(4, 6), kernel_sizes=((3, 3), (2, 3)), pool_sizes=((2, 2), (1, 2)), seed=seed
    )


# -- batches


def test_an_epoch_shows_every_patch_once_in_an_order_of_its_own(bars: Any) -> None:
    batches = EpochBatches(bars.x, bars.y, batch_size=40, seed=1)
    orders = []
    for epoch in range(2):
        batches.begin(epoch)
        assert [len(batches[i][1]) for i in range(len(batches))] == [40, 40, 40, 30]
        orders.append(batches.order)
        x, y = (np.concatenate([batches[i][j] for i in range(len(batches))]) for j in (0, 1))
        np.testing.assert_array_equal(x, bars.x[batches.order])
        np.testing.assert_array_equal(y, bars.y[batches.order])
        np.testing.assert_array_equal(np.sort(batches.order), np.arange(150))
    assert (orders[0] != orders[1]).any()


def test_order_and_shifts_depend_only_on_seed_and_epoch(bars: Any) -> None:
    walked = EpochBatches(bars.x, batch_size=50, seed=7, shift=3)
    walked.begin(2)
    walked.begin(4)
    rng = np.random.default_rng([7, 4])  # the documented address of epoch 4
    np.testing.assert_array_equal(walked.order, rng.permutation(150))
    np.testing.assert_array_equal(walked.moves, rng.integers(-3, 4, 150))
    assert len(EpochBatches(bars.x, batch_size=40, seed=7, drop_remainder=True)) == 3


def test_each_epoch_of_fine_tuning_sees_its_own_batches(bars: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras must not read ahead into an epoch that is not drawn yet, nor turn the page once too often."""
    seen: list[Array] = []
    original = EpochBatches.__getitem__

    def spy(self: EpochBatches, index: int) -> Any:
        seen.append(original(self, index)[0])
        return original(self, index)

    monkeypatch.setattr(EpochBatches, "__getitem__", spy)
    fit_classifier(_small(), bars.x, bars.y, epochs=3, batch_size=40, shift=2, seed=3)
    monkeypatch.undo()
    expected = []
    batches = EpochBatches(bars.x, batch_size=40, seed=3, shift=2)
    for epoch in range(3):
        batches.begin(epoch)
        expected += [batches[i] for i in range(len(batches))]
    for got, right in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(got, right)


@pytest.mark.parametrize("move", [-20, -3, 0, 1, 5, 20])
def test_a_shift_repeats_the_edge_and_never_wraps(move: int) -> None:
    x = np.random.default_rng(0).standard_normal((1, 3, 16, 1)).astype(np.float32)
    got = shifted(x, np.array([move]))[0, :, :, 0]
    row = x[0, :, :, 0]
    padded = np.pad(row, ((0, 0), (20, 20)), mode="edge")
    np.testing.assert_array_equal(got, padded[:, 20 - move : 36 - move])


def test_every_patch_moves_by_its_own_shift() -> None:
    x = np.random.default_rng(0).standard_normal((5, 3, 16, 1)).astype(np.float32)
    moves = np.array([0, 1, -1, 4, -4])
    expected = np.concatenate([shifted(x[i : i + 1], moves[i : i + 1]) for i in range(5)])
    np.testing.assert_array_equal(shifted(x, moves), expected)


# -- both trainings


def test_the_same_seed_gives_the_same_network_bit_for_bit(bars: Any) -> None:
    def train(seed: int) -> list[Array]:
        model = _small(seed)
        pretrain(model, bars.x, epochs=1, batch_size=32, seed=seed)
        fit_classifier(model, bars.x, bars.y, epochs=2, batch_size=32, shift=2, seed=seed)
        return [np.asarray(w) for w in model.get_weights()]

    for a, b in zip(train(1), train(1), strict=True):
        np.testing.assert_array_equal(a, b)


def test_each_layer_is_trained_on_the_mean_field_below(bars: Any) -> None:
    """Greedy pretraining equals training the two RBMs by hand, one after the other."""
    model, twin = _small(), _small()
    pretrain(model, bars.x, epochs=2, batch_size=32, learning_rate=0.01, initial_biases="constant", seed=5)
    x = bars.x
    for depth, name in enumerate(("crbm1", "crbm2")):
        rbm = twin.get_layer(name)
        rbm.visible_offsets.assign(x.mean(axis=(0, 1, 2)))
        trainer = CRBMTrainer(rbm, seed=5 + depth)
        trainer.prepare((32, *x.shape[1:]))
        trainer.compile(optimizer=keras.optimizers.Adam(0.01))
        batches = EpochBatches(x, batch_size=32, seed=5 + depth, drop_remainder=True)
        page = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs, batches=batches: batches.begin(epoch))
        trainer.fit(batches.dataset(), epochs=2, shuffle=False, verbose=0, callbacks=[page])
        x = rbm(x).numpy()
    for name in ("crbm1", "crbm2"):
        for a, b in zip(model.get_layer(name).weights, twin.get_layer(name).weights, strict=True):
            # the mean field is computed in other batches there: float32 rounding, through 8 steps of Adam
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-3, atol=1e-5)


def test_pretraining_models_the_data_better(bars: Any) -> None:
    model = _small()
    steps: list[tuple[Any, ...]] = []
    rows = pretrain(
        model, bars.x, epochs=10, batch_size=25, learning_rate=0.03, initial_biases="constant",
        progress=lambda *step: steps.append(step),
    )  # fmt: skip
    assert [(row["layer"], row["epoch"]) for row in rows] == [(f"crbm{n}", e) for n in (1, 2) for e in range(1, 11)]
    for layer, share in (("crbm1", 0.97), ("crbm2", 0.6)):  # the noise of the first layer's input can't be told
        errors = [row["reconstruction_error"] for row in rows if row["layer"] == layer]
        assert errors[-1] < share * errors[0]
    assert [step[:3] for step in steps] == [(row["layer"], row["epoch"], 10) for row in rows]
    assert [step[3] for step in steps] == rows


def test_momentum_pretrains_too(bars: Any) -> None:
    """CD-k and PCD are judged by the exact likelihood in test_trainer.py."""
    rows = pretrain(
        _small(), bars.x, epochs=8, batch_size=25, momentum=0.9, learning_rate=2.0, initial_biases="constant"
    )
    errors = [row["reconstruction_error"] for row in rows if row["layer"] == "crbm2"]
    assert errors[-1] < 0.8 * errors[0]


def test_fine_tuning_learns_the_classes_and_leaves_a_usable_model(bars: Any) -> None:
    model = _small()
    steps: list[tuple[Any, ...]] = []
    kernel = model.get_layer("crbm1").kernel.numpy()
    rows = fit_classifier(
        model, bars.x[:100], bars.y[:100], validation=(bars.x[100:], bars.y[100:]),
        epochs=25, batch_size=20, learning_rate=0.01, shift=2, progress=lambda *step: steps.append(step),
    )  # fmt: skip
    assert [row["epoch"] for row in rows] == list(range(1, 26))
    assert rows[-1]["val_accuracy"] > 0.9  # chance is .33
    assert [step[:3] for step in steps] == [("classifier", e, 25) for e in range(1, 26)]
    assert (model.get_layer("crbm1").kernel.numpy() != kernel).all()  # the RBMs are tuned too
    loss, accuracy = model.evaluate(bars.x[100:], bars.y[100:], verbose=0)
    assert accuracy == pytest.approx(rows[-1]["val_accuracy"], abs=1e-6)
    assert np.isfinite(loss)


def test_callers_callbacks_are_called(bars: Any) -> None:
    seen: list[str] = []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(f"{epoch} {sorted(logs)[0]}"))
    model = build_cdbn((8, 16, 1), 3, filters=(4,), kernel_sizes=((3, 3),), pool_sizes=((2, 2),))
    pretrain(model, bars.x, epochs=2, callbacks=[note])
    fit_classifier(model, bars.x, bars.y, epochs=2, callbacks=[note])
    assert seen == ["0 hidden_activity", "1 hidden_activity", "0 accuracy", "1 accuracy"]


def test_divergence_is_said_in_one_line(bars: Any) -> None:
    with pytest.raises(CepscopeError, match=r"diverged in epoch \d+.*not scaled"):
        fit_classifier(_small(), bars.x * np.float32(np.nan), bars.y, epochs=2)


@pytest.mark.parametrize(
    "fit", [pretrain, lambda model, x, **settings: fit_classifier(model, x, np.zeros(150), **settings)]
)
@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"epochs": -1}, "`epochs` must be a (positive|whole) number.* Received: -1"),
        ({"batch_size": 0}, "`batch_size` must be a whole number, 1 or more. Received: 0"),
        ({"batch_size": 2.5}, "`batch_size` must be a whole number, 1 or more. Received: 2.5"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be a positive number. Received: nan"),
    ],
)
def test_wrong_settings_are_refused(bars: Any, fit: Any, settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ParameterError, match=what):
        fit(_small(), bars.x, **settings)


@pytest.mark.parametrize("y", [[0, 1], [0.5] * 150, [3] * 150, [-1] * 150])
def test_classes_that_do_not_fit_are_refused(bars: Any, y: list[Any]) -> None:
    with pytest.raises(ParameterError, match="a whole number from 0 to 2"):
        fit_classifier(_small(), bars.x, np.array(y))


def test_data_that_do_not_fit_are_refused(bars: Any) -> None:
    with pytest.raises(ParameterError, match="need their classes"):
        fit_classifier(_small(), bars.x)
    with pytest.raises(ParameterError, match="must be"):
        pretrain(_small(), bars.x[..., 0])
    with pytest.raises(ParameterError, match="nothing to pretrain"):
        pretrain(keras.Sequential([keras.Input((8, 16, 1)), keras.layers.Flatten()]), bars.x)


@pytest.mark.parametrize(("batches", "expected"), [(100, 20), (40, 20), (10, 80), (1, 200)])
def test_small_corpora_are_gone_through_more_often(batches: int, expected: int) -> None:
    assert enough(20, batches) == expected
