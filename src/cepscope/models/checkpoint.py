"""State of a training, on disk: what is needed to go on after ``kill -9`` as if nothing had happened.

That is every variable (weights, optimizer slots, chains, positions of random generators, running means), the place in
the data, and the history so far. Order and shifts of the data follow from (seed, epoch), so they need not be kept.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cepscope.atomic import load_npz, save_npz
from cepscope.errors import CorruptArtifactError
from cepscope.models.backend import keras
from cepscope.models.batches import EpochBatches
from cepscope.models.cluster import this_worker
from cepscope.models.parallel import agree, scope_of
from cepscope.models.sources import PatchSource, pieces

SECONDS = 30.0  # between states of one epoch


@dataclass
class Position:
    """Where a training stands: `step` batches of epoch `epoch` (from 0) of part `part` (layer) are done."""

    part: int = 0
    epoch: int = 0
    step: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    done: bool = False


class Checkpoint:
    """The state of one training in one file. Of several workers all read it, and the first one writes it.

    Parameters
    ----------
    path : Path, optional
        None keeps nothing.
    key : str
        Of all that decides how the training goes; a file with another one is left aside, and overwritten.
    strategy : tf.distribute.Strategy, optional
        Of the training.

    Raises
    ------
    ParameterError
        The workers have not the same training before them, or not the same file.
    """

    def __init__(self, path: Path | None, key: str, strategy: Any = None) -> None:
        self.path, self.key, self.strategy = path, key, strategy
        self.arrays: dict[str, Any] = {}
        self.position = Position()
        self._read()
        if key:
            agree(strategy, "patches, network and settings", key)
        where = f"checkpoint {path}"
        agree(strategy, where, key_of(**{**self.position.__dict__, "rows": len(self.position.rows)}))

    def _read(self) -> None:
        path, key = self.path, self.key
        if path is None or not path.is_file():
            return
        try:
            arrays = load_npz(path)
            position = json.loads(str(arrays.pop("position")))
            if position.pop("key") == key:
                self.arrays, self.position = arrays, Position(**position)
        except (CorruptArtifactError, KeyError, ValueError, TypeError):
            return  # written whole or not at all, so this is no file of ours: start anew

    def save(self, position: Position, variables: Iterable[Any]) -> None:
        """Write the state, whole or not at all."""
        if self.path is None or not (self.strategy is None or this_worker().is_chief):
            return
        text = json.dumps({"key": self.key, **position.__dict__})
        save_npz(self.path, position=text, **{f"v{i}": v.numpy() for i, v in enumerate(variables)})

    def show(self, variables: Iterable[Any]) -> None:
        """Set the first variables that were saved, if there is a state; it stays to be restored."""
        if self.arrays:
            for i, variable in enumerate(variables):
                variable.assign(self.arrays[f"v{i}"])

    def restore(self, variables: Iterable[Any]) -> None:
        """Set variables, in the order in which they were saved; once, and only if there is a state."""
        self.show(variables)
        self.arrays = {}


class Keeper(keras.callbacks.Callback):  # type: ignore[misc]
    """Save the state at the end of each epoch, and within long ones; begin epochs where they were left.

    Parameters
    ----------
    checkpoint : Checkpoint
    position : Position
        Where to begin; kept up to date.
    batches : EpochBatches
    trained : keras.Model
        Compiled; its optimizer gets its slots for `learned`.
    learned, more : iterables of variables
        What the optimizer moves; what is to be kept besides the trained model's own.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        position: Position,
        batches: EpochBatches,
        trained: Any,
        *,
        learned: Iterable[Any],
        more: Iterable[Any] = (),
    ) -> None:
        super().__init__()
        self.checkpoint, self.position, self.batches = checkpoint, position, batches
        self.trained, self.more = trained, list(more)
        trained.optimizer.build(list(learned))
        self.first, self.saved = 0, time.monotonic()

    def variables(self) -> list[Any]:
        """Return everything that training changes; running means only within an epoch."""
        trained = self.trained
        means = trained.metrics_variables if self.position.step else []
        return [*self.more, *trained.variables, *trained.optimizer.variables, *means]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Draw the epoch's batches; go back to the state that was kept, if there is one."""
        self.batches.begin(epoch)
        self.position.epoch, self.first = epoch, self.position.step
        self.checkpoint.restore(self.variables())  # here, because Keras has just reset the running means

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Keep the state of a long epoch."""
        self.position.step = self.first + batch + 1
        if time.monotonic() - self.saved > SECONDS and self.position.step < len(self.batches):
            bad = getattr(self.trained, "bad_step", None)
            if bad is not None and int(bad.numpy()) >= 0:
                return  # diverged: the watch will say so, and the last good state stays
            self._save()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Keep the state."""
        self.position.epoch, self.position.step = epoch + 1, 0
        self._save()

    def _save(self) -> None:
        self.checkpoint.save(self.position, self.variables())
        self.saved = time.monotonic()


def run_epochs(keeper: Keeper, epochs: int, callbacks: list[Any], *, validation: EpochBatches | None = None) -> None:
    """Fit from where the keeper's position is up to `epochs`, an interrupted epoch first.

    `callbacks` come before the keeper, so that what they do belongs to the state that is saved.
    """
    position, batches, model = keeper.position, keeper.batches, keeper.trained
    strategy, path = keeper.checkpoint.strategy, keeper.checkpoint.path
    while position.epoch < epochs:
        settings: dict[str, Any] = {"initial_epoch": position.epoch, "epochs": epochs}
        if position.step:
            settings["epochs"] = position.epoch + 1
        if strategy is None:
            data = batches.dataset(first=position.step)
            settings["validation_data"] = validation and validation.dataset()
        else:
            data = batches.shared_dataset(strategy, epoch=position.epoch, first=position.step)
            settings["steps_per_epoch"] = len(batches) - position.step
            if validation is not None:
                settings |= {
                    "validation_data": validation.shared_dataset(strategy),
                    "validation_steps": len(validation),
                }
        with scope_of(strategy, "" if path is None else str(path)):
            model.fit(data, verbose=0, shuffle=False, callbacks=[*callbacks, keeper], **settings)
        if model.stop_training:
            break


def key_of(*arrays: Any, **settings: Any) -> str:
    """Return a key of arrays, or sources of patches, and settings: equal ones give equal keys."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for array in arrays:
        if isinstance(array, PatchSource) and not isinstance(array, np.ndarray):
            digest.update(f"{np.dtype(np.float32)}{(len(array), *array.shape)}".encode())
            for piece in pieces(array):
                digest.update(np.ascontiguousarray(piece).data)
            continue
        found = np.ascontiguousarray(array)
        digest.update(f"{found.dtype}{found.shape}".encode())
        digest.update(found.data)
    return digest.hexdigest()
