"""Greedy pretraining of a CDBN: its RBMs one after the other, from the bottom up, without labels."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError
from cepscope.models import batches as batching
from cepscope.models.backend import keras, tf
from cepscope.models.batches import EpochBatches
from cepscope.models.checkpoint import Checkpoint, Keeper, key_of, run_epochs
from cepscope.models.checks import natural, not_negative, positive
from cepscope.models.crbm import ConvolutionalRBM
from cepscope.models.diagnostics import SOME
from cepscope.models.parallel import scope_of, strategy_of
from cepscope.models.sources import ArraySource, PatchSource, in_memory, pieces, some, source_of
from cepscope.models.trainer import SMALLEST_SCALE, CRBMTrainer
from cepscope.models.watch import Progress, RBMWatch, Row, replay

FloatArray = npt.NDArray[np.float32]
EPOCHS = 3
FULL = 40  # batches: below it, epochs are added
MOST = 10  # times the epochs, for tiny corpora
BIAS_PATCHES, BIAS_STEPS, BIAS_RANGE = 64, 24, 30.0
STARTING = 2048  # patches that offsets and first biases are measured on, of corpora that are not held in memory
ROWS = 256  # patches that go through a layer at once


def pretrain(
    model: Any,
    data: Any,
    *,
    epochs: int = 0,
    batch_size: int = 64,
    learning_rate: Any = 1e-3,
    momentum: float | tuple[float, float, int] | None = None,
    optimizer: Any = None,
    k: int = 1,
    persistent: bool = False,
    fast_learning_rate: float = 0.0,
    visible_noise: bool = True,
    sparsity: float = 0.05,
    sparsity_cost: float = 1.0,
    sparsity_kind: str = "bias",
    weight_decay: float = 1e-4,
    bias_rate: float = 1.0,
    learn_scales: bool = False,
    initial_biases: str = "data",
    center: bool = True,
    held_out: npt.ArrayLike | None = None,
    patience: int = 0,
    likelihood_every: int = 0,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    callbacks: Sequence[Any] = (),
    progress: Progress | None = None,
) -> list[Row]:
    """Train the RBMs of a CDBN layer by layer, without labels.

    Each layer learns the pooled mean field of the one below it. The same seed gives the same weights, bit for bit, and
    so does a training that was killed and goes on from its checkpoint.

    A network that was built in the scope of `training_strategy` is trained on all its devices, to the same weights up
    to rounding. Of more patches than `batches.WINDOW` only so many are mixed and held in memory at a time.

    Parameters
    ----------
    model : keras.Model
        From `build_cdbn`.
    data : Patches, PatchSource or array [shape=(n, n_mfcc, frames, 1)]
        Of patches the train split is taken. An array may be one that `numpy.load` maps from disk.
    epochs : int
        For each layer; 0 is 3, or more of a corpus that has fewer than 40 batches.
    batch_size : int
    learning_rate : float or keras.optimizers.schedules.LearningRateSchedule
    momentum : float or (float, float, int), optional
        Plain gradient descent with this momentum instead of Adam, or with the first until an epoch and then the second;
        it needs a far larger learning rate, about 1.
    optimizer : keras.optimizers.Optimizer, optional
        Another one; each layer gets its own copy. `learning_rate` and `momentum` are not used then.
    k, persistent, fast_learning_rate, visible_noise, sparsity, sparsity_cost, sparsity_kind, weight_decay, bias_rate, \
