"""Finding the other ways to show a unit; see `cepscope.maximize.views` for what they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    chosen = [i for i, index in enumerate(patterns.indices) if index >= 0]
    shape = (len(chosen), len(VIEWS))
    x = np.full((*shape, *patches.input_shape[:2]), np.nan, np.float32)
    fields, places = np.zeros((*shape, 4), np.intp), np.full((*shape, 2), -1, np.intp)
    activation = np.full(shape, np.nan, np.float32)
    done = 0
    for name in dict.fromkeys(patterns.layers[i] for i in chosen):
        mine = [row for row, i in enumerate(chosen) if patterns.layers[i] == name]
        layer = _Layer(model, name, patches, [patterns.indices[chosen[row]] for row in mine])
        given = patterns.x[[chosen[row] for row in mine]]
        for row, found in zip(mine, layer.views(given, chains=chains, steps=steps, seed=seed), strict=True):
            for view, (patch, place) in found.items():
                column = VIEWS.index(view)
                x[row, column], field = patch[..., 0], layer.fields[place]
                fields[row, column] = field.rows.start, field.rows.stop, field.frames.start, field.frames.stop
                places[row, column, : len(place)] = place
            done += 1
            if progress:
                progress(done, len(chosen))
        activation[mine] = layer.strengths(x[mine], fields[mine], places[mine])
    return Views(tuple(patterns.units[i] for i in chosen), x, fields, places, activation)


class _Layer:
    """One layer's units, read place by place."""

    def __init__(self, model: Any, name: str, patches: Patches, indices: Sequence[int]) -> None:
        self.model, self.name, self.indices = model, name, list(indices)
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
        """Return the activations of the chosen units by a batch (n, rows, frames, 1): (n, places, units)."""
        found = np.asarray(self._map(tf.constant(np.asarray(x, np.float32))), np.float32)[..., self.indices]
        return found.reshape(len(found), -1, len(self.indices))

    def own_maps(self, x: FloatArray) -> FloatArray:
        """Return each unit's activations by patches of its own, (units, n, rows, frames, 1): (units, n, places)."""
        return np.stack([self.maps(patches)[..., i] for i, patches in enumerate(x)])

    def place(self, flat: int) -> Place:
        """Return the place of the map that is the `flat`-th."""
        return tuple(int(i) for i in np.unravel_index(flat, self.shape)) if self.shape else ()

    def views(
        self, patterns: FloatArray, *, chains: int, steps: int, seed: int
    ) -> list[dict[str, tuple[FloatArray, Place]]]:
        """Return for each unit its views, each a patch (rows, frames, 1) and a place."""
        every = np.arange(len(self.indices))
        inside = np.where(self.whole, 0.0, -np.inf)
        own = (self.own_maps(patterns[:, None])[:, 0] + inside).argmax(axis=1)
        clip, where = self.best_clips(inside[:, None])
        found: list[dict[str, tuple[FloatArray, Place]]] = [
            {
                "pattern": (patterns[i] - self.mean, self.place(own[i])),
                "exemplar": (self.clips[clip[i]] - self.mean, self.place(where[i])),
            }
            for i in every
        ]
        names = [rbm.name for rbm in self.rbms]
        if not names or (self.shape and self.name not in names):
            return found
        depth = names.index(self.name) + 1 if self.shape else len(names)
        centre = self.place(int(np.argmin(self.distance + np.where(self.whole, 0, np.inf))))
        combined = self.combinations(centre)
        some = self.clips[:: -(-len(self.clips) // RESTS)]
        back = reconstruct(self.model, self.clips[clip], layers=depth)
        back -= reconstruct(self.model, some, layers=depth).mean(axis=0)
        how: dict[str, Any] = {"chains": chains, "steps": steps, "seed": seed}
        free = sample_layer(self.model, self.name, **how).mean(axis=0) if self.shape else 0.0
        for i, views in enumerate(found):
            if combined is not None:
                views["combination"] = (combined[i], centre)
            if self.shape:  # a unit that can be held on
                held = sample_unit(self.model, self.name, self.indices[i], **how)
                views["samples"] = (held.mean - free, centre)
            views["reconstruction"] = (back[i], self.place(where[i]))
        return found

    def best_clips(self, inside: npt.NDArray[np.float64]) -> tuple[IntArray, IntArray]:
        """Return the real clip that excites each unit most, and at which place of those where `inside` is 0."""
        every = np.arange(len(self.indices))
        best, clip, where = np.full(len(every), -np.inf), np.zeros(len(every), np.intp), np.zeros(len(every), np.intp)
        for first in range(0, len(self.clips), BATCH):  # maps of all clips at once would be far larger than the clips
            values = (self.maps(self.clips[first : first + BATCH]) + inside).reshape(-1, len(every))
            top = values.argmax(axis=0)
            better = values[top, every] > best
            best = np.where(better, values[top, every], best)
            clip = np.where(better, first + top // len(inside), clip)
            where = np.where(better, top % len(inside), where)
        return clip, where

    def combinations(self, centre: Place) -> FloatArray | None:
        """Return the filters below each unit added up with its weights, (units, rows, frames, 1)."""
        if self.shape:
            weights = np.zeros((len(self.indices), *map_shape(self.model.get_layer(self.name))), np.float32)
            here: tuple[Any, ...] = (np.arange(len(weights)), *centre, self.indices)
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
        return combine_filters(self.model, top.name, kernel[:, self.indices].T.reshape(-1, *top.output.shape[1:]))

    def strengths(self, x: FloatArray, fields: IntArray, places: IntArray) -> FloatArray:
        """Return `Views.activation` of views (units, views, rows, frames)."""
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
        values = self.own_maps(batch[..., None])  # (units, views, places)
        rest = self.maps(self.mean[None])[0]  # (places, units)
        axes = np.moveaxis(np.maximum(places, 0), 2, 0)[: len(self.shape)]
        flat = np.ravel_multi_index(tuple(axes), self.shape) if self.shape else np.zeros((count, views), np.intp)
        own = np.arange(count)[:, None]
        rise = values[own, np.arange(views), flat] - rest[flat, own]
        best = rise[:, [EXEMPLAR]]
        found = rise / np.where(best > 0, best, np.nan)
        return np.where(np.isnan(x[:, :, 0, 0]), np.nan, found).astype(np.float32)
