"""Last decimals: L-BFGS on the gain of every mel band in every frame, and on its phase where that helps.

The sound is ``y(A) = istft(X0 * 10^(S^T A / 20))`` with ``A`` the gains in dB [shape=(n_mels, frames)] and ``S`` the
spread of bands over bins; the loss is half the squared distance of its MFCC, taken after the mean is removed and, at
full scale, after division by the peak. Its gradient is analytic. Coefficients so many that they see single harmonics
also depend on how the phases of neighbouring bands and frames fit together: then each band turns its phase as well.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.optimize

from cepscope.features import MfccSpec
from cepscope.invert.envelope import mel_bands
from cepscope.invert.matching import (
    Level,
    at_level,
    error_scale,
    frame_weights,
    mel_power,
    power_to_db,
    spectrum_to_mel,
)
from cepscope.invert.stft import Inverse, spare, stft, stft_adjoint

Array = npt.NDArray[Any]

MOST_DB = 60.0  # of one gain: a line search on an unnatural pattern can try far more
TURN = 0.35  # radians that count as much as 1 dB: phases have farther to go


def gain_loss(
    gains: Array,
    X0: Array,
    C: Array,
    spec: MfccSpec,
    inverse: Inverse,
    *,
    level: Level = "full_scale",
) -> tuple[float, Array]:
    """Return the loss of band gains and its gradient.

    Parameters
    ----------
    gains : array [shape=(n_mels, frames)]
        dB; the imaginary part, of complex gains, is the phase in radians.
    X0 : complex array [shape=(bins, frames)]
        Transform of the sound before the gains, of the bins that `inverse` takes. Its precision (complex64 or
        complex128) is that of the computation.
    C : array [shape=(n_mfcc, frames)]
        Wanted MFCC.
    spec : MfccSpec
    inverse : Inverse
        From transform to sound.
    level : {"full_scale", "free"}

    Returns
    -------
    loss : float
        Half the squared distance of the unliftered coefficients.
    gradient : array [shape=(n_mels, frames)]
        Complex where the gains are: its imaginary part is dE/dphase.
    """
    dtype = X0.real.dtype
    bands, spread = mel_bands(spec, dtype.name), _spread(spec, inverse.every, dtype.name)
    Z = apply_gains(gains, X0, spread)
    y = inverse(Z)
    u = y - y.mean(dtype=np.float64).astype(dtype)
    top, peak = 0, dtype.type(1)
    if level == "full_scale":
        top = int(np.abs(u).argmax())
        peak = np.abs(u[top]) or peak
    z = u / peak

    X = stft(z, spec)
    M = spectrum_to_mel(X, spec)
    L = 10 * np.log10(np.maximum(M, dtype.type(spec.floor)))
    lowest = L.max() - spec.top_db
    residual = bands.dct @ np.maximum(L, lowest) - (C / bands.lifter[:, None]).astype(dtype)
    loss = 0.5 * float(np.sum(residual.astype(np.float64) ** 2))

    g = bands.dct.T @ residual  # dE/dL
    if np.isfinite(lowest):  # bands at the clip-wide limit move with the loudest band
        limited = lowest > L
        g.flat[L.argmax()] += g[limited].sum()
        g[limited] = 0
    g = np.where(spec.floor < M, g * dtype.type(10 / np.log(10)) / np.maximum(M, dtype.type(spec.floor)), 0)
    if spec.power == 2:
        G = (2 * (g.T @ bands.weights)).T * X
    else:  # M = (sum of weighted magnitudes)^2
        G = ((2 * np.sqrt(M) * g).T @ bands.weights).T * X / np.maximum(np.abs(X), dtype.type(1e-20))
    g = stft_adjoint(G, spec, inverse.samples)  # dE/dz
    if level == "full_scale":  # z = u / |u[top]|
        slope = np.sign(u[top]) * np.dot(g, z)
        g[top] -= slope
        g = g / peak
    g = g - g.mean(dtype=np.float64).astype(dtype)  # dE/dy, through u = y - mean
    V = inverse.adjoint(g)
    per_db = dtype.type(np.log(10) / 20)
    along = (V.real * Z.real + V.imag * Z.imag) * per_db  # (bins, frames), in the memory order of X0
    if np.abs(gains.real).max() >= MOST_DB:
        along = along * (np.abs(gains.real.T.astype(dtype) @ spread) < MOST_DB).T
    gradient = (along.T @ spread.T).T
    if np.iscomplexobj(gains):
        across = V.imag * Z.real - V.real * Z.imag
        gradient = gradient + 1j * (across.T @ spread.T).T
    return loss, gradient


def _loss_of(y: Array, C: Array, spec: MfccSpec, level: Level) -> float:
    """Return the loss of a sound as it is: frames that lose their mean do not come back the same."""
    bands = mel_bands(spec)
    log_mel = power_to_db(mel_power(at_level(y, level), spec), spec)
    off = bands.dct @ log_mel - (C / bands.lifter[:, None]).astype(np.float32)
    return 0.5 * float(np.sum(off.astype(np.float64) ** 2))


def apply_gains(gains: Array, X0: Array, spread: Array) -> Array:
    """Return a transform [shape=(bins, frames)] under band gains [shape=(n_mels, frames)]; see `gain_loss`."""
    dtype = X0.real.dtype
    spread_db = gains.real.T.astype(dtype) @ spread  # (frames, bins)
    exponent = np.clip(spread_db, -MOST_DB, MOST_DB) * dtype.type(np.log(10) / 20)
    if np.iscomplexobj(gains):
        exponent = exponent + 1j * (gains.imag.T.astype(dtype) @ spread)
    found: Array = X0 * np.exp(exponent).T
    return found


@lru_cache(maxsize=16)
def _spread(spec: MfccSpec, every: int, dtype: str) -> Array:
    """Return the spread of bands over each so-many-th bin [shape=(n_mels, bins)]."""
    return np.ascontiguousarray(mel_bands(spec, dtype).spread[:, ::every])


def refine(
    y: Array,
    C: Array,
    spec: MfccSpec,
    *,
    steps: int = 20,
    level: Level = "full_scale",
    phases: bool = False,
    weighting: float = 1.0,
    enough: float = 0.0,
    memory: int = 8,
) -> Array:
    """Bring a sound's MFCC closer to a pattern by L-BFGS.

    Parameters
    ----------
    y : array [shape=(samples,)]
        Best after `match`: L-BFGS does not move bands that lie below the floor.
    C : array [shape=(n_mfcc, frames)]
    spec : MfccSpec
    steps : int
        Iterations of L-BFGS at most.
    level : {"full_scale", "free"}
        See `match`.
    phases : bool
        Whether bands turn their phase too. It helps where coefficients resolve harmonics, and hinders elsewhere.
    weighting : float
        See `match`.
    enough : float
        Relative error (of the unliftered coefficients) to stop at.
    memory : int
        Corrections kept.

    Returns
    -------
    array [shape=(samples,)]
        float32, never worse than `y`.
    """
    y = at_level(np.asarray(y, np.float32), level)
    if steps <= 0 or not np.any(y):
        return y
    every = spare(spec)
    X0 = stft(y, spec)[::every]
    inverse = Inverse(spec, y.shape[-1], weights=frame_weights(C, spec, weighting), every=every)
    shape = (spec.n_mels, X0.shape[-1])
    wanted = C / mel_bands(spec, "float64").lifter[:, None]
    goal = 0.5 * (enough * error_scale(wanted)) ** 2
    lowest, best = np.inf, np.zeros(shape, complex if phases else float)

    def evaluate(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        nonlocal lowest, best
        gains = flat.reshape(-1, *shape)
        gains = gains[0] + 1j * TURN * gains[1] if phases else gains[0]
        loss, gradient = gain_loss(gains, X0, C, spec, inverse, level=level)
        if loss < lowest:
            lowest, best = loss, gains.copy()
        if phases:
            gradient = np.concatenate([gradient.real, TURN * gradient.imag])
        return loss, gradient.astype(np.float64).ravel()

    def stop(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        if intermediate_result.fun < goal:
            raise StopIteration

    scipy.optimize.minimize(
        evaluate,
        np.zeros((1 + phases) * best.size),
        jac=True,
        method="L-BFGS-B",
        callback=stop,
        options={"maxiter": steps, "maxfun": 2 * steps, "maxcor": memory, "ftol": 1e-10, "gtol": 1e-8},
    )
    if not np.isfinite(lowest) or lowest >= _loss_of(y, C, spec, level):
        return y
    return at_level(inverse(apply_gains(best, X0, _spread(spec, every, "float32"))), level)