learn_scales
        See `CRBMTrainer`.
    initial_biases : {"data", "constant"}
        ``"data"`` starts visible biases at the mean of the data (Hinton 2010, section 8) and hidden biases where
        hidden units are as active as `sparsity` says; ``"constant"`` leaves those of the model.
    center : bool
        Set the offsets of visible units, and of hidden ones in layers that have them, to their first mean.
    held_out : array [shape=(m, n_mfcc, frames, 1)], optional
        Patches for the free-energy gap; of `Patches` the test split, without its labels.
    patience : int
        Stop a layer after so many epochs in a row with a free-energy gap above its lowest; 0 never does.
    likelihood_every : int
        Add the log likelihood of held-out patches (nats a patch, by annealed importance sampling, so high rather than
        low) to every so many rows; it takes longer than an epoch of a small corpus. 0 never does.
    seed : int
        Of order and draws.
    checkpoint : path, optional
        A file that keeps the state of the training; if it is there, and of the same training, that goes on. Of several
        workers the first one writes it and all read it.
    callbacks : sequence of keras.callbacks.Callback
        What they keep for themselves is not in the checkpoint.
    progress : callable, optional
        Called after each epoch with (layer, epoch, epochs, row), of a training that goes on first for those before.

    Returns
    -------
    list of dict
        One row an epoch: stage, epoch, layer, reconstruction_error, hidden_activity, update_norm, and what
        `layer_diagnostics` measures.

    Raises
    ------
    CepscopeError
        If the training diverges: says in which layer and step, and why perhaps. If another worker is lost.
    """
    natural(1, batch_size=batch_size, k=k)
    natural(epochs=epochs, patience=patience, likelihood_every=likelihood_every, seed=seed)
    momentum = _momentum(momentum)
    if initial_biases not in ("data", "constant"):
        raise ParameterError(f"`initial_biases` must be data or constant. Received: {initial_biases!r}")
    if optimizer is None:
        optimizer = _optimizer(learning_rate, momentum)
    elif not isinstance(optimizer, keras.optimizers.Optimizer):
        raise ParameterError(f"`optimizer` must be a keras.optimizers.Optimizer. Received: {optimizer!r}")
    else:
        momentum = None
    source, unseen = patches_of(data), _held_out(data, held_out)
    if patience and unseen is None:
        raise ParameterError("`patience` watches the free-energy gap, which needs `held_out` patches.")
    rbms = [layer for layer in model.layers if isinstance(layer, ConvolutionalRBM)]
    if not rbms:
        raise ParameterError("The model has no ConvolutionalRBM layer, so there is nothing to pretrain.")
    not_negative(weight_decay=weight_decay, sparsity_cost=sparsity_cost, fast_learning_rate=fast_learning_rate)
    _check_together(rbms, sparsity=sparsity, learn_scales=learn_scales, likelihood_every=likelihood_every)
    if sparsity_kind == "cross_entropy" and any(rbm.hidden != "binary" for rbm in rbms):
        raise ParameterError("The cross-entropy of activities needs binary hidden units; take sparsity_kind='bias'.")
    for name, given in (("data", source), ("held_out", unseen)):
        if given is not None:
            check_patches(name, given, model)
            if rbms[0].visible == "binary":
                _check_binary(name, given)
    training: dict[str, Any] = {
        "k": k,
        "persistent": persistent,
        "fast_learning_rate": fast_learning_rate,
        "visible_noise": visible_noise,
        "sparsity": sparsity,
        "sparsity_cost": sparsity_cost,
        "sparsity_kind": sparsity_kind,
        "weight_decay": weight_decay,
        "bias_rate": bias_rate,
        "learn_scales": learn_scales,
    }
    key, strategy = "", strategy_of(model)
    if checkpoint is not None or strategy is not None:
        started = [value for rbm in rbms for value in rbm.get_weights()]
        rest = {"biases": initial_biases, "center": center, "patience": patience, "epochs": epochs, "seed": seed}
        rest |= {"batch": batch_size, "optimizer": {**optimizer.get_config(), "name": type(optimizer).__name__}}
        rest |= {"momentum": momentum, "likelihood_every": likelihood_every}
        rest |= {"layers": [{**rbm.get_config(), "name": ""} for rbm in rbms]}  # automatic names count up
        rest |= {"variables": [tuple(variable.shape) for variable in model.variables]}
        unlabelled = [] if unseen is None else [unseen]
        key = key_of(source, *unlabelled, *started, **training, **rest)
    kept = Checkpoint(None if checkpoint is None else Path(checkpoint), key, strategy)
    position = kept.position
    rows = position.rows
    replay(rows, progress)
    kept.show(model.variables)  # the layers that were trained, to feed those above
    if position.done:
        return rows
    seen = Seen(source, unseen)
    for depth, rbm in enumerate(rbms):
        if depth >= position.part:
            own = {**training, "learn_scales": learn_scales and rbm.visible == "gaussian"}
            batches = EpochBatches(seen.source, batch_size=batch_size, seed=seed + depth, drop_remainder=True)
            rounds = epochs or enough(EPOCHS, len(batches))
            if not kept.arrays:
                _start(
                    rbm, seen.whole(), depth, seed=seed + depth, sparsity=sparsity, biases=initial_biases, center=center
                )
            with scope_of(strategy):
                trainer = CRBMTrainer(rbm, **own, below=seen.below, seed=seed + depth)
                trainer.prepare((batches.batch_size, *seen.shape))
                trainer.compile(optimizer=type(optimizer).from_config(optimizer.get_config()))
                keeper = Keeper(kept, position, batches, trainer, learned=trainer.learned, more=model.variables)
            change = momentum if isinstance(momentum, tuple) else None
            watch = RBMWatch(
                trainer,
                rounds,
                rows,
                progress,
                data=seen.source,
                some=seen.some(SOME),
                held_out=seen.unseen,
                patience=patience,
                momentum=change,
                likelihood_every=likelihood_every,
            )
            if not watch.gap_grew():
                run_epochs(keeper, rounds, [watch, *callbacks])
            kept.arrays = {}
            position.part, position.epoch, position.step = depth + 1, 0, 0
        if depth + 1 < len(rbms):
            seen.climb(rbm)
    position.done = True
    kept.save(position, model.variables)
    return rows


class Seen:
    """What a layer sees of the patches: those of one window are brought up to it, those of more with each batch.

    Parameters
    ----------
    source : PatchSource
    unseen : PatchSource, optional
        Held out.
    """

    def __init__(self, source: PatchSource, unseen: PatchSource | None) -> None:
        if len(source) <= batching.WINDOW and in_memory(source) is None:
            source = ArraySource(source.read(np.arange(len(source))))
        self.source, self.shape = source, tuple(source.shape)
        self.below: list[ConvolutionalRBM] = []
        self.unseen = None if unseen is None else unseen.read(np.arange(min(SOME, len(unseen))))

    def whole(self) -> FloatArray:
        """Return all patches as the layer sees them; of more than one window, many from all over."""
        held = in_memory(self.source)
        return held if held is not None and len(held) <= batching.WINDOW else self.some(STARTING)

    def some(self, count: int) -> FloatArray:
        """Return at most so many patches from all over, as the layer sees them."""
        found = some(self.source, count)
        for rbm in self.below:
            found = represent(rbm, found)
        return found

    def climb(self, rbm: ConvolutionalRBM) -> None:
        """Go on to the layer above."""
        held = in_memory(self.source)
        if held is not None and len(held) <= batching.WINDOW:
            self.source = ArraySource(represent(rbm, held))
        else:
            self.below = [*self.below, rbm]
        self.unseen = None if self.unseen is None else represent(rbm, self.unseen)
        self.shape = tuple(rbm.compute_output_shape((None, *self.shape))[1:])


def represent(rbm: ConvolutionalRBM, x: FloatArray) -> FloatArray:
    """Return the pooled mean field of patches (n, height, width, channels)."""
    run = tf.function(rbm, reduce_retracing=True)
    return np.concatenate([np.asarray(run(x[begin : begin + ROWS])) for begin in range(0, len(x), ROWS)])


def _start(rbm: Any, x: FloatArray, depth: int, *, seed: int, sparsity: float, biases: str, center: bool) -> None:
    """Set offsets and first biases from the data (n, height, width, channels), above rectified units scales too."""
    mean = x.mean(axis=(0, 1, 2))
    if center:
        rbm.visible_offsets.assign(mean)
    few = x[np.random.default_rng(seed).permutation(len(x))[:BIAS_PATCHES]]
    if biases == "data":
        if rbm.visible == "gaussian":
            rbm.visible_biases.assign(mean)
            if depth:  # patches have unit variance, what rectified units give has far less
                spread = np.maximum(x.std(axis=(0, 1, 2)), SMALLEST_SCALE)
                rbm.kernel.assign(rbm.kernel.numpy() * spread[:, None])  # so that hidden inputs keep their size
                rbm.visible_scales.assign(spread)
        else:
            safe = np.clip(mean, 0.01, 0.99)
            rbm.visible_biases.assign(np.log(safe / (1 - safe)))
        low, high = np.full(rbm.filters, -BIAS_RANGE), np.full(rbm.filters, BIAS_RANGE)
        for _ in range(BIAS_STEPS):  # activity grows with the bias, so halving the interval finds it
            rbm.hidden_biases.assign((low + high) / 2)
            active = np.asarray(rbm.mean_hiddens(few)).mean(axis=(0, 1, 2)) > sparsity
            high, low = np.where(active, (low + high) / 2, high), np.where(active, low, (low + high) / 2)
    if center and rbm.center_hidden:
        rbm.hidden_offsets.assign(np.asarray(rbm.mean_hiddens(few)).mean(axis=(0, 1, 2)))


def _optimizer(learning_rate: Any, momentum: float | tuple[float, float, int] | None) -> Any:
    if not isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        positive(learning_rate=learning_rate)
    if momentum is None:
        return keras.optimizers.Adam(learning_rate)
    # Keras makes no slots for a momentum of 0, which may come first; the watch sets that of each epoch
    first = max(momentum[:2]) if isinstance(momentum, tuple) else momentum
    return keras.optimizers.SGD(learning_rate, momentum=first)


def _momentum(given: float | Sequence[float] | None) -> float | tuple[float, float, int] | None:
    if given is None:
        return None
    values = tuple(given) if isinstance(given, list | tuple) else (given, given, 0)
    numbers_ok = len(values) == 3 and all(isinstance(value, numbers.Real) for value in values)
    if not numbers_ok or not all(0 <= float(value) < 1 for value in values[:2]) or values[2] < 0:
        raise ParameterError(f"`momentum` must be from 0 to below 1, or (early, late, epoch). Received: {given}")
    early, late = float(values[0]), float(values[1])
    return (early, late, int(values[2])) if isinstance(given, list | tuple) else early


def _check_together(
    rbms: Sequence[ConvolutionalRBM], *, sparsity: float, learn_scales: bool, likelihood_every: int
) -> None:
    """Refuse before the first layer what one of the layers can't do."""
    if learn_scales and not any(rbm.visible == "gaussian" for rbm in rbms):
        raise ParameterError("Only Gaussian visible units have scales to learn. Received: learn_scales=True")
    if likelihood_every and any(rbm.hidden != "binary" for rbm in rbms):
        raise ParameterError("`likelihood_every` needs binary hidden units; leave it at 0 for rectified ones.")
    for rbm in rbms:
        units = rbm.pool_size[0] * rbm.pool_size[1]
        most = 1 / units if rbm.hidden == "binary" else math.inf
        if not 0 < sparsity < most:
            raise ParameterError(
                f"`sparsity` must be above 0 and, in {rbm.name}, where one unit of {units} is on at most, "
                f"below {most:g}. Received: {sparsity}"
            )


