"""Patterns to sound: envelope, excitation, synthesis, phase, MFCC matching.

The room and its main function share a name, so the module can be called: ``cepscope.invert(patterns)`` is
``cepscope.invert.inversion.invert``.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from cepscope.invert.envelope import log_envelope as log_envelope
from cepscope.invert.envelope import minimum_phase as minimum_phase
from cepscope.invert.excitation import pitch_contour as pitch_contour
from cepscope.invert.excitation import voicing as voicing
from cepscope.invert.griffinlim import griffin_lim as griffin_lim
from cepscope.invert.inversion import METHODS as METHODS
from cepscope.invert.inversion import Sounds as Sounds
from cepscope.invert.matching import match as match
from cepscope.invert.matching import relative_error as relative_error
from cepscope.invert.synthesis import synthesize as synthesize

__all__ = [
    "METHODS",
    "Sounds",
    "griffin_lim",
    "log_envelope",
    "match",
    "minimum_phase",
    "pitch_contour",
    "relative_error",
    "synthesize",
    "voicing",
]


class _Room(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Sounds:
        """Run `cepscope.invert.inversion.invert`."""
        from cepscope.invert.inversion import invert

        return invert(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
