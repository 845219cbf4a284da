"""Receptive fields: what of the input a unit sees at one place of its map."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cepscope.errors import ParameterError
from cepscope.maximize.units import Inner, Seen, map_shape, readable_layer
from cepscope.models.backend import keras, tf

_INNER: weakref.WeakKeyDictionary[Any, dict[str, Inner]] = weakref.WeakKeyDictionary()  # as long as a model lives
TRIES = 16  # random inputs: what one of them leaves at the flat side of a rectifier, or below a maximum, others do not
LOUDEST = 8.0  # standard deviations of the last of them


@dataclass(frozen=True)
class Field:
    """A rectangle of the input.

    Attributes
    ----------
    rows, frames : slice
    """

    rows: slice
    frames: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Return its height and width."""
        return self.rows.stop - self.rows.start, self.frames.stop - self.frames.start


def receptive_field(model: Any, layer: str, place: tuple[int, ...] | None = None) -> Field:
    """Find what a layer's units see at one place, by asking the network: where does a gradient arrive?

    Any Keras model will do. Of an RBM a place is a pooling block.

    Parameters
    ----------
    model : keras.Model
        Input (batch, n_mfcc, frames, 1).
    layer : str
    place : (row, column), optional
        Of the layer's map; by default its middle. A layer without a map sees what it sees.

    Raises
    ------
    ParameterError
        If there is no such layer or place.

    Examples
    --------
    >>> from cepscope.models import build_cdbn
    >>> receptive_field(build_cdbn((20, 64, 1), 10), "crbm1", (0, 0)).shape
    (6, 6)
    """
    found = readable_layer(model, layer)
    shape = map_shape(found)[:-1]
    where = middle(shape) if place is None else tuple(place)
    if len(where) != len(shape) or any(not 0 <= p < size for p, size in zip(where, shape, strict=True)):
        raise ParameterError(f"The map of {found.name} is {' x '.join(map(str, shape))}. Received: place {place}")
    return _finder(model, found)(where)


def receptive_fields(model: Any, layer: str) -> dict[tuple[int, ...], Field]:
    """Find what a layer's units see at each place of its map; see `receptive_field`.

    Rows of a map see other places of one axis of the input, columns of the other: so a row and a column tell all.
    """
    found = readable_layer(model, layer)
    shape, find = map_shape(found)[:-1], _finder(model, found)
    centre = middle(shape)
    rest = find(centre)
    lines = [[find((*centre[:axis], i, *centre[axis + 1 :])) for i in range(size)] for axis, size in enumerate(shape)]
    fields = {}
    for place in np.ndindex(*shape):
        field = rest
        for line, i in zip(lines, place, strict=True):
            field = Field(
                line[i].rows if line[i].rows != rest.rows else field.rows,
                line[i].frames if line[i].frames != rest.frames else field.frames,
            )
        fields[place] = field
    return fields


def inner_places(model: Any, layer: Any) -> Inner:
    """Return the places of a layer's map that see all of a receptive field, one slice an axis; () if all do.

    Places at the border of a padded map see less, and zeros instead.
    """
    shape = map_shape(layer)[:-1]
    below = model.layers[: model.layers.index(layer) + 1]
    if not shape or not any(_pads(one) for one in below):
        return ()
    known = _INNER.setdefault(model, {})
    if layer.name not in known:
        fields = receptive_fields(model, layer.name)
        sizes = np.array([np.prod(field.shape) for field in fields.values()]).reshape(shape)
        whole = [np.unique(axis) for axis in np.nonzero(sizes == sizes.max())]
        known[layer.name] = tuple(slice(int(axis[0]), int(axis[-1]) + 1) for axis in whole)
    return known[layer.name]


def _pads(layer: Any) -> bool:
    """Tell whether a layer puts something around its input; of a layer made of layers one can't tell, so yes."""
    padding = getattr(layer, "padding", "valid")
    return padding != "valid" or bool(getattr(layer, "layers", ()))


def _finder(model: Any, layer: Any) -> Callable[[tuple[int, ...]], Field]:
    """Return what finds the field of a place."""
    part = keras.Model(model.inputs[0], layer.input)
    x = tf.random.stateless_normal((TRIES, *model.inputs[0].shape[1:]), (0, 0))
    x *= tf.reshape(tf.linspace(1.0, LOUDEST, TRIES), (-1, 1, 1, 1))  # rectifiers may be dead for what is as usual
    shape = map_shape(layer)[:-1]

    @tf.function(jit_compile=False)  # type: ignore[untyped-decorator]
    def touched(here: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(Seen(layer, part(x, training=False)).map * here[..., None])
        return tf.reduce_any(tf.abs(tape.gradient(value, x)) > 0, axis=[0, 3])  # (n_mfcc, frames)

    def find(place: tuple[int, ...]) -> Field:
        here = np.zeros(shape, np.float32)
        here[place] = 1
        seen = touched(tf.constant(here)).numpy()
        if not seen.any():
            raise ParameterError(f"Nothing of the input reaches {layer.name} at {place}: a layer below it is dead.")
        rows, frames = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
        return Field(slice(int(rows[0]), int(rows[-1]) + 1), slice(int(frames[0]), int(frames[-1]) + 1))

    return find


def middle(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the middle place of a map."""
    return tuple(size // 2 for size in shape)
