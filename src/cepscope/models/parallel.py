"""Several devices that train one network: each takes its share of every batch, all take the same step.

What the devices found is added up, so each knows the sums over the whole batch, computes the same update from them and
holds the same weights. With one device nothing is added and nothing is different.
"""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from cepscope.errors import CepscopeError, ParameterError
from cepscope.models.backend import held_back, keras, tf
from cepscope.models.cluster import VARIABLE, this_worker

# what TensorFlow raises where a worker that it was talking to is gone
LOST = (
    *(tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.InternalError),
    *(tf.errors.DeadlineExceededError, tf.errors.FailedPreconditionError, tf.errors.UnknownError),
)
_made: list[Any] = []  # the strategy of several workers, of which a process can have one


def training_strategy() -> Any:
    """Return how this process shares its training with other devices, as `tf.distribute` has it.

    Under TF_CONFIG that is a `MultiWorkerMirroredStrategy` of all workers, for which this waits; with several GPUs, or
    several CPU devices that were configured, a `MirroredStrategy` of them; else None. A network that is to be trained
    so is built in its scope::

        strategy = training_strategy()
        with scope_of(strategy):
            model = build_cdbn(patches.input_shape, patches.classes)
        pretrain(model, patches)

    Raises
    ------
    CepscopeError
        The workers don't find each other, or TensorFlow was used before.
    ParameterError
        TF_CONFIG is no list of workers.
    """
    worker = this_worker()
    if worker.count == 1:
        for kind in ("GPU", "CPU"):
            devices = tf.config.list_logical_devices(kind)
            if len(devices) > 1:
                return tf.distribute.MirroredStrategy([device.name for device in devices])
            if devices:
                break
        return None
    if not _made:
        try:
            with held_back(), _ended_by_signals():
                _made.append(tf.distribute.MultiWorkerMirroredStrategy())
        except RuntimeError as error:
            raise CepscopeError(
                "The workers of a training must find each other before TensorFlow computes anything: call "
                f"`training_strategy` first. TensorFlow says: {_first_line(error)}"
            ) from error
        except tf.errors.OpError as error:
            raise CepscopeError(
                f"Worker {worker.index} of {worker.count} can't reach the others that {VARIABLE} names: start all of "
                f"them, each with its own index. TensorFlow says: {_first_line(error)}"
            ) from error
    return _made[0]


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let Ctrl-C end the process while TensorFlow waits for workers; until they are there no handler of ours runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def scope_of(strategy: Any, kept: str = "") -> Iterator[None]:
    """Make variables that belong to a strategy; of None, ordinary ones.

    All workers must do the same in it. If one is lost, `kept` says from where the training goes on when it is started
    again.

    Raises
    ------
    CepscopeError
        Another worker is lost.
    """
    if strategy is None:
        yield
        return
    with lost_worker(strategy, kept), strategy.scope():
        yield


def strategy_of(model: Any) -> Any:
    """Return the strategy in whose scope a network was built; None if it has one device."""
    found = [getattr(variable.value, "distribute_strategy", None) for variable in model.variables]
    own = [one for one in found if one is not None and isinstance(one, tf.distribute.Strategy)]
    return own[0] if own and own[0].num_replicas_in_sync > 1 else None


def on_one_device(model: Any) -> Any:
    """Return a network that belongs to no strategy, outside of its scope: itself, or a copy with all its state."""
    if strategy_of(model) is None:
        return model
    copy = keras.models.clone_model(model)
    for one, other in zip(copy.layers, model.layers, strict=True):
        for mine, given in zip(one.variables, other.variables, strict=True):
            mine.assign(given.numpy())
    if settings := model.get_compile_config():
        copy.compile_from_config(settings)
    return copy


def replicas() -> int:
    """Return among how many devices a batch is shared, within a step."""
    context = tf.distribute.get_replica_context()
    return int(context.num_replicas_in_sync) if context is not None else 1


def place() -> Any:
    """Return which of them this is."""
    return tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int64)


def summed(values: Sequence[Any]) -> list[Any]:
    """Add up tensors over all devices, within a step; each has the sums."""
    if replicas() == 1:
        return list(values)
    return list(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, list(values)))


