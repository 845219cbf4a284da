"""Greedy pretraining, layer by layer, by contrastive divergence.

Hinton 2002 (CD-k) and Tieleman 2008 (persistent chains); sparsity on the hidden bias as in Lee et al. 2009 (NIPS).
The gradient of F(v_data) - F(v_model) is taken through a linear surrogate: dF/dI = -P(h | v), so with both P held
constant, -sum P_data I(v_data) + sum P_model I(v_model) has the same gradient without the log-sum-exp.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from cepscope.errors import CepscopeError, ParameterError
from cepscope.models import pooling
from cepscope.models.batches import EpochBatches
from cepscope.models.crbm import ConvolutionalRBM

Row = dict[str, float | int | str]
Progress = Callable[[str, int, int, Row], None]


@keras.saving.register_keras_serializable(package="cepscope")
class CRBMTrainer(keras.Model):  # type: ignore[misc]
    """Train one convolutional RBM; holds what only training needs: the chains and the position of the generator.

    Parameters
    ----------
    rbm : ConvolutionalRBM
    k : int
        Gibbs steps of the negative phase.
    persistent : bool
        Carry the chains over from batch to batch (PCD) instead of starting them at the data (CD).
    sparsity : float
        Mean activation that hidden units are drawn to.
    sparsity_cost : float
        Strength of that pull, on the hidden biases only.
    weight_decay : float
        L2, on the kernel.
    seed : int
        Of every draw.
    """

    def __init__(
        self,
        rbm: ConvolutionalRBM,
        *,
        k: int = 1,
        persistent: bool = False,
        sparsity: float = 0.05,
        sparsity_cost: float = 1.0,
        weight_decay: float = 1e-4,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if k < 1:
            raise ParameterError(f"`k` must be at least 1. Received: {k}")
        self.rbm, self.k, self.persistent, self.seed = rbm, k, persistent, seed
        self.sparsity, self.sparsity_cost, self.weight_decay = sparsity, sparsity_cost, weight_decay
        names = ("reconstruction_error", "free_energy_gap", "hidden_activity")
        self._means = [keras.metrics.Mean(name=name) for name in names]

    def prepare(self, batch_shape: tuple[int, ...]) -> None:
        """Create the chains and the counter for batches of that shape (n, height, width, channels)."""
        if not self.rbm.built:
            self.rbm.build((None, *batch_shape[1:]))
        self.draws = self.add_weight(name="draws", shape=(), dtype="int64", initializer="zeros", trainable=False)
        if self.persistent:
            start = keras.initializers.RandomNormal(stddev=1.0, seed=self.seed)
            self.chains = self.add_weight(name="chains", shape=batch_shape, initializer=start, trainable=False)
        self.built = True

    @property
    def metrics(self) -> list[Any]:
        """Means over an epoch."""
        return self._means

    def call(self, v: Any) -> Any:
        """Return the mean field of the pooling units."""
        return self.rbm(v)

    def _seeds(self) -> list[Any]:
        """Draw 2k new seeds, addressed by (seed, how many were drawn before)."""
        first = tf.convert_to_tensor(self.draws)
        self.draws.assign_add(2 * self.k)
        return [tf.stack([tf.cast(self.seed, tf.int64), first + i]) for i in range(2 * self.k)]

    def _negative_phase(self, v: Any) -> tuple[Any, Any]:
        """Run the chains k steps: return their states and the mean of the first step from the data."""
        seeds = self._seeds()
        state = tf.convert_to_tensor(self.chains) if self.persistent else v
        for step in range(self.k):
            state, mean = self.rbm.gibbs(state, seeds[2 * step : 2 * step + 2])
        if self.persistent:
            self.chains.assign(state)
        return tf.stop_gradient(state), mean

    def train_step(self, data: Any) -> dict[str, Any]:
        """Take one step of contrastive divergence on a batch (n, height, width, channels)."""
        rbm = self.rbm
        v, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        state, mean = self._negative_phase(v)
        with tf.GradientTape() as tape:
            loss, data_probabilities = surrogate_loss(rbm, v, state)
            loss += 0.5 * self.weight_decay * tf.reduce_sum(tf.convert_to_tensor(rbm.kernel) ** 2)
        variables = [rbm.kernel, rbm.hidden_biases, rbm.visible_biases]
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        activity = tf.reduce_mean(data_probabilities, axis=[0, 1, 2, 3])  # (filters,)
        gradients[1] += self.sparsity_cost * (activity - self.sparsity)
        self.optimizer.apply(gradients, variables)
        gap = tf.reduce_mean(rbm.free_energy(v)) - tf.reduce_mean(rbm.free_energy(state))
        error = tf.reduce_mean((rbm.crop(v) - rbm.crop(mean)) ** 2)
        for metric, value in zip(self._means, (error, gap, tf.reduce_mean(activity)), strict=True):
            metric.update_state(value)
        return {metric.name: metric.result() for metric in self._means}


def surrogate_loss(rbm: ConvolutionalRBM, v: Any, state: Any) -> tuple[Any, Any]:
    """Return a loss whose gradient is that of mean F(v) - mean F(state) per hidden unit, and P(h | v) by block."""
    visible = [rbm.crop(units) for units in (v, state)]
    blocks = [rbm.hidden_blocks(units) for units in (v, state)]
    probabilities = [tf.stop_gradient(pooling.block_probabilities(block)) for block in blocks]
    up, down = (
        tf.reduce_mean(tf.reduce_sum(p * block, axis=[1, 2, 3, 4])) for p, block in zip(probabilities, blocks, strict=True)
    )
    difference = tf.reduce_mean(visible[0], axis=0) - tf.reduce_mean(visible[1], axis=0)
    drift = tf.reduce_sum(tf.stop_gradient(difference) * rbm.visible_biases)
    places = float(np.prod(blocks[0].shape[1:4]))
    return (down - up - drift) / places, probabilities[0]
