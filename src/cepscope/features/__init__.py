"""Sound to MFCC and back to log-mel: the settings, librosa's numbers or others', scaling, whitening, patches."""

from __future__ import annotations

from cepscope.features.framing import fit_length as fit_length
from cepscope.features.lee2009 import lee2009_spectrogram as lee2009_spectrogram
from cepscope.features.mfcc import log_mel as log_mel
from cepscope.features.mfcc import mfcc as mfcc
from cepscope.features.mfcc import mfcc_to_log_mel as mfcc_to_log_mel
from cepscope.features.presets import FRONT_ENDS as FRONT_ENDS
from cepscope.features.presets import front_end as front_end
from cepscope.features.scaler import CoefficientScaler as CoefficientScaler
from cepscope.features.spec import MfccSpec as MfccSpec
from cepscope.features.whitening import PCAWhitener as PCAWhitener
from cepscope.features.whitening import Scaling as Scaling
from cepscope.features.whitening import load_scaling as load_scaling

__all__ = [
    "FRONT_ENDS",
    "CoefficientScaler",
    "MfccSpec",
    "PCAWhitener",
    "Scaling",
    "fit_length",
    "front_end",
    "lee2009_spectrogram",
    "load_scaling",
    "log_mel",
    "mfcc",
    "mfcc_to_log_mel",
]
