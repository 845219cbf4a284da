"""A network on its way: its weights before training, after pretraining, and after fine-tuning epochs 1, 2, 4, 8, ...

Which snapshots there are can be asked without TensorFlow.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from cepscope.atomic import load_npz, save_npz
from cepscope.errors import CorruptArtifactError

UNTRAINED, PRETRAINED = "untrained", "pretrained"
NAME = re.compile(rf"{UNTRAINED}|{PRETRAINED}|epoch-[1-9]\d*")


class Snapshots:
    """Keep the weights of a network in a folder while it learns; what is learned is the same without.

    Parameters
    ----------
    network : keras.Model
    folder : path
        Gets ``NAME.npz``, written whole or not at all, the same bytes for the same weights.
    """

    def __init__(self, network: Any, folder: str | Path) -> None:
        self.network, self.folder = network, Path(folder)
        self.kept: set[str] = set()

    def keep(self, name: str) -> None:
        """Write the weights as they are now."""
        weights = {f"w{i:04d}": weight for i, weight in enumerate(self.network.get_weights())}
        save_npz(self.folder / f"{name}.npz", **weights)
        self.kept.add(name)

    def callback(self) -> Any:
        """Return the callback of `fit_classifier` that keeps the epochs whose number is a power of two.

        A training that goes on from its checkpoint ends with the same snapshots: callbacks come before the checkpoint,
        so that those of the epochs in it are there.
        """
        from cepscope.models.backend import keras

        def keep_some(epoch: int, _logs: Any) -> None:
            done = epoch + 1
            if done & epoch == 0:
                self.keep(f"epoch-{done}")

        return keras.callbacks.LambdaCallback(on_epoch_end=keep_some)

    def finish(self, epochs: int) -> list[Path]:
        """Remove what is none of a training of so many epochs; return what is left, in order.

        That is the last epoch, which is the network itself, and what another training left that was killed.
        """
        for path in snapshots_in(self.folder):
            epoch = epoch_of(path.stem)
            if epoch >= epochs or (epoch < 1 and path.stem not in self.kept):
                path.unlink()
        return snapshots_in(self.folder)


def epoch_of(name: str) -> int:
    """Return the fine-tuning epochs that a snapshot has seen; 0 after pretraining, -1 before.

    Examples
    --------
    >>> [epoch_of(name) for name in ("untrained", "pretrained", "epoch-16")]
    [-1, 0, 16]
    """
    before = {UNTRAINED: -1, PRETRAINED: 0}
    return before[name] if name in before else int(name.removeprefix("epoch-"))


def snapshots_in(folder: str | Path) -> list[Path]:
    """Return the snapshots in a folder, in the order in which they were taken; none if there is no folder."""
    found = [path for path in Path(folder).glob("*.npz") if NAME.fullmatch(path.stem)]
    return sorted(found, key=lambda path: epoch_of(path.stem))


def at_snapshot(model: Any, path: str | Path) -> Any:
    """Return a copy of a network with the weights that it had when a snapshot was taken.

    Raises
    ------
    CorruptArtifactError
        The file is damaged, or of another network.
    """
    from cepscope.models.backend import keras

    arrays = load_npz(path)
    weights = [arrays[name] for name in sorted(arrays)]
    if [w.shape for w in weights] != [np.shape(w) for w in model.get_weights()]:
        raise CorruptArtifactError(f"{path} is no snapshot of this network. Run `cepscope train` again.")
    copy = keras.models.clone_model(model)
    copy.set_weights(weights)
    return copy
