"""What listeners would say of a sound beside the recording that it stands for; needs the extra `scores`."""

from __future__ import annotations

import importlib
import math
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.audio import condition, resample
from cepscope.errors import MissingExtraError
from cepscope.invert.checks import check_rate, conditioned_sound

Array = npt.NDArray[Any]

_STOI_SECONDS = 0.41  # 30 hops of 128 samples and one frame of 256, at 10 kHz


def stoi(y: npt.ArrayLike, reference: npt.ArrayLike, sr: int) -> float:
    """Short-time objective intelligibility of a sound, against the same words without damage [1]_, by pystoi.

    Parameters
    ----------
    y, reference : array [shape=(samples,)]
        Audio, aligned in time; the longer one is cut to the shorter. Level and mean are taken out.
    sr : int
        Hz of both.

    Returns
    -------
    float
        About 0 to 1; 1 is the reference itself. NaN where one is silent, or less than 0.41 s of the reference is not.

    Raises
    ------
    DataError
        A sound is empty or holds NaN or Inf.
    MissingExtraError
        pystoi is not installed.
    ParameterError
        `sr` is no positive integer, or a sound is not of shape (samples,).

    References
    ----------
    .. [1] C. H. Taal, R. C. Hendriks, R. Heusdens and J. Jensen, "An algorithm for intelligibility prediction of
       time-frequency weighted noisy speech", IEEE Trans. Audio, Speech, and Language Processing 19(7), 2011.
    """
    pystoi = _library("pystoi")
    got, wanted = _pair(y, reference, sr)
    if not got.any() or not wanted.any() or len(wanted) < _STOI_SECONDS * sr:
        return math.nan
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = float(pystoi.stoi(wanted, got, int(sr)))
    # the library says 1e-5 where too few frames are left, which would read as "not intelligible"
    return math.nan if any("Not enough STFT frames" in str(warning.message) for warning in caught) else value


def pesq(y: npt.ArrayLike, reference: npt.ArrayLike, sr: int) -> float:
    """Perceptual evaluation of speech quality: the opinion score that listeners would give [1]_, by pesq.

    Narrow band (P.862.1) at 8000 Hz, wide band (P.862.2) at 16000 Hz. Sounds of another rate are resampled to 16000 Hz.

    Parameters
    ----------
    y, reference : array [shape=(samples,)]
        Audio; the longer one is cut to the shorter. Level and mean are taken out.
    sr : int
        Hz of both.

    Returns
    -------
    float
        1 (bad) to 4.55 narrow band or 4.64 wide band (the reference itself). NaN where one is silent or shorter than
        the 0.25 s that the standard asks for, or where no utterance is found.

    Raises
    ------
    DataError
        A sound is empty or holds NaN or Inf.
    MissingExtraError
        pesq is not installed.
    ParameterError
        `sr` is no positive integer, or a sound is not of shape (samples,).

    References
    ----------
    .. [1] ITU-T Recommendations P.862 (2001), P.862.1 (2003) and P.862.2 (2007).
    """
    library = _library("pesq")
    got, wanted = _pair(y, reference, sr)
    if not got.any() or not wanted.any():
        return math.nan
    if sr not in (8000, 16000):
        got, wanted, sr = resample(got, sr, 16000), resample(wanted, sr, 16000), 16000
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(library.pesq(int(sr), wanted, got, "nb" if sr == 8000 else "wb"))
    except (library.PesqError, ValueError):  # too short, or nothing that counts as speech
        return math.nan


def _pair(y: npt.ArrayLike, reference: npt.ArrayLike, sr: int) -> tuple[Array, Array]:
    """Return two sounds of the shorter one's length, each without mean and with its peak at 1 (or all 0)."""
    check_rate(sr)
    got, wanted = conditioned_sound(y), conditioned_sound(reference)
    samples = min(len(got), len(wanted))
    return condition(got[:samples]).astype(np.float64), condition(wanted[:samples]).astype(np.float64)


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(f"{name} is not installed; pip install 'cepscope[scores]'") from error
