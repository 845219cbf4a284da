"""Patterns to sound: envelope, excitation, synthesis, phases, MFCC matching; every step can be called alone.

The room and its main function share a name, so the module can be called: ``cepscope.invert(patterns)`` is
``cepscope.invert.inversion.invert``.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from cepscope.invert.envelope import log_mel_to_envelope as log_mel_to_envelope
from cepscope.invert.envelope import mfcc_to_envelope as mfcc_to_envelope
from cepscope.invert.excitation import pitch_contour as pitch_contour
from cepscope.invert.excitation import pulse_times as pulse_times
from cepscope.invert.excitation import voicing as voicing
from cepscope.invert.feasibility import feasibility_gap as feasibility_gap
from cepscope.invert.feasibility import largest_mel_power as largest_mel_power
from cepscope.invert.feasibility import nearest_log_mel as nearest_log_mel
from cepscope.invert.griffinlim import griffin_lim as griffin_lim
from cepscope.invert.inversion import METHODS as METHODS
from cepscope.invert.inversion import best_gain_db as best_gain_db
from cepscope.invert.inversion import librosa_sound as librosa_sound
from cepscope.invert.inversion import start_sound as start_sound
from cepscope.invert.lengthening import Lengthened as Lengthened
from cepscope.invert.lengthening import lengthen as lengthen
from cepscope.invert.lengthening import loop_sound as loop_sound
from cepscope.invert.matching import LEVELS as LEVELS
from cepscope.invert.matching import frame_weights as frame_weights
from cepscope.invert.matching import match as match
from cepscope.invert.matching import relative_error as relative_error
from cepscope.invert.refinement import refine as refine
from cepscope.invert.scores import score_sound as score_sound
from cepscope.invert.sounds import Sounds as Sounds
from cepscope.invert.sounds import file_name as file_name
from cepscope.invert.stft import istft as istft
from cepscope.invert.stft import sound_length as sound_length
from cepscope.invert.stft import stft as stft
from cepscope.invert.synthesis import minimum_phase as minimum_phase
from cepscope.invert.synthesis import synthesize_voiced as synthesize_voiced
from cepscope.invert.voice import predict_pitch as predict_pitch
from cepscope.invert.voice import predict_voicing as predict_voicing

__all__ = [
    "LEVELS",
    "METHODS",
    "Lengthened",
    "Sounds",
    "best_gain_db",
    "feasibility_gap",
    "file_name",
    "frame_weights",
    "griffin_lim",
    "istft",
    "largest_mel_power",
    "lengthen",
    "librosa_sound",
    "log_mel_to_envelope",
    "loop_sound",
    "match",
    "mfcc_to_envelope",
    "minimum_phase",
    "nearest_log_mel",
    "pitch_contour",
    "predict_pitch",
    "predict_voicing",
    "pulse_times",
    "refine",
    "relative_error",
    "score_sound",
    "sound_length",
    "start_sound",
    "stft",
    "synthesize_voiced",
    "voicing",
]


class _Room(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Sounds:
        """Run `cepscope.invert.inversion.invert`."""
        from cepscope.invert.inversion import invert

        return invert(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
