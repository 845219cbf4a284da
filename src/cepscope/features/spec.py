"""How MFCCs are computed: every setting in one frozen, checked place."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError
from cepscope.features.mel import empty_filters, mel_points

Log: TypeAlias = Literal["db", "ln"]

_WIN_SECONDS, _HOP_SECONDS = 0.025, 0.010
_MOST_BINS = 1 << 20  # an FFT longer than this is never suggested


@dataclass(frozen=True, slots=True)
class MfccSpec:
    """Settings of MFCC extraction, in librosa's terms; zeros are resolved from `sr` and then never seen.

    Parameters
    ----------
    sr
        Sampling rate in Hz.
    n_fft
        FFT length in samples, even; 0: the next power of two that holds the window.
    win
        Window (Hann) in samples, at most `n_fft`; 0: 25 ms.
    hop
        Samples from frame to frame; 0: 10 ms.
    n_mels
        Mel filters.
    n_mfcc
        Coefficients kept, from c0 on, at most `n_mels`; without c0 from c1 on, at most ``n_mels - 1``.
    fmin, fmax
        Lowest and highest frequency of the filters in Hz; `fmax` 0: half of `sr`.
    lifter
        Sinusoidal lifter L: the coefficient of order n (of c0, 0) is multiplied by 1 + L/2 sin(pi (n + 1) / L), as
        librosa does, whether or not c0 is kept; 0: none. (HTK has n in place of n + 1.)
    htk
        HTK's mel scale, 2595 log10(1 + f / 700) [1]_; otherwise Slaney's.
    floor
        Mel power below which values are raised to it (librosa's `amin`).
    top_db
        Decibels below the clip's loudest value at which values are cut off, as librosa does with 80; inf:
        never, so that a frame's MFCC depends on that frame alone.
    log
        "db": MFCC of decibels, as librosa's; "ln": of the natural logarithm of mel power, as most other front ends
        have, ln(10) / 10 times those of decibels. `floor` and `top_db` are the same for both.
    c0
        Whether the coefficient of order 0 is kept. Without it MFCC do not hold a frame's level.

    Raises
    ------
    ParameterError
        A value is out of range, or some mel filter is so narrow that it holds no FFT bin.

    References
    ----------
    .. [1] S. Young et al., "The HTK Book", Cambridge University Engineering Department, chapter 5.

    Examples
    --------
    >>> spec = MfccSpec(sr=8000)
    >>> spec.win, spec.hop, spec.n_fft, spec.fmax
    (200, 80, 256, 4000.0)
    """

    sr: int = 16000
    n_fft: int = 0
    win: int = 0
    hop: int = 0
    n_mels: int = 40
    n_mfcc: int = 20
    fmin: float = 0.0
    fmax: float = 0.0
    lifter: float = 0.0
    htk: bool = False
    floor: float = 1e-10
    top_db: float = math.inf
    log: Log = "db"
    c0: bool = True

    def __post_init__(self) -> None:
        for name in ("sr", "n_fft", "win", "hop", "n_mels", "n_mfcc"):
            object.__setattr__(self, name, _integer(name, getattr(self, name)))
        for name in ("fmin", "fmax", "lifter", "floor", "top_db"):
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        for name in ("htk", "c0"):
            value = getattr(self, name)
            if not isinstance(value, bool | np.bool_):
                raise ParameterError(f"{name} must be true or false. Received: {value!r}")
            object.__setattr__(self, name, bool(value))
        logs = get_args(Log)
        _require(isinstance(self.log, str) and self.log in logs, "log", " or ".join(map(repr, logs)), self.log)
        object.__setattr__(self, "log", str(self.log))
        for name in ("sr", "n_mels", "n_mfcc"):
            _require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name in ("n_fft", "win", "hop"):
            _require(getattr(self, name) >= 0, name, "at least 1, or 0 to take it from sr", getattr(self, name))
        win = self.win or max(1, round(_WIN_SECONDS * self.sr))
        object.__setattr__(self, "win", win)
        object.__setattr__(self, "hop", self.hop or max(1, round(_HOP_SECONDS * self.sr)))
        object.__setattr__(self, "n_fft", self.n_fft or max(2, 1 << (win - 1).bit_length()))
        object.__setattr__(self, "fmax", self.fmax or self.sr / 2)
        _require(self.n_fft % 2 == 0, "n_fft", "even", self.n_fft)
        _require(win <= self.n_fft, "win", f"at most n_fft={self.n_fft}", win)
        most = f"at most n_mels={self.n_mels}" if self.c0 else f"at most n_mels - 1={self.n_mels - 1} without c0"
        _require(self.n_mfcc <= self.n_mels - (not self.c0), "n_mfcc", most, self.n_mfcc)
        _require(0 <= self.fmin < self.fmax, "fmin", f"at least 0 and below fmax={self.fmax:g}", self.fmin)
        _require(self.fmax <= self.sr / 2, "fmax", f"at most half of sr, {self.sr / 2:g}", self.fmax)
        _require(0 <= self.lifter < math.inf, "lifter", "0 (none) or a positive number", self.lifter)
        smallest = float(np.finfo(np.float32).tiny)
        _require(smallest <= self.floor <= 1, "floor", f"a mel power from {smallest:.0e} to 1", self.floor)
        _require(self.top_db >= 0, "top_db", "at least 0 dB, or inf for none", self.top_db)
        self._require_filters()

    def _require_filters(self) -> None:
        """Raise when a mel filter falls between two FFT bins, and say what would do."""
        empty = self._empty()
        if not empty.size:
            return
        lower, _, upper = mel_points(self.n_mels, self.fmin, self.fmax, htk=self.htk)[empty[0] :][:3]
        longer = self.n_fft
        while longer < _MOST_BINS and self._empty(n_fft=longer).size:
            longer *= 2
        fewer = next((n for n in range(self.n_mels - 1, 0, -1) if not self._empty(n_mels=n).size), None)
        options = [f"n_mels={fewer}"] if fewer else []
        options += [f"n_fft={longer}"] if longer < _MOST_BINS else []
        raise ParameterError(
            f"{empty.size} of {self.n_mels} mel filters hold no FFT bin (the first: {lower:.1f} to "
            f"{upper:.1f} Hz, with bins every {self.sr / self.n_fft:.1f} Hz). Received: "
            f"n_mels={self.n_mels}, n_fft={self.n_fft}; take {' or '.join(options) or 'a larger fmax - fmin'}"
        )

    def _empty(self, *, n_fft: int = 0, n_mels: int = 0) -> npt.NDArray[np.intp]:
        points = mel_points(n_mels or self.n_mels, self.fmin, self.fmax, htk=self.htk)
        return empty_filters(points, self.sr / (n_fft or self.n_fft))

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them: an infinite `top_db` becomes None."""
        values = dataclasses.asdict(self)
        values["top_db"] = None if math.isinf(self.top_db) else self.top_db
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MfccSpec:
        """Undo `to_dict`; names left out take their defaults.

        Raises
        ------
        ParameterError
            A name is unknown or a value is out of range.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            raise ParameterError(f"MfccSpec has the settings {', '.join(known)}. Received: {', '.join(unknown)}")
        top_db = values.get("top_db")
        return cls(**{**values, "top_db": math.inf if top_db is None else top_db})

    @property
    def silence(self) -> npt.NDArray[np.float32]:
        """Return the (n_mfcc,) float32 MFCC of a frame of digital silence: zeros without c0."""
        silent = np.zeros(self.n_mfcc, dtype=np.float32)
        if self.c0:
            # every filter is at the floor, and of a constant the ortho DCT-II leaves c0 = sqrt(n_mels) * constant
            silent[0] = 10 * math.log10(self.floor) * math.sqrt(self.n_mels) * self.coefficient_gains()[0]
        return silent

    @property
    def orders(self) -> npt.NDArray[np.int64]:
        """Return the (n_mfcc,) orders of the coefficients kept: 0, 1, ..., or 1, 2, ... without c0."""
        first = 0 if self.c0 else 1
        return np.arange(first, first + self.n_mfcc, dtype=np.int64)

    def lifter_gains(self) -> npt.NDArray[np.float64]:
        """Return what the lifter multiplies each coefficient by: (n_mfcc,), all 1 without a lifter."""
        if not self.lifter:
            return np.ones(self.n_mfcc)
        gains: npt.NDArray[np.float64] = 1 + self.lifter / 2 * np.sin(np.pi * (self.orders + 1.0) / self.lifter)
        return gains

    def coefficient_gains(self) -> npt.NDArray[np.float64]:
        """Return what stands between the cosine transform of decibels and MFCC.

        Returns
        -------
        array [shape=(n_mfcc,)]
            What each coefficient of the orthonormal DCT-II of the log-mel spectrum in dB is multiplied by: the lifter,
            and ln(10) / 10 where MFCC are those of the natural logarithm. Divided by it, MFCC are in dB.

        Examples
        --------
        >>> MfccSpec(n_mfcc=3, log="ln").coefficient_gains().round(4).tolist()
        [0.2303, 0.2303, 0.2303]
        """
        gains = self.lifter_gains()
        return gains * (math.log(10) / 10) if self.log == "ln" else gains

    def frames_of(self, n_samples: int) -> int:
        """Return how many frames a sound has: one around sample 0 and each further multiple of `hop`."""
        _require(n_samples >= 1, "n_samples", "at least 1", n_samples)
        return 1 + n_samples // self.hop

    def samples_of(self, frames: int) -> int:
        """Return the fewest samples with so many frames: from the first frame's centre to the last's."""
        _require(frames >= 1, "frames", "at least 1", frames)
        return (frames - 1) * self.hop

    def times(self, frames: int) -> npt.NDArray[np.float64]:
        """Return the (frames,) centres in seconds."""
        return np.arange(frames, dtype=np.float64) * (self.hop / self.sr)

    def mel_frequencies(self) -> npt.NDArray[np.float64]:
        """Return the (n_mels,) centres of the mel filters in Hz."""
        return mel_points(self.n_mels, self.fmin, self.fmax, htk=self.htk)[1:-1]


def _require(ok: bool, name: str, expected: str, received: object) -> None:
    if not ok:
        raise ParameterError(f"{name} must be {expected}. Received: {name}={received!r}")


def _integer(name: str, value: Any) -> int:
    try:
        _require(not isinstance(value, bool | np.bool_), name, "an integer", value)
        return operator.index(value)
    except TypeError:
        raise ParameterError(f"{name} must be an integer. Received: {name}={value!r}") from None


def _number(name: str, value: Any) -> float:
    ok = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    _require(ok and not math.isnan(value), name, "a number", value)
    return float(value)
