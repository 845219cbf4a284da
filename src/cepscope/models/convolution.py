"""Two ways to compute a layer's convolutions; which one is faster depends on the shape.

Both take visible units (n, H, W, C) of which each whole block of hidden units sees all it needs, H = h*p + kh - 1 and
W = w*q + kw - 1, and give hidden units with those of a block on the first axis, as `pooling` wants them. They have the
same methods: `up` and `down` are the convolution and its transpose, `correlate` is the gradient of a kernel; the others
arrange. ``map`` is the height and width of the hidden map.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.models.backend import tf

Size = tuple[int, int]
IntArray = npt.NDArray[np.int32]


def convolution(kernel: Any, biases: Any, size: Size, pool: Size) -> BlockColumns | Direct:
    """Choose the way for a kernel (kh, kw, C, K), biases (K,), visible units of `size` (H, W) and blocks of `pool`.

    With one channel a direct convolution has too little to multiply, and moving its maps costs more than computing
    them. Kernels as high as the input are no such case: each row is then a channel.
    """
    one_channel = kernel.shape[2] == 1 and kernel.shape[0] < size[0]
    return (BlockColumns if one_channel else Direct)(kernel, biases, size, pool)


class Direct:
    """Plain convolution; blocks are (p*q, n, h, w, K)."""

    def __init__(self, kernel: Any, biases: Any, size: Size, pool: Size) -> None:
        (kh, kw, channels, k), (height, width) = kernel.shape, size
        self.pool, self.k, self.biases = pool, k, biases
        self.map = (height - kh + 1, width - kw + 1)
        self.shape = (height, width, channels)
        self.rows_are_channels = kh == height
        if self.rows_are_channels:
            kernel = tf.reshape(tf.transpose(kernel, (1, 0, 2, 3)), (1, kw, kh * channels, k))
        self.kernel, self.kernel_size = kernel, (kh, kw)

    def columns(self, v: Any) -> Any:
        """Return the visible units as the products below want them."""
        if not self.rows_are_channels:
            return v
        height, width, channels = self.shape
        return tf.reshape(tf.transpose(v, (0, 2, 1, 3)), (-1, 1, width, height * channels))

    def up(self, columns: Any) -> Any:
        """Return the inputs of hidden units, biases included."""
        return self.from_map(tf.nn.bias_add(tf.nn.conv2d(columns, self.kernel, 1, "VALID"), self.biases))

    def down(self, blocks: Any, *, steps: bool = False) -> Any:
        """Return the transposed convolution (n, H, W, C); `steps` says that blocks are as `pooling.sample_steps`."""
        height, width, channels = self.shape
        if steps:
            blocks -= tf.pad(blocks[:-1], [[1, 0], *[[0, 0]] * 4])
        hidden = self.to_map(blocks)
        if not self.rows_are_channels:
            shape = (tf.shape(hidden)[0], height, width, channels)
            return tf.nn.conv2d_transpose(hidden, self.kernel, shape, 1, "VALID")
        shape = (tf.shape(hidden)[0], 1, width, height * channels)
        v = tf.nn.conv2d_transpose(hidden, self.kernel, shape, 1, "VALID")
        return tf.transpose(tf.reshape(v, (-1, width, height, channels)), (0, 2, 1, 3))

    def correlate(self, columns: Any, blocks: Any) -> tuple[Any, Any]:
        """Return the sums of products, in the kernel's shape, and of the hidden units, (K,)."""
        hidden = self.to_map(blocks)
        product = tf.raw_ops.Conv2DBackpropFilter(
            input=columns,
            filter_sizes=self.kernel.shape,
            out_backprop=hidden,
            strides=[1, 1, 1, 1],
            padding="VALID",
        )
        if self.rows_are_channels:
            (kh, kw), channels = self.kernel_size, self.shape[2]
            product = tf.transpose(tf.reshape(product, (kw, kh, channels, self.k)), (1, 0, 2, 3))
        return product, tf.reduce_sum(tf.reshape(blocks, (-1, self.k)), axis=0)

    def to_map(self, blocks: Any) -> Any:
        """Return blocks as map (n, h*p, w*q, K)."""
        (p, q), (height, width) = self.pool, self.map
        if p * q == 1:
            return blocks[0]
        parts = tf.reshape(blocks, (p, q, -1, height // p, width // q, self.k))
        return tf.reshape(tf.transpose(parts, (2, 3, 0, 4, 1, 5)), (-1, height, width, self.k))

    def from_map(self, hidden: Any) -> Any:
        """Return a map (n, h*p, w*q, K) as blocks."""
        (p, q), (height, width) = self.pool, self.map
        if p * q == 1:
            return hidden[None]
        parts = tf.reshape(hidden, (-1, height // p, p, width // q, q, self.k))
        return tf.reshape(tf.transpose(parts, (2, 4, 0, 1, 3, 5)), (p * q, -1, height // p, width // q, self.k))

    def pooled(self, values: Any) -> Any:
        """Return one value a block as map (n, h, w, K)."""
        return values

    def unpooled(self, hidden: Any) -> Any:
        """Return a map (n, h, w, K) as one value a block."""
        return hidden


class BlockColumns:
    """One matrix product for all units of a block; blocks are (p*q, K, h, w, n).

    The units of a block together see a window of kh+p-1 by kw+q-1 visible units. A column of those (and a constant 1,
    for the biases) times a kernel that is laid out once for each unit of the block gives the whole block. Columns share
    far fewer visible units than with one column a hidden unit; clips are the last axis, so that they are copied in
    long rows.
    """

    def __init__(self, kernel: Any, biases: Any, size: Size, pool: Size) -> None:
        (kh, kw, channels, k), (p, q), (height, width) = kernel.shape, pool, size
        if channels != 1:
            raise ValueError(f"one input channel expected. Received: {channels}")
        self.pool, self.k, self.size, self.kernel_size = pool, k, size, (kh, kw)
        self.map = (height - kh + 1, width - kw + 1)
        self.blocks = (self.map[0] // p, self.map[1] // q)  # h, w
        self.window = (kh + p - 1, kw + q - 1)
        shifted = [
            tf.pad(kernel[:, :, 0], [[i, p - 1 - i], [j, q - 1 - j], [0, 0]]) for i in range(p) for j in range(q)
        ]
        window = self.window[0] * self.window[1]
        kernels = tf.reshape(tf.stack(shifted, axis=2), (window, p * q * k))
        self.down_matrix = tf.pad(kernels, [[0, 1], [0, 0]])  # the row of zeros: nothing comes from outside the map
        self.up_matrix = tf.transpose(tf.concat([kernels, tf.tile(biases, (p * q,))[None]], axis=0))
        self.seen, self.seeing = _windows(size, pool, self.window, self.blocks)

    def columns(self, v: Any) -> Any:
        """Return (window + 1, h*w*n)."""

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def gather(v: Any) -> tuple[Any, Any]:
            rows = tf.transpose(tf.reshape(v, (-1, self.size[0] * self.size[1])))  # (H*W, n)
            rows = tf.concat([rows, tf.ones_like(rows[:1])], axis=0)
            columns = tf.reshape(tf.gather(rows, self.seen), (self.seen.shape[0], -1))
            return columns, lambda d: self._spread(tf.concat([d[:-1], tf.zeros_like(d[:1])], axis=0))

        return gather(v)

    def _spread(self, columns: Any) -> Any:
        """Add up what belongs to the same visible unit, the transpose of `columns`; the last row must be zeros."""
        (height, width), (h, w) = self.size, self.blocks
        rows = tf.reshape(columns, (columns.shape[0] * h * w, -1))
        total = tf.reduce_sum(tf.gather(rows, self.seeing), axis=0)  # (H*W, n)
        return tf.reshape(tf.transpose(total), (-1, height, width, 1))

    def up(self, columns: Any) -> Any:
        """Return the inputs of hidden units, biases included."""
        p, q = self.pool
        return tf.reshape(tf.matmul(self.up_matrix, columns), (p * q, self.k, *self.blocks, -1))

    def down(self, blocks: Any, *, steps: bool = False) -> Any:
        """Return the transposed convolution (n, H, W, C); `steps` says that blocks are as `pooling.sample_steps`."""
        p, q = self.pool
        matrix = self.down_matrix
        if steps:  # a step at unit i and at all that follow is h_i: sum_i (step_i - step_i-1) W_i, reordered
            matrix -= tf.pad(matrix[:, self.k :], [[0, 0], [0, self.k]])
        return self._spread(tf.matmul(matrix, tf.reshape(blocks, (p * q * self.k, -1))))

    def correlate(self, columns: Any, blocks: Any) -> tuple[Any, Any]:
        """Return the sums of products, in the kernel's shape, and of the hidden units, (K,)."""
        (p, q), (kh, kw) = self.pool, self.kernel_size
        product = tf.matmul(tf.reshape(blocks, (p * q * self.k, -1)), columns, transpose_b=True)
        kernels = tf.reshape(tf.transpose(product[:, :-1]), (*self.window, p * q, self.k))
        kernel = tf.add_n([kernels[i : i + kh, j : j + kw, i * q + j] for i in range(p) for j in range(q)])
        return kernel[:, :, None], tf.reduce_sum(tf.reshape(product[:, -1], (p * q, self.k)), axis=0)

    def to_map(self, blocks: Any) -> Any:
        """Return blocks as map (n, h*p, w*q, K)."""
        (p, q), (h, w) = self.pool, self.blocks
        parts = tf.transpose(tf.reshape(blocks, (p, q, self.k, h, w, -1)), (5, 3, 0, 4, 1, 2))
        return tf.reshape(parts, (-1, h * p, w * q, self.k))

    def from_map(self, hidden: Any) -> Any:
        """Return a map (n, h*p, w*q, K) as blocks."""
        (p, q), (h, w) = self.pool, self.blocks
        parts = tf.transpose(tf.reshape(hidden, (-1, h, p, w, q, self.k)), (2, 4, 5, 1, 3, 0))
        return tf.reshape(parts, (p * q, self.k, h, w, -1))

    def pooled(self, values: Any) -> Any:
        """Return one value a block as map (n, h, w, K)."""
        return tf.transpose(values, (3, 1, 2, 0))

    def unpooled(self, hidden: Any) -> Any:
        """Return a map (n, h, w, K) as one value a block."""
        return tf.transpose(hidden, (3, 1, 2, 0))


@cache
def _windows(size: Size, pool: Size, window: Size, blocks: Size) -> tuple[IntArray, IntArray]:
    """Return which visible unit each place of a column holds, and in which places each visible unit is.

    Returns
    -------
    seen : array [shape=(window + 1, h*w)]
        Rows of a table of H*W visible units and, last, a constant.
    seeing : array [shape=(most, H*W)]
        Rows of a table of the columns' places, (window + 1)*h*w; visible units in fewer places name the first of the
        last row instead.
    """
    (height, width), (p, q), (wh, ww), (h, w) = size, pool, window, blocks
    row = np.arange(h)[None, None, :, None] * p + np.arange(wh)[:, None, None, None]
    column = np.arange(w)[None, None, None, :] * q + np.arange(ww)[None, :, None, None]
    seen = (row * width + column).reshape(wh * ww, h * w)
    order = np.argsort(seen, axis=None, kind="stable")
    counts = np.bincount(seen.ravel(), minlength=height * width)
    seeing = np.full((counts.max(), height * width), seen.size)
    rank = np.arange(seen.size) - np.repeat(np.cumsum(counts) - counts, counts)
    seeing[rank, seen.ravel()[order]] = order
    constant = np.full((1, h * w), height * width)
    return np.concatenate([seen, constant]).astype(np.int32), seeing.astype(np.int32)
