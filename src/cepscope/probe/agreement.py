"""Do the ways to show a unit agree?

The likeness of two views is the cosine between what the unit sees of each, counted from the mean of real speech (as
Erhan et al. 2009, Technical Report 1341, compare views by eye). Beside it stands what chance gives: the same between
views of different units of the layer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.maximize.views import VIEWS, Views

FloatArray = npt.NDArray[np.float64]


def agreement(views: Views) -> FloatArray:
    """Return the cosine between any two views of each unit: (units, views, views), NaN where one is missing."""
    found = np.full((len(views), len(VIEWS), len(VIEWS)), np.nan)
    for i in range(len(views)):
        one = _directions(views, i)
        for a, first in one.items():
            for b, second in one.items():
                found[i, a, b] = first @ second
    return found


def chance_agreement(views: Views) -> FloatArray:
    """Return the median cosine between views of different units of one layer: (units, views, views).

    Of a unit: its first view with the second view of all others; what they have in common says nothing of the unit.
    """
    layers = np.array([name.rpartition(":")[0] for name in views.units])
    every = [_directions(views, i) for i in range(len(views))]
    found = np.full((len(views), len(VIEWS), len(VIEWS)), np.nan)
    for i, one in enumerate(every):
        others = [every[j] for j in np.flatnonzero(layers == layers[i]) if j != i]
        for a, first in one.items():
            for b in range(len(VIEWS)):
                cosines = [first @ other[b] for other in others if b in other]
                if cosines:
                    found[i, a, b] = np.median(cosines)
    return found


def summarise_views(views: Views) -> dict[str, Any]:
    """Return medians per layer: of each view's likeness to the pattern, that of chance, and its strength."""
    layers = np.array([name.rpartition(":")[0] for name in views.units])
    own, chance = agreement(views)[:, 0], chance_agreement(views)[:, 0]
    found: dict[str, Any] = {}
    for layer in dict.fromkeys(layers):
        mine = layers == layer
        found[layer] = {
            name: {
                "agreement": _median(own[mine, view]),
                "agreement_chance": _median(chance[mine, view]),
                "activation_at_equal_norm": _median(views.activation[mine, view]),
            }
            for view, name in enumerate(VIEWS)
            if np.isfinite(own[mine, view]).any()
        }
    return found


def _directions(views: Views, unit: int) -> dict[int, FloatArray]:
    found = {}
    for view in range(len(VIEWS)):
        flat = views.crop(unit, view).astype(np.float64).ravel()
        length = np.linalg.norm(flat)
        if flat.size and np.isfinite(length) and length > 0:
            found[view] = flat / length
    return found


def _median(values: npt.NDArray[Any]) -> float:
    finite = values[np.isfinite(values)]
    return round(float(np.median(finite)), 4) if len(finite) else float("nan")