def first_alone(gradients: Sequence[Any]) -> list[Any]:
    """Keep on the first device what all have, and give zeros on the others: Keras' optimizers add up over devices."""
    if replicas() == 1:
        return list(gradients)
    return [tf.where(place() == 0, gradient, tf.zeros_like(gradient)) for gradient in gradients]


class SharedFit:
    """Mixed into a `keras.Model` whose steps know of devices: `fit` and `evaluate` run them on all.

    Keras would average what every step gives over the workers, one message a number, where all have the same numbers.
    """

    def make_train_function(self, force: bool = False) -> Any:
        """Return the function that takes the next step."""
        return self._make("train", force)

    def make_test_function(self, force: bool = False) -> Any:
        """Return the function that measures the next batch."""
        return self._make("test", force)

    def _maybe_symbolic_build(self, *_batch: Any, **_batches: Any) -> None:
        """Do nothing: these models are built, and devices' shares that differ in size can't be averaged for it."""

    def _make(self, kind: str, force: bool) -> Any:
        strategy = self.distribute_strategy  # type: ignore[attr-defined]
        if strategy.num_replicas_in_sync == 1:
            return getattr(super(), f"make_{kind}_function")(force)
        name = f"{kind}_function"
        if getattr(self, name) is None or force:
            setattr(self, name, _on_all(strategy, getattr(self, f"{kind}_step")))
        return getattr(self, name)


def _on_all(strategy: Any, step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    run = tf.function(lambda batch: strategy.run(step, args=(batch,)), reduce_retracing=True)

    def function(iterator: Any) -> Any:
        found = run(next(iterator))
        return keras.tree.map_structure(lambda value: strategy.experimental_local_results(value)[0], found)

    return function


def agree(strategy: Any, what: str, digest: str) -> None:
    """Refuse to train where the workers have not all got the same.

    Parameters
    ----------
    strategy : tf.distribute.Strategy or None
    what : str
        What they must have in common, for the message.
    digest : str
        Of it, in hexadecimal.
    """
    if strategy is None or this_worker().count == 1:
        return
    worker = this_worker()
    mine = np.frombuffer(bytes.fromhex(digest)[:8], np.uint8).astype(np.int32)
    table = np.zeros((worker.count, 8), np.int32)
    table[worker.index] = mine
    with lost_worker(strategy):
        found = add_up(strategy, table)
    other = [i for i, row in enumerate(found) if (row != found[0]).any()]
    if other:
        raise ParameterError(
            f"All workers must have the same {what}. Received: worker {other[0]} has not got what worker 0 has; start "
            "all with the same command, on the same files"
        )


def chief_says(strategy: Any, answer: bool) -> bool:
    """Return the first worker's answer, so that all do the same; every worker must call it."""
    worker = this_worker()
    if strategy is None or strategy.num_replicas_in_sync == 1 or worker.count == 1:
        return answer
    with lost_worker(strategy):
        return bool(add_up(strategy, np.int32(answer and worker.is_chief)))


def add_up(strategy: Any, value: Any) -> Any:
    """Return the sum of each worker's array, outside of a step; every worker must call it."""

    def total(value: Any) -> Any:
        context = tf.distribute.get_replica_context()
        first = context.replica_id_in_sync_group % len(strategy.extended.worker_devices) == 0
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.where(first, value, tf.zeros_like(value)))

    found = tf.function(lambda value: strategy.run(total, args=(value,)))(tf.constant(value))
    return strategy.experimental_local_results(found)[0].numpy()


@contextmanager
def lost_worker(strategy: Any, kept: str = "") -> Iterator[None]:
    """Say in one line that another worker is gone; `kept` as in `scope_of`."""
    worker = this_worker()
    if strategy is None or worker.count == 1:
        yield
        return
    try:
        yield
    except LOST as error:
        lost = f"Worker {1 - worker.index}" if worker.count == 2 else f"A worker other than {worker.index}"
        raise CepscopeError(
            f"{lost} of {worker.count} was lost. Start all workers again with the same command"
            f"{f': training goes on from {kept}' if kept else ''}. TensorFlow says: {_first_line(error)}"
        ) from error


def _first_line(error: BaseException) -> str:
    text = re.sub(r"\{\{.*?\}\}", "", str(error))  # the place in its graph
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)[:160]
