"""Fine-tuning: the whole network, or some of its layers, learns from labels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError
from cepscope.models.backend import keras
from cepscope.models.batches import EpochBatches
from cepscope.models.checkpoint import Checkpoint, Keeper, key_of, run_epochs
from cepscope.models.checks import natural, positive, share
from cepscope.models.greedy import check_patches, enough, patches_of
from cepscope.models.learner import Learner, half_precision
from cepscope.models.parallel import scope_of, strategy_of
from cepscope.models.sources import PatchSource, source_of
from cepscope.models.watch import Progress, Row, Watch, replay

FloatArray = npt.NDArray[np.float32]
EPOCHS = 40
SHOWN = 32  # patches of a batch that is only watched


def fit_classifier(
    model: Any,
    data: Any,
    y: npt.NDArray[np.int32] | None = None,
    *,
    validation: tuple[FloatArray, npt.NDArray[np.int32]] | None = None,
    epochs: int = 0,
    batch_size: int = 64,
    learning_rate: float = 8e-3,
    label_smoothing: float = 0.1,
    shift: int = 8,
    frozen: Sequence[str] = (),
    mixed_precision: bool = False,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    callbacks: Sequence[Any] = (),
    progress: Progress | None = None,
) -> list[Row]:
    """Train the whole network with labels, or a part of it.

    The same seed gives the same weights, bit for bit, and so does a training that was killed and goes on from its
    checkpoint.

    A network that was built in the scope of `training_strategy` is trained on all its devices, to the same weights up
    to rounding: dropout too has the noise that one device would have, other layers' noise has not. Of more patches than
    `batches.WINDOW` only so many are mixed and held in memory at a time.

    The model is left compiled for whole-number classes, so that ``model.evaluate(x, y)`` and ``model.fit(x, y)`` work.

    Parameters
    ----------
    model : keras.Model
        With class probabilities as output.
    data : Patches, PatchSource or array [shape=(n, n_mfcc, frames, 1)]
        Of patches the train split is taken, and its labels, and the test split for validation. An array may be one that
        `numpy.load` maps from disk.
    y : array [shape=(n,)], optional
        Classes, if `data` does not have them.
    validation : (x, y), optional
        Only watched: nothing is chosen by it.
    epochs : int
        0 is 40, or more of a corpus that has fewer than 40 batches.
    batch_size : int
    learning_rate : float
        Highest one; it falls to zero along half a cosine.
    label_smoothing : float
        Weight of the uniform distribution in the targets.
    shift : int
        Patches are moved in time by up to this many frames.
    frozen : sequence of str
        Layers that keep their weights, as ``("crbm1", "crbm2")``.
    mixed_precision : bool
        Compute in half precision, float16 on GPUs and bfloat16 on CPUs; weights stay float32, and so do the last layer
        and the loss.
    seed : int
        Of order and shifts.
    checkpoint : path, optional
        A file that keeps the state of the training; if it is there, and of the same training, that goes on.
    callbacks : sequence of keras.callbacks.Callback
    progress : callable, optional
        Called after each epoch with ("classifier", epoch, epochs, row), of a training that goes on first for those
        before.

    Returns
    -------
    list of dict
        One row an epoch: stage, epoch, loss, accuracy, val_loss, val_accuracy.
    """
    natural(epochs=epochs, shift=shift, seed=seed)
    natural(1, batch_size=batch_size)
    positive(learning_rate=learning_rate)
    share(label_smoothing=label_smoothing)
    source = patches_of(data)
    if y is None:
        y = data.train.y if hasattr(data, "train") else source.y
        if y is None:
            raise ParameterError("Patches need their classes `y`, which an array does not bring. Received: y=None")
        if validation is None and hasattr(data, "test") and len(data.test.y):
            validation = (data.test.x, data.test.y)
    classes, held_out = int(model.output_shape[-1]), None if validation is None else source_of(validation[0])
    for name, given, own in (("data", source, y), ("validation", held_out, validation and validation[1])):
        if given is not None:
            check_patches(name, given, model)
            _classes_fit(given, own, classes)
    names = [layer.name for layer in model.layers]
    if unknown := [name for name in frozen if name not in names]:
        raise ParameterError(f"`frozen` must name layers of the model: {', '.join(names)}. Received: {unknown[0]!r}")
    targets = _smooth(y, classes, label_smoothing)
    batches = EpochBatches(source, targets, batch_size=batch_size, seed=seed, shift=shift)
    epochs = epochs or enough(EPOCHS, len(batches))
    key, strategy = "", strategy_of(model)
    if checkpoint is not None or strategy is not None:
        settings = {"epochs": epochs, "rate": learning_rate, "batch": batch_size, "shift": shift, "seed": seed}
        settings |= {"mixed_precision": mixed_precision}
        key = key_of(source, targets, *model.get_weights(), **settings, frozen=list(frozen), config=model.get_config())
    kept = Checkpoint(None if checkpoint is None else Path(checkpoint), key, strategy)
    free = [layer for layer in model.layers if layer.name in frozen and layer.trainable]
    for layer in free:
        layer.trainable = False
    try:
        with half_precision(model) if mixed_precision else nullcontext(1.0) as scale:
            with scope_of(strategy):
                learner = Learner(model, scale=scale)
                schedule = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * len(batches))
                learner.compile(optimizer=keras.optimizers.Adam(schedule), jit_compile=False)
                keeper = Keeper(kept, kept.position, batches, learner, learned=learner.trainable_variables)
            shown = None
            if validation is not None and held_out is not None:
                right = _smooth(validation[1], classes, 0.0)
                shown = EpochBatches(held_out, right, batch_size=SHOWN, seed=None)
            replay(kept.position.rows, progress)
            watch = Watch("fine-tuning", "classifier", epochs, kept.position.rows, progress)
            kept.show(keeper.variables())  # if no epoch is left
            run_epochs(keeper, epochs, [watch, *callbacks], validation=shown)
    finally:
        for layer in free:
            layer.trainable = True
    with scope_of(strategy):
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    return kept.position.rows


def _classes_fit(x: PatchSource, y: Any, classes: int) -> None:
    y = np.asarray(y)
    fits = y.shape == (len(x),) and y.size and np.issubdtype(y.dtype, np.integer)
    if not fits or y.min() < 0 or y.max() >= classes:
        span = f"{y.min()} to {y.max()}" if y.size else "none"
        raise ParameterError(
            f"Each of the {len(x)} patches needs a class, a whole number from 0 to {classes - 1}. "
            f"Received: {y.dtype} of shape {y.shape}, values {span}"
        )


def _smooth(y: npt.NDArray[np.int32], classes: int, weight: float) -> FloatArray:
    return ((1 - weight) * np.eye(classes, dtype=np.float32)[y] + weight / classes).astype(np.float32)
