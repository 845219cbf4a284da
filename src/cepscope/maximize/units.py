"""Units: the things in a network that can fire, their names, and what "firing" means for each.

A unit is written ``layer:index``, at one place of its map ``layer:index@row,col``. Its activation is measured before
the non-linearity, so that no unit is dead or saturated at the start of the ascent:

- a filter of a convolutional RBM: ``log(1 + sum exp I)`` of each pooling block, which is its share of the negative free
  energy (Lee et al. 2009, ICML, section 3.3; softplus when the block is one unit), averaged over its map;
- a filter of any other convolution: the softplus of its input, averaged over its map;
- a dense unit, a class logit among them: its input.

Means are free of borders: places that padding robs of a part of their receptive field do not count.

A unit is one kind of `Term`, a number that can be read from a network at an input; `cepscope.maximize.objectives` has
the others and adds them up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError
from cepscope.models.backend import keras, tf

FloatArray = npt.NDArray[np.float32]
Inner = tuple[slice, ...]

CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
WIDE = 64  # units of a dense layer: the time of all of them, for each pattern, grows with their square
MAP_RANK = 3  # outputs of at least this rank (batch, place..., channel) are maps
FORM = "layer:index or layer:index@row,col, as in crbm2:7 or crbm2:7@3,10"


class Seen:
    """What one layer makes of a batch of inputs, computed when asked for and once.

    Attributes
    ----------
    layer : keras.Layer
    value : tensor
        The layer's input.
    inner : tuple of slice
        Places of the map that see all of a receptive field; by default all places.
    """

    def __init__(self, layer: Any, value: Any, inner: Inner = ()) -> None:
        self.layer = layer
        self.value = value
        self.inner = inner

    @cached_property
    def _both(self) -> tuple[Any, Any]:
        if hasattr(self.layer, "pre_activation"):
            found: tuple[Any, Any] = self.layer.pre_activation_and_output(self.value)
            return found
        activation = self.layer.activation
        self.layer.activation = keras.activations.linear  # the layer's own arithmetic, without its non-linearity
        try:
            out = self.layer(self.value)
        finally:
            self.layer.activation = activation
        return (out if len(out.shape) < MAP_RANK else tf.nn.softplus(out)), activation(out)

    @property
    def map(self) -> Any:
        """Return the activations (batch, place..., units), of a dense layer (batch, units)."""
        return self._both[0]

    @property
    def output(self) -> Any:
        """Return what the layer gives to those above it."""
        return self._both[1]

    def mean(self) -> Any:
        """Return each unit's mean over its map (batch, units)."""
        return self.map if len(self.map.shape) < MAP_RANK else self.mean_over(self.map)

    def mean_of(self, indices: Any) -> Any:
        """Return the mean of one unit an input (batch,), in less time than that of all units where the layer can.

        `indices` are integers or a tensor (batch,).
        """
        if hasattr(self.layer, "pre_activation_of"):
            return self.mean_over(self.layer.pre_activation_of(self.value, indices)[..., None])[:, 0]
        if _is_wide(self.layer):
            kernel = tf.gather(tf.convert_to_tensor(self.layer.kernel), indices, axis=1)  # (inputs, batch)
            found = tf.reduce_sum(tf.cast(self.value, tf.float32) * tf.transpose(tf.cast(kernel, tf.float32)), axis=1)
            return found + tf.gather(self.layer.bias, indices) if self.layer.use_bias else found
        return tf.gather(self.mean(), indices, axis=1, batch_dims=1)

    def mean_over(self, found: Any) -> Any:
        """Return the means of a map (batch, place..., units) over the places that count: (batch, units)."""
        inner = found[(slice(None), *self.inner)] if self.inner else found  # a slice's gradient takes its time
        return tf.reduce_mean(inner, axis=list(range(1, len(found.shape) - 1)))


@dataclass(frozen=True)
class Term(ABC):
    """A number that a network gives for an input.

    Attributes
    ----------
    layer : str
        Where it is read.
    """

    layer: str

    @property
    def name(self) -> str:
        """How it is written."""
        return str(self)

    @staticmethod
    @abstractmethod
    def read(terms: Sequence[Any], seen: Seen) -> Any:
        """Return the terms, all of this class and of one layer, for a batch: (batch, len(terms)); differentiable."""

    @property
    def together(self) -> Any:
        """What terms of one class and layer must share to be read together."""
        return None

    def resolved(self, model: Any, classes: Sequence[str]) -> Term:  # noqa: ARG002
        """Return the term checked against a model, with labels replaced by their index."""
        return replace(self, layer=readable_layer(model, self.layer).name)


