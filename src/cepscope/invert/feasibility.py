"""How close any sound at all can come to a pattern, given the front end's floor, its top_db and full scale.

A pattern `C` asks for one of the log-mel spectra `L` with ``lifter * (D L) = C``, `D` being the DCT rows kept. Those
within reach of a sound are nowhere below the floor, nowhere more than top_db below their own maximum and, at full
scale, nowhere above what samples from -1 to 1 can give. How far the two sets lie apart is an error that no inversion
undercuts. Frames and bands count as free of each other; that frames overlap and filters share bins only adds to it.

The spectra within reach are the union, over all `m`, of the boxes ``max(floor, m - top_db) <= L <= min(m, ceiling)``.
No band has to attain `m`: a spectrum whose maximum is lower lies in the box of that maximum too. And the smallest error
in a box is convex in `m`, because the pairs (L, m) form a convex set: each of their bounds is linear in both. So `m` is
found together with `L`, by one quadratic program::

    min  1/2 |A L - b|^2 + 1/2 ridge |L - L0|^2    over L and m, within those bounds,

where `A` and `b` are ``lifter * D`` and `C`, and `L0` is the pattern's minimum-norm spectrum. Without the second term
many spectra may be equally near; as `ridge` goes to 0, the solution becomes the one of them nearest to `L0` [1]_. All
frames are solved at once, by Mehrotra's predictor-corrector interior-point method [2]_. With `w` the multipliers over
the slacks, a frame's matrix is ``diag(ridge + sum of w) + A^T A``, inverted by way of one as small as `A` has rows.

References
----------
.. [1] A. N. Tikhonov and V. Y. Arsenin, "Solutions of Ill-posed Problems", Winston, 1977.
.. [2] S. J. Wright, "Primal-Dual Interior-Point Methods", SIAM, 1997, chapter 10.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import DataError, ParameterError
from cepscope.features import MfccSpec, mfcc_to_log_mel
from cepscope.invert.envelope import mel_bands
from cepscope.invert.matching import LARGEST, LEVELS, Level, relative_error
from cepscope.invert.stft import analysis_window

Array = npt.NDArray[Any]

PEAKS: dict[Level, float] = {"full_scale": 1.0, "free": 1e12}  # the front end refuses a sound beyond the latter
RIDGE = 1e-8  # a spectrum 100 dB further from L0 must be nearer to the pattern by 1e-4 dB^2
CLOSE, ROUNDING = 1e-9, 1e-15  # duality gap of a frame, in dB^2 and relative to |b|^2
MOST_STEPS = 60  # 15 are usual, 30 where top_db acts
WITHIN = 0.995  # of the way to the nearest bound
MARGIN = 0.05  # of a box, between its sides and the first guess
NARROWEST = 1e-6  # dB, of a box; float32 decibels are no finer
BLOCK = 256  # frames solved at once where they are free of each other


def feasibility_gap(C: npt.ArrayLike, spec: MfccSpec, *, level: Level = "free") -> float:
    """Return the smallest `relative_error` to a pattern that the MFCC of any sound can have.

    Parameters
    ----------
    C : array [shape=(n_mfcc, frames)]
        Wanted MFCC.
    spec : MfccSpec
    level : {"free", "full_scale"}
        As for `nearest_log_mel`.

    Returns
    -------
    float
        0 for the MFCC of a sound, to the rounding of float32. So much of an inversion's error is the pattern's own.

    Raises
    ------
    DataError, ParameterError
        As `nearest_log_mel`.

    Examples
    --------
    >>> spec = MfccSpec(sr=8000, n_mfcc=1, floor=1e-5)
    >>> level_db = np.array([[-45.0, -55.0, -45.0, -35.0]])  # one of them 5 dB below the floor
    >>> round(feasibility_gap(np.sqrt(spec.n_mels) * level_db, spec), 4), round(5 / 200**0.5, 4)
    (0.3536, 0.3536)
    """
    L = nearest_log_mel(C, spec, level=level)
    bands = mel_bands(spec, "float64")
    return relative_error(bands.lifter[:, None] * (bands.dct @ L), np.asarray(C))


def nearest_log_mel(C: npt.ArrayLike, spec: MfccSpec, *, level: Level = "free") -> Array:
    """Return the log-mel spectrum within reach of a sound whose MFCC are nearest to a pattern.

    Parameters
    ----------
    C : array [shape=(n_mfcc, frames)]
        Wanted MFCC.
    spec : MfccSpec
    level : {"free", "full_scale"}
        "full_scale": no band above the `largest_mel_power` of peak 1; "free": of 1e12, the highest peak that the front
        end takes. (That a sound whose peak is 1 is not arbitrarily quiet is left out.)

    Returns
    -------
    array [shape=(n_mels, frames)]
        dB, as `cepscope.features.log_mel` returns them, in float64. Of spectra that are equally near, the one
        nearest to ``mfcc_to_log_mel(C, spec)``, which is itself returned if it is within reach.

    Raises
    ------
    DataError
        `C` is not finite, is far beyond any sound, or has no frame.
    ParameterError
        `C` is not of shape (n_mfcc, frames), the lifter can't be undone, or `level` is none of the two.

    Notes
    -----
    Where the ceilings of two bands differ by more than top_db (they differ by about 10 dB), top_db lifts the lower one
    above its own. It may then be as loud as the highest ceiling less top_db, whatever the sound's maximum is: a set
    that is a little too large, so that the error found is a lower bound still.
    """
    given = _checked(C, spec, level)
    bands = mel_bands(spec, "float64")
    scale = np.abs(bands.lifter).max()
    A, b = bands.dct * (bands.lifter / scale)[:, None], given.T / scale
    L = (given.T / bands.lifter) @ bands.dct  # (frames, n_mels)
    floor, top_db = 10 * np.log10(spec.floor), max(spec.top_db, NARROWEST)
    ceiling = np.maximum(
        10 * np.log10(largest_mel_power(spec, peak=PEAKS[level] / (1.0 if level == "full_scale" else spec.scale))),
        floor + NARROWEST,
    )
    ceiling = np.maximum(ceiling, ceiling.max() - top_db)
    inside = (np.clip(L, floor, ceiling) == L).all(axis=1)
    if ceiling.max() - top_db > floor:  # else it never acts
        if not (inside.all() and L.max() - L.min() <= top_db):
            L = _solve(A, b, L, floor, ceiling, top_db)
            L = np.clip(L, max(floor, L.max() - top_db), ceiling)
    else:
        outside = np.flatnonzero(~inside)
        for start in range(0, len(outside), BLOCK):
            part = outside[start : start + BLOCK]
            L[part] = np.clip(_solve(A, b[part], L[part], floor, ceiling, None), floor, ceiling)
    return np.ascontiguousarray(L.T)


def largest_mel_power(spec: MfccSpec, *, peak: float = 1.0) -> Array:
    """Return a mel power that no sound of a given peak exceeds, in any frame.

    Parameters
    ----------
    spec : MfccSpec
    peak : float
        Largest magnitude of a sample.

    Returns
    -------
    array [shape=(n_mels,)]
        An upper bound, about 1 dB above what signals reach that are made for it.

    Raises
    ------
    ParameterError
        `peak` is not a positive number.

    Notes
    -----
    Two bounds hold for the bins of every frame of a sound of peak 1 under a window `v`, and each band gets the most
    that its filter gathers under both, the bins of its largest weights filled first. A bin alone: with the best phase,
    ``|X_k| = sum_n v_n y_n cos(phase - 2 pi k n/n_fft)``, at most the longest ``sum_n +-v_n exp(2 pi i k n/n_fft)``;
    its signs are those of a half-plane, so sorting by angle finds it. All together, by Parseval, over both halves of
    the spectrum: ``sum_k |X_k|^2 <= n_fft sum_n v_n^2``. Taking the mean out can double a frame's peak, pre-emphasis
    make it 1 + factor times as large; filters of magnitudes have ``(sum w |X|)^2 <= sum w sum w |X|^2``.
    """
    if not 0 < peak < np.inf:
        raise ParameterError(f"peak must be a positive number. Received: {peak!r}")
    return np.asarray(peak**2 * _unit_mel_power(spec))


@lru_cache(maxsize=32)
def _unit_mel_power(spec: MfccSpec) -> Array:
    window, weights = analysis_window(spec, "float64"), mel_bands(spec, "float64").weights
    twice = np.full(weights.shape[1], 2.0)  # a bin stands for two, but for those at 0 Hz and half the rate
    twice[[0, -1]] = 1.0
    most = np.zeros(len(twice))  # power of each bin and its double
    for k in np.flatnonzero(weights.any(axis=0)):
        angles = np.pi / spec.n_fft * (2 * k * np.arange(spec.win) % spec.n_fft)  # up to a sign, one half-plane
        order = np.argsort(angles, kind="stable")
        arms = window[order] * np.exp(1j * angles[order])
        most[k] = twice[k] * np.abs(arms.sum() - 2 * np.cumsum(arms)).max() ** 2
    in_all = spec.n_fft * np.sum(window**2)
    power = np.zeros(len(weights))
    for band, row in enumerate(weights / twice):
        order = np.argsort(-row, kind="stable")
        filled = np.minimum(np.cumsum(most[order]), in_all)
        power[band] = row[order] @ np.diff(filled, prepend=0.0)
    power *= ((1 + spec.preemphasis) * (2 if spec.remove_dc else 1)) ** 2
    if spec.power == 1:
        power *= weights.sum(axis=1)
    power.flags.writeable = False
    return power


def _solve(A: Array, b: Array, centre: Array, floor: float, ceiling: Array, top_db: float | None) -> Array:
    """Solve the quadratic program of the module's docstring.

    Parameters
    ----------
    A : array [shape=(n_mfcc, n_mels)]
    b : array [shape=(frames, n_mfcc)]
    centre : array [shape=(frames, n_mels)], `L0`
    floor : float
    ceiling : array [shape=(n_mels,)], above the floor
    top_db : float or None
        Above 0; with None there is no `m`, and each frame is a problem of its own.

    Returns
    -------
    array [shape=(frames, n_mels)]
        `L`, within its bounds up to rounding.
    """
    # the slacks are sign * L + pull * m + rest: above floor, below ceiling, above m - top_db, below m
    kinds, own = (2, (0, 2)) if top_db is None else (4, (0, 1, 2))  # own: the axes of one problem
    sign = np.array([1.0, -1.0, 1.0, -1.0])[:kinds, None, None]
    pull = np.array([0.0, 0.0, -1.0, 1.0])[:kinds, None, None]
    rest = np.zeros((kinds, 1, len(ceiling)))
    rest[0], rest[1] = -floor, ceiling
    m, low, high, spread = 0.0, floor, ceiling, float(ceiling.max()) - floor
    if top_db is not None:
        rest[2] = top_db
        margin = MARGIN * (spread - top_db)
        m = float(np.clip(centre.max(), floor + top_db + margin, floor + spread - margin))
        low, high = m - top_db, np.minimum(ceiling, m)
    L = np.clip(centre, low + MARGIN * (high - low), high - MARGIN * (high - low))
    slack = sign * L + pull * m + rest
    z = np.ones_like(slack) * (1e-3 + np.abs((L @ A.T - b) @ A)[None].max(axis=own, keepdims=True))
    close = np.sum((CLOSE + ROUNDING * np.sum(b * b, axis=1, keepdims=True))[None], axis=own, keepdims=True)
    products = (A[:, None] * A).reshape(-1, A.shape[1]).T  # (n_mels, n_mfcc^2)
    for _ in range(MOST_STEPS):
        gradient = (L @ A.T - b) @ A + RIDGE * (L - centre)
        gap = np.sum(z * slack, axis=own, keepdims=True)
        # what the multipliers leave of the gradients by L and m; once the gap is far below `close`, only rounding
        unmet = np.sum(np.abs(gradient - np.sum(sign * z, axis=0))[None], axis=own, keepdims=True)
        done = (gap + unmet + abs(np.sum(pull * z)) <= close) | (gap <= 1e-3 * close)
        if done.all():
            break
        system = _System(A, products, sign, pull, z / slack)
        ds, dz, dL = system.step(z, gradient, np.zeros_like(z))
        far = _longest(slack, z, ds, dz, own)
        shrinks = np.sum((slack + far * ds) * (z + far * dz), axis=own, keepdims=True) / gap
        aim = shrinks**3 * gap / (slack.size / gap.size)
        ds, dz, dL = system.step(z, gradient, (aim - far * ds * dz) / slack)  # without `far` some frames circle
        far = np.where(done, 0.0, WITHIN * _longest(slack, z, ds, dz, own))
        slack, z, L = slack + far * ds, z + far * dz, L + far[0] * dL
    return L


def _longest(slack: Array, z: Array, ds: Array, dz: Array, own: tuple[int, ...]) -> Array:
    """Return the share, at most 1, of a step after which the first slack or multiplier of a problem would be 0."""
    return np.asarray(1 / np.maximum(-ds / slack, -dz / z).max(axis=own, keepdims=True, initial=1.0))


class _System:
    """The linear equations of one step, factored once for the predictor and the corrector."""

    def __init__(self, A: Array, products: Array, sign: Array, pull: Array, w: Array) -> None:
        self.A, self.sign, self.pull, self.w = A, sign, pull, w
        self.tied = np.sum(pull**2 * w, axis=0)  # to m
        loose = RIDGE + np.sum((1 - pull**2) * w, axis=0)
        self.inverse = 1 / (loose + self.tied)
        self.core = np.linalg.inv((self.inverse @ products).reshape(-1, len(A), len(A)) + np.eye(len(A)))
        if pull.any():
            seen = (self.inverse * self.tied) @ A.T
            # sum(tied) - tied^T matrix^-1 tied, without a difference of large numbers
            self.stiffness = np.sum(self.tied * self.inverse * loose) + np.sum(seen * self._core_times(seen))

    def _core_times(self, v: Array) -> Array:
        return np.asarray((self.core @ v[..., None])[..., 0])

    def _divide(self, v: Array) -> Array:
        """Divide by each frame's matrix [shape=(frames, n_mels)]."""
        found = self._woodbury(v)
        # free bands cancel to the ridge there, so what is left is divided once more
        return found + self._woodbury(v - found / self.inverse - (found @ self.A.T) @ self.A)

    def _woodbury(self, v: Array) -> Array:
        u = self.inverse * v
        return np.asarray(u - self.inverse * (self._core_times(u @ self.A.T) @ self.A))

    def step(self, z: Array, gradient: Array, aim: Array) -> tuple[Array, Array, Array]:
        """Return the steps of slacks, multipliers and L; with the slacks as they are, multipliers would be `aim`."""
        by_L, dm = np.sum(self.sign * aim, axis=0) - gradient, 0.0
        if self.pull.any():
            dm = (np.sum(self.pull * aim) + np.sum(self.tied * self._divide(by_L))) / self.stiffness
        dL = self._divide(by_L + self.tied * dm)
        ds = self.sign * dL + self.pull * dm
        return ds, aim - z - self.w * ds, dL


def _checked(C: npt.ArrayLike, spec: MfccSpec, level: Level) -> Array:
    """Return a pattern as float64 [shape=(n_mfcc, frames)], or raise."""
    if level not in LEVELS:
        raise ParameterError(f"level must be one of {', '.join(LEVELS)}. Received: {level!r}")
    given = np.asarray(C, np.float64)
    if given.ndim != 2:
        raise ParameterError(f"One pattern must be of shape ({spec.n_mfcc}, frames). Received: {given.shape}")
    mfcc_to_log_mel(given[:, :0], spec)  # refuses other shapes, and lifters that can't be undone
    if not given.size:
        raise DataError(f"A pattern must have at least one frame. Received: {given.shape}")
    if not (np.abs(given) <= LARGEST).all():
        raise DataError(f"MFCC must be finite and at most {LARGEST:g}. Received: a value of {np.abs(given).max():.3g}")
    return given
