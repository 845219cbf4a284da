"""Networks of others behind what brings cepscope's patches to them, so that everything else need not know them apart.

The result is a plain Keras model of Keras' own layers: nested models are laid open, so that each layer can be read, and
a batch normalisation after a layer without non-linearity is folded into it, so that the layer's units are what the
non-linearity sees (Jacob et al. 2018, CVPR, section 3.2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import DataError
from cepscope.models.backend import keras
from cepscope.models.feeding import Affine, Feed

FRONT = "front_end"  # the layer that turns frames of cepscope into those of the network
FOLDABLE = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
    keras.layers.Dense,
)
DRAWN = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
PUT_IN_FRONT = ("patch", "patch_rows", "patch_frames", FRONT, "patch_turned", "patch_shaped")


def adapt(model: Any, feed: Feed, frame_map: Affine, *, name: str) -> Any:
    """Put what turns patches into a network's own input in front of it.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, one input, one output.
    feed : Feed
    frame_map : (array [shape=(n_mfcc, rows)], array [shape=(rows,)])
        From `cepscope.models.feeding.frame_map`.
    name : str
        Of the result.

    Returns
    -------
    keras.Model
        Input (batch, n_mfcc, frames, 1), the same layers by the same names, in float32.

    Raises
    ------
    DataError
        If the network has several outputs, or its convolutions keep channels first.
    """
    if len(model.outputs) != 1:
        raise DataError(
            f"{model.name} has {len(model.outputs)} outputs; expected one: "
            "save keras.Model(model.inputs, model.outputs[0])"
        )
    _refuse_channels_first(model)
    weights, bias = (np.asarray(one, np.float32) for one in frame_map)
    layers = keras.layers
    inputs = keras.Input((len(weights), feed.frames, 1), name="patch")
    value = layers.Reshape((len(weights), feed.frames), name="patch_rows")(inputs)
    value = layers.Permute((2, 1), name="patch_frames")(value)
    front = layers.EinsumDense("btk,kc->btc", (feed.frames, feed.rows), bias_axes="c", name=FRONT)
    value = front(value)
    front.set_weights([weights, bias])
    if feed.layout == "coefficients-first":
        value = layers.Permute((2, 1), name="patch_turned")(value)
    if tuple(value.shape[1:]) != feed.shape:
        value = layers.Reshape(feed.shape, name="patch_shaped")(value)
    (output,) = keras.tree.flatten(_laid_open(model, value, set(PUT_IN_FRONT)))  # it may lie in a list or a dict
    return keras.Model(inputs, output, name=name)


def folded(model: Any) -> int:
    """Return how many batch normalisations `adapt` folds into the layer before them."""
    return len(_folds(model)) + sum(folded(layer) for layer in model.layers if _is_nested(layer))


def difference(original: Any, adapted: Any, x: npt.ArrayLike, feed: Feed, frame_map: Affine) -> float:
    """Return how far the outputs of both are apart, at most, for patches (n, n_mfcc, frames, 1)."""
    patches = np.asarray(x, np.float32)
    frames = patches[..., 0].transpose(0, 2, 1) @ frame_map[0] + frame_map[1]
    given = frames if feed.layout == "time-first" else frames.transpose(0, 2, 1)
    plain = keras.Model(original.inputs[0], original.outputs[0])  # its own may take a list or a dict
    one, other = (
        np.asarray(network(values.astype(np.float32), training=False), np.float64)
        for network, values in ((plain, given.reshape(-1, *feed.shape)), (adapted, patches))
    )
    return float(np.abs(one - other).max() / max(1.0, np.abs(one).max()))


def first_filters(model: Any, feed: Feed) -> dict[str, npt.NDArray[np.float32]]:
    """Draw the filters of an adapted network's first convolution: layer name to pictures (filters, height, width).

    Those that span a frame are drawn as what they are to cepscope's patches; others in the network's own MFCC. Empty
    where there is no such convolution, and for others over log-mel bands, which are no coefficients.
    """
    names = [layer.name for layer in model.layers]
    fed = [model.get_layer(name).output for name in (FRONT, *PUT_IN_FRONT[4:]) if name in names]
    first = next((one for one in model.layers[1:] if isinstance(one, DRAWN) and any(one.input is x for x in fed)), None)
    if first is None:
        return {}
    kernel = np.asarray(first.kernel, np.float32)
    plane = kernel if isinstance(first, keras.layers.Conv1D) else kernel[:, :, 0]  # (rows and frames, filters)
    planes = plane.transpose((2, 1, 0) if feed.layout == "time-first" else (2, 0, 1))
    if planes.shape[1] == feed.rows:
        weights = np.asarray(model.get_layer(FRONT).kernel, np.float32)
        return {first.name: np.einsum("kc,fct->fkt", weights, planes)}
    return {first.name: planes} if feed.kind == "mfcc" else {}


def _is_nested(layer: Any) -> bool:
    return isinstance(layer, keras.Model)


def _graph(model: Any) -> Any:
    """Return what holds a model's graph: a Sequential keeps a functional model of its layers."""
    return getattr(model, "_functional", None) or model


