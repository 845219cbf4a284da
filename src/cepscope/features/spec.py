"""How MFCCs are computed: every setting in one frozen, checked place."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError
from cepscope.features.checks import boolean, choice, integer, number, require
from cepscope.features.filterbank import filter_points, require_filters, require_warp

Log: TypeAlias = Literal["db", "ln"]
Window: TypeAlias = Literal["hann", "hamming", "povey", "blackman", "rectangular"]
Padding: TypeAlias = Literal["zeros", "reflect", "none"]
Filterbank: TypeAlias = Literal["slaney", "hz", "mel", "htk", "tensorflow"]
Cepstra: TypeAlias = Literal["librosa", "kaldi", "htk"]

_WIN_SECONDS, _HOP_SECONDS = 0.025, 0.010
_CHOICES = {"log": Log, "window": Window, "padding": Padding, "filterbank": Filterbank, "cepstra": Cepstra}


@dataclass(frozen=True, slots=True)
class MfccSpec:
    """Settings of MFCC extraction, in librosa's terms; zeros are resolved from `sr` and then never seen.

    The defaults are librosa's way; `cepscope.features.front_end` has the settings of others. A frame is scaled, freed
    of its mean, pre-emphasised and windowed, in this order. Log energy in place of c0 (HTK's _E, Kaldi's use_energy)
    is not to be had: it is no coefficient of the log-mel spectrum, so no way leads back from it to a spectrum.

    Parameters
    ----------
    sr
        Sampling rate in Hz.
    n_fft
        FFT length in samples, even; 0: the next power of two that holds the window.
    win
        Window in samples, at most `n_fft`; 0: 25 ms.
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
        librosa does, whether or not c0 is kept; 0: none. Others have n in place of n + 1; see `cepstra`.
    htk
        HTK's mel scale, 2595 log10(1 + f / 700) [1]_; otherwise Slaney's.
    floor
        Mel power below which values are raised to it (librosa's `amin`).
    top_db
        Decibels below the clip's loudest value at which values are cut off, as librosa does with 80; inf:
        never, so that a frame's MFCC depends on that frame alone.
    log
        "db": MFCC of decibels, as librosa's; "ln": of the natural logarithm of what the filters add up, as most other
        front ends have. `floor` and `top_db` are the same for both.
    c0
        Whether the coefficient of order 0 is kept. Without it MFCC do not hold a frame's level.
    window
        "hann", "hamming", "povey" (Kaldi's: Hann to the power of 0.85), "blackman" or "rectangular".
    periodic
        The window's period is `win`, as suits an FFT; otherwise ``win - 1``, so that it is symmetric.
    padding
        "zeros": frame t is centred on sample t * hop, with zeros around the sound; "reflect": with the sound mirrored
        at its ends; "none": frame t begins at sample t * hop, and every window lies within the sound.
    scale
        What samples are multiplied by: 32768 for front ends of 16-bit integers. `floor` is that of what comes of it.
    remove_dc
        Whether each frame is freed of its mean.
    preemphasis
        Share of a sample that is taken off the next one in a frame, and off the frame's first. With a window that
        begins at 0 this is the same as filtering the whole sound.
    power
        2: filters add up the power spectrum; 1: its root. The square of that sum is then called mel power, so that
        `floor`, `top_db` and decibels mean the same.
    filterbank
        "slaney", "hz", "mel", "htk" or "tensorflow": see `cepscope.features.filterbank`.
    cepstra
        "librosa": orthonormal DCT; "kaldi": its lifter has n in place of n + 1, which leaves c0 as it is; "htk": that,
        and a c0 that is sqrt(2) times as large.
    warp
        Factor of vocal tract length normalisation, by which corners of "mel" and "htk" filters are divided, other than
        below about 100 Hz and within 500 Hz of `fmax`.

    Raises
    ------
    ParameterError
        A value is out of range, or some mel filter is so narrow that it holds no FFT bin (unless it is of "hz").

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
    window: Window = "hann"
    periodic: bool = True
    padding: Padding = "zeros"
    scale: float = 1.0
    remove_dc: bool = False
    preemphasis: float = 0.0
    power: int = 2
    filterbank: Filterbank = "slaney"
    cepstra: Cepstra = "librosa"
    warp: float = 1.0

    def __post_init__(self) -> None:
        for name in ("sr", "n_fft", "win", "hop", "n_mels", "n_mfcc", "power"):
            object.__setattr__(self, name, integer(name, getattr(self, name)))
        for name in ("fmin", "fmax", "lifter", "floor", "top_db", "scale", "preemphasis", "warp"):
            object.__setattr__(self, name, number(name, getattr(self, name)))
        for name in ("htk", "c0", "periodic", "remove_dc"):
            object.__setattr__(self, name, boolean(name, getattr(self, name)))
        for name, choices in _CHOICES.items():
            object.__setattr__(self, name, choice(name, getattr(self, name), choices))
        for name in ("sr", "n_mels", "n_mfcc"):
            require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name in ("n_fft", "win", "hop"):
            require(getattr(self, name) >= 0, name, "at least 1, or 0 to take it from sr", getattr(self, name))
        win = self.win or max(1, round(_WIN_SECONDS * self.sr))
        object.__setattr__(self, "win", win)
        object.__setattr__(self, "hop", self.hop or max(1, round(_HOP_SECONDS * self.sr)))
        object.__setattr__(self, "n_fft", self.n_fft or max(2, 1 << (win - 1).bit_length()))
        object.__setattr__(self, "fmax", self.fmax or self.sr / 2)
        self._require_ranges()
        require_warp(self)
        require_filters(self)

    def _require_ranges(self) -> None:
        require(self.n_fft % 2 == 0, "n_fft", "even", self.n_fft)
        require(self.win <= self.n_fft, "win", f"at most n_fft={self.n_fft}", self.win)
        most = f"at most n_mels={self.n_mels}" if self.c0 else f"at most n_mels - 1={self.n_mels - 1} without c0"
        require(self.n_mfcc <= self.n_mels - (not self.c0), "n_mfcc", most, self.n_mfcc)
        require(0 <= self.fmin < self.fmax, "fmin", f"at least 0 and below fmax={self.fmax:g}", self.fmin)
        require(self.fmax <= self.sr / 2, "fmax", f"at most half of sr, {self.sr / 2:g}", self.fmax)
        require(0 <= self.lifter < math.inf, "lifter", "0 (none) or a positive number", self.lifter)
        require(1e-6 <= self.scale <= 1e6, "scale", "from 1e-06 to 1e+06", self.scale)
        smallest, largest = float(np.finfo(np.float32).tiny), max(1.0, self.scale**2)
        expected = f"a mel power from {smallest:.0e} to {largest:g}"
        require(smallest <= self.floor <= largest, "floor", expected, self.floor)
        require(self.top_db >= 0, "top_db", "at least 0 dB, or inf for none", self.top_db)
        require(0 <= self.preemphasis < 1, "preemphasis", "at least 0 and below 1", self.preemphasis)
        require(self.power in (1, 2), "power", "2 or 1", self.power)
        require(0 < self.warp < math.inf, "warp", "a positive number", self.warp)

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
        first = 1.0 if self.cepstra == "librosa" else 0.0
        gains: npt.NDArray[np.float64] = 1 + self.lifter / 2 * np.sin(np.pi * (self.orders + first) / self.lifter)
        return gains

    def coefficient_gains(self) -> npt.NDArray[np.float64]:
        """Return what stands between the cosine transform of decibels and MFCC.

        Returns
        -------
        array [shape=(n_mfcc,)]
            What each coefficient of the orthonormal DCT-II of the log-mel spectrum in dB is multiplied by: the lifter,
            ln(10) / 10 where MFCC are those of the natural logarithm (of magnitudes, ln(10) / 20), and sqrt(2) for
            HTK's c0. Divided by it, MFCC are in dB.

        Examples
        --------
        >>> MfccSpec(n_mfcc=3, log="ln").coefficient_gains().round(4).tolist()
        [0.2303, 0.2303, 0.2303]
        """
        gains = self.lifter_gains()
        if self.cepstra == "htk":
            gains[self.orders == 0] *= math.sqrt(2)
        return gains * (math.log(10) / 20 * self.power) if self.log == "ln" else gains

    @property
    def overhang(self) -> tuple[int, int]:
        """Return by how many samples windows may reach beyond the sound: before it, and after it."""
        return (0, 0) if self.padding == "none" else ((self.win + 1) // 2, self.win // 2)

    def frames_of(self, n_samples: int) -> int:
        """Return how many frames a sound has.

        One around sample 0 and each further multiple of `hop`; without padding one for each whole window, maybe none.
        """
        require(n_samples >= 1, "n_samples", "at least 1", n_samples)
        return max(0, 1 + (n_samples + sum(self.overhang) - self.win) // self.hop)

    def samples_of(self, frames: int) -> int:
        """Return the fewest samples with so many frames: from centre to centre, without padding whole windows."""
        require(frames >= 1, "frames", "at least 1", frames)
        return (frames - 1) * self.hop + self.win - sum(self.overhang)

    def times(self, frames: int) -> npt.NDArray[np.float64]:
        """Return the (frames,) centres in seconds."""
        centres = np.arange(frames, dtype=np.float64) * (self.hop / self.sr)
        return centres + self.win / 2 / self.sr if self.padding == "none" else centres

    def mel_frequencies(self) -> npt.NDArray[np.float64]:
        """Return the (n_mels,) centres of the mel filters in Hz."""
        return filter_points(self)[1:-1]
