"""Filters of every layer as pictures in the space of the input.

A first-layer filter is its kernel. A deeper one is drawn as the linear combination of the filters below it, weighted
by its kernel (Lee et al. 2008; compared with other ways to show a unit in Erhan et al. 2009): each pooled unit below
stands for the mean of its block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.signal

FloatArray = npt.NDArray[np.float32]


def linear_combinations(kernels: Sequence[npt.ArrayLike], pool_sizes: Sequence[tuple[int, int]]) -> list[FloatArray]:
    """Project the kernels of a stack of convolutions on its single-channel input.

    Parameters
    ----------
    kernels : sequence of array [shape=(height, width, channels in, filters)]
        From the bottom up; the first has one channel in.
    pool_sizes : sequence of (int, int)
        Pooling block above each convolution.

    Returns
    -------
    list of array [shape=(filters, height, width)]
        One a layer; height and width are those of the layer's receptive field (of one unit before pooling).

    Examples
    --------
    >>> first = np.ones((2, 2, 1, 1)); second = np.ones((1, 1, 1, 1))
    >>> [f.shape for f in linear_combinations([first, second], [(2, 2), (1, 1)])]
    [(1, 2, 2), (1, 3, 3)]
    """
    below = np.asarray(kernels[0], np.float64)[:, :, 0]  # (h, w, filters), seen from the input
    stride = (1, 1)
    pictures = [_first_axis(below)]
    for kernel, pool in zip(kernels[1:], pool_sizes, strict=False):
        block = np.kron(np.ones(pool) / (pool[0] * pool[1]), _impulse(stride))  # the block's places, in input steps
        block = block[: (pool[0] - 1) * stride[0] + 1, : (pool[1] - 1) * stride[1] + 1]
        pooled = scipy.signal.convolve(below, block[:, :, None], mode="full", method="direct")
        stride = (stride[0] * pool[0], stride[1] * pool[1])
        weights = np.asarray(kernel, np.float64)  # (h, w, channels, filters)
        height, width, _, filters = weights.shape
        ph, pw, _ = pooled.shape
        below = np.zeros(((height - 1) * stride[0] + ph, (width - 1) * stride[1] + pw, filters))
        for i in range(height):
            for j in range(width):
                top, left = i * stride[0], j * stride[1]
                below[top : top + ph, left : left + pw] += pooled @ weights[i, j]
        pictures.append(_first_axis(below))
    return pictures


def model_filters(model: Any) -> dict[str, FloatArray]:
    """Draw every filter of a CDBN: layer name to pictures (filters, height, width)."""
    rbms = [layer for layer in model.layers if hasattr(layer, "pre_activation")]
    if not rbms:
        return {}
    pictures = linear_combinations([layer.kernel.numpy() for layer in rbms], [layer.pool_size for layer in rbms])
    return {layer.name: picture for layer, picture in zip(rbms, pictures, strict=True)}


def combine_filters(model: Any, layer: str, weights: npt.ArrayLike) -> FloatArray:
    """Add up the filters of an RBM with a weight for each of its pooling units, all the way down to the input.

    What `linear_combinations` does for one unit, at its place in a whole patch, for any mixture of units: of those that
    a class's logit adds up, for one.

    Parameters
    ----------
    model : keras.Model
        From `build_cdbn`.
    layer : str
    weights : array [shape=(n, h, w, filters)]
        For that layer's pooling units; each stands for the mean of its block.

    Returns
    -------
    array [shape=(n, n_mfcc, frames, 1)]
        No biases, no non-linearity.

    Raises
    ------
    ParameterError
        If there is no such layer, or the array is not of its map.
    """
    from cepscope.models.backend import tf
    from cepscope.models.generation import checked_units, rbm_layers

    names = [rbm.name for rbm in rbm_layers(model)]
    value = tf.constant(checked_units(model, layer, weights))
    for rbm in reversed(rbm_layers(model)[: names.index(layer) + 1]):
        shape = (None, *rbm.input.shape[1:])
        conv = rbm.convolution(shape)
        units = rbm.pool_size[0] * rbm.pool_size[1]
        value = rbm.down(tf.repeat(conv.unpooled(value)[None] / units, units, axis=0), shape, conv)
    return np.asarray(value, np.float32)


def _impulse(stride: tuple[int, int]) -> npt.NDArray[np.float64]:
    out = np.zeros(stride)
    out[0, 0] = 1
    return out


def _first_axis(below: npt.NDArray[np.float64]) -> FloatArray:
    return np.ascontiguousarray(np.moveaxis(below, 2, 0), dtype=np.float32)
