"""Greedy pretraining, layer by layer, by contrastive divergence.

Hinton 2002 (CD-k) and Tieleman 2008 (persistent chains); sparsity on the hidden bias as in Lee et al. 2009 (NIPS).
The gradient of F(v_data) - F(v_model) is taken through a linear surrogate: dF/dI = -P(h | v), so with both P held
constant, -sum P_data I(v_data) + sum P_model I(v_model) has the same gradient without the log-sum-exp.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cepscope.errors import ParameterError
from cepscope.models import pooling
from cepscope.models.backend import keras, tf
from cepscope.models.crbm import ConvolutionalRBM


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

    def _negative_phase(self, v: Any, probabilities: Any) -> tuple[Any, Any]:
        """Run the chains k steps: return their states and the mean of the last visible units."""
        seeds = self._seeds()
        state, known = (tf.convert_to_tensor(self.chains), None) if self.persistent else (v, probabilities)
        for step in range(self.k):
            state, mean = self.rbm.gibbs(state, seeds[2 * step : 2 * step + 2], probabilities=known)
            known = None
        if self.persistent:
            self.chains.assign(state)
        return state, mean

    def train_step(self, data: Any) -> dict[str, Any]:
        """Take one step of contrastive divergence on a batch (n, height, width, channels)."""
        rbm = self.rbm
        v, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        variables = [rbm.kernel, rbm.hidden_biases, rbm.visible_biases]
        with tf.GradientTape() as tape:
            tape.watch(rbm.visible_biases.value)  # not trainable, so not watched by itself
            blocks = rbm.hidden_blocks(v)
            probabilities = tf.stop_gradient(pooling.block_probabilities(blocks))
            with tape.stop_recording():
                state, mean = self._negative_phase(v, probabilities)
            model_blocks = rbm.hidden_blocks(state)
            loss = surrogate_loss(rbm, (v, blocks), (state, model_blocks))
            loss += 0.5 * self.weight_decay * tf.reduce_sum(tf.convert_to_tensor(rbm.kernel) ** 2)
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        activity = tf.reduce_mean(probabilities, axis=[0, 1, 2, 3])  # (filters,)
        gradients[1] += self.sparsity_cost * (activity - self.sparsity)
        gap = tf.reduce_mean(rbm.free_energy(v, blocks=blocks))
        gap -= tf.reduce_mean(rbm.free_energy(state, blocks=model_blocks))
        self.optimizer.apply(gradients, variables)
        error = tf.reduce_mean((rbm.crop(v) - rbm.crop(mean)) ** 2) if not self.persistent else self._error(v)
        for metric, value in zip(self._means, (error, gap, tf.reduce_mean(activity)), strict=True):
            metric.update_state(value)
        return {metric.name: metric.result() for metric in self._means}

    def _error(self, v: Any) -> Any:
        """Mean squared error of the mean-field reconstruction: chains that left the data reconstruct nothing."""
        mean = self.rbm.mean_visibles(self.rbm.mean_hiddens(v), (tf.shape(v)[0], *v.shape[1:]))
        return tf.reduce_mean((self.rbm.crop(v) - self.rbm.crop(mean)) ** 2)


def surrogate_loss(rbm: ConvolutionalRBM, data: tuple[Any, Any], model: tuple[Any, Any]) -> Any:
    """Return a loss with the gradient of mean F(data) - mean F(model), per place of the hidden map.

    Parameters
    ----------
    rbm : ConvolutionalRBM
    data, model : (v, rbm.hidden_blocks(v))
        Visible units (n, H, W, C), which are held constant, and the input they give to the hidden units.
    """
    parts = []
    for v, blocks in (data, model):
        probabilities = tf.stop_gradient(pooling.block_probabilities(blocks))
        hidden = tf.reduce_mean(tf.reduce_sum(probabilities * blocks, axis=[1, 2, 3, 4]))
        visible = tf.reduce_mean(tf.reduce_sum(tf.stop_gradient(rbm.crop(v)), axis=[1, 2]), axis=0)  # (C,)
        parts.append(hidden + tf.reduce_sum(visible * tf.convert_to_tensor(rbm.visible_biases)))
    places = float(np.prod(data[1].shape[1:4]))
    return (parts[1] - parts[0]) / places
