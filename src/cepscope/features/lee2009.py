"""The front end of Lee, Largman, Pham, Ng 2009, "Unsupervised feature learning for audio classification using
convolutional deep belief networks", NIPS: log magnitude spectra, to be whitened by `PCAWhitener`.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from cepscope.errors import DataError, ParameterError

WINDOW, HOP = 0.020, 0.010  # seconds
FLOOR = 1e-5
COMPONENTS, DAMPING = 80, 3.0


def lee2009_spectrogram(audio: npt.ArrayLike, sr: int) -> npt.NDArray[np.float32]:
    """Return log magnitude spectra of 20 ms, every 10 ms, with the recording's mean taken off and of its RMS.

    Parameters
    ----------
    audio : array [shape=(samples,)]
    sr : int
        Hz; the paper's is 16000, which gives 161 bins.

    Returns
    -------
    array [shape=(bins, frames)]
        float32. The mean is 0 and the root of the mean square 1, over the whole recording.

    Raises
    ------
    ParameterError
        If the audio is not one channel, or the rate too low.
    DataError
        If it is shorter than one window, constant, or not finite.
    """
    y = np.asarray(audio, np.float64)
    if y.ndim != 1 or sr < 1000:
        raise ParameterError(f"One channel at 1000 Hz or more is needed. Received: shape {y.shape} at {sr} Hz")
    size, hop = math.ceil(WINDOW * sr), math.ceil(HOP * sr)
    if len(y) < size:
        raise DataError(f"The audio is shorter than one window of {size} samples. Received: {len(y)}")
    if not np.isfinite(y).all():
        raise DataError("The audio holds numbers that are not finite.")
    pieces = np.lib.stride_tricks.sliding_window_view(y, size)[::hop]  # (frames, size), none beyond the end
    magnitudes = np.abs(np.fft.rfft(pieces * np.hamming(size), axis=1)).T
    spectra = np.log(FLOOR + magnitudes) - math.log(FLOOR)
    spectra -= spectra.mean()
    level = float(np.sqrt(np.mean(spectra**2)))
    if level < 1e-9:
        raise DataError("The audio has the same spectrum throughout, as digital silence has.")
    return (spectra / level).astype(np.float32)
