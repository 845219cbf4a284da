"""Patterns to sound: envelope, excitation, synthesis, phases, MFCC matching; every step can be called alone.

The room and its main function share a name, so the module can be called: ``cepscope.invert(patterns)`` is
``cepscope.invert.inversion.invert``.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from cepscope.invert.distances import coefficient_rmse as coefficient_rmse
from cepscope.invert.distances import mel_cepstral_distortion as mel_cepstral_distortion
from cepscope.invert.distances import spectral_convergence as spectral_convergence
from cepscope.invert.envelope import log_mel_to_envelope as log_mel_to_envelope
from cepscope.invert.envelope import mfcc_to_envelope as mfcc_to_envelope
from cepscope.invert.excitation import EXCITATIONS as EXCITATIONS
from cepscope.invert.excitation import excite as excite
from cepscope.invert.excitation import pulse_times as pulse_times
from cepscope.invert.feasibility import feasibility_gap as feasibility_gap
from cepscope.invert.feasibility import largest_mel_power as largest_mel_power
from cepscope.invert.feasibility import nearest_log_mel as nearest_log_mel
from cepscope.invert.gain import best_gain_db as best_gain_db
from cepscope.invert.griffinlim import griffin_lim as griffin_lim
from cepscope.invert.harmonicity import harmonics_to_noise as harmonics_to_noise
from cepscope.invert.harmonicity import hnr as hnr
from cepscope.invert.harmonicity import voiced_share as voiced_share
from cepscope.invert.inversion import METHODS as METHODS
from cepscope.invert.inversion import RECIPES as RECIPES
from cepscope.invert.inversion import Recipe as Recipe
from cepscope.invert.lengthening import Lengthened as Lengthened
from cepscope.invert.lengthening import lengthen as lengthen
from cepscope.invert.lengthening import loop_sound as loop_sound
from cepscope.invert.listeners import pesq as pesq
from cepscope.invert.listeners import stoi as stoi
from cepscope.invert.matching import LEVELS as LEVELS
from cepscope.invert.matching import frame_weights as frame_weights
from cepscope.invert.matching import match as match
from cepscope.invert.matching import relative_error as relative_error
from cepscope.invert.pitch import track_pitch as track_pitch
from cepscope.invert.refinement import refine as refine
from cepscope.invert.scores import log_mel_range as log_mel_range
from cepscope.invert.scores import score_sound as score_sound
from cepscope.invert.scores import score_sounds as score_sounds
from cepscope.invert.sounds import Sounds as Sounds
from cepscope.invert.sounds import file_name as file_name
from cepscope.invert.spectrum import mel_to_spectrum as mel_to_spectrum
from cepscope.invert.starting import librosa_sound as librosa_sound
from cepscope.invert.starting import reachable as reachable
from cepscope.invert.starting import start_sound as start_sound
from cepscope.invert.stft import istft as istft
from cepscope.invert.stft import sound_length as sound_length
from cepscope.invert.stft import stft as stft
from cepscope.invert.synthesis import minimum_phase as minimum_phase
from cepscope.invert.synthesis import synthesize_voiced as synthesize_voiced
from cepscope.invert.voice import predict_pitch as predict_pitch
from cepscope.invert.voice import predict_voicing as predict_voicing

__all__ = [
    "EXCITATIONS",
    "LEVELS",
    "METHODS",
    "RECIPES",
    "Lengthened",
    "Recipe",
    "Sounds",
    "best_gain_db",
    "coefficient_rmse",
    "excite",
    "feasibility_gap",
    "file_name",
    "frame_weights",
    "griffin_lim",
    "harmonics_to_noise",
    "hnr",
    "istft",
    "largest_mel_power",
    "lengthen",
    "librosa_sound",
    "log_mel_range",
    "log_mel_to_envelope",
    "loop_sound",
    "match",
    "mel_cepstral_distortion",
    "mel_to_spectrum",
    "mfcc_to_envelope",
    "minimum_phase",
    "nearest_log_mel",
    "pesq",
    "predict_pitch",
    "predict_voicing",
    "pulse_times",
    "reachable",
    "refine",
    "relative_error",
    "score_sound",
    "score_sounds",
    "sound_length",
    "spectral_convergence",
    "start_sound",
    "stft",
    "stoi",
    "synthesize_voiced",
    "track_pitch",
    "voiced_share",
]


class _Room(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Sounds:
        """Run `cepscope.invert.inversion.invert`."""
        from cepscope.invert.inversion import invert

        return invert(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
