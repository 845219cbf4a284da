"""Three ways to compute a layer's convolutions; which one is faster depends on the shape.

All take visible units (n, H, W, C) of which each whole block of hidden units sees all it needs, H = h*p + kh - 1 and
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


def convolution(kernel: Any, biases: Any, size: Size, pool: Size) -> Direct | BlockColumns | FrameColumns:
    """Choose the way for a kernel (kh, kw, C, K), biases (K,), visible units of `size` (H, W) and blocks of `pool`.

    With one channel a direct convolution has too little to multiply, and moving its maps costs more than computing
    them. Kernels as high as the input convolve along time only.
    """
    if kernel.shape[0] == size[0]:
        return FrameColumns(kernel, biases, size, pool)
    return (BlockColumns if kernel.shape[2] == 1 else Direct)(kernel, biases, size, pool)


class Direct:
    """Plain convolution; blocks are (p*q, n, h, w, K)."""

    clips = -4  # their axis, of blocks and of one unit a block

    def __init__(self, kernel: Any, biases: Any, size: Size, pool: Size) -> None:
        (kh, kw, channels, k), (height, width) = kernel.shape, size
        self.pool, self.k, self.kernel, self.biases = pool, k, kernel, biases
        self.map = (height - kh + 1, width - kw + 1)
        self.shape = (height, width, channels)

    def columns(self, v: Any) -> Any:
        """Return the visible units as the products below want them."""
        return v

    def up(self, columns: Any) -> Any:
        """Return the inputs of hidden units, biases included."""
        return self.from_map(tf.nn.bias_add(tf.nn.conv2d(columns, self.kernel, 1, "VALID"), self.biases))

    def down(self, blocks: Any, *, steps: bool = False) -> Any:
        """Return the transposed convolution (n, H, W, C); `steps` says that blocks are as `pooling.sample_steps`."""
        if steps:
            blocks -= tf.pad(blocks[:-1], [[1, 0], *[[0, 0]] * 4])
        hidden = self.to_map(blocks)
        return tf.nn.conv2d_transpose(hidden, self.kernel, (tf.shape(hidden)[0], *self.shape), 1, "VALID")

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
    """One product of matrices for all units of a block, with a kernel laid out for each; blocks are (p*q, K, h, w, n).

    The units of a block together see a window of kh+p-1 by kw+q-1 visible units. A column holds those of one block, so
    that columns share far fewer visible units than with one a hidden unit. Clips are the last axis: columns are copied
    in long rows.
    """

    clips = -1

    def __init__(self, kernel: Any, biases: Any, size: Size, pool: Size) -> None:
        (kh, kw, self.channels, self.k), (p, q), (height, width) = kernel.shape, pool, size
        self.pool, self.size, self.kernel_size = pool, size, (kh, kw)
        self.map = (height - kh + 1, width - kw + 1)
        self.blocks = (self.map[0] // p, self.map[1] // q)  # h, w
        self.window = (kh + p - 1, kw + q - 1)
        self.seen, self.seeing = _windows((*size, self.channels), pool, self.window, self.blocks)
        shifted = [tf.pad(kernel, [[i, p - 1 - i], [j, q - 1 - j], [0, 0], [0, 0]]) for i in range(p) for j in range(q)]
        # for each unit of a block the kernel at its place in the window: (window, p*q*K)
        self.kernels = tf.reshape(tf.transpose(tf.stack(shifted), (2, 1, 3, 0, 4)), (-1, p * q * self.k))
        self.matrix = tf.transpose(tf.concat([self.kernels, tf.tile(biases, (p * q,))[None]], axis=0))

    def columns(self, v: Any) -> Any:
        """Return (window + 1, h*w*n): frame by frame, each from top to bottom, channels last; at the end a 1."""

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def gather(v: Any) -> tuple[Any, Any]:
            rows = tf.transpose(tf.reshape(v, (-1, self.size[0] * self.size[1] * self.channels)))  # (H*W*C, n)
            rows = tf.concat([rows, tf.ones_like(rows[:1])], axis=0)  # for the biases
            columns = tf.reshape(tf.gather(rows, self.seen), (self.seen.shape[0], -1))
            return columns, lambda d: self.spread(tf.pad(d[:-1], [[0, 1], [0, 0]]))

        return gather(v)

    def up(self, columns: Any) -> Any:
        """Return the inputs of hidden units, biases included."""
        p, q = self.pool
        return tf.reshape(tf.matmul(self.matrix, columns), (p * q, self.k, *self.blocks, -1))

    def correlate(self, columns: Any, blocks: Any) -> tuple[Any, Any]:
        """Return the sums of products, in the kernel's shape, and of the hidden units, (K,)."""
        (p, q), (kh, kw) = self.pool, self.kernel_size
        product = tf.matmul(tf.reshape(blocks, (p * q * self.k, -1)), columns, transpose_b=True)
        wh, ww = self.window
        kernels = tf.transpose(tf.reshape(product[:, :-1], (p * q, self.k, ww, wh, self.channels)), (0, 3, 2, 4, 1))
        kernel = tf.add_n([kernels[i * q + j, i : i + kh, j : j + kw] for i in range(p) for j in range(q)])
        return kernel, tf.reduce_sum(tf.reshape(product[:, -1], (p * q, self.k)), axis=0)

    def down(self, blocks: Any, *, steps: bool = False) -> Any:
        """Return the transposed convolution (n, H, W, C); `steps` says that blocks are as `pooling.sample_steps`."""
        p, q = self.pool
        matrix = tf.pad(self.kernels, [[0, 1], [0, 0]])  # the row of zeros: nothing comes from outside the map
        if steps:  # a step at unit i and at all that follow is h_i: sum_i (step_i - step_i-1) W_i, reordered
            matrix -= tf.pad(matrix[:, self.k :], [[0, 0], [0, self.k]])
        return self.spread(tf.matmul(matrix, tf.reshape(blocks, (p * q * self.k, -1))))

    def spread(self, columns: Any) -> Any:
        """Add up what belongs to the same visible unit, the transpose of `columns`; the last row must be zeros.

        From (window + 1, h*w*n) to (n, H, W, C).
        """
        (height, width), (h, w) = self.size, self.blocks
        rows = tf.reshape(columns, (columns.shape[0] * h * w, -1))
        total = tf.reduce_sum(tf.gather(rows, self.seeing), axis=0)  # (H*W*C, n)
        return tf.reshape(tf.transpose(total), (-1, height, width, self.channels))

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


