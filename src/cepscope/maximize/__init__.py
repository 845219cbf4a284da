"""Network to patterns: units, priors, the space of speech, the ascent, natural exemplars.

Nothing here loads TensorFlow until a name is used. The room and its main function share a name, so the module can be
called: ``cepscope.maximize(model, patches)`` is ``cepscope.maximize.engine.maximize``.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cepscope.maximize.classic import generate_pattern as generate_pattern
    from cepscope.maximize.exemplars import best_exemplars as best_exemplars
    from cepscope.maximize.patterns import Patterns as Patterns
    from cepscope.maximize.space import PatchSpace as PatchSpace
    from cepscope.maximize.space import fit_patch_space as fit_patch_space
    from cepscope.maximize.units import Unit as Unit
    from cepscope.maximize.units import unit_activations as unit_activations
    from cepscope.maximize.units import unit_reader as unit_reader

_HOMES = {
    "generate_pattern": "classic",
    "best_exemplars": "exemplars",
    "Patterns": "patterns",
    "PatchSpace": "space",
    "fit_patch_space": "space",
    "Unit": "units",
    "unit_activations": "units",
    "unit_reader": "units",
}
__all__ = [
    "PatchSpace",
    "Patterns",
    "Unit",
    "best_exemplars",
    "fit_patch_space",
    "generate_pattern",
    "unit_activations",
    "unit_reader",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


class _Room(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `cepscope.maximize.engine.maximize`."""
        from cepscope.maximize.engine import maximize

        return maximize(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
