"""What goes on during training: history rows, progress, and stopping in time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import CepscopeError
from cepscope.models.ais import base_rates, log_likelihood, log_partition
from cepscope.models.backend import keras, tf
from cepscope.models.diagnostics import SOME, layer_diagnostics
from cepscope.models.parallel import chief_says
from cepscope.models.sources import PatchSource, pieces

Row = dict[str, Any]
Progress = Callable[[str, int, int, Row], None]  # layer or "classifier", epoch, epochs, the epoch's row
FloatArray = npt.NDArray[np.float32]

LOOK = 50  # batches between looks for numbers that are no longer finite
RUNAWAY = 100.0  # reconstruction error over the variance of the data
CHAINS, STEPS = 64, 300  # of the likelihood
UNSCALED = 30.0  # largest visible unit that standardised patches may have


def replay(rows: list[Row], progress: Progress | None) -> None:
    """Report the epochs of a training that goes on, so that whoever watches it has them all."""
    if progress:
        for row in rows:
            progress(row.get("layer", "classifier"), row["epoch"], row["epoch"], row)


class Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Collect one row an epoch and report it.

    Parameters
    ----------
    stage : {"pretraining", "fine-tuning"}
    name : str
        Of what is trained.
    epochs : int
        In all.
    rows : list of dict
        Where rows are added.
    progress : callable, optional
    """

    def __init__(self, stage: str, name: str, epochs: int, rows: list[Row], progress: Progress | None) -> None:
        super().__init__()
        self.stage, self.name, self.epochs, self.rows, self.progress = stage, name, epochs, rows, progress

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add the row."""
        row: Row = {"stage": self.stage, "epoch": epoch + 1, **self.measure(logs or {})}
        bad = [name for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)]
        if bad:
            self.diverged(f"in epoch {epoch + 1}: {bad[0]} is not finite")
        self.rows.append(row)
        if self.progress:
            self.progress(self.name, epoch + 1, self.epochs, row)

    def measure(self, logs: Row) -> Row:
        """Return the epoch's numbers."""
        return {name: float(value) for name, value in logs.items()}

    def diverged(self, where: str) -> None:
        """Raise the error that says so."""
        raise CepscopeError(
            f"Training of the {self.name} diverged {where}. Likely cause: the learning rate is too high, or the "
            "patches are not scaled."
        )


class RBMWatch(Watch):
    """Watch the training of one RBM: diagnostics each epoch, early stopping, and divergence.

    When training diverges, the RBM gets back the weights that it had after the last whole epoch.

    Parameters
    ----------
    epochs, rows, progress
        As in `Watch`.
    data : PatchSource
        Trained on.
    some : array [shape=(k, height, width, channels)]
        Some of it, as the layer sees it.
    held_out : array [shape=(m, height, width, channels)], optional
        Of the same layer.
    patience : int
        Stop after so many epochs in a row in which the free-energy gap was above its lowest value; 0 never does.
    momentum : (float, float, int), optional
        Momentum at first, later, and from which epoch on.
    likelihood_every : int
        Estimate the log likelihood every so many epochs; 0 never does.
    """

    def __init__(
        self,
        trainer: Any,
        epochs: int,
        rows: list[Row],
        progress: Progress | None,
        *,
        data: PatchSource,
        some: FloatArray,
        held_out: FloatArray | None = None,
        patience: int = 0,
        momentum: tuple[float, float, int] | None = None,
        likelihood_every: int = 0,
    ) -> None:
        super().__init__("pretraining", trainer.rbm.name, epochs, rows, progress)
        self.rbm, self.data, self.held_out = trainer.rbm, data, held_out
        self.patience, self.momentum, self.likelihood_every = patience, momentum, likelihood_every
        self.some = some
        self.good: list[Any] = []
        self.looked = 0

    def on_train_batch_begin(self, batch: int, logs: Row | None = None) -> None:  # noqa: ARG002
        """Remember the weights at the beginning of each epoch."""
        if batch == 0:
            self.good, self.looked = self.rbm.get_weights(), 0

    def on_epoch_begin(self, epoch: int, logs: Row | None = None) -> None:  # noqa: ARG002
        """Change the momentum when it is time."""
        if self.momentum is not None:
            early, late, change = self.momentum
            now = early if epoch < change else late
            if self.model.optimizer.momentum != now:
                self.model.optimizer.momentum = now
                self.model.make_train_function(force=True)  # momentum is a constant of the compiled step

    def on_train_batch_end(self, batch: int, logs: Row | None = None) -> None:  # noqa: ARG002
        """Look from time to time whether all is finite."""
        if batch - self.looked >= LOOK:
            self.looked = batch
            self._check()

    def on_epoch_end(self, epoch: int, logs: Row | None = None) -> None:
        """Add the row, if all is well; stop if it no longer gets better."""
        self._check()
        error = float((logs or {}).get("reconstruction_error", 0.0))
        # of patches that hardly vary, what the units' own noise causes is no divergence
        noise = float(np.max(self.rbm.visible_scales.numpy())) ** 2 if self.rbm.visible == "gaussian" else 0.25
        if error > RUNAWAY * max(float(self.some.var()), 1e-2 * noise):
            self.diverged(f"in epoch {epoch + 1}: its reconstruction error is {error:.3g}")
        super().on_epoch_end(epoch, logs)
        if self.patience and chief_says(self.model.distribute_strategy, self.gap_grew()):
            self.model.stop_training = True

    def measure(self, logs: Row) -> Row:
        """Return the epoch's numbers and the layer's diagnostics."""
        row = {"layer": self.name, **super().measure(logs), **layer_diagnostics(self.rbm, self.some, self.held_out)}
        epoch = 1 + sum(row.get("layer") == self.name for row in self.rows)
        if self.likelihood_every and epoch % self.likelihood_every == 0:
            v = self.some if self.held_out is None else self.held_out[:SOME]
            base = base_rates(self.rbm, self.some)
            found = log_partition(self.rbm, v.shape[1:], chains=CHAINS, steps=STEPS, base=base)
            row["log_likelihood"] = log_likelihood(self.rbm, v, found)
        return row

    def gap_grew(self) -> bool:
        """Tell whether the free-energy gap has been above its lowest value for as long as the patience lasts."""
        if not self.patience:
            return False
        gaps = [row["free_energy_gap"] for row in self.rows if row.get("layer") == self.name]
        return len(gaps) > self.patience and min(gaps[-self.patience :]) > min(gaps)

    def _check(self) -> None:
        step = int(self.model.bad_step.numpy())
        if step >= 0:
            self.diverged(f"at step {step + 1}: a gradient is not finite")

    def diverged(self, where: str) -> None:
        """Give back the last good weights and raise the error that says so."""
        grown = float(tf.norm(tf.convert_to_tensor(self.rbm.kernel))) / max(float(np.linalg.norm(self.good[0])), 1e-12)
        self.rbm.set_weights(self.good)
        largest = float(np.max([np.abs(piece).max() for piece in pieces(self.data)]))
        if not math.isfinite(largest):
            cause = "the patches hold numbers that are not finite"
        elif largest > UNSCALED and self.rbm.visible == "gaussian":
            cause = f"the patches are not scaled (largest value {largest:.3g}, of standardised ones about 5)"
        else:
            cause = f"the learning rate is too high (weights grew {grown:.3g} times within an epoch)"
        raise CepscopeError(
            f"Training of {self.name} diverged {where}. Likely cause: {cause}. "
            "The weights from before this epoch, or from where it was taken up again, are kept."
        )
