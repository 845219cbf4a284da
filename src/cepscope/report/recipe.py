"""The three pictures of the classic recipe: filters, feature maps, a pattern by plain gradient ascent."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError
from cepscope.report.plots import plot_filters, plot_mfcc

MOST = 64  # pictures in one figure


def visualize_filters(model: Any, layer_name: str) -> Any:
    """Draw the filters of a convolutional layer.

    Parameters
    ----------
    model : keras.Model
    layer_name : str
        ``conv2d`` also means the first convolutional layer.

    Returns
    -------
    matplotlib.figure.Figure
        Kernels over the first input channel; of deeper layers of a CDBN their projection on the input.
    """
    from cepscope.maximize.units import is_convolution, resolve_layer
    from cepscope.models.filters import model_filters

    layer = resolve_layer(model, layer_name)
    if not is_convolution(layer):
        raise ParameterError(f"Layer {layer.name!r} has no filters to draw. Take a convolutional layer.")
    pictures = model_filters(model).get(layer.name)
    if pictures is None:
        kernel = np.asarray(layer.kernel)
        kernel = kernel[:, None] if kernel.ndim == 3 else kernel
        pictures = np.moveaxis(kernel[:, :, 0], -1, 0)
    return plot_filters(pictures[:MOST], title=f"{layer.name}: filters")


def visualize_feature_maps(model: Any, layer_name: str, mfccs: npt.ArrayLike) -> Any:
    """Draw the maps of a layer for one input.

    Parameters
    ----------
    model : keras.Model
    layer_name : str
    mfccs : array [shape=(n_mfcc, frames), (n_mfcc, frames, 1) or (n, n_mfcc, frames, 1)]
        Scaled MFCCs; of a batch the first is drawn.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from cepscope.maximize.units import feature_maps, resolve_layer

    layer = resolve_layer(model, layer_name)
    shape = tuple(model.input_shape[1:])
    x = np.asarray(mfccs, np.float32)
    x = x if x.shape[-3:] == shape else x[..., None]  # the channel may be left out
    if x.shape[-3:] != shape or not x.size:
        raise ParameterError(f"`mfccs` must be ([n,] {shape[0]}, {shape[1]}[, 1]). Received: {np.shape(mfccs)}")
    maps = feature_maps(model, layer, x.reshape(-1, *shape)[:1])[0]
    if maps.ndim < 3:
        raise ParameterError(f"Layer {layer.name!r} has no maps to draw. Take a convolutional layer.")
    return plot_filters(np.moveaxis(maps, -1, 0)[:MOST], title=f"{layer.name}: feature maps", label="activation")


def visualize_activation_maximization(model: Any, layer_name: str, filter_index: int, **kwargs: Any) -> Any:
    """Draw the pattern that plain gradient ascent finds for one filter.

    Parameters
    ----------
    model : keras.Model
    layer_name : str
    filter_index : int
    **kwargs
        Of `cepscope.generate_pattern`: size, iterations, step, seed.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from cepscope.maximize.classic import generate_pattern

    pattern = generate_pattern(model, layer_name, filter_index, **kwargs)
    return plot_mfcc(pattern, title=f"{layer_name}:{filter_index}, by plain gradient ascent")