def patches_of(data: Any) -> PatchSource:
    """Return the patches to train on (n, n_mfcc, frames, 1): the train split of `Patches`, a source, or an array."""
    return source_of(data.train.x if hasattr(data, "train") else data)


def _held_out(data: Any, held_out: Any) -> PatchSource | None:
    if held_out is None:
        return source_of(data.test.x) if hasattr(data, "test") and len(data.test.x) else None
    return source_of(held_out)


def check_patches(name: str, source: PatchSource, model: Any) -> None:
    """Refuse patches that the model does not take."""
    shape = tuple(model.inputs[0].shape[1:])
    if tuple(source.shape) != shape:
        raise ParameterError(
            f"Patches of `{name}` must be (n, {', '.join(map(str, shape))}), as the model takes. "
            f"Received: {(len(source), *source.shape)}"
        )


def _check_binary(name: str, source: PatchSource) -> None:
    ends = np.array([(piece.min(), piece.max()) for piece in pieces(source)])
    low, high = ends[:, 0].min(), ends[:, 1].max()
    if low < 0 or high > 1:
        raise ParameterError(
            f"Binary visible units take patches in 0 to 1. Received: `{name}` from {low:.3g} to "
            f'{high:.3g}. Rescale them, or take visible="gaussian".'
        )


def enough(epochs: int, batches: int) -> int:
    """Return epochs that make about as many steps on a small corpus as `epochs` do on one of `FULL` batches."""
    return min(max(epochs, math.ceil(epochs * FULL / batches)), MOST * epochs)
