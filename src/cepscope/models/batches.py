"""Training data in an order, and with shifts, that depend only on (seed, epoch)."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.models.backend import tf
from cepscope.models.cluster import this_worker
from cepscope.models.sources import RUN, ArraySource, PatchSource, in_memory

WINDOW = 65_536  # patches that are mixed with each other, and of a corpus on disk those that are in memory at once


class EpochBatches:
    """Batches of patches of one epoch; `begin` draws the next.

    Corpora of up to `WINDOW` patches are mixed as a whole. Of larger ones runs of neighbours are drawn, and those that
    make up a window are mixed: a corpus on disk is read in long runs, and only one window of it is in memory.

    Parameters
    ----------
    x : array [shape=(n, height, width, channels)] or PatchSource
    y : array [shape=(n, ...)], optional
        Classes, or their probabilities.
    batch_size : int
        The last batch of an epoch may be smaller.
    seed : int, optional
        Of order and shifts; None leaves the order as it is.
    shift : int
        Each patch is moved in time by a random whole number of frames, at most this many, its edge frame repeated.
    drop_remainder : bool
        Leave out the last batch of an epoch if it is smaller.
    """

    def __init__(
        self,
        x: Any,
        y: npt.NDArray[Any] | None = None,
        *,
        batch_size: int,
        seed: int | None,
        shift: int = 0,
        drop_remainder: bool = False,
    ) -> None:
        self.source: PatchSource = ArraySource(x) if isinstance(x, np.ndarray) else x
        self.x, self.y = in_memory(self.source), y
        self.batch_size, self.seed, self.shift = min(batch_size, len(self.source)), seed, shift
        self.drop_remainder = drop_remainder
        self.window, self.held = WINDOW, -1
        self.block = np.empty(0, np.float32)
        self.own, self.replicas = range(1), 1  # devices that read here, of how many
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Draw the order and the shifts of an epoch."""
        n = len(self.source)
        if self.seed is None:
            self.order, self.moves = np.arange(n), np.zeros(n, np.int64)
            return
        rng = np.random.default_rng([self.seed, epoch])
        self.order = rng.permutation(n) if n <= self.window else _mixed(n, self.window, rng)
        self.moves = rng.integers(-self.shift, self.shift + 1, n)
        if n > self.window or len(self.own) < self.replicas:
            self.held = -1

    def __len__(self) -> int:
        whole, rest = divmod(len(self.source), self.batch_size)
        return whole + (rest > 0 and not self.drop_remainder)

    def __getitem__(self, index: int) -> Any:
        begin = index * self.batch_size
        return self._cut(slice(begin, min(begin + self.batch_size, len(self.order))))

    def share(self, index: int, replica: int) -> Any:
        """Return what one of several devices takes of a batch: all as many, of which the last ones may lack some."""
        begin = index * self.batch_size
        end = min(begin + self.batch_size, len(self.order))
        size = -(-(end - begin) // self.replicas)
        return self._cut(slice(min(begin + replica * size, end), min(begin + (replica + 1) * size, end)))

    def _cut(self, place: slice) -> Any:
        chosen = self.order[place]
        x = self._patches(place)
        if self.shift:
            x = shifted(x, self.moves[place])
        return x if self.y is None else (x, self.y[chosen])

    def _patches(self, place: slice) -> npt.NDArray[np.float32]:
        """Return the patches at some places of the epoch."""
        if self.x is not None:
            there: npt.NDArray[np.float32] = self.x[self.order[place]]
            return there
        found = np.empty((place.stop - place.start, *self.source.shape), np.float32)
        for number in range(place.start // self.window, -(-place.stop // self.window)):
            begin = max(place.start, number * self.window)
            end = min(place.stop, (number + 1) * self.window)
            self._hold(number)
            rows = np.searchsorted(self.indices, self.order[begin:end])
            found[begin - place.start : end - place.start] = self.block[rows]
        return found

    def _hold(self, number: int) -> None:
        """Read a window, in the order of the corpus, unless it is in memory."""
        if number != self.held:
            self.block = np.empty(0, np.float32)  # so that two are never in memory
            places = np.arange(number * self.window, min((number + 1) * self.window, len(self.order)))
            self.indices = np.sort(self.order[places[self._ours(places)]])
            self.block, self.held = self.source.read(self.indices), number

    def _ours(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Tell which places of the epoch fall to the devices that read here."""
        batch, within = np.divmod(places, self.batch_size)
        size = -(-np.minimum(self.batch_size, len(self.order) - batch * self.batch_size) // self.replicas)
        ours: npt.NDArray[np.bool_] = (within >= self.own.start * size) & (within < self.own.stop * size)
        return ours

    def dataset(self, *, first: int = 0) -> Any:
        """Return the epoch, from batch `first` on, as a `tf.data.Dataset` for `keras.Model.fit`.

        Each pass over it is the epoch that was begun last. It is read by the thread that trains: a queue filled by
        another costs more than these small batches take to cut.
        """

        def rest() -> Iterator[Any]:
            for index in range(first, len(self)):
                yield self[index]

        return self._dataset(rest, len(self) - first)

    def shared_dataset(self, strategy: Any, *, epoch: int = 0, first: int = 0) -> Any:
        """Return all epochs from batch `first` of `epoch` on, for `fit` under a strategy, without an end.

        Each worker reads what its own devices take of every batch, and may read ahead. Without an end, because else
        workers would ask each other before each step whether they have one.
        """
        local = len(strategy.extended.worker_devices)
        reader = copy.copy(self)  # epochs that are read need not be those that are trained
        reader.replicas = strategy.num_replicas_in_sync
        reader.own = range(this_worker().index * local, (this_worker().index + 1) * local)

        def all_epochs() -> Iterator[Any]:
            for number in itertools.count(epoch):
                reader.begin(number)
                for index in range(first if number == epoch else 0, len(reader)):
                    for replica in reader.own:
                        yield reader.share(index, replica)

        return strategy.distribute_datasets_from_function(
            lambda _context: reader._dataset(all_epochs, tf.data.INFINITE_CARDINALITY)
        )

    def _dataset(self, generate: Callable[[], Iterator[Any]], count: int) -> Any:
        n = self.batch_size // self.replicas if self.drop_remainder else None
        signature = tf.TensorSpec((n, *self.source.shape), tf.float32)
        if self.y is not None:
            signature = (signature, tf.TensorSpec((n, *self.y.shape[1:]), self.y.dtype))
        data = tf.data.Dataset.from_generator(generate, output_signature=signature)
        options = tf.data.Options()
        options.autotune.enabled = False
        return data.apply(tf.data.experimental.assert_cardinality(count)).with_options(options)


def _mixed(n: int, window: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return an order of n patches: runs of neighbours at random, patches of one window at random."""
    run = max(1, min(RUN, window // 4))
    starts = rng.permutation(-(-n // run)) * run
    order = np.concatenate([np.arange(start, min(start + run, n)) for start in starts])
    return np.concatenate([rng.permutation(order[begin : begin + window]) for begin in range(0, n, window)])


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