@dataclass(frozen=True, order=True)
class Unit(Term):
    """One thing that can fire.

    Parameters
    ----------
    layer : str
        Name of the layer.
    index : int or str
        Channel of a convolution, or position in a dense layer; a class's label will do for the layer of logits.
    place : (row, column), optional
        One place of the map instead of its mean.

    Examples
    --------
    >>> Unit.parse("crbm2:7")
    Unit(layer='crbm2', index=7, place=None)
    >>> str(Unit("crbm2", 7, (3, 10)))
    'crbm2:7@3,10'
    """

    index: int | str = 0
    place: tuple[int, ...] | None = None

    @classmethod
    def parse(cls, text: str) -> Unit:
        """Read ``layer:index`` or ``layer:index@row,col``.

        Raises
        ------
        ParameterError
            If `text` has another form.
        """
        name, at, where = text.partition("@")
        layer, colon, index = name.rpartition(":")
        place = tuple(where.split(",")) if at else ()
        if not (colon and layer and index and all(part.strip().isdecimal() for part in place)) or index.startswith("-"):
            raise ParameterError(f"A unit is written {FORM}. Received: {text!r}")
        number = int(index) if index.isdecimal() else index
        return cls(layer, number, tuple(int(part) for part in place) or None)

    def __str__(self) -> str:
        place = f"@{','.join(map(str, self.place))}" if self.place else ""
        return f"{self.layer}:{self.index}{place}"

    @property
    def together(self) -> Any:
        """Means are read together, and places."""
        return self.place is None

    @staticmethod
    def read(terms: Sequence[Unit], seen: Seen) -> Any:
        """Return the units' activations (batch, len(terms))."""
        if terms[0].place is not None:
            return tf.stack([seen.map[(slice(None), *(t.place or ()), t.index)] for t in terms], axis=1)
        means = seen.mean()
        wanted = [t.index for t in terms]
        return means if wanted == list(range(means.shape[1])) else tf.gather(means, wanted, axis=1)

    def resolved(self, model: Any, classes: Sequence[str]) -> Unit:
        """Return the unit with the layer's own name and a number; ParameterError if there is no such unit."""
        layer = readable_layer(model, self.layer)
        shape = map_shape(layer)
        index = self.index
        if isinstance(index, str):
            if shape != (len(classes),) or index not in classes:
                known = f"the classes are {', '.join(classes)}" if classes else "no classes are known"
                raise ParameterError(f"{self.layer} has no unit called {index!r}; {known}.")
            index = list(classes).index(index)
        if not 0 <= index < shape[-1]:
            raise ParameterError(f"{layer.name} has units 0 to {shape[-1] - 1}. Received: {self}")
        if self.place is not None and (
            len(self.place) != len(shape) - 1 or any(p >= s for p, s in zip(self.place, shape, strict=False))
        ):
            size = " x ".join(map(str, shape[:-1])) or "a single place: it has no map"
            raise ParameterError(f"The map of {layer.name} is {size}. Received: {self}")
        return replace(self, layer=layer.name, index=index)


def map_shape(layer: Any) -> tuple[int, ...]:
    """Return the shape of a layer's activations without the batch: (place..., units)."""
    return tuple(int(size) for size in Seen(layer, tf.zeros((1, *layer.input.shape[1:]))).map.shape[1:])


def _has_units(layer: Any) -> bool:
    return is_convolution(layer) or isinstance(layer, keras.layers.Dense)


def _is_wide(layer: Any) -> bool:
    """Tell whether a layer is a plain product with so many units that one an input is sooner computed alone."""
    plain = type(layer) is keras.layers.Dense and layer.quantization_mode is None
    return plain and layer.units > WIDE and len(layer.input.shape) < MAP_RANK


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


def readable_layer(model: Any, name: str) -> Any:
    """Find a layer, as `resolve_layer` does, whose units can be read before their non-linearity.

    Raises
    ------
    ParameterError
        If there is no such layer or it is of another kind.
    """
    layer = resolve_layer(model, name)
    if not _has_units(layer):
        names = [one.name for one in model.layers if _has_units(one)]
        raise ParameterError(
            f"{layer.name} ({type(layer).__name__}) has no units of its own to show; take a convolution or a dense "
            f"layer: {', '.join(names) or 'there is none'}."
        )
    return layer


def unit_layers(model: Any, layers: str | Sequence[str] = "all") -> list[Any]:
    """List the layers whose units can be shown, in the model's order.

    Parameters
    ----------
    model : keras.Model
    layers : "all" or sequence of str
        ``"all"`` takes every convolution and the last dense layer (the class logits).

    Raises
    ------
    ParameterError
        If there is no such layer, it has no units that can be read, or none is named.
    """
    if layers != "all":
        wanted = [layers] if isinstance(layers, str) else list(layers)
        found = [readable_layer(model, name) for name in wanted]
        if not found or len(set(map(id, found))) < len(found):
            raise ParameterError(f"`layers` must name at least one layer, and none twice. Received: {wanted}")
        return found
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    chosen = [layer for layer in model.layers if is_convolution(layer) or layer in dense[-1:]]
    if not chosen:
        raise ParameterError("The model has no convolutional or dense layer, so it has no unit to show.")
    return chosen


