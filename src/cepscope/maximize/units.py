"""Units: the things in a network that can fire, their names, and what "firing" means for each.

A unit is written ``layer:index``. Its activation is measured before the non-linearity, so that no unit is dead or
saturated at the start of the ascent:

- a filter of a convolutional RBM: the mean over its map of ``log(1 + sum exp I)`` of each pooling block, which is its
  share of the negative free energy (Lee et al. 2009, ICML, section 3.3; softplus when the block is one unit);
- a filter of any other convolution: the mean over its map of the softplus of its input;
- a dense unit, a class logit among them: its input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError
from cepscope.models.backend import keras, tf

FloatArray = npt.NDArray[np.float32]

CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
)
MAP_RANK = 3  # outputs of at least this rank (batch, place..., channel) are maps


@dataclass(frozen=True, slots=True, order=True)
class Unit:
    """One thing that can fire.

    Parameters
    ----------
    layer : str
        Name of the layer.
    index : int
        Channel of a convolution, or position in a dense layer.

    Examples
    --------
    >>> Unit.parse("crbm2:7")
    Unit(layer='crbm2', index=7)
    >>> str(Unit("logits", 3))
    'logits:3'
    """

    layer: str
    index: int

    @classmethod
    def parse(cls, text: str) -> Unit:
        """Read ``layer:index``.

        Raises
        ------
        ParameterError
            If `text` has another form.
        """
        layer, colon, index = text.rpartition(":")
        if not (colon and layer and index.isdecimal()):
            raise ParameterError(f"A unit is written layer:index, as in crbm2:7. Received: {text!r}")
        return cls(layer, int(index))

    def __str__(self) -> str:
        return f"{self.layer}:{self.index}"


def is_convolution(layer: Any) -> bool:
    """Tell whether `layer` slides filters over its input."""
    return hasattr(layer, "pre_activation") or isinstance(layer, CONVOLUTIONS)


def resolve_layer(model: Any, name: str) -> Any:
    """Find a layer by name; ``conv2d`` also means the first convolutional layer, whatever its class.

    Raises
    ------
    ParameterError
        If the model has no such layer.
    """
    names = [layer.name for layer in model.layers]
    if name in names:
        return model.get_layer(name)
    if name == "conv2d":
        for layer in model.layers:
            if is_convolution(layer):
                return layer
    raise ParameterError(f"The model has no layer {name!r}; it has {', '.join(names)}.")


def unit_layers(model: Any, layers: str | Sequence[str] = "all") -> list[Any]:
    """List the layers whose units can be shown, in the model's order.

    Parameters
    ----------
    model : keras.Model
    layers : "all" or sequence of str
        ``"all"`` takes every convolution and the last dense layer (the class logits).
    """
    if layers != "all":
        wanted = [layers] if isinstance(layers, str) else list(layers)
        return [resolve_layer(model, name) for name in wanted]
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    chosen = [layer for layer in model.layers if is_convolution(layer) or layer in dense[-1:]]
    if not chosen:
        raise ParameterError("The model has no convolutional or dense layer, so it has no unit to show.")
    return chosen


def pre_activation(layer: Any, value: Any) -> Any:
    """Return the unsaturated activation of every unit: (batch, units)."""
    if hasattr(layer, "pre_activation"):
        return tf.reduce_mean(layer.pre_activation(value), axis=[1, 2])
    activation = layer.activation
    layer.activation = keras.activations.linear  # the layer's own arithmetic, without its non-linearity
    try:
        out = layer(value)
    finally:
        layer.activation = activation
    if len(out.shape) < MAP_RANK:
        return out
    return tf.reduce_mean(tf.nn.softplus(out), axis=list(range(1, len(out.shape) - 1)))


@dataclass(frozen=True)
class UnitReader:
    """Every unit of the chosen layers, read in one forward pass.

    Attributes
    ----------
    units : tuple of Unit
    read : callable
        Maps a tensor (batch, n_mfcc, frames, 1) to the activations (batch, len(units)); differentiable.
    """

    units: tuple[Unit, ...]
    read: Callable[[Any], Any]

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in order."""
        return tuple(dict.fromkeys(unit.layer for unit in self.units))

    @cached_property
    def _compiled(self) -> Callable[[Any], Any]:
        compiled: Callable[[Any], Any] = tf.function(self.read, reduce_retracing=True, jit_compile=False)
        return compiled

    def measure(self, x: npt.ArrayLike, *, batch_size: int = 128) -> FloatArray:
        """Measure every unit on every input.

        Parameters
        ----------
        x : array [shape=(n, n_mfcc, frames, 1)]
            Scaled MFCCs.
        batch_size : int
            Only memory depends on it.

        Returns
        -------
        array [shape=(n, units)]
            Pre-activations.
        """
        x = np.asarray(x, np.float32)
        parts = [self._compiled(tf.constant(x[i : i + batch_size])).numpy() for i in range(0, len(x), batch_size)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.units)), np.float32)


def unit_reader(model: Any, layers: str | Sequence[str] = "all") -> UnitReader:
    """Build the reader of all units of `layers`.

    Parameters
    ----------
    model : keras.Model
        A built functional or Sequential model with one input (batch, n_mfcc, frames, 1).
    layers : "all" or sequence of str
    """
    chosen = unit_layers(model, layers)
    inputs = keras.Model(model.inputs[0], [layer.input for layer in chosen])

    def read(x: Any) -> Any:
        values = inputs(x, training=False)
        values = values if isinstance(values, list | tuple) else [values]
        return tf.concat([pre_activation(layer, value) for layer, value in zip(chosen, values, strict=True)], axis=1)

    widths = [int(pre_activation(layer, tf.zeros((1, *layer.input.shape[1:]))).shape[-1]) for layer in chosen]
    units = tuple(Unit(layer.name, i) for layer, width in zip(chosen, widths, strict=True) for i in range(width))
    return UnitReader(units, read)


def unit_activations(
    model: Any, x: npt.ArrayLike, *, layers: str | Sequence[str] = "all", batch_size: int = 128
) -> FloatArray:
    """Measure every unit of `layers` on every input; see `UnitReader.measure`."""
    return unit_reader(model, layers).measure(x, batch_size=batch_size)


def feature_maps(model: Any, layer: Any, x: npt.ArrayLike) -> FloatArray:
    """Return the output of a layer for inputs (n, n_mfcc, frames, 1)."""
    part = keras.Model(model.inputs[0], layer.output)
    return np.asarray(part(np.asarray(x, np.float32), training=False), np.float32)
