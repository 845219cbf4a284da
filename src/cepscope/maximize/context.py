"""Patterns no longer than a receptive field, placed in silence or in a real clip.

A filter's mean over its map asks for a pattern that repeats; at a single place it asks for what the filter detects, and
what is around that place is then free. Here it is not left to chance: outside the frames that the unit sees, the
pattern is the context. All coefficients of those frames are free, whatever rows the unit sees: a frame is a spectrum,
and the priors fill in as speech would what the unit does not see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.corpora import Patches
from cepscope.errors import ParameterError
from cepscope.maximize.objectives import Objective
from cepscope.maximize.receptive import middle, receptive_field
from cepscope.maximize.units import Term, Unit, map_shape

FloatArray = npt.NDArray[np.float32]
CONTEXTS = ("silence", "donor")


@dataclass(frozen=True)
class Context:
    """What surrounds patterns.

    Attributes
    ----------
    patch : array [shape=(n_mfcc, frames)]
        Scaled MFCC.
    seen : array [shape=(objectives, 1, frames)]
        1 in the frames that an objective sees, else 0.
    """

    patch: FloatArray
    seen: FloatArray

    def place(self, x: Any, mask: Any) -> Any:
        """Put patterns (n, n_mfcc, frames) in the context, but for what their objectives see; differentiable."""
        return x * mask + self.patch * (1 - mask)


def fit_context(
    kind: str | npt.ArrayLike, model: Any, patches: Patches, objectives: Sequence[Objective]
) -> tuple[Context, list[Objective]]:
    """Build the context of resolved objectives; return it and what is asked of each pattern in it.

    Parameters
    ----------
    kind : {"silence", "donor"} or array [shape=(n_mfcc, frames, 1)]
        Digital silence, the real clip that is nearest to the mean of speech, or scaled MFCCs.
    model : keras.Model
    patches : Patches
    objectives : sequence of Objective
        A unit's mean over its map becomes the unit in the middle of its map.

    Raises
    ------
    ParameterError
        If there is no such context.
    """
    shapes = {term.layer: map_shape(model.get_layer(term.layer)) for one in objectives for term in one.weights}

    def placed(term: Term) -> Term:
        if isinstance(term, Unit) and term.place is None and len(shapes[term.layer]) > 1:
            return replace(term, place=middle(shapes[term.layer][:-1]))
        return term

    def in_context(one: Objective) -> Objective:
        parts = [Objective({placed(term): weight}) for term, weight in one.weights.items()]
        return replace(sum(parts, Objective({})), label=one.label)  # two terms may become one

    asked = [in_context(one) for one in objectives]
    names = [one.name for one in asked]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ParameterError(f"In a context two objectives are {twice!r}: a mean over the map becomes its middle.")
    frames = patches.frames
    seen = np.zeros((len(asked), 1, frames), np.float32)
    known: dict[Any, slice] = {}
    for row, one in zip(seen, asked, strict=True):
        for term in one.weights:
            place = getattr(term, "place", None)
            if (term.layer, place) not in known:
                field = receptive_field(model, term.layer, place).frames if place else slice(0, frames)
                known[term.layer, place] = field
            row[:, known[term.layer, place]] = 1
    return Context(_patch(kind, patches), seen), asked


def _patch(kind: str | npt.ArrayLike, patches: Patches) -> FloatArray:
    x = patches.train.x[..., 0]
    sources: dict[str, Callable[[], FloatArray]] = {
        "silence": lambda: np.repeat(patches.scaler.transform(patches.spec.silence[:, None]), patches.frames, axis=1),
        "donor": lambda: x[((x - x.mean(axis=0)) ** 2).sum(axis=(1, 2)).argmin()],
    }
    if isinstance(kind, str):
        if kind not in sources:
            raise ParameterError(f"`context` must be one of {', '.join(CONTEXTS)}, or an array. Received: {kind!r}")
        return sources[kind]()
    given = np.asarray(kind, np.float32)
    if given.shape != patches.input_shape or not np.isfinite(given).all():
        raise ParameterError(
            f"A context must be finite and of shape {patches.input_shape}. Received: {given.shape}, "
            f"{'finite' if np.isfinite(given).all() else 'NaN or Inf'}"
        )
    return given[..., 0]
