"""The classic recipe: gradient ascent on the raw pattern from noise.

It is here to compare with, and because everybody knows it. It leaves the data at once: read the scores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError
from cepscope.maximize.units import Seen, is_convolution, resolve_layer
from cepscope.models.backend import keras, tf

FloatArray = npt.NDArray[np.float32]
START = 0.1  # root mean square of the first pattern


def generate_pattern(
    model: Any,
    layer_name: str,
    filter_index: int,
    size: int | None = None,
    iterations: int = 40,
    step: float = 1.0,
    *,
    seed: int = 0,
) -> FloatArray:
    """Ascend the gradient, normalised to unit root mean square, of one filter's activation.

    Parameters
    ----------
    model : keras.Model
        Input (batch, n_mfcc, frames, 1).
    layer_name : str
        A layer's name; ``conv2d`` also means the first convolutional layer.
    filter_index : int
        Channel of that layer.
    size : int, optional
        Frames of the pattern; by default those of the model's input. Another number works for every layer below the
        first one that needs a fixed size.
    iterations : int
        Steps.
    step : float
        Length of a step.
    seed : int
        Start.

    Returns
    -------
    array [shape=(n_mfcc, size)]
        The pattern, in the scale of the model's input.

    Raises
    ------
    ParameterError
        If the layer or filter does not exist, or the layer can't take that size.
    """
    layer = resolve_layer(model, layer_name)
    n_mfcc, frames, channels = model.inputs[0].shape[1:]
    size = frames if size is None else size
    if min(size, iterations) < 1 or not step > 0:
        raise ParameterError(
            f"`size`, `iterations` and `step` must be positive. Received: {size}, {iterations}, {step}"
        )
    below = _below(model, layer, size)
    width = int(Seen(layer, below(tf.zeros((1, n_mfcc, size, channels)))).mean().shape[-1])
    if not 0 <= filter_index < width:
        raise ParameterError(f"Layer {layer.name!r} has {width} units, counted from 0. Received: {filter_index}")

    def activation(x: Any) -> Any:
        return Seen(layer, below(x)).mean()[:, filter_index]

    start = START * np.random.default_rng(seed).standard_normal((1, n_mfcc, size, channels))
    compiled = tf.function(climb, jit_compile=False)
    pattern, _ = compiled(activation, tf.constant(start, tf.float32), tf.constant(iterations), step)
    return np.asarray(pattern[0, :, :, 0], np.float32)


def climb(activation: Callable[[Any], Any], x: Any, iterations: Any, step: float) -> tuple[Any, Any]:
    """Ascend the gradient of each pattern's activation, normalised pattern by pattern to unit root mean square.

    Parameters
    ----------
    activation : callable
        Maps patterns (n, n_mfcc, frames, 1) to (n,).
    x : tensor [shape=(n, n_mfcc, frames, 1)]
        Where to start.
    iterations : int tensor
    step : float

    Returns
    -------
    x : tensor [shape=(n, n_mfcc, frames, 1)]
    trace : tensor [shape=(iterations, n)]
        Activation before each step.
    """
    trace = tf.TensorArray(tf.float32, size=iterations)
    for i in tf.range(iterations):
        with tf.GradientTape() as tape:
            tape.watch(x)
            own = activation(x)
        gradient = tape.gradient(own, x)
        trace = trace.write(i, own)
        x += step * gradient / (tf.sqrt(tf.reduce_mean(gradient**2, axis=[1, 2, 3], keepdims=True)) + 1e-8)
    return x, trace.stack()


def _below(model: Any, layer: Any, size: int) -> Any:
    """Return the part of the model that feeds `layer`, for patterns of `size` frames."""
    part = keras.Model(model.inputs[0], layer.input)
    n_mfcc, frames, channels = model.inputs[0].shape[1:]
    if size == frames:
        return part
    try:
        if not is_convolution(layer):
            raise ValueError("a dense layer has one weight a place")
        resized = keras.Input((n_mfcc, size, channels))
        value = resized
        for inner in part.layers[1:]:  # a chain: the layers between input and `layer`
            value = inner(value)
        layer.compute_output_shape(value.shape)
    except (ValueError, TypeError) as error:
        raise ParameterError(
            f"Layer {layer.name!r} takes patterns of {frames} frames only. Received: size={size}. "
            f"Take size={frames} or a lower layer."
        ) from error
    return keras.Model(resized, value)
