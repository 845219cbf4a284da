"""The convolutional restricted Boltzmann machine, as a Keras layer.

With visible units v (n, H, W, C), hidden units h (n, H', W', K), kernels W, hidden biases b, visible biases c, visible
scales s, and offsets m and l of visible and hidden units, the energy of Gaussian visible units is

    E(v, h) = sum (v - c)^2 / (2 s^2) - sum (h - l) * I,    I = ((v - m) / s^2) ** W + b,

where ``**`` is cross-correlation and at most one hidden unit of a pooling block is on (Lee et al. 2009, ICML,
section 3.3); binary visible units have s = 1 and ``- sum c v`` for the first term. So

    F(v) = [first term] + sum l I - sum over blocks of log(1 + sum exp I).

The mean of v given h is c plus the transposed convolution of h - l, its variance s^2 (the parametrisation of Cho, Ilin,
Raiko 2011, ICANN). With Lee's ``E = (v^2/2 - v'Wh - b'h - c'v) / s^2`` it agrees when b here is b/s^2 there.

The offsets are constants, one a channel or filter. With m near the mean of v, and l near that of h, the gradient no
longer mixes up filters and biases (Montavon, Mueller 2012, Neural Networks: Tricks of the Trade; Melchior, Fischer,
Wiskott 2016, JMLR 17). Zeros are the plain model.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cepscope.errors import ParameterError
from cepscope.models import draws, pooling, rectified
from cepscope.models.backend import keras, tf
from cepscope.models.checks import natural, size
from cepscope.models.convolution import convolution

VISIBLE = ("gaussian", "binary")
HIDDEN = {"binary": pooling, "relu": rectified}
PADDING = ("valid", "same")


def standard_normal(shape: Any, seed: Any, dtype: Any) -> Any:
    """Draw standard normal numbers by inverting their distribution function: half the time of TensorFlow's own."""
    uniform = draws.uniform(shape, seed, dtype=dtype)  # multiples of the type's epsilon, 0 among them
    return tf.math.ndtri(uniform + 0.5 * float(np.finfo(dtype.as_numpy_dtype).eps))


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
    hidden : {"binary", "relu"}
        ``"relu"`` are noisy rectified linear units (Nair and Hinton 2010), which do not compete within a block.
    padding : {"valid", "same"}
        ``"same"`` surrounds the visible units with zeros (after the offset) that take no part in the energy.
    weight_scale : float
        Standard deviation of the first weights.
    hidden_bias : float
        First hidden bias; negative values start sparse.
    visible_scale : float
        First standard deviation of Gaussian visible units.
    visible_offset : float
        First offset; best near the mean of the visible units. `pretrain` measures it.
    center_hidden : bool
        Give hidden units offsets too, which `pretrain` measures; without, they are 0.
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
        hidden: str = "binary",
        padding: str = "valid",
        weight_scale: float = 0.05,
        hidden_bias: float = -1.0,
        visible_scale: float = 1.0,
        visible_offset: float = 0.0,
        center_hidden: bool = False,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        natural(1, filters=filters)
        for name, value, known in (
            ("visible", visible, VISIBLE),
            ("hidden", hidden, tuple(HIDDEN)),
            ("padding", padding, PADDING),
        ):
            if value not in known:
                raise ParameterError(f"`{name}` must be one of {', '.join(known)}. Received: {value!r}")
        if not visible_scale > 0 or (visible == "binary" and visible_scale != 1):
            raise ParameterError(
                f"`visible_scale` must be positive, and 1 for binary visible units. Received: {visible_scale}"
            )
        self.filters = int(filters)
        self.kernel_size, self.pool_size = size("kernel_size", kernel_size), size("pool_size", pool_size)
        self.visible, self.hidden, self.padding = visible, hidden, padding
        self.weight_scale, self.hidden_bias = float(weight_scale), float(hidden_bias)
        self.visible_scale, self.visible_offset = float(visible_scale), float(visible_offset)
        self.center_hidden, self.seed = bool(center_hidden), int(seed)
        self.family = HIDDEN[hidden]

    def get_config(self) -> dict[str, Any]:
        """Return every argument of the constructor."""
        names = [
            *("filters", "kernel_size", "pool_size", "visible", "hidden", "padding", "weight_scale", "hidden_bias"),
            *("visible_scale", "visible_offset", "center_hidden", "seed"),
        ]
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create kernel (height, width, channels, filters) and what there is one of a filter or input channel."""
        if self.compute_dtype != self.variable_dtype:
            raise ParameterError(f"Layer {self.name!r} computes in one precision. Received: {self.dtype_policy.name}")
        self.map_shape(input_shape)  # refuses inputs that are too small
        channels = input_shape[-1]
        constant = keras.initializers.Constant
        start = keras.initializers.RandomNormal(stddev=self.weight_scale, seed=self.seed)
        self.kernel = self.add_weight(
            name="kernel", shape=(*self.kernel_size, channels, self.filters), initializer=start
        )
        self.hidden_biases = self.add_weight(
            name="hidden_biases", shape=(self.filters,), initializer=constant(self.hidden_bias)
        )
        # not trainable by a classifier, whose output they do not touch; the RBM's own trainer updates biases and scales
        self.visible_biases = self.add_weight(
            name="visible_biases", shape=(channels,), initializer="zeros", trainable=False
        )
        self.visible_scales = self.add_weight(
            name="visible_scales", shape=(channels,), initializer=constant(self.visible_scale), trainable=False
        )
        self.visible_offsets = self.add_weight(
            name="visible_offsets", shape=(channels,), initializer=constant(self.visible_offset), trainable=False
        )
        if self.center_hidden:
            self.hidden_offsets = self.add_weight(
                name="hidden_offsets", shape=(self.filters,), initializer="zeros", trainable=False
            )

    # -- shapes

    def map_shape(self, input_shape: Any) -> tuple[int, int]:
        """Return the height and width of the hidden map, cropped to whole blocks."""
        if len(input_shape) != 4 or None in tuple(input_shape[1:]):
            raise ParameterError(
                f"Layer {self.name!r} takes (batch, height, width, channels), all but the batch of fixed size. "
                f"Received: {tuple(input_shape)}"
            )
        out = []
        for extent, kernel, pool in zip(input_shape[1:3], self.kernel_size, self.pool_size, strict=True):
            hidden = extent if self.padding == "same" else extent - kernel + 1
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

    def _seen(self, input_shape: Any) -> tuple[int, int]:
        """Return the height and width that the kernels need for the cropped hidden map."""
        height, width = self.map_shape(input_shape)
        return height + self.kernel_size[0] - 1, width + self.kernel_size[1] - 1

    def _before(self) -> tuple[int, int]:
        """Return the rows and columns of zeros before the input; what lacks behind it follows from `_seen`."""
        kh, kw = self.kernel_size
        return ((kh - 1) // 2, (kw - 1) // 2) if self.padding == "same" else (0, 0)

    def crop(self, v: Any) -> Any:
        """Keep the visible units (n, H, W, C) that the cropped hidden map sees."""
        if self.padding == "same":
            return v
        height, width = self._seen(v.shape)
        return v[:, :height, :width]

    def convolution(self, input_shape: Any, *, kernel: Any = None) -> Any:
        """Return this layer's convolutions for inputs of a shape; see `cepscope.models.convolution`."""
        kernel = tf.convert_to_tensor(self.kernel) if kernel is None else kernel
        return convolution(kernel, tf.convert_to_tensor(self.hidden_biases), self._seen(input_shape), self.pool_size)

    def columns(self, v: Any, conv: Any) -> Any:
        """Return (v - m) / s^2, padded and cut to what is seen, as `conv` multiplies it."""
        return conv.columns(self._scaled(v))

    def _scaled(self, v: Any) -> Any:
        v = tf.cast(v, self.compute_dtype)  # NumPy minus a Keras variable would leave the gradient tape
        scaled = v - self.visible_offsets
        if self.visible == "gaussian":
            scaled = scaled / tf.square(tf.convert_to_tensor(self.visible_scales))
        (top, left), (height, width) = self._before(), self._seen(v.shape)
        rest = [max(0, height - top - v.shape[1]), max(0, width - left - v.shape[2])]
        if top or left or any(rest):
            scaled = tf.pad(scaled, [[0, 0], [top, rest[0]], [left, rest[1]], [0, 0]])
        return scaled if tuple(scaled.shape[1:3]) == (height, width) else scaled[:, :height, :width]

    # -- conditionals

    def hidden_blocks(self, v: Any) -> tuple[Any, Any]:
        """Return the input of hidden units by block, (p*q, ...), and the convolution that knows their places."""
        v = tf.cast(v, self.compute_dtype)
        conv = self.convolution(v.shape)
        return conv.up(self.columns(v, conv)), conv

    def hidden_input(self, v: Any) -> Any:
        """Return I: (n, H, W, C) to (n, H', W', K)."""
        blocks, conv = self.hidden_blocks(v)
        return conv.to_map(blocks)

    def mean_hiddens(self, v: Any) -> Any:
        """Return E[h | v]: (n, H', W', K). Of binary units these are probabilities."""
        blocks, conv = self.hidden_blocks(v)
        return conv.to_map(self.family.means(blocks))

    def sample_hiddens(self, v: Any, seed: Any) -> Any:
        """Draw h given v: (n, H', W', K). Binary units: exactly, 0 or 1, at most one 1 a block."""
        blocks, conv = self.hidden_blocks(v)
        return conv.to_map(self.family.sample(blocks, self.family.means(blocks), seed))

    def mean_visibles(self, h: Any, shape: Any) -> Any:
        """Return E[v | h] for hidden units (n, H', W', K) and visible units of `shape` (n, H, W, C)."""
        conv = self.convolution(shape)
        return self.visibles_from_blocks(conv.from_map(tf.cast(h, self.compute_dtype)), shape, conv)

    def visibles_from_blocks(self, blocks: Any, shape: Any, conv: Any, *, steps: bool = False) -> Any:
        """Return E[v | h] for hidden units by block, as `mean_visibles` does for a map.

        `steps` says that blocks are as `pooling.sample_steps` gives them.
        """
        down = self.down(blocks, shape, conv, steps=steps) + self.visible_biases
        if self.center_hidden:
            down -= self.down(self.offset_blocks(conv), shape, conv)
        return down if self.visible == "gaussian" else tf.sigmoid(down)

    def down(self, blocks: Any, shape: Any, conv: Any, *, steps: bool = False) -> Any:
        """Add up the kernels of hidden units by block: (n, H, W, C), what `visibles_from_blocks` adds its biases to."""
        found = conv.down(blocks, steps=steps)
        (top, left), (height, width) = self._before(), shape[1:3]
        found = found[:, top : top + height, left : left + width]
        rest = [height - found.shape[1], width - found.shape[2]]  # what no whole block sees
        return tf.pad(found, [[0, 0], [0, rest[0]], [0, rest[1]], [0, 0]])

    def offset_blocks(self, conv: Any) -> Any:
        """Return the hidden offsets as blocks of a single clip."""
        return conv.from_map(tf.broadcast_to(self.hidden_offsets, (1, *conv.map, self.filters)))

    def sample_visibles(self, mean: Any, seed: Any) -> Any:
        """Draw v given its mean (n, H, W, C)."""
        if self.visible == "gaussian":
            return mean + tf.convert_to_tensor(self.visible_scales) * standard_normal(tf.shape(mean), seed, mean.dtype)
        return tf.cast(draws.uniform(tf.shape(mean), seed, dtype=mean.dtype) < mean, mean.dtype)

    def gibbs(
        self, v: Any, seeds: Any, *, blocks: Any = None, means: Any = None, conv: Any = None, noise: bool = True
    ) -> tuple[Any, Any]:
        """Take one step of the chain, v to h to v: return the sample of v and its mean given h.

        Parameters
        ----------
        v : tensor [shape=(n, H, W, C)]
        seeds : tensors of int [shape=(2, 2)], or two of `draws.Share`
            One for the hidden and one for the visible units.
        blocks, means : tensors [shape=(p*q, ...)], optional
            Input and mean of the hidden units, if they are known already.
        conv : optional
            `convolution` of this shape, if it is known already, or with other kernels.
        noise : bool
            If False, visible units are not drawn but set to their mean, as in the code posted with Lee et al. 2009.
        """
        v = tf.cast(v, self.compute_dtype)
        conv = self.convolution(v.shape) if conv is None else conv
        if blocks is None:
            blocks = conv.up(self.columns(v, conv))
        if means is None:
            means = self.family.means(blocks)
        steps = self.family is pooling
        hidden = (pooling.sample_steps if steps else self.family.sample)(blocks, means, seeds[0])
        mean = self.visibles_from_blocks(hidden, (tf.shape(v)[0], *v.shape[1:]), conv, steps=steps)
        return (self.sample_visibles(mean, seeds[1]) if noise else mean), mean

    # -- energy

    def pre_activation(self, v: Any) -> Any:
        """Return each block's share of the negative free energy: (n, h, w, K).

        Of binary units it is log(1 + sum exp I), of rectified ones the sum of -Li2(-exp I).
        """
        blocks, conv = self.hidden_blocks(v)
        return conv.pooled(self.family.log_partition(blocks))

    def pre_activation_and_output(self, v: Any) -> tuple[Any, Any]:
        """Return `pre_activation` and what the layer gives when called, in little more than the time of one of them."""
        blocks, conv = self.hidden_blocks(v)
        shares = conv.pooled(self.family.log_partition(blocks))
        if self.family is pooling:
            return shares, pooling.is_on(shares)
        return shares, conv.pooled(self.family.pooled(blocks))

    def pre_activation_of(self, v: Any, filters: Any) -> Any:
        """Return `pre_activation` of one filter an input, without computing the others: `filters` (n,) to (n, h, w)."""
        filters = tf.convert_to_tensor(filters)
        (kh, kw, channels, _), (p, q) = self.kernel.shape, self.pool_size
        scaled, (height, width), n = self._scaled(v), self.map_shape(v.shape), filters.shape[0]
        size = scaled.shape[1:3]
        # inputs lie side by side as channels, each with its own kernel: (1, H, W, n*C)
        beside = tf.reshape(tf.transpose(scaled, (1, 2, 0, 3)), (1, *size, n * channels))
        kernels = tf.transpose(tf.gather(tf.convert_to_tensor(self.kernel), filters, axis=3), (0, 1, 3, 2))
        found = tf.nn.depthwise_conv2d(beside, tf.reshape(kernels, (kh, kw, n * channels, 1)), [1] * 4, "VALID")
        inputs = tf.reduce_sum(tf.reshape(found, (height, width, n, channels)), axis=3)
        inputs += tf.gather(tf.convert_to_tensor(self.hidden_biases), filters)
        parts = tf.transpose(tf.reshape(inputs, (height // p, p, width // q, q, n)), (1, 3, 0, 2, 4))
        shares = self.family.log_partition(tf.reshape(parts, (p * q, height // p, width // q, n)))
        return tf.transpose(shares, (2, 0, 1))

    def free_energy(self, v: Any) -> Any:
        """Return F(v), with exp(-F) the unnormalised probability of v: (n,)."""
        v = tf.cast(v, self.compute_dtype)
        blocks, conv = self.hidden_blocks(v)
        hidden = tf.reduce_sum(conv.pooled(self.family.log_partition(blocks)), axis=[1, 2, 3])
        if self.center_hidden:
            hidden -= tf.reduce_sum(conv.to_map(blocks) * self.hidden_offsets, axis=[1, 2, 3])
        v = self.crop(v)
        if self.visible == "gaussian":
            scaled = (v - self.visible_biases) / tf.convert_to_tensor(self.visible_scales)
            return 0.5 * tf.reduce_sum(tf.square(scaled), axis=[1, 2, 3]) - hidden
        return -tf.reduce_sum(v * self.visible_biases, axis=[1, 2, 3]) - hidden

    def call(self, v: Any) -> Any:
        """Return the mean field of the pooling units, (n, h, w, K): of binary units, P(on | v)."""
        blocks, conv = self.hidden_blocks(v)
        return conv.pooled(self.family.pooled(tf.cast(blocks, self.variable_dtype)))  # never sums in half precision