class FrameColumns(BlockColumns):
    """Kernels as high as the input: what a unit of a block sees are consecutive rows of the block's columns.

    So the gradient needs no product with the rest of them. On the way up one product with all of them is still faster:
    it leaves units and biases where they belong.
    """

    def correlate(self, columns: Any, blocks: Any) -> tuple[Any, Any]:
        """Return the sums of products, in the kernel's shape, and of the hidden units, (K,)."""
        q, (height, _), width = self.pool[1], self.size, self.kernel_size[1]
        frame = height * self.channels
        units = tf.unstack(tf.reshape(blocks, (q, self.k, -1)))
        seen = [columns[j * frame : (j + width) * frame] for j in range(q)]
        products = [tf.matmul(unit, rows, transpose_b=True) for unit, rows in zip(units, seen, strict=True)]
        kernel = tf.reshape(tf.add_n(products), (self.k, width, height, self.channels))
        return tf.transpose(kernel, (2, 1, 3, 0)), tf.reduce_sum(tf.add_n(units), axis=1)


@cache
def _windows(shape: tuple[int, int, int], pool: Size, window: Size, blocks: Size) -> tuple[IntArray, IntArray]:
    """Return which visible unit each place of a column holds, and in which places each visible unit is.

    Returns
    -------
    seen : array [shape=(window + 1, h*w)]
        Rows of a table of H*W*C visible units and a constant at its end.
    seeing : array [shape=(most, H*W*C)]
        Rows of a table of the columns' places, window*h*w; visible units in fewer places name the first of
        the row of zeros after those.
    """
    (height, width, channels), (p, q), (wh, ww), (h, w) = shape, pool, window, blocks
    units = np.arange(height * width * channels).reshape(shape)
    seen = np.array(
        [
            units[i : i + (h - 1) * p + 1 : p, j : j + (w - 1) * q + 1 : q, c].ravel()
            for j in range(ww)
            for i in range(wh)
            for c in range(channels)
        ]
    )
    order = np.argsort(seen, axis=None, kind="stable")
    counts = np.bincount(seen.ravel(), minlength=units.size)
    seeing = np.full((counts.max(), units.size), seen.size)
    rank = np.arange(seen.size) - np.repeat(np.cumsum(counts) - counts, counts)
    seeing[rank, seen.ravel()[order]] = order
    seen = np.append(seen, np.full((1, h * w), units.size), axis=0)
    return seen.astype(np.int32), seeing.astype(np.int32)
