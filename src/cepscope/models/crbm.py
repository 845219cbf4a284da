"""The convolutional restricted Boltzmann machine, as a Keras layer.

With visible units v (n, H, W, C), hidden units h (n, H', W', K), kernels W, hidden biases b, visible biases c and
visible offsets m, the energy of binary visible units is

    E(v, h) = - sum h * ((v - m) ** W + b) - sum c v

where ``**`` is cross-correlation and at most one hidden unit of a pooling block is on (Lee et al. 2009, ICML,
section 3.3); Gaussian visible units of unit variance replace the last term by ``sum (v - c)^2 / 2``. So

    F(v) = [visible term] - sum over blocks of log(1 + sum exp I),    I = (v - m) ** W + b.

The offsets are constants, one a channel, and change no distribution that the model can express (b takes them up); with
m near the mean of v the gradient no longer mixes up filters and biases, and learning is much faster (Melchior,
Fischer, Wiskott 2016, JMLR 17). m = 0 is the plain model.
"""

from __future__ import annotations

from typing import Any

from cepscope.errors import ParameterError
from cepscope.models import pooling
from cepscope.models.backend import keras, tf

VISIBLE = ("gaussian", "binary")
PADDING = ("valid", "same")


@keras.saving.register_keras_serializable(package="cepscope")
class ConvolutionalRBM(keras.layers.Layer):
    """Convolutional RBM with probabilistic max pooling; called, it gives the mean field of its pooling units.

    Parameters
    ----------
    filters : int
        Number of kernels, K.
    kernel_size : (int, int)
        Height (coefficients) and width (frames). A height equal to the input's makes it convolve along time only.
    pool_size : (int, int)
        Block of hidden units of which at most one is on. The map is cropped at its end to whole blocks.
    visible : {"gaussian", "binary"}
        Gaussian units have unit variance: standardise the data.
    padding : {"valid", "same"}
        ``"same"`` surrounds the visible units with zeros that take no part in the energy.
    weight_scale : float
        Standard deviation of the first weights.
    hidden_bias : float
        First hidden bias; negative values start sparse.
    visible_offset : float
        First offset; best near the mean of the visible units. `pretrain` measures it.
    seed : int
        Of the first weights.

    Notes
    -----
    Input shape (batch, height, width, channels); output shape (batch, height', width', filters) with one value a block.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: tuple[int, int],
        *,
        pool_size: tuple[int, int] = (2, 2),
        visible: str = "gaussian",
        padding: str = "valid",
        weight_scale: float = 0.05,
        hidden_bias: float = -1.0,
        visible_offset: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, size in (("kernel_size", kernel_size), ("pool_size", pool_size)):
            if len(tuple(size)) != 2 or min(size) < 1:
                raise ParameterError(f"`{name}` must be two positive integers. Received: {size}")
        if filters < 1:
            raise ParameterError(f"`filters` must be positive. Received: {filters}")
        if visible not in VISIBLE:
            raise ParameterError(f"`visible` must be one of {', '.join(VISIBLE)}. Received: {visible!r}")
        if padding not in PADDING:
            raise ParameterError(f"`padding` must be one of {', '.join(PADDING)}. Received: {padding!r}")
        self.filters = int(filters)
        self.kernel_size = (int(kernel_size[0]), int(kernel_size[1]))
        self.pool_size = (int(pool_size[0]), int(pool_size[1]))
        self.visible, self.padding = visible, padding
        self.weight_scale, self.hidden_bias = float(weight_scale), float(hidden_bias)
        self.visible_offset, self.seed = float(visible_offset), int(seed)

    def get_config(self) -> dict[str, Any]:
        """Return every argument of the constructor."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "pool_size": self.pool_size,
            "visible": self.visible,
            "padding": self.padding,
            "weight_scale": self.weight_scale,
            "hidden_bias": self.hidden_bias,
            "visible_offset": self.visible_offset,
            "seed": self.seed,
        }

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create kernel (height, width, channels, filters) and the biases of hidden units and input channels."""
        self.map_shape(input_shape)  # refuses inputs that are too small
        channels = input_shape[-1]
        start = keras.initializers.RandomNormal(stddev=self.weight_scale, seed=self.seed)
        self.kernel = self.add_weight(
            name="kernel", shape=(*self.kernel_size, channels, self.filters), initializer=start
        )
        self.hidden_biases = self.add_weight(
            name="hidden_biases",
            shape=(self.filters,),
            initializer=keras.initializers.Constant(self.hidden_bias),
        )
        # not trainable by a classifier, whose output they do not touch; the RBM's own trainer updates them
        self.visible_biases = self.add_weight(
            name="visible_biases", shape=(channels,), initializer="zeros", trainable=False
        )
        self.visible_offsets = self.add_weight(
            name="visible_offsets",
            shape=(channels,),
            initializer=keras.initializers.Constant(self.visible_offset),
            trainable=False,
        )

    # -- shapes

    def map_shape(self, input_shape: Any) -> tuple[int, int]:
        """Return the height and width of the hidden map, cropped to whole blocks."""
        out = []
        for size, kernel, pool in zip(input_shape[1:3], self.kernel_size, self.pool_size, strict=True):
            hidden = size if self.padding == "same" else size - kernel + 1
            if hidden < pool:
                raise ParameterError(
                    f"Layer {self.name!r}: an input of {tuple(input_shape[1:3])} is too small for kernels of "
                    f"{self.kernel_size} and blocks of {self.pool_size}. Take smaller ones or longer patches."
                )
            out.append(hidden // pool * pool)
        return out[0], out[1]

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int, int, int]:
        """Return (batch, height', width', filters)."""
        height, width = self.map_shape(input_shape)
        return (input_shape[0], height // self.pool_size[0], width // self.pool_size[1], self.filters)

    def crop(self, v: Any) -> Any:
        """Keep the visible units (n, H, W, C) that the cropped hidden map sees."""
        if self.padding == "same":
            return v
        height, width = self.map_shape(v.shape)
        return v[:, : height + self.kernel_size[0] - 1, : width + self.kernel_size[1] - 1]

    # -- conditionals

    def hidden_input(self, v: Any) -> Any:
        """Return I = (v - m) ** W + b: (n, H, W, C) to (n, H', W', K)."""
        height, width = self.map_shape(v.shape)
        v = tf.convert_to_tensor(v, self.compute_dtype)  # NumPy minus a Keras variable would leave the gradient tape
        out = tf.nn.conv2d(v - self.visible_offsets, self.kernel, 1, self.padding.upper()) + self.hidden_biases
        return out[:, :height, :width]

    def hidden_blocks(self, v: Any) -> Any:
        """Return the input of hidden units by block: (n, h, w, p*q, K)."""
        return pooling.to_blocks(self.hidden_input(v), self.pool_size)

    def mean_hiddens(self, v: Any) -> Any:
        """Return P(h = 1 | v): (n, H', W', K)."""
        return pooling.from_blocks(pooling.block_probabilities(self.hidden_blocks(v)), self.pool_size)

    def sample_hiddens(self, v: Any, seed: Any) -> Any:
        """Draw h given v, exactly: (n, H', W', K) of 0 and 1, at most one 1 a block."""
        return self.sample_blocks(pooling.block_probabilities(self.hidden_blocks(v)), seed)

    def sample_blocks(self, probabilities: Any, seed: Any) -> Any:
        """Draw h given P(h | v) by block (n, h, w, p*q, K): (n, H', W', K)."""
        return pooling.from_blocks(pooling.sample_blocks(probabilities, seed), self.pool_size)

    def mean_visibles(self, h: Any, shape: Any) -> Any:
        """Return E[v | h] for hidden units (n, H', W', K) and visible units of `shape` (n, H, W, C)."""
        rest = [
            size - (self.padding == "valid") * (kernel - 1) - hidden
            for size, kernel, hidden in zip(shape[1:3], self.kernel_size, h.shape[1:3], strict=True)
        ]
        h = tf.pad(h, [[0, 0], [0, rest[0]], [0, rest[1]], [0, 0]])  # hidden units that the crop left out are off
        down = tf.nn.conv2d_transpose(h, self.kernel, tf.stack(shape), 1, self.padding.upper())
        down += self.visible_biases
        return down if self.visible == "gaussian" else tf.sigmoid(down)

    def sample_visibles(self, mean: Any, seed: Any) -> Any:
        """Draw v given its mean (n, H, W, C)."""
        if self.visible == "gaussian":
            return mean + tf.random.stateless_normal(tf.shape(mean), seed, dtype=mean.dtype)
        return tf.cast(tf.random.stateless_uniform(tf.shape(mean), seed, dtype=mean.dtype) < mean, mean.dtype)

    def gibbs(self, v: Any, seeds: Any, *, probabilities: Any = None) -> tuple[Any, Any]:
        """Take one step of the chain, v to h to v: return the sample of v and its mean given h.

        `probabilities` are P(h | v) by block, if they are known already.
        """
        if probabilities is None:
            probabilities = pooling.block_probabilities(self.hidden_blocks(v))
        h = self.sample_blocks(probabilities, seeds[0])
        mean = self.mean_visibles(h, (tf.shape(v)[0], *v.shape[1:]))
        return self.sample_visibles(mean, seeds[1]), mean

    # -- energy

    def pre_activation(self, v: Any) -> Any:
        """Return log(1 + sum exp I) of each block, its share of the negative free energy: (n, h, w, K)."""
        return pooling.block_log_partition(self.hidden_blocks(v))

    def free_energy(self, v: Any, *, blocks: Any = None) -> Any:
        """Return F(v), with exp(-F) the unnormalised probability of v: (n,).

        `blocks` is `hidden_blocks(v)`, if it is known already.
        """
        v = tf.convert_to_tensor(v)  # a NumPy array minus a Keras variable would leave the gradient tape
        shares = pooling.block_log_partition(self.hidden_blocks(v) if blocks is None else blocks)
        v = self.crop(v)
        if self.visible == "gaussian":
            visible = 0.5 * tf.reduce_sum((v - self.visible_biases) ** 2, axis=[1, 2, 3])
        else:
            visible = -tf.reduce_sum(v * self.visible_biases, axis=[1, 2, 3])
        return visible - tf.reduce_sum(shares, axis=[1, 2, 3])

    def call(self, v: Any) -> Any:
        """Return the mean field of the pooling units, P(on | v): (n, h, w, K)."""
        return -tf.math.expm1(-self.pre_activation(v))
