"""The mel filterbanks of several front ends, one sparse matrix each.

================ =====================================================================================================
``"slaney"``     triangles over Hz, each of area 1 [1]_: librosa
``"hz"``         triangles over Hz of height 1: torchaudio, and librosa with ``norm=None``
``"mel"``        triangles over mel of height 1: Kaldi, and TensorFlow's ``linear_to_mel_weight_matrix``
``"htk"``        the same without the bins below `fmin` and above `fmax`, as HTK rounds them [2]_
``"tensorflow"`` the same without the bins below `fmin`, as TensorFlow's ``Mfcc`` rounds them
================ =====================================================================================================

References
----------
.. [1] M. Slaney, "Auditory Toolbox, version 2", Interval Research Corporation, Technical Report 1998-010.
.. [2] S. Young et al., "The HTK Book", Cambridge University Engineering Department, chapter 5.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError
from cepscope.features.mel import bend, empty_filters, hz_triangles, mel_points, mel_triangles

if TYPE_CHECKING:
    import scipy.sparse

    from cepscope.features.spec import MfccSpec

Array = npt.NDArray[np.float64]

_MOST_BINS = 1 << 20  # an FFT longer than this is never suggested
# of frequencies that a warp moves, as they stand in Kaldi and in most recipes of HTK
_WARP_FROM, _WARP_BELOW_FMAX = 100.0, 500.0  # Hz


@lru_cache(maxsize=32)
def mel_filters(spec: MfccSpec) -> scipy.sparse.csr_array:
    """Return the filters: float64 (n_mels, n_fft // 2 + 1), those of "slaney" and "hz" with float32 values."""
    import scipy.sparse

    if spec.filterbank not in ("slaney", "hz"):
        numbers = np.arange(spec.n_fft // 2 + 1, dtype=np.float64)
        weights = mel_triangles(filter_points(spec), numbers * (spec.sr / spec.n_fft), htk=spec.htk)
        first, last = _bins_taken(spec, spec.n_fft)
        return scipy.sparse.csr_array(np.where((numbers >= first) & (numbers <= last), weights, 0))
    bins: Array = np.fft.rfftfreq(spec.n_fft, 1.0 / spec.sr).astype(np.float64)
    area = spec.filterbank == "slaney"
    filters = hz_triangles(spec.n_mels, spec.fmin, spec.fmax, bins, htk=spec.htk, unit_area=area)
    return scipy.sparse.csr_array(filters.astype(np.float64))  # values are float32, as librosa has


def filter_points(spec: MfccSpec, n_mels: int = 0) -> Array:
    """Return the (n_mels + 2,) corners of the triangles in Hz, warped: filter i spans points i to i + 2."""
    points = mel_points(n_mels or spec.n_mels, spec.fmin, spec.fmax, htk=spec.htk)
    return points if spec.warp == 1 else bend(points, spec.warp, _warped_range(spec), (spec.fmin, spec.fmax))


def require_warp(spec: MfccSpec) -> None:
    """Raise ParameterError for a warp that the filterbank does not have, or that bends the scale back."""
    if spec.warp == 1:
        return
    if spec.filterbank not in ("mel", "htk"):
        raise ParameterError(f"warp must be 1 with {spec.filterbank!r} filters. Received: warp={spec.warp:g}")
    low, high = _warped_range(spec)
    lowest, highest = min(low, low / spec.warp), max(high, high / spec.warp)
    if not (spec.fmin < lowest and low < high and highest < spec.fmax):
        raise ParameterError(
            f"warp must keep {lowest:.0f} to {highest:.0f} Hz between fmin={spec.fmin:g} and fmax={spec.fmax:g}. "
            f"Received: warp={spec.warp:g}"
        )


def require_filters(spec: MfccSpec) -> None:
    """Raise ParameterError when a mel filter falls between two FFT bins, and say what would do.

    Not of "hz" filters: torchaudio has such in its defaults.
    """
    empty = _empty(spec) if spec.filterbank != "hz" else np.zeros(0, np.intp)
    if not empty.size:
        return
    lower, _, upper = filter_points(spec)[empty[0] :][:3]
    longer = spec.n_fft
    while longer < _MOST_BINS and _empty(spec, n_fft=longer).size:
        longer *= 2
    fewer = next((n for n in range(spec.n_mels - 1, 0, -1) if not _empty(spec, n_mels=n).size), None)
    options = [f"n_mels={fewer}"] if fewer else []
    options += [f"n_fft={longer}"] if longer < _MOST_BINS else []
    raise ParameterError(
        f"{empty.size} of {spec.n_mels} mel filters hold no FFT bin (the first: {lower:.1f} to "
        f"{upper:.1f} Hz, with bins every {spec.sr / spec.n_fft:.1f} Hz). Received: "
        f"n_mels={spec.n_mels}, n_fft={spec.n_fft}; take {' or '.join(options) or 'a larger fmax - fmin'}"
    )


def _empty(spec: MfccSpec, *, n_fft: int = 0, n_mels: int = 0) -> npt.NDArray[np.intp]:
    n_fft = n_fft or spec.n_fft
    first, last = _bins_taken(spec, n_fft)
    return empty_filters(filter_points(spec, n_mels), spec.sr / n_fft, first=first, last=last)


def _bins_taken(spec: MfccSpec, n_fft: int) -> tuple[int, int]:
    """Return the first and the last FFT bin that filters may take."""
    low, high = spec.fmin * n_fft / spec.sr, spec.fmax * n_fft / spec.sr  # in bins
    first = int(low + 1.5) if spec.filterbank in ("htk", "tensorflow") else 0
    return first, min(int(high + 0.5), n_fft // 2) - 1 if spec.filterbank == "htk" else n_fft // 2


def _warped_range(spec: MfccSpec) -> tuple[float, float]:
    """Return the lowest and highest frequency that the warp divides, in Hz: HTK's and Kaldi's differ."""
    low, high, factor = _WARP_FROM, spec.fmax - _WARP_BELOW_FMAX, spec.warp
    if spec.filterbank == "htk":
        share = 2 / (1 + 1 / factor)
        return low * share, high * share
    return low * max(1.0, factor), high * min(1.0, factor)
