"""One step of learning from labels, on one device or shared among several; in half precision if wished for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cepscope.errors import ParameterError
from cepscope.models.backend import keras, tf
from cepscope.models.draws import Share, uniform
from cepscope.models.parallel import SharedFit, first_alone, place, replicas, summed
from cepscope.models.trainer import Averages

SCALE = 1024.0  # of the loss in half precision, whose smallest numbers are near 1e-7


class Learner(SharedFit, keras.Model):  # type: ignore[misc]
    """Train a classifier; the network is what is saved, not this.

    Made in the scope of a `tf.distribute` strategy, it takes a share of each batch on every device and does what one
    device would do, up to rounding.

    Parameters
    ----------
    network : keras.Model
        With class probabilities as output.
    scale : float
        Of the loss while gradients are computed.

    Raises
    ------
    ParameterError
        The network's dropout can't be shared.
    """

    def __init__(self, network: Any, *, scale: float = 1.0) -> None:
        super().__init__()
        self.network, self.scale = network, scale
        self._shared = None
        if self.distribute_strategy.num_replicas_in_sync > 1:
            self._shared = _with_shared_dropout(network)
        self._averages = Averages(("accuracy", "loss"))
        self.built = True

    @property
    def metrics(self) -> list[Any]:
        """Means over an epoch."""
        return [self._averages]

    def call(self, x: Any, training: bool = False) -> Any:
        """Return class probabilities."""
        return self.network(x, training=training)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Take one step on (x, probabilities of classes)."""
        x, y = data
        n = self._count(x)
        network = self.network
        if self._shared is not None:
            network = self._shared
            size = -(-n // replicas())
            _here.append((n, tf.cast(place(), n.dtype) * size))
        with tf.GradientTape() as tape:
            p = network(x, training=True)
            loss = _losses(y, p, n)
            scaled = loss * self.scale if self.scale != 1 else loss
        if self._shared is not None:
            _here.pop()
        gradients = tape.gradient(scaled, self.trainable_weights)
        if self.scale != 1:
            gradients = [gradient / self.scale for gradient in gradients]
        *gradients, loss, right = summed([*gradients, loss, _right(y, p)])
        self.optimizer.apply(first_alone(gradients), self.trainable_weights)
        return self._add(loss, right, n)

    def test_step(self, data: Any) -> dict[str, Any]:
        """Measure a batch."""
        x, y = data
        n = self._count(x)
        p = self.network(x, training=False)
        loss, right = summed([_losses(y, p, n), _right(y, p)])
        return self._add(loss, right, n)

    def _count(self, x: Any) -> Any:
        """Return how many patches the whole batch has."""
        return summed([tf.shape(x)[0]])[0]

    def _add(self, loss: Any, right: Any, n: Any) -> dict[str, Any]:
        n = tf.cast(n, loss.dtype)
        self._averages.update_state(tf.stack([right / n, loss]), n)
        return self._averages.result()


def _losses(y: Any, p: Any, n: Any) -> Any:
    losses = keras.losses.categorical_crossentropy(y, tf.cast(p, y.dtype))
    return tf.reduce_sum(losses) / tf.cast(n, losses.dtype)


def _right(y: Any, p: Any) -> Any:
    return tf.reduce_sum(tf.cast(tf.equal(tf.argmax(y, axis=-1), tf.argmax(p, axis=-1)), y.dtype))


_here: list[tuple[Any, Any]] = []  # patches of the whole batch, and the first that is ours, while a step is traced


class SharedDropout(keras.layers.Layer):  # type: ignore[misc]
    """Dropout whose noise belongs to places in the whole batch.

    Parameters
    ----------
    layer : keras.layers.Dropout
        That it stands for, with its position in the noise.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self.rate, self.seed_generator = layer.rate, layer.seed_generator

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Drop some of the inputs (n, ...)."""
        if not training or not _here:
            return inputs
        whole, first = _here[-1]
        seed = Share(self.seed_generator.next(), whole, first, -len(inputs.shape))
        kept = uniform(tf.shape(inputs), seed, dtype=inputs.dtype) >= self.rate
        return tf.where(kept, inputs * (1.0 / (1.0 - self.rate)), tf.zeros_like(inputs))


def _with_shared_dropout(network: Any) -> Any:
    """Return a network of the same layers, but for its dropout."""

    def shared(layer: Any) -> Any:
        if not isinstance(layer, keras.layers.Dropout) or not layer.rate:
            return layer
        if layer.noise_shape is not None:
            raise ParameterError(f"Dropout over whole axes can't be shared among devices. Received: {layer.name}")
        return SharedDropout(layer)

    if not any(isinstance(layer, keras.layers.Dropout) for layer in network.layers):
        return network
    return keras.models.clone_model(network, clone_function=shared)


@contextmanager
def half_precision(network: Any) -> Iterator[float]:
    """Let all layers but the last compute in half precision inside; variables stay as they are.

    Yields
    ------
    scale : float
        That the loss needs.
    """
    on_gpu = bool(tf.config.list_logical_devices("GPU"))
    policy = keras.DTypePolicy("mixed_float16" if on_gpu else "mixed_bfloat16")
    changed = [layer for layer in network.layers[:-1] if layer.dtype_policy.name == "float32"]
    before = [layer.dtype_policy for layer in changed]
    for layer in changed:
        layer.dtype_policy = policy
    try:
        yield SCALE if on_gpu else 1.0
    finally:
        for layer, own in zip(changed, before, strict=True):
            layer.dtype_policy = own
