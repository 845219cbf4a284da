"""Train a CDBN: greedy pretraining of its RBMs without labels, then fine-tuning of the whole network with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import CepscopeError, CorruptArtifactError, NotFittedError, ParameterError
from cepscope.models.backend import keras
from cepscope.models.batches import EpochBatches
from cepscope.models.crbm import ConvolutionalRBM
from cepscope.models.trainer import CRBMTrainer

FloatArray = npt.NDArray[np.float32]
Row = dict[str, Any]
PRETRAIN_EPOCHS, EPOCHS = 3, 20
FULL = 40  # batches: below it, epochs are added
MOST = 10  # times the epochs, for tiny corpora

Progress = Callable[[str, int, int, Row], None]  # layer or "classifier", epoch, epochs, the epoch's row


def pretrain(
    model: Any,
    data: Any,
    *,
    epochs: int = 0,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    momentum: float | None = None,
    k: int = 1,
    persistent: bool = False,
    sparsity: float = 0.05,
    sparsity_cost: float = 1.0,
    weight_decay: float = 1e-4,
    seed: int = 0,
    callbacks: Sequence[Any] = (),
    progress: Progress | None = None,
) -> list[Row]:
    """Train the RBMs of a CDBN layer by layer, without labels.

    Each layer learns the pooled mean field of the one below it.

    Parameters
    ----------
    model : keras.Model
        From `build_cdbn`.
    data : Patches or array [shape=(n, n_mfcc, frames, 1)]
        Of patches the train split is taken.
    epochs : int
        For each layer; 0 is 3, or more of a corpus that has fewer than 40 batches.
    batch_size : int
    learning_rate : float
        Of Adam.
    momentum : float, optional
        Plain gradient descent with this momentum instead of Adam; it needs a far larger learning rate, about 1.
    k, persistent, sparsity, sparsity_cost, weight_decay
        See `CRBMTrainer`.
    seed : int
        Of order and draws.
    callbacks : sequence of keras.callbacks.Callback
    progress : callable, optional
        Called after each epoch with (layer, epoch, epochs, row).

    Returns
    -------
    list of dict
        One row an epoch: stage, epoch, layer, reconstruction_error, free_energy_gap, hidden_activity.

    Raises
    ------
    CepscopeError
        If the training diverges.
    """
    _positive(epochs=epochs or 1, batch_size=batch_size, learning_rate=learning_rate)
    x = _patches(data)
    rows: list[Row] = []
    rbms = [layer for layer in model.layers if isinstance(layer, ConvolutionalRBM)]
    if not rbms:
        raise ParameterError("The model has no ConvolutionalRBM layer, so there is nothing to pretrain.")
    for depth, rbm in enumerate(rbms):
        trainer = CRBMTrainer(
            rbm,
            k=k,
            persistent=persistent,
            sparsity=sparsity,
            sparsity_cost=sparsity_cost,
            weight_decay=weight_decay,
            seed=seed + depth,
        )
        batches = EpochBatches(x, batch_size=batch_size, seed=seed + depth, drop_remainder=True)
        rounds = epochs or _enough(PRETRAIN_EPOCHS, len(batches))
        rbm.visible_offsets.assign(x.mean(axis=(0, 1, 2)))
        optimizer = (
            keras.optimizers.Adam(learning_rate)
            if momentum is None
            else keras.optimizers.SGD(learning_rate, momentum=momentum)
        )
        trainer.prepare((batches.batch_size, *x.shape[1:]))
        trainer.compile(optimizer=optimizer, jit_compile=False)
        watch = _Watch(rbm.name, "pretraining", rounds, batches, rows, progress)
        trainer.fit(batches, epochs=rounds, verbose=0, shuffle=False, callbacks=[watch, *callbacks])
        if depth + 1 < len(rbms):
            x = trainer.predict(x, batch_size=256, verbose=0)
    return rows


def fit_classifier(
    model: Any,
    data: Any,
    y: npt.NDArray[np.int32] | None = None,
    *,
    validation: tuple[FloatArray, npt.NDArray[np.int32]] | None = None,
    epochs: int = 0,
    batch_size: int = 64,
    learning_rate: float = 4e-3,
    label_smoothing: float = 0.1,
    shift: int = 8,
    seed: int = 0,
    callbacks: Sequence[Any] = (),
    progress: Progress | None = None,
) -> list[Row]:
    """Train the whole network with labels; the same seed gives the same weights, bit for bit.

    The model is left compiled for whole-number classes, so that ``model.evaluate(x, y)`` and ``model.fit(x, y)`` work.

    Parameters
    ----------
    model : keras.Model
        With class probabilities as output.
    data : Patches or array [shape=(n, n_mfcc, frames, 1)]
        Of patches the train split is taken, and its labels, and the test split for validation.
    y : array [shape=(n,)], optional
        Classes, if `data` is an array.
    validation : (x, y), optional
        Only watched: nothing is chosen by it.
    epochs : int
        0 is 20, or more of a corpus that has fewer than 40 batches.
    batch_size : int
    learning_rate : float
        Highest one; it falls to zero along half a cosine.
    label_smoothing : float
        Weight of the uniform distribution in the targets.
    shift : int
        Patches are moved in time by up to this many frames.
    seed : int
        Of order and shifts.
    callbacks : sequence of keras.callbacks.Callback
    progress : callable, optional
        Called after each epoch with ("classifier", epoch, epochs, row).

    Returns
    -------
    list of dict
        One row an epoch: stage, epoch, loss, accuracy, val_loss, val_accuracy.
    """
    _positive(epochs=epochs or 1, batch_size=batch_size, learning_rate=learning_rate)
    x = _patches(data)
    if y is None:
        if not hasattr(data, "train"):
            raise ParameterError("An array of patches needs its classes `y`. Received: y=None")
        y = data.train.y
        if validation is None and len(data.test.y):
            validation = (data.test.x, data.test.y)
    classes = int(model.output_shape[-1])
    _classes_fit(x, y, classes)
    if validation is not None:
        _classes_fit(validation[0], validation[1], classes)
    batches = EpochBatches(x, _smooth(y, classes, label_smoothing), batch_size=batch_size, seed=seed, shift=shift)
    epochs = epochs or _enough(EPOCHS, len(batches))
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * len(batches))
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss="categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )
    rows: list[Row] = []
    watch = _Watch("classifier", "fine-tuning", epochs, batches, rows, progress)
    held_out = None if validation is None else (validation[0], _smooth(validation[1], classes, 0.0))
    model.fit(
        batches,
        epochs=epochs,
        validation_data=held_out,
        verbose=0,
        shuffle=False,
        callbacks=[watch, *callbacks],
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    return rows


def load_model(path: str | Path) -> Any:
    """Load a ``.keras`` file in safe mode: no code of the file's own is run.

    Raises
    ------
    NotFittedError
        If there is no such file.
    CorruptArtifactError
        If it can't be read.
    """
    if not Path(path).is_file():
        raise NotFittedError(f"There is no model at {path}. Run `cepscope train` first.")
    try:
        return keras.models.load_model(path, safe_mode=True)
    except (ValueError, OSError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CorruptArtifactError(f"{path} can't be loaded as a Keras model: {reason}") from error


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Give each epoch its batches, collect its row, report it, and stop when the loss is no longer a number."""

    def __init__(
        self, layer: str, stage: str, epochs: int, batches: EpochBatches, rows: list[Row], progress: Progress | None
    ) -> None:
        super().__init__()
        self.layer, self.stage, self.epochs, self.batches = layer, stage, epochs, batches
        self.rows, self.progress = rows, progress

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self.batches.begin(epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        row: Row = {"stage": self.stage, "epoch": epoch + 1}
        if self.stage == "pretraining":
            row["layer"] = self.layer
        row |= {name: float(value) for name, value in (logs or {}).items()}
        bad = [name for name, value in row.items() if isinstance(value, float) and not np.isfinite(value)]
        if bad:
            raise CepscopeError(
                f"Training of {self.layer} diverged in epoch {epoch + 1}: {bad[0]} is not finite. "
                "Take a smaller learning rate, and check that the patches are scaled."
            )
        self.rows.append(row)
        if self.progress:
            self.progress(self.layer, epoch + 1, self.epochs, row)


def _patches(data: Any) -> FloatArray:
    x = data.train.x if hasattr(data, "train") else np.asarray(data, np.float32)
    if x.ndim != 4 or not len(x):
        raise ParameterError(f"Patches must be (n, n_mfcc, frames, 1), n at least 1. Received: {x.shape}")
    return np.asarray(x, np.float32)


def _classes_fit(x: npt.ArrayLike, y: npt.ArrayLike, classes: int) -> None:
    y = np.asarray(y)
    if y.shape != np.shape(x)[:1] or not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() >= classes:
        span = f"{y.min()} to {y.max()}" if y.size else "none"
        raise ParameterError(
            f"Each of the {len(np.asarray(x))} patches needs a class, a whole number from 0 to {classes - 1}. "
            f"Received: {y.dtype} of shape {y.shape}, values {span}"
        )


def _enough(epochs: int, batches: int) -> int:
    """Return epochs that make about as many steps on a small corpus as `epochs` do on one of `FULL` batches."""
    return min(max(epochs, math.ceil(epochs * FULL / batches)), MOST * epochs)


def _positive(**settings: float) -> None:
    for name, value in settings.items():
        if not (np.isfinite(value) and value > 0):
            raise ParameterError(f"`{name}` must be a positive number. Received: {value}")


def _smooth(y: npt.NDArray[np.int32], classes: int, weight: float) -> FloatArray:
    return ((1 - weight) * np.eye(classes, dtype=np.float32)[y] + weight / classes).astype(np.float32)
