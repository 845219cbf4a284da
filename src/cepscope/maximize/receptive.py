"""Receptive fields: what of the input a unit sees at one place of its map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cepscope.errors import ParameterError
from cepscope.maximize.units import map_shape, resolve_layer, watch
from cepscope.models.backend import tf

TRIES = 16  # random inputs: what one of them leaves at the flat side of a rectifier, or below a maximum, others do not


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
    found = resolve_layer(model, layer)
    shape = map_shape(found)[:-1]
    where = middle(shape) if place is None else tuple(place)
    if len(where) != len(shape) or any(not 0 <= p < size for p, size in zip(where, shape, strict=True)):
        raise ParameterError(f"The map of {found.name} is {' x '.join(map(str, shape))}. Received: place {place}")
    see = watch(model, {found.name})
    x = tf.random.stateless_normal((TRIES, *model.inputs[0].shape[1:]), (0, 0))
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.reduce_sum(see(x)[found.name].map[(slice(None), *where)])
    touched = np.any(np.abs(tape.gradient(value, x)) > 0, axis=(0, 3))  # (n_mfcc, frames)
    rows, frames = (np.flatnonzero(touched.any(axis=axis)) for axis in (1, 0))
    return Field(slice(int(rows[0]), int(rows[-1]) + 1), slice(int(frames[0]), int(frames[-1]) + 1))


def middle(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the middle place of a map."""
    return tuple(size // 2 for size in shape)