def all_units(model: Any, layers: str | Sequence[str] = "all") -> tuple[Unit, ...]:
    """List every unit of the chosen layers."""
    return tuple(Unit(layer.name, i) for layer in unit_layers(model, layers) for i in range(map_shape(layer)[-1]))


@dataclass(frozen=True)
class Reader:
    """Any terms, read in one forward pass.

    Attributes
    ----------
    terms : tuple of Term
    read : callable
        Maps a tensor (batch, n_mfcc, frames, 1) to the terms (batch, len(terms)); differentiable.
    """

    terms: tuple[Term, ...]
    read: Callable[[Any], Any]

    @cached_property
    def _compiled(self) -> dict[tuple[int, ...], Callable[[Any], Any]]:
        return {}

    def _for(self, shape: tuple[int, ...]) -> Callable[[Any], Any]:
        """Return `read`, compiled once for inputs of a shape, however many there are."""
        if shape not in self._compiled:
            inputs = tf.TensorSpec((None, *shape), tf.float32)
            self._compiled[shape] = tf.function(self.read, input_signature=[inputs], jit_compile=False)
        return self._compiled[shape]

    def measure(self, x: npt.ArrayLike, *, batch_size: int = 128) -> FloatArray:
        """Measure every term on every input.

        Parameters
        ----------
        x : array [shape=(n, n_mfcc, frames, 1)]
            Scaled MFCCs.
        batch_size : int
            Only memory depends on it.

        Returns
        -------
        array [shape=(n, terms)]
            Of units: pre-activations.
        """
        x = np.asarray(x, np.float32)
        read = self._for(x.shape[1:])
        parts = [read(tf.constant(x[i : i + batch_size])).numpy() for i in range(0, len(x), batch_size)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.terms)), np.float32)


def reader(model: Any, terms: Sequence[Term]) -> Reader:
    """Build the reader of `terms`.

    Parameters
    ----------
    model : keras.Model
        A built functional or Sequential model with one input (batch, n_mfcc, frames, 1).
    terms : sequence of Term
        Resolved.
    """
    see = watch(model, {term.layer for term in terms})
    groups: dict[Any, list[int]] = {}
    for i, term in enumerate(terms):
        groups.setdefault((type(term), term.layer, term.together), []).append(i)
    order = np.argsort([i for group in groups.values() for i in group])

    def read(x: Any) -> Any:
        seen = see(x)
        parts = [key[0].read([terms[i] for i in group], seen[key[1]]) for key, group in groups.items()]
        together = parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)
        return together if np.all(np.diff(order) == 1) else tf.gather(together, order, axis=1)

    return Reader(tuple(terms), read)


def watch(model: Any, names: Collection[str]) -> Callable[[Any], dict[str, Seen]]:
    """Return what shows a batch of inputs (batch, n_mfcc, frames, 1) to the named layers, each computed once."""
    from cepscope.maximize.receptive import inner_places

    layers = [layer for layer in model.layers if layer.name in names]  # in the model's order: from below
    inner = [inner_places(model, layer) for layer in layers]
    ways = [
        _way([model.inputs[0], *(below.output for below in layers[:i])], layer.input) for i, layer in enumerate(layers)
    ]

    def see(x: Any) -> dict[str, Seen]:
        seen: dict[str, Seen] = {}
        for layer, way, places in zip(layers, ways, inner, strict=True):
            seen[layer.name] = Seen(layer, way([x, *(below.output for below in seen.values())]), places)
        return seen

    return see


def _way(sources: list[Any], target: Any) -> Callable[[list[Any]], Any]:
    """Return the part of a model between tensors of its graph and another one."""
    for i, source in enumerate(sources):
        if source is target:
            return lambda values: values[i]
    part = keras.Model(sources, target)
    return lambda values: part(values, training=False)


def unit_reader(model: Any, layers: str | Sequence[str] = "all") -> Reader:
    """Build the reader of all units of `layers`; see `reader`."""
    return reader(model, all_units(model, layers))


def unit_activations(
    model: Any, x: npt.ArrayLike, *, layers: str | Sequence[str] = "all", batch_size: int = 128
) -> FloatArray:
    """Measure every unit of `layers` on every input; see `Reader.measure`."""
    return unit_reader(model, layers).measure(x, batch_size=batch_size)


def feature_maps(model: Any, layer: Any, x: npt.ArrayLike) -> FloatArray:
    """Return the output of a layer for inputs (n, n_mfcc, frames, 1)."""
    part = keras.Model(model.inputs[0], layer.output)
    return np.asarray(part(np.asarray(x, np.float32), training=False), np.float32)
