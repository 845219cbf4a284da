"""When do units fire? Activations along the time that each layer's own map has, in one forward pass.

Which axis of a map is time, and which frames a place of it sees, the network is asked (`cepscope.maximize.receptive`),
so it holds for any layers. A layer without such an axis has one value a patch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError
from cepscope.maximize.receptive import inner_places, middle, receptive_field, receptive_fields
from cepscope.maximize.units import MAP_RANK, Seen, map_shape, unit_layers, watch
from cepscope.models.backend import tf

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TimeAxis:
    """The time that a layer's map has.

    Attributes
    ----------
    layer : str
    units : int
    axis : int, optional
        Which axis of the map, counted from its first place; None if none of them is time.
    centres : array [shape=(columns,)]
        Middle of what each column sees, in frames from the first of a patch. Columns that padding robs of a part of
        their receptive field do not count, as in a unit's mean.
    step : float
        Frames from column to column; 0 of a single one.
    span : int
        Frames that a column sees.
    """

    layer: str
    units: int
    axis: int | None
    centres: npt.NDArray[np.float64]
    step: float
    span: int

    @property
    def columns(self) -> int:
        """Return how many columns count."""
        return len(self.centres)


@dataclass(frozen=True, eq=False)
class TimeReader:
    """What reads activations along time.

    Attributes
    ----------
    axes : tuple of TimeAxis
        One a layer, in the model's order.
    read : callable
        Maps inputs (batch, n_mfcc, frames, 1) to the model's output and a list of activations, one a layer: (batch,
        columns, units). The mean over the columns is what `cepscope.maximize.units.unit_activations` measures.
    """

    axes: tuple[TimeAxis, ...]
    read: Callable[[npt.ArrayLike], tuple[FloatArray, list[FloatArray]]]


def time_reader(model: Any, layers: str | Sequence[str] = "all") -> TimeReader:
    """Build what reads the units of `layers` along time.

    Parameters
    ----------
    model : keras.Model
        One input (batch, n_mfcc, frames, 1), one output.
    layers : "all" or sequence of str
        As of `cepscope.maximize.units.unit_layers`.

    Raises
    ------
    ParameterError
        If there is no such layer.
    """
    names = [layer.name for layer in unit_layers(model, layers)]
    axes = tuple(time_axis(model, name) for name in names)
    see = watch(model, names)
    inputs = tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32)

    @tf.function(input_signature=[inputs], jit_compile=False)  # type: ignore[untyped-decorator]
    def compiled(x: Any) -> Any:
        seen = see(x)
        return model(x, training=False), [_along(seen[axis.layer], axis.axis) for axis in axes]

    def read(x: npt.ArrayLike) -> tuple[FloatArray, list[FloatArray]]:
        output, found = compiled(tf.constant(np.asarray(x, np.float32)))
        return np.asarray(output), [np.asarray(one) for one in found]

    return TimeReader(axes, read)


def time_axis(model: Any, layer: str) -> TimeAxis:
    """Find the axis of a layer's map that is time, and what its places see.

    Examples
    --------
    >>> from cepscope.models import build_cdbn
    >>> found = time_axis(build_cdbn((20, 64, 1), 10), "crbm1")
    >>> found.axis, found.step, found.span, found.centres[:3].tolist()
    (1, 2.0, 6, [2.5, 4.5, 6.5])
    """
    found = model.get_layer(layer)
    *shape, units = map_shape(found)
    frames = int(model.inputs[0].shape[2])
    whole = TimeAxis(layer, units, None, np.array([(frames - 1) / 2]), 0.0, frames)
    if not shape:
        return whole
    try:
        fields = receptive_fields(model, layer)
        inner = inner_places(model, found) or tuple(slice(0, size) for size in shape)
        centre = middle(tuple(shape))
        for axis, places in enumerate(inner):
            seen = [fields[(*centre[:axis], i, *centre[axis + 1 :])].frames for i in range(places.start, places.stop)]
            centres = np.array([(one.start + one.stop - 1) / 2 for one in seen])
            if len(centres) > 1 and np.ptp(centres) > 0:
                step = float(np.median(np.diff(centres)))
                return TimeAxis(layer, units, axis, centres, step, max(one.stop - one.start for one in seen))
        field = receptive_field(model, layer).frames
    except ParameterError:  # a layer below is dead: when this one would fire can't be asked
        return whole
    return TimeAxis(layer, units, None, np.array([(field.start + field.stop - 1) / 2]), 0.0, field.stop - field.start)


def _along(seen: Seen, axis: int | None) -> Any:
    """Return a layer's activations along time: (batch, columns, units)."""
    found = seen.map
    if len(found.shape) < MAP_RANK:
        return found[:, None, :]
    if seen.inner:
        found = found[(slice(None), *seen.inner)]
    others = [place + 1 for place in range(len(found.shape) - 2) if place != axis]
    along = tf.reduce_mean(found, axis=others) if others else found
    return along[:, None, :] if axis is None else along
