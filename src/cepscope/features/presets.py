"""The settings of front ends that networks are trained with elsewhere.

========================  ============================================================================================
``"librosa"``             ``librosa.feature.mfcc(y=y)``, whose default rate is 22050 Hz
``"htk"``                 HTK's MFCC_0 with the configuration of the HTK Book's tutorial; its c0, which HTK writes
                          last, comes first here
``"kaldi"``               ``compute-mfcc-feats`` without dither and energy, as ``torchaudio.compliance.kaldi.mfcc``
``"torchaudio"``          ``torchaudio.transforms.MFCC()``
``"tf-speech-commands"``  ``tf.raw_ops.AudioSpectrogram`` and ``Mfcc`` as for the keyword spotters of Zhang, Suda,
                          Lai, Chandra 2017, "Hello Edge: keyword spotting on microcontrollers", arXiv:1711.07128
========================  ============================================================================================

Sounds are in [-1, 1] for all of them: what a front end multiplies them by is among its settings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from cepscope.features.checks import choice, integer
from cepscope.features.spec import MfccSpec

FrontEnd: TypeAlias = Literal["librosa", "htk", "kaldi", "torchaudio", "tf-speech-commands"]

FRONT_ENDS: tuple[FrontEnd, ...] = get_args(FrontEnd)

_SIXTEEN_BIT = 32768.0
_SETTINGS: dict[str, dict[str, Any]] = {
    "librosa": {"sr": 22050, "n_fft": 2048, "hop": 512, "n_mels": 128, "n_mfcc": 20, "top_db": 80.0},
    "htk": {
        "sr": 16000, "n_mels": 26, "n_mfcc": 13, "lifter": 22.0, "htk": True, "floor": 1.0, "log": "ln",
        "window": "hamming", "periodic": False, "padding": "none", "scale": _SIXTEEN_BIT, "preemphasis": 0.97,
        "power": 1, "filterbank": "htk", "cepstra": "htk",
    },
    "kaldi": {
        "sr": 16000, "n_mels": 23, "n_mfcc": 13, "fmin": 20.0, "lifter": 22.0, "htk": True,
        "floor": float(np.finfo(np.float32).eps), "log": "ln", "window": "povey", "periodic": False,
        "padding": "none", "scale": _SIXTEEN_BIT, "remove_dc": True, "preemphasis": 0.97, "filterbank": "mel",
        "cepstra": "kaldi",
    },
    "torchaudio": {
        "sr": 16000, "n_fft": 400, "n_mels": 128, "n_mfcc": 40, "htk": True, "top_db": 80.0, "padding": "reflect",
        "filterbank": "hz",
    },
    "tf-speech-commands": {
        "sr": 16000, "n_mels": 40, "n_mfcc": 10, "fmin": 20.0, "fmax": 4000.0, "htk": True, "floor": 1e-24,
        "log": "ln", "padding": "none", "power": 1, "filterbank": "tensorflow", "cepstra": "htk",
    },
}  # fmt: skip
_MILLISECONDS = {"htk": (25, 10), "kaldi": (25, 10), "tf-speech-commands": (40, 20)}  # window and hop


def front_end(name: FrontEnd, **changes: Any) -> MfccSpec:
    """Return the settings of a front end.

    Parameters
    ----------
    name : {"librosa", "htk", "kaldi", "torchaudio", "tf-speech-commands"}
    changes
        Settings of `MfccSpec` other than those. What a front end derives from others follows: window and hop of HTK,
        Kaldi and TensorFlow are so many milliseconds at any rate, those of librosa and torchaudio so many samples.

    Returns
    -------
    MfccSpec

    Raises
    ------
    ParameterError
        The name is unknown, or a setting unknown or out of range.

    Examples
    --------
    >>> front_end("kaldi", sr=8000).win, front_end("torchaudio", n_fft=512).hop
    (200, 256)
    """
    return MfccSpec.from_dict(front_end_settings(name, changes))


def front_end_settings(name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return every setting of a front end with changes, as `MfccSpec` takes them: zeros are still to be resolved."""
    settings = {**_SETTINGS[choice("front_end", name, FrontEnd)], **changes}
    if name in _MILLISECONDS:
        rate = integer("sr", settings["sr"])
        win, hop = (milliseconds * rate // 1000 for milliseconds in _MILLISECONDS[name])  # part of a sample is dropped
    else:
        win = integer("n_fft", settings["n_fft"])
        hop = integer("win", settings.get("win", win)) // 2  # librosa has its own
    defaults = {field.name: field.default for field in dataclasses.fields(MfccSpec)}
    return {**defaults, "win": win, "hop": hop, **settings}