def _laid_open(model: Any, value: Any, taken: set[str]) -> Any:
    """Return a model's output for another input, made by copies of its layers; those of models in it, too."""
    folds = _folds(model)
    before = {producer: normalisation for normalisation, producer in folds.items()}
    copies: dict[Any, Any] = {}

    def copy(operation: Any) -> Callable[..., Any]:
        if operation in folds:
            return lambda tensor, **_: tensor
        if _is_nested(operation):
            return lambda tensor, **_: _laid_open(operation, tensor, taken)
        if operation not in copies:
            name = operation.name if operation.name not in taken else f"{model.name}_{operation.name}"
            taken.add(name)
            copies[operation] = _copy(operation, name, before.get(operation))
        copied: Callable[..., Any] = copies[operation]
        return copied

    return _graph(model)._run_through_graph(value, operation_fn=copy)


def _copy(operation: Any, name: str, normalisation: Any | None) -> Callable[..., Any]:
    """Return what calls a copy of a layer, with the normalisation behind it folded in."""
    settings = {**operation.get_config(), "name": name}
    if not isinstance(operation, keras.layers.Layer):
        found: Callable[..., Any] = type(operation).from_config(settings)
        return found
    if normalisation is not None:
        settings["use_bias"] = True
    copied = type(operation).from_config({**settings, "dtype": "float32"})
    values = operation.get_weights()
    if normalisation is not None:
        values = _fold(operation, values, normalisation)

    def call(*arguments: Any, **more: Any) -> Any:
        given = copied(*arguments, **more)  # builds it
        copied.set_weights(values)
        if isinstance(copied, keras.layers.Normalization):
            copied.finalize_state()  # else it goes on with the mean of no data
        return given

    return call


def _folds(model: Any) -> dict[Any, Any]:
    """Return which batch normalisations fold into which layers: alone behind one that is linear and not shared."""
    operations = [one for one in _graph(model).operations if len(one._inbound_nodes) == 1]
    layers = [one for one in operations if not isinstance(one, keras.layers.InputLayer)]
    users = Counter(id(tensor) for one in _graph(model).operations for tensor in _inputs(one))
    users.update(id(tensor) for tensor in model.outputs)
    makers = {id(layer.output): layer for layer in layers if isinstance(layer, FOLDABLE)}
    found = {}
    for layer in layers:
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
        maker = makers.get(id(layer.input))
        rank = len(layer.output.shape)
        linear = maker is not None and maker.activation is keras.activations.linear
        if linear and users[id(layer.input)] == 1 and layer.axis in (-1, rank - 1):
            found[layer] = maker
    return found


def _inputs(operation: Any) -> list[Any]:
    """Return every tensor that an operation is given, each time that it is called."""
    return [tensor for node in operation._inbound_nodes for tensor in node.input_tensors]


def _fold(layer: Any, values: list[npt.NDArray[np.float32]], norm: Any) -> list[npt.NDArray[np.float32]]:
    """Return a layer's weights such that it gives what the batch normalisation behind it gave, when not training."""
    mean, variance = np.asarray(norm.moving_mean), np.asarray(norm.moving_variance)
    gain = (np.asarray(norm.gamma) if norm.scale else 1.0) / np.sqrt(variance + norm.epsilon)
    shift = np.asarray(norm.beta) if norm.center else 0.0
    *kernels, bias = values if layer.use_bias else [*values, np.zeros_like(mean)]
    # the last kernel makes the channels: of a depthwise one they are (channels in, multiplier)
    kernels[-1] = kernels[-1] * (gain.reshape(kernels[-1].shape[-2:]) if isinstance(layer, DEPTHWISE) else gain)
    return [*kernels, ((bias - mean) * gain + shift).astype(np.float32)]


def _refuse_channels_first(model: Any) -> None:
    for layer in model.layers:
        if _is_nested(layer):
            _refuse_channels_first(layer)
        elif isinstance(layer, FOLDABLE) and getattr(layer, "data_format", "channels_last") != "channels_last":
            raise DataError(
                f"{layer.name} keeps channels first; expected data_format='channels_last': build the network so "
                "and set the same weights"
            )
