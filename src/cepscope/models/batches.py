"""Training data in an order, and with shifts, that depend only on (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.models.backend import tf


class EpochBatches:
    """Batches of patches of one epoch; `begin` draws the next.

    Parameters
    ----------
    x : array [shape=(n, height, width, channels)]
    y : array [shape=(n, ...)], optional
        Classes, or their probabilities.
    batch_size : int
        The last batch of an epoch may be smaller.
    seed : int
        Of order and shifts.
    shift : int
        Each patch is moved in time by a random whole number of frames, at most this many, its edge frame repeated.
    drop_remainder : bool
        Leave out the last batch of an epoch if it is smaller.
    """

    def __init__(
        self,
        x: npt.NDArray[np.float32],
        y: npt.NDArray[Any] | None = None,
        *,
        batch_size: int,
        seed: int,
        shift: int = 0,
        drop_remainder: bool = False,
    ) -> None:
        self.x, self.y = x, y
        self.batch_size, self.seed, self.shift = min(batch_size, len(x)), seed, shift
        self.drop_remainder = drop_remainder
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Draw the order and the shifts of an epoch."""
        rng = np.random.default_rng([self.seed, epoch])
        self.order = rng.permutation(len(self.x))
        self.moves = rng.integers(-self.shift, self.shift + 1, len(self.x))

    def __len__(self) -> int:
        whole, rest = divmod(len(self.x), self.batch_size)
        return whole + (rest > 0 and not self.drop_remainder)

    def __getitem__(self, index: int) -> Any:
        place = slice(index * self.batch_size, (index + 1) * self.batch_size)
        chosen = self.order[place]
        x = shifted(self.x[chosen], self.moves[place]) if self.shift else self.x[chosen]
        return x if self.y is None else (x, self.y[chosen])

    def dataset(self, *, first: int = 0) -> Any:
        """Return the epoch, from batch `first` on, as a `tf.data.Dataset` for `keras.Model.fit`.

        Each pass over it is the epoch that was begun last. It is read by the thread that trains: a queue filled by
        another costs more than these small batches take to cut.
        """
        n = self.batch_size if self.drop_remainder else None
        signature = tf.TensorSpec((n, *self.x.shape[1:]), self.x.dtype)
        if self.y is not None:
            signature = (signature, tf.TensorSpec((n, *self.y.shape[1:]), self.y.dtype))

        def rest() -> Iterator[Any]:
            for index in range(first, len(self)):
                yield self[index]

        data = tf.data.Dataset.from_generator(rest, output_signature=signature)
        options = tf.data.Options()
        options.autotune.enabled = False
        return data.apply(tf.data.experimental.assert_cardinality(len(self) - first)).with_options(options)


def shifted(x: npt.NDArray[np.float32], moves: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Move each patch (n, height, width, channels) in time by its own number of frames, its edge frame repeated.

    Examples
    --------
    >>> x = np.arange(4, dtype=np.float32).reshape(1, 1, 4, 1)
    >>> shifted(x, np.array([1]))[0, 0, :, 0]
    array([0., 0., 1., 2.], dtype=float32)
    """
    frames = np.clip(np.arange(x.shape[2])[None] - moves[:, None], 0, x.shape[2] - 1)  # (n, width)
    return np.take_along_axis(x, frames[:, None, :, None], axis=2)
