"""How far a sound lies from what was wanted: MFCC beside MFCC, spectrum beside spectrum."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import DataError, ParameterError
from cepscope.features import MfccSpec
from cepscope.invert.checks import given_sound
from cepscope.invert.stft import stft

Array = npt.NDArray[Any]

_LEAST_GAIN = 1e-3  # of a lifter that can still be divided out, as in mfcc_to_log_mel


def coefficient_rmse(got: npt.ArrayLike, wanted: npt.ArrayLike, *, sd: npt.ArrayLike | None = None) -> Array:
    """Compare two patterns coefficient by coefficient, each in units of its own movement.

    Parameters
    ----------
    got, wanted : array [shape=(n_mfcc, frames)]
        MFCC.
    sd : array [shape=(n_mfcc,)], optional
        Standard deviation of each coefficient in the speech that the patterns are of; default: that of `wanted` over
        time.

    Returns
    -------
    array [shape=(n_mfcc,)]
        Root mean square over time of ``got - wanted``, divided by `sd`: 0 is exact, 1 as wrong as that coefficient's
        mean. Without `sd`, one that is constant in time (to a millionth of its size) has no movement to compare with
        and counts in the unit of the coefficients themselves. Always finite.

    Raises
    ------
    DataError
        The patterns differ in shape or have no frame.
    ParameterError
        `sd` is not one positive number a coefficient.

    Examples
    --------
    >>> coefficient_rmse([[1.0, 3.0], [5.0, 5.0]], [[2.0, 4.0], [5.0, 5.0]]).tolist()
    [1.0, 0.0]
    """
    a, b = _patterns(got, wanted)
    rmse = np.sqrt(np.mean((a - b) ** 2, axis=1))
    if sd is not None:
        return np.asarray(rmse / _deviations(sd, len(b)))
    deviation = b.std(axis=1)
    moves = deviation > 1e-6 * np.maximum(1.0, np.abs(b).max(axis=1))
    return np.asarray(rmse / np.where(moves, deviation, 1.0))


def mel_cepstral_distortion(got: npt.ArrayLike, wanted: npt.ArrayLike, spec: MfccSpec) -> float:
    """Mel cepstral distortion [1]_, level (c0) aside: ``(10 / ln 10) sqrt(2 sum_{k>=1} (dc_k)^2)``, mean over frames.

    Parameters
    ----------
    got, wanted : array [shape=(n_mfcc, frames)]
        MFCC of `spec`, with its lifter and logarithm.
    spec : MfccSpec

    Returns
    -------
    float
        dB; NaN where c0 is the only coefficient. A coefficient that the lifter takes out (a gain below 1e-3) says
        nothing and is left out.

    Raises
    ------
    DataError
        The patterns differ in shape, have no frame, or not the `n_mfcc` rows of `spec`.

    Notes
    -----
    The ``c_k`` of the formula are those of the natural log of a power spectrum, ``ln P(w) = c_0 + 2 sum c_k cos kw``
    (the mel cepstrum ``ln|H(w)| = c_0 + sum c_k cos kw`` of speech synthesis has the same from k = 1 on, as
    ``P = |H|^2``). Ours, ``C_k``, are of dB over M mel bands at ``w_m = pi (m + 1/2) / M``, with the ortho DCT-II:

        10 log10 P(w_m) = C_0 / sqrt(M) + sqrt(2 / M) sum_{k>=1} C_k cos k w_m.

    With ``ln P = (ln 10 / 10) * 10 log10 P`` the two sums are equal, term by term, for

        2 c_k = (ln 10 / 10) sqrt(2 / M) C_k,  so  c_k = (ln 10 / 10) C_k / sqrt(2 M).

    Put into the formula, ``ln 10 / 10`` and the 2 cancel:

        MCD = sqrt(sum_{k>=1} (dC_k)^2 / M),

    which by Parseval is the root mean square, over the mel bands, of the log-mel difference in dB without its mean: a
    difference of x dB (carried by coefficients 1 to n_mfcc - 1) is x dB of MCD. What coefficients from n_mfcc on would
    add is not seen. Published values are of other mel cepstra (often 24 coefficients of a warped all-pass scale), so
    compare with them by order of magnitude only.

    References
    ----------
    .. [1] R. Kubichek, "Mel-cepstral distance measure for objective speech quality assessment", Proc. IEEE Pacific Rim
       Conference on Communications, Computers and Signal Processing, 1993.
    """
    a, b = _patterns(got, wanted)
    if len(a) != spec.n_mfcc:
        raise DataError(f"The spec has {spec.n_mfcc} coefficients. Received: patterns of shape {a.shape}")
    gains = spec.coefficient_gains()
    kept = (spec.orders > 0) & (np.abs(spec.lifter_gains()) >= _LEAST_GAIN)
    if not kept.any():
        return math.nan
    difference = (a - b)[kept] / gains[kept, None]
    return float(np.mean(np.sqrt(np.sum(difference**2, axis=0) / spec.n_mels)))


def spectral_convergence(y: npt.ArrayLike, reference: npt.ArrayLike, spec: MfccSpec) -> float:
    """Compare the magnitudes of two sounds' short-time spectra, phases and level aside [1]_.

    ``min over g of || |S_ref| - g |S_y| ||_F / || |S_ref| ||_F`` with the transform of the extractor: unlike in the
    usual definition, the gain that makes it smallest is taken out.

    Parameters
    ----------
    y, reference : array [shape=(samples,)]
        Audio at ``spec.sr``; the longer one is cut to the shorter.
    spec : MfccSpec

    Returns
    -------
    float
        0 (equal magnitudes) to 1 (none in common, or `y` is silent); NaN where `reference` is silent.

    Raises
    ------
    DataError
        A sound is empty or holds NaN or Inf.
    ParameterError
        One is not of shape (samples,).

    References
    ----------
    .. [1] N. Sturmel and L. Daudet, "Signal reconstruction from STFT magnitude: a state of the art", Proc. DAFx, 2011.
    """
    pair = [given_sound(audio) for audio in (y, reference)]
    samples = min(map(len, pair))
    levels = [np.abs(audio[:samples]).max() for audio in pair]
    if levels[1] == 0:
        return math.nan
    if levels[0] == 0:
        return 1.0
    got, wanted = (np.abs(stft(audio[:samples] / level, spec)) for audio, level in zip(pair, levels, strict=True))
    power, norm = float(np.sum(got**2)), float(np.linalg.norm(wanted))
    if not norm > 0:  # all of it where no window reaches
        return math.nan
    gain = float(np.sum(wanted * got)) / power if power > 0 else 0.0
    return min(1.0, float(np.linalg.norm(wanted - gain * got)) / norm)


def _patterns(got: npt.ArrayLike, wanted: npt.ArrayLike) -> tuple[Array, Array]:
    a, b = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
    if a.ndim != 2 or a.shape != b.shape or not a.size:
        raise DataError(f"Two patterns of one shape (n_mfcc, frames) are compared. Received: {a.shape} and {b.shape}")
    return a, b


def _deviations(sd: npt.ArrayLike, count: int) -> Array:
    deviations = np.asarray(sd, np.float64)
    if deviations.shape != (count,) or not (np.isfinite(deviations).all() and (deviations > 0).all()):
        raise ParameterError(f"sd must be {count} positive numbers, one a coefficient. Received: {sd!r}")
    return deviations
