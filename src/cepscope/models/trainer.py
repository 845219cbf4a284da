"""Training one convolutional RBM by contrastive divergence, with chains that start at the data or go on for ever.

Hinton 2002, Neural Computation 14 (CD-k); Tieleman 2008, ICML (persistent chains, PCD); Tieleman and Hinton 2009, ICML
(fast weights). Sparsity as in Lee et al. 2009 (NIPS), on the hidden biases only, or by cross-entropy as in Nair and
Hinton 2009 (NIPS), on kernels and biases.

The gradient of mean F(data) - mean F(model) is written out: since dF/dI = -E[h | v] (plus the hidden offsets), that of
a kernel is minus the correlation of visible units with the mean of hidden units, under the data less under the chains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cepscope.errors import NotFittedError, ParameterError
from cepscope.models.backend import keras, tf
from cepscope.models.checks import natural, not_negative
from cepscope.models.crbm import ConvolutionalRBM
from cepscope.models.draws import Share
from cepscope.models.parallel import SharedFit, first_alone, place, replicas, summed

SPARSITY = ("bias", "cross_entropy")
UNITS_A_PART = 900_000  # hidden units worked on at once: tensors that stay in the cache
MOST_PARTS = 16
STEPS = 32  # that Keras takes at once, without a look at callbacks
FAST_DECAY, ACTIVITY_DECAY = 0.95, 0.9  # Tieleman and Hinton 2009, section 4; Nair and Hinton 2009
SMALLEST_SCALE, LARGEST_SCALE = 0.01, 2.0  # bounds of learned scales, for data of at most about unit variance


class CRBMTrainer(SharedFit, keras.Model):  # type: ignore[misc]
    """Train one convolutional RBM; holds what only training needs: the chains and the position of the generator.

    `prepare` comes first, and all batches must be of the size that it was told; the RBM is what is saved, not this.
    Made in the scope of a `tf.distribute` strategy, it takes equal parts of each batch on all devices and does what one
    device would do, up to rounding: draws belong to places in the whole batch.

    Parameters
    ----------
    rbm : ConvolutionalRBM
    k : int
        Gibbs steps of the negative phase.
    persistent : bool
        Carry the chains over from batch to batch (PCD) instead of starting them at the data (CD).
    fast_learning_rate : float
        Above 0, persistent chains see kernels with a fast-learning, fast-fading addition, which drives them on.
    visible_noise : bool
        If False, the visible units of a chain are set to their mean, not drawn.
    sparsity : float
        Mean activation that hidden units are drawn to.
    sparsity_cost : float
        Strength of that pull.
    sparsity_kind : {"bias", "cross_entropy"}
        On the hidden biases only, or by the cross-entropy between target and mean activation.
    weight_decay : float
        L2, on the kernel.
    bias_rate : float
        Factor of the hidden biases' gradient, to let them learn at another rate.
    learn_scales : bool
        Learn the standard deviations of Gaussian visible units too, from .01 to 2.
    below : sequence of ConvolutionalRBM
        Layers that batches go through first.
    seed : int
        Of every draw.
    """

    def __init__(
        self,
        rbm: ConvolutionalRBM,
        *,
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
        below: Sequence[ConvolutionalRBM] = (),
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        natural(1, k=k)
        natural(seed=seed)
        not_negative(weight_decay=weight_decay, sparsity_cost=sparsity_cost, fast_learning_rate=fast_learning_rate)
        if sparsity_kind not in SPARSITY:
            raise ParameterError(f"`sparsity_kind` must be one of {', '.join(SPARSITY)}. Received: {sparsity_kind!r}")
        if fast_learning_rate and not persistent:
            raise ParameterError("Fast weights drive persistent chains: `fast_learning_rate` needs `persistent`.")
        if learn_scales and rbm.visible != "gaussian":
            raise ParameterError("Only Gaussian visible units have scales to learn. Received: learn_scales=True")
        self.rbm, self.k, self.persistent, self.seed = rbm, k, persistent, seed
        self.fast_learning_rate, self.visible_noise = fast_learning_rate, visible_noise
        self.sparsity, self.sparsity_cost, self.sparsity_kind = sparsity, sparsity_cost, sparsity_kind
        self.weight_decay, self.bias_rate, self.learn_scales = weight_decay, bias_rate, learn_scales
        self._below = tuple(below)
        self._averages = Averages(("reconstruction_error", "hidden_activity", "update_norm"))

    def prepare(self, batch_shape: tuple[int, ...]) -> None:
        """Create the chains and the counters for whole batches of that shape (n, height, width, channels)."""
        rbm, self.batch_shape = self.rbm, batch_shape
        devices = self.distribute_strategy.num_replicas_in_sync
        if batch_shape[0] % devices:
            raise ParameterError(
                f"A batch must have equal parts for all {devices} devices. Received: batches of {batch_shape[0]} "
                f"patches; set the batch size to a multiple of {devices} that the corpus fills"
            )
        if not rbm.built:
            rbm.build((None, *batch_shape[1:]))

        def state(name: str, shape: tuple[int, ...], dtype: Any, start: Any) -> Any:
            return self.add_weight(name=name, shape=shape, dtype=dtype, initializer=start, trainable=False)

        self.draws = state("draws", (), "int64", "zeros")
        self.bad_step = state("bad_step", (), "int64", keras.initializers.Constant(-1))
        self.activity = state("activity", (rbm.filters,), rbm.dtype, keras.initializers.Constant(self.sparsity))
        if self.persistent:
            start = keras.initializers.RandomNormal(stddev=1.0, seed=self.seed)
            self.chains = state("chains", batch_shape, rbm.dtype, start)
        if self.fast_learning_rate:
            self.fast_kernel = state("fast_kernel", rbm.kernel.shape, rbm.dtype, "zeros")
        self.built = True

    def compile(self, optimizer: Any, **settings: Any) -> None:
        """Set the optimizer; without XLA, which loses on CPUs, and several steps a call, unless told otherwise."""
        steps = STEPS if self.distribute_strategy.num_replicas_in_sync == 1 else 1
        super().compile(optimizer=optimizer, **{"jit_compile": False, "steps_per_execution": steps, **settings})

    @property
    def learned(self) -> list[Any]:
        """Weights of the RBM that training moves."""
        rbm = self.rbm
        return [rbm.kernel, rbm.hidden_biases, rbm.visible_biases, *([rbm.visible_scales] if self.learn_scales else [])]

    @property
    def metrics(self) -> list[Any]:
        """Means over an epoch."""
        return [self._averages]

    def call(self, v: Any) -> Any:
        """Return the mean field of the pooling units."""
        return self.rbm(v)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Take one step of contrastive divergence on a batch (n, height, width, channels)."""
        v, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        for layer in self._below:
            v = layer(v)
        gradients, error, activity = self.gradients(v)
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients])
        bad = tf.convert_to_tensor(self.bad_step)
        step = tf.cast(self.optimizer.iterations, tf.int64)
        self.bad_step.assign(tf.where((bad < 0) & ~finite, step, bad))
        before = tf.identity(tf.convert_to_tensor(self.rbm.kernel))
        self.optimizer.apply(first_alone(gradients), self.learned)
        if self.learn_scales:
            self.rbm.visible_scales.assign(tf.clip_by_value(self.rbm.visible_scales, SMALLEST_SCALE, LARGEST_SCALE))
        update = tf.norm(tf.convert_to_tensor(self.rbm.kernel) - before)
        self._averages.update_state(tf.stack([error, activity, update]))
        return self._averages.result()

    def gradients(self, v: Any) -> tuple[list[Any], Any, Any]:
        """Estimate the gradient of mean F(data) - mean F(model), a place of the hidden map, with the penalties.

        The chains go on by k steps.

        Parameters
        ----------
        v : tensor [shape=(n, H, W, C)]
            As `prepare` was told.

        Returns
        -------
        gradients : list of tensors
            Of `learned`.
        error : tensor [shape=()]
            Mean squared error of the reconstruction after one step.
        activity : tensor [shape=()]
            Mean of the hidden units under the data.
        """
        rbm = self.rbm
        if not self.built:
            raise NotFittedError("Call `prepare` with the shape of the batches before the first step.")
        devices = replicas()
        shape = (self.batch_shape[0] // devices, *self.batch_shape[1:])  # of our share
        v = tf.cast(v, rbm.compute_dtype)
        if v.shape.is_fully_defined() and tuple(v.shape) != shape:
            raise ParameterError(f"Batches must be {shape}, as prepared. Received: {tuple(v.shape)}")
        v = tf.ensure_shape(v, shape)
        conv = rbm.convolution(v.shape)
        chain_conv = conv
        if self.fast_learning_rate:
            chain_conv = rbm.convolution(v.shape, kernel=rbm.kernel + self.fast_kernel)
        height, width = rbm.map_shape(v.shape)
        places = float(height * width)
        seeds = self._seeds(height * width * rbm.filters, conv.clips)
        pieces = tf.split(v, len(seeds))
        starts = tf.split(self._own_chains(shape[0]), len(seeds)) if self.persistent else [None] * len(seeds)
        sums, ends = zip(
            *[
                self._sums(piece, start, conv, chain_conv, own)
                for piece, start, own in zip(pieces, starts, seeds, strict=True)
            ],
            strict=True,
        )
        n = tf.cast(tf.shape(v)[0] * devices, v.dtype)
        names = list(sums[0])
        found = [tf.add_n([part[name] for part in sums]) for name in names]
        if self.persistent:
            found.append(self._placed(tf.concat(ends, axis=0)))
        found = summed(found)
        if self.persistent:
            self.chains.assign(found.pop())
        total = {name: value / (n * places) for name, value in zip(names, found, strict=True)}
        kernel = total["kernel"] + self.weight_decay * tf.convert_to_tensor(rbm.kernel)
        hidden = total["hidden"]
        activity = total["activity"]  # (K,)
        if self.sparsity_cost:
            kernel, hidden = self._sparse(kernel, hidden, activity, v, conv)
        gradients = [kernel, self.bias_rate * hidden, total["visible"]]
        if self.learn_scales:
            gradients.append(total["scales"])
        if self.fast_learning_rate:
            self.fast_kernel.assign(FAST_DECAY * self.fast_kernel - self.fast_learning_rate * total["kernel"])
        seen = rbm.crop(v).shape
        error = total["error"] * places / float(np.prod(seen[1:]))
        return gradients, error, tf.reduce_mean(activity)

    def _own_chains(self, count: int) -> Any:
        """Return our share of the chains, of which every device holds all."""
        chains = tf.convert_to_tensor(self.chains)
        return chains if replicas() == 1 else tf.slice(chains, [place() * count, 0, 0, 0], [count, -1, -1, -1])

    def _placed(self, own: Any) -> Any:
        """Return our chains at their place among zeros, so that the sum over devices has all."""
        if replicas() == 1:
            return own
        before = tf.cast(place(), tf.int32) * own.shape[0]
        padded = tf.pad(own, [[before, self.batch_shape[0] - own.shape[0] - before], [0, 0], [0, 0], [0, 0]])
        return tf.ensure_shape(padded, self.batch_shape)

    def _seeds(self, units: int, axis: int) -> list[list[Any]]:
        """Draw new seeds for each piece of our share of a batch, two a Gibbs step: hidden and visible units.

        They are addressed by (seed, how many were drawn before), each for one part of the whole batch. `units` are
        those of a clip; `axis` is that of clips among hidden units.
        """
        devices, whole = replicas(), self.batch_shape[0]
        own = whole // devices
        parts = _parts(whole, units)
        rows = whole // parts
        size = math.gcd(rows, own)  # of a piece, which lies within one part
        first = tf.convert_to_tensor(self.draws)
        self.draws.assign_add(2 * self.k * parts)
        seeds = []
        for begin in range(0, own, size):
            at = begin if devices == 1 else place() * own + begin
            part, offset = at // rows, at % rows
            pairs = [tf.stack([tf.cast(self.seed, tf.int64), first + 2 * self.k * part + i]) for i in range(2 * self.k)]
            if size < rows:
                pairs = [Share(pair, rows, offset, -4 if i % 2 else axis) for i, pair in enumerate(pairs)]
            seeds.append(pairs)
        return seeds

    def _sums(
        self, v: Any, chains: Any, conv: Any, chain_conv: Any, seeds: Sequence[Any]
    ) -> tuple[dict[str, Any], Any]:
        """Return the sums over one part of a batch that make up the gradients, and where its chains end."""
        rbm = self.rbm
        columns = rbm.columns(v, conv)
        blocks = conv.up(columns)
        means = rbm.family.means(blocks)
        known = (None, None) if self.persistent else (blocks, means)
        state, first = v if chains is None else chains, None
        for step in range(self.k):
            state, mean = rbm.gibbs(
                state,
                seeds[2 * step : 2 * step + 2],
                blocks=known[0],
                means=known[1],
                conv=chain_conv,
                noise=self.visible_noise,
            )
            first, known = mean if first is None else first, (None, None)
        if self.persistent:  # chains that left the data reconstruct nothing
            first = rbm.visibles_from_blocks(means, (tf.shape(v)[0], *v.shape[1:]), conv)
        model_columns = rbm.columns(state, conv)
        model_means = rbm.family.means(conv.up(model_columns))
        kernel, hidden = conv.correlate(columns, means)
        model_kernel, model_hidden = conv.correlate(model_columns, model_means)
        if rbm.center_hidden:
            offsets = rbm.offset_blocks(conv)
            n = tf.cast(tf.shape(v)[0], v.dtype)
            for sign, end in ((1.0, v), (-1.0, state)):
                average = rbm.columns(tf.reduce_mean(end, axis=0, keepdims=True), conv)
                kernel -= sign * n * conv.correlate(average, offsets)[0]
        seen, fantasy = rbm.crop(v), rbm.crop(state)
        sums = {
            "kernel": model_kernel - kernel,
            "hidden": model_hidden - hidden,
            "visible": self._visible_sum(fantasy) - self._visible_sum(seen),
            "activity": hidden,
            "error": tf.reduce_sum(tf.square(seen - rbm.crop(first))),
        }
        if self.learn_scales:
            sums["scales"] = self._scale_sum(v, means, conv) - self._scale_sum(state, model_means, conv)
        return sums, state

    def _visible_sum(self, v: Any) -> Any:
        """Return minus the derivative of sum F by the visible biases, up to a constant: (C,)."""
        total = tf.reduce_sum(v, axis=[0, 1, 2])
        return (
            total if self.rbm.visible == "binary" else total / tf.square(tf.convert_to_tensor(self.rbm.visible_scales))
        )

    def _scale_sum(self, v: Any, means: Any, conv: Any) -> Any:
        """Return the derivative of sum F by the visible scales: (C,)."""
        rbm = self.rbm
        scales = tf.convert_to_tensor(rbm.visible_scales)
        squares = tf.reduce_sum(tf.square(rbm.crop(v) - rbm.visible_biases), axis=[0, 1, 2])
        down = rbm.visibles_from_blocks(means, (tf.shape(v)[0], *v.shape[1:]), conv) - rbm.visible_biases
        product = tf.reduce_sum((v - rbm.visible_offsets) * down, axis=[0, 1, 2])
        return (2.0 * product - squares) / scales**3

    def _sparse(self, kernel: Any, hidden: Any, activity: Any, v: Any, conv: Any) -> tuple[Any, Any]:
        """Add the pull towards the target activity to the gradients of kernel and hidden biases."""
        if self.sparsity_kind == "bias":
            return kernel, hidden + self.sparsity_cost * (activity - self.sparsity)
        average = ACTIVITY_DECAY * self.activity + (1 - ACTIVITY_DECAY) * activity
        self.activity.assign(average)
        excess = self.sparsity_cost * (average - self.sparsity)  # derivative of the cross-entropy by a unit's input
        mean = tf.reduce_mean(v, axis=0, keepdims=True)
        if replicas() > 1:
            mean = summed([mean])[0] / replicas()
        columns = self.rbm.columns(mean, conv)
        ones = conv.from_map(tf.ones((1, *conv.map, self.rbm.filters), v.dtype))
        return kernel + excess * conv.correlate(columns, ones)[0] / float(np.prod(conv.map)), hidden + excess


class Averages(keras.metrics.Metric):  # type: ignore[misc]
    """Means of several numbers at once: one operation a step, not one a number.

    Parameters
    ----------
    names : sequence of str
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(name="averages")
        self.names = tuple(names)
        self.total = self.add_variable(
            (len(self.names) + 1,), initializer="zeros", aggregation="only_first_replica", name="total"
        )

    def update_state(self, values: Any, weight: Any = 1.0) -> None:
        """Add one number each (len(names),), the same on all devices."""
        weight = tf.cast(weight, self.total.dtype)
        self.total.assign_add(tf.concat([tf.cast(values, self.total.dtype) * weight, [weight]], axis=0))

    def result(self) -> dict[str, Any]:
        """Return name to mean."""
        total = tf.convert_to_tensor(self.total)
        means = tf.math.divide_no_nan(total[:-1], total[-1])
        return {name: means[i] for i, name in enumerate(self.names)}


def _parts(n: int, units: int) -> int:
    """Return in how many equal parts a batch is worked on; parts run side by side and fit the cache."""
    wanted = min(MOST_PARTS, math.ceil(n * units / UNITS_A_PART))
    return next(parts for parts in range(wanted, 0, -1) if n % parts == 0)
