"""Finding the other ways to show a unit; see `cepscope.maximize.views` for what they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.corpora import Patches
from cepscope.maximize.patterns import Patterns
from cepscope.maximize.receptive import middle, receptive_fields
from cepscope.maximize.units import map_shape, watch
from cepscope.maximize.views import EXEMPLAR, VIEWS, FloatArray, IntArray, Views
from cepscope.models.backend import keras, tf
from cepscope.models.crbm import ConvolutionalRBM
from cepscope.models.filters import combine_filters
from cepscope.models.generation import reconstruct, sample_layer, sample_unit

Place = tuple[int, ...]

CHAINS, STEPS = 64, 8  # of the samples
RESTS = 64  # real clips whose mean reconstruction is what is taken off
BATCH = 128
TOGETHER = 16  # units
PASSIVE = (keras.layers.Flatten, keras.layers.LayerNormalization, keras.layers.Dropout)


def find_views(
    model: Any,
    patches: Patches,
    patterns: Patterns,
    *,
    chains: int = CHAINS,
    steps: int = STEPS,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Views:
    """Find every view of the units that patterns were found for.

    Parameters
    ----------
    model : keras.Model
    patches : Patches
        Its test split gives the exemplars, its train split the mean of speech.
    patterns : Patterns
        Those of single units are taken, the others left out.
    chains, steps : int
        Of the samples; see `sample_unit`.
    seed : int
        Of the samples.
    progress : callable, optional
        Called with (units done, units in all).

    Returns
    -------
    Views
    """
    finder = ViewFinder(model, patches, patterns, chains=chains, steps=steps, seed=seed)
    parts = []
    for piece in finder.pieces:

        def report(done: int, first: int = piece.start) -> None:
            if progress:
                progress(first + done, len(finder))

        parts.append(finder.find(piece, report))
    return finder.gather(parts)


class ViewFinder:
    """What finds views, some units at a time; as of `find_views`.

    Attributes
    ----------
    pieces : list of range
        Units of one layer that are looked at together: the last bits may depend on how many.
    """

    def __init__(
        self,
        model: Any,
        patches: Patches,
        patterns: Patterns,
        *,
        chains: int = CHAINS,
        steps: int = STEPS,
        seed: int = 0,
    ) -> None:
        self.model, self.patches, self.patterns = model, patches, patterns
        self._how: dict[str, Any] = {"chains": chains, "steps": steps, "seed": seed}
        self._layer: _Layer | None = None
        self._chosen = [i for i, index in enumerate(patterns.indices) if index >= 0]
        layers = [patterns.layers[i] for i in self._chosen]
        by_layer = {name: [row for row, layer in enumerate(layers) if layer == name] for name in dict.fromkeys(layers)}
        self._order = [row for rows in by_layer.values() for row in rows]  # layer by layer
        self.pieces: list[range] = []
        for rows in by_layer.values():
            start = self.pieces[-1].stop if self.pieces else 0
            stops = [*range(start, start + len(rows), TOGETHER), start + len(rows)]
            self.pieces += [range(first, stop) for first, stop in pairwise(stops)]

    def __len__(self) -> int:
        return len(self._chosen)

    def find(self, piece: range, report: Callable[[int], Any] = lambda _done: None) -> dict[str, Any]:
        """Return the arrays of `Views` for a piece; `report` is called with the units done."""
        mine = [self._chosen[self._order[i]] for i in piece]
        name = self.patterns.layers[mine[0]]
        if self._layer is None or self._layer.name != name:
            self._layer = _Layer(self.model, name, self.patches, **self._how)
        layer = self._layer
        indices = [self.patterns.indices[i] for i in mine]
        shape = (len(mine), len(VIEWS))
        x = np.full((*shape, *self.patches.input_shape[:2]), np.nan, np.float32)
        fields, places = np.zeros((*shape, 4), np.intp), np.full((*shape, 2), -1, np.intp)
        for row, found in enumerate(layer.views(indices, self.patterns.x[mine], report)):
            for view, (patch, place) in found.items():
                column = VIEWS.index(view)
                x[row, column], field = patch[..., 0], layer.fields[place]
                fields[row, column] = field.rows.start, field.rows.stop, field.frames.start, field.frames.stop
                places[row, column, : len(place)] = place
        activation = layer.strengths(indices, x, fields, places)
        return {"x": x, "fields": fields, "places": places, "activation": activation}

    def gather(self, parts: Iterable[dict[str, Any]]) -> Views:
        """Put together what was found for each piece, in their order."""
        shape = (len(self), len(VIEWS))
        whole: dict[str, Any] = {
            "x": np.empty((*shape, *self.patches.input_shape[:2]), np.float32),
            "fields": np.empty((*shape, 4), np.intp),
            "places": np.empty((*shape, 2), np.intp),
            "activation": np.empty(shape, np.float32),
        }
        for piece, part in zip(self.pieces, parts, strict=True):
            mine = self._order[piece.start : piece.stop]
            for name, array in whole.items():
                array[mine] = part[name]
        return Views(tuple(self.patterns.units[i] for i in self._chosen), **whole)


class _Layer:
    """One layer's units, read place by place."""

    def __init__(self, model: Any, name: str, patches: Patches, **how: Any) -> None:
        self.model, self.name, self.how = model, name, how
        self.clips = patches.test.x
        self.mean = patches.train.x.mean(axis=0)  # (rows, frames, 1)
        self.shape = map_shape(model.get_layer(name))[:-1]
        self.fields = receptive_fields(model, name)
        sizes = np.array([np.prod(field.shape) for field in self.fields.values()])
        self.whole = sizes == sizes.max()  # places that see all of a receptive field, and nothing of a border
        from_middle = np.array(list(self.fields), float).reshape(len(sizes), -1) - middle(self.shape)
        self.distance = np.abs(from_middle).sum(axis=1)
        see = watch(model, {name})
        self._map = tf.function(lambda x: see(x)[name].map, reduce_retracing=True, jit_compile=False)
        rbms = [layer for layer in model.layers if isinstance(layer, ConvolutionalRBM)]
        imagines = rbms and tuple(rbms[0].input.shape[1:]) == patches.input_shape
        self.rbms = rbms if imagines and all(rbm.hidden == "binary" for rbm in rbms) else []

    def maps(self, x: npt.ArrayLike) -> FloatArray:
        """Return the activations of all units by a batch (n, rows, frames, 1): (n, places, units)."""
        found = np.asarray(self._map(tf.constant(np.asarray(x, np.float32))), np.float32)
        return found.reshape(len(found), -1, found.shape[-1])

    def own_maps(self, indices: Sequence[int], x: FloatArray) -> FloatArray:
        """Return units' activations by patches of their own, (units, n, rows, frames, 1): (units, n, places)."""
        return np.stack([self.maps(patches)[..., i] for i, patches in zip(indices, x, strict=True)])

    def place(self, flat: int) -> Place:
        """Return the place of the map that is the `flat`-th."""
        return tuple(int(i) for i in np.unravel_index(flat, self.shape)) if self.shape else ()

    def views(
        self, indices: Sequence[int], patterns: FloatArray, report: Callable[[int], Any]
    ) -> list[dict[str, tuple[FloatArray, Place]]]:
        """Return for each of some units its views, each a patch (rows, frames, 1) and a place."""
        own = (self.own_maps(indices, patterns[:, None])[:, 0] + self.inside).argmax(axis=1)
        clip, where = (found[list(indices)] for found in self.best_clips)
        found: list[dict[str, tuple[FloatArray, Place]]] = [
            {
                "pattern": (patterns[i] - self.mean, self.place(own[i])),
                "exemplar": (self.clips[clip[i]] - self.mean, self.place(where[i])),
            }
            for i in range(len(indices))
        ]
        if self.depth:
            centre = self.place(int(np.argmin(self.distance + np.where(self.whole, 0, np.inf))))
            combined = self.combinations(indices, centre)
            back = reconstruct(self.model, self.clips[clip], layers=self.depth) - self.rest
        for i, views in enumerate(found):
            if self.depth:
                if combined is not None:
                    views["combination"] = (combined[i], centre)
                if self.shape:  # a unit that can be held on
                    held = sample_unit(self.model, self.name, indices[i], **self.how)
                    views["samples"] = (held.mean - self.free, centre)
                views["reconstruction"] = (back[i], self.place(where[i]))
            report(i + 1)
        return found

    @property
    def depth(self) -> int:
        """Return how many RBMs lead to the layer's units; 0 where none do."""
        names = [rbm.name for rbm in self.rbms]
        if not self.shape:
            return len(names)
        return names.index(self.name) + 1 if self.name in names else 0

    @property
    def inside(self) -> npt.NDArray[np.float64]:
        """Return 0 for places of the map that see all of a receptive field, else minus infinity."""
        return np.where(self.whole, 0.0, -np.inf)

    @cached_property
    def rest(self) -> FloatArray:
        """Mean reconstruction of real clips."""
        some = self.clips[:: -(-len(self.clips) // RESTS)]
        return np.asarray(reconstruct(self.model, some, layers=self.depth).mean(axis=0))

    @cached_property
    def free(self) -> FloatArray:
        """Mean of what the network imagines with nothing held on."""
        return np.asarray(sample_layer(self.model, self.name, **self.how).mean(axis=0))

    @cached_property
    def best_clips(self) -> tuple[IntArray, IntArray]:
        """The real clip that excites each of all units most, and at which place of those that see everything."""
        units = map_shape(self.model.get_layer(self.name))[-1]
        every, places = np.arange(units), len(self.whole)
        best, clip, where = np.full(units, -np.inf), np.zeros(units, np.intp), np.zeros(units, np.intp)
        for first in range(0, len(self.clips), BATCH):  # maps of all clips at once would be far larger than the clips
            values = self.maps(self.clips[first : first + BATCH]) + self.inside[:, None]
            values = values.reshape(-1, units)
            top = values.argmax(axis=0)
            better = values[top, every] > best
            best = np.where(better, values[top, every], best)
            clip = np.where(better, first + top // places, clip)
            where = np.where(better, top % places, where)
        return clip, where

    def combinations(self, indices: Sequence[int], centre: Place) -> FloatArray | None:
        """Return the filters below each unit added up with its weights, (units, rows, frames, 1)."""
        if self.shape:
            weights = np.zeros((len(indices), *map_shape(self.model.get_layer(self.name))), np.float32)
            here: tuple[Any, ...] = (np.arange(len(weights)), *centre, list(indices))
            weights[here] = 1
            return combine_filters(self.model, self.name, weights)
        top, dense, layers = self.rbms[-1], self.model.get_layer(self.name), self.model.layers
        between = layers[layers.index(top) + 1 : layers.index(dense)]
        kernel = np.asarray(dense.kernel, np.float32)
        if len(kernel) != np.prod(top.output.shape[1:]) or not all(isinstance(one, PASSIVE) for one in between):
            return None
        for one in between:
            if isinstance(one, keras.layers.LayerNormalization) and one.scale:
                kernel = kernel * np.asarray(one.gamma)[:, None]
        return combine_filters(self.model, top.name, kernel[:, list(indices)].T.reshape(-1, *top.output.shape[1:]))

    def strengths(self, indices: Sequence[int], x: FloatArray, fields: IntArray, places: IntArray) -> FloatArray:
        """Return `Views.activation` of some units' views (units, views, rows, frames)."""
        count, views = x.shape[:2]
        batch = np.tile(self.mean[..., 0], (count, views, 1, 1))
        for i in range(count):
            seen: list[tuple[int, int, slice, slice]] = [
                (i, view, slice(a, b), slice(c, d)) for view, (a, b, c, d) in enumerate(fields[i].tolist())
            ]
            length = [float(np.linalg.norm(x[here])) for here in seen]
            for view, here in enumerate(seen):
                if length[view] > 0:
                    batch[here] += x[here] * (length[EXEMPLAR] / length[view])
        values = self.own_maps(indices, batch[..., None])  # (units, views, places)
        rest = self.maps(self.mean[None])[0][:, list(indices)]  # (places, units)
        axes = np.moveaxis(np.maximum(places, 0), 2, 0)[: len(self.shape)]
        flat = np.ravel_multi_index(tuple(axes), self.shape) if self.shape else np.zeros((count, views), np.intp)
        own = np.arange(count)[:, None]
        rise = values[own, np.arange(views), flat] - rest[flat, own]
        best = rise[:, [EXEMPLAR]]
        found = rise / np.where(best > 0, best, np.nan)
        return np.where(np.isnan(x[:, :, 0, 0]), np.nan, found).astype(np.float32)
