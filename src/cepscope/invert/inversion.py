"""MFCC to sound: the whole chain, and the sounds it gives."""

from __future__ import annotations

import base64
import html
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from cepscope.audio import to_wav_bytes, write_wav
from cepscope.errors import DataError, ParameterError
from cepscope.features import MfccSpec, mfcc, mfcc_to_log_mel
from cepscope.invert.envelope import log_envelope
from cepscope.invert.excitation import pitch_contour, voicing
from cepscope.invert.griffinlim import griffin_lim
from cepscope.invert.matching import match, relative_error
from cepscope.invert.synthesis import synthesize

FloatArray = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]

METHODS = ("voiced", "neutral", "librosa")
PEAK = 0.89  # about -1 dB of full scale: leaves room for the player's own filters
LOUDEST = 200.0  # dB of mel power: beyond it float32 audio overflows


@runtime_checkable
class HasMfcc(Protocol):
    """Anything with MFCCs and the front end they belong to, such as patterns."""

    @property
    def mfcc(self) -> Any: ...  # noqa: D102
    @property
    def spec(self) -> MfccSpec: ...  # noqa: D102


@dataclass(frozen=True)
class Sounds:
    """Sounds made from MFCCs; they play themselves in a notebook.

    Attributes
    ----------
    audio : array [shape=(n, samples)]
        Peak at -1 dB of full scale.
    sr : int
        In Hz.
    gain : array [shape=(n,)]
        What each sound was multiplied by to get there.
    relative_error : array [shape=(n,)]
        ||MFCC(sound) - target|| / ||target - its mean over time||, at the original gain.
    names : tuple of str
    method : str
    seed : int
    """

    audio: FloatArray
    sr: int
    gain: FloatArray
    relative_error: FloatArray
    names: tuple[str, ...]
    method: str
    seed: int

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, chosen: int | slice | Sequence[int]) -> Sounds:
        index = np.atleast_1d(np.arange(len(self))[chosen])
        names = tuple(self.names[i] for i in index)
        return Sounds(
            self.audio[index], self.sr, self.gain[index], self.relative_error[index], names, self.method, self.seed
        )

    def save_wavs(self, folder: str | Path) -> list[Path]:
        """Write one wav a sound, named by its unit (``crbm1:7`` becomes ``crbm1-7.wav``)."""
        paths = [Path(folder) / f"{_file_name(name)}.wav" for name in self.names]
        for path, audio in zip(paths, self.audio, strict=True):
            write_wav(path, audio, self.sr)
        return paths

    def _repr_html_(self) -> str:
        rows = []
        for name, audio, error in zip(self.names, self.audio, self.relative_error, strict=True):
            data = base64.b64encode(to_wav_bytes(audio, self.sr)).decode()
            label = html.escape(name)
            rows.append(
                f"<tr><th>{label}</th><td>{error:.3f}</td><td>"
                f'<audio controls aria-label="{label}" src="data:audio/wav;base64,{data}"></audio></td></tr>'
            )
        head = "<tr><th>sound</th><th>relative MFCC error</th><th></th></tr>"
        return f"<table>{head}{''.join(rows)}</table>"


def invert(
    patterns: HasMfcc | npt.ArrayLike,
    spec: MfccSpec | None = None,
    *,
    method: str = "voiced",
    iterations: int = 20,
    pitch: float = 120.0,
    names: Sequence[str] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Sounds:
    """Turn MFCCs into sounds whose MFCCs are theirs.

    Parameters
    ----------
    patterns : Patterns or array [shape=(n_mfcc, frames) or (n, n_mfcc, frames)]
        Unscaled MFCCs.
    spec : MfccSpec
        Their front end; patterns bring their own.
    method : {"voiced", "neutral", "librosa"}
        A voice (minimum-phase synthesis, then matching); Griffin-Lim phases (whispered), then matching; or
        librosa.feature.inverse, for reference.
    iterations : int
        Steps of matching.
    pitch : float
        Of the voice, in Hz.
    names : sequence of str, optional
    seed : int
        Sound i draws from the sequence (seed, i): it does not depend on its neighbours.
    progress : callable, optional
        Called with (sounds done, sounds in all).

    Returns
    -------
    Sounds
        Each of (frames - 1) * hop samples, so that the front end extracts exactly the target's frames.

    Raises
    ------
    ParameterError
        If a setting is out of range, or the array does not fit the front end.
    DataError
        If MFCCs are not finite or far beyond any sound.

    Examples
    --------
    >>> spec = MfccSpec(sr=8000, floor=1e-5)
    >>> sounds = invert(np.zeros((20, 30)), spec)
    >>> sounds.audio.shape
    (1, 2320)
    """
    targets, spec, names = _targets(patterns, spec, names)
    if method not in METHODS:
        raise ParameterError(f"`method` must be one of {', '.join(METHODS)}. Received: {method!r}")
    if iterations < 0 or not 20 <= pitch < spec.sr / 2:  # noqa: PLR2004
        raise ParameterError(
            f"`iterations` must not be negative, `pitch` from 20 Hz to half the rate. Received: {iterations}, {pitch}"
        )
    audio, gains, errors = [], [], []
    with threadpool_limits(1):  # the number of BLAS threads shows in the last bits
        for i, target in enumerate(targets):
            sound = _invert_one(target, spec, method=method, iterations=iterations, pitch=pitch, seed=[seed, i])
            peak = float(np.abs(sound).max(initial=0.0))
            gain = PEAK / peak if peak > 0 else 1.0
            audio.append((sound * gain).astype(np.float32))
            gains.append(gain)
            errors.append(relative_error(mfcc(sound.astype(np.float32), spec), target))
            if progress:
                progress(i + 1, len(targets))
    return Sounds(
        audio=np.stack(audio),
        sr=spec.sr,
        gain=np.array(gains, np.float32),
        relative_error=np.array(errors, np.float32),
        names=names,
        method=method,
        seed=seed,
    )


def _targets(
    patterns: HasMfcc | npt.ArrayLike, spec: MfccSpec | None, names: Sequence[str] | None
) -> tuple[npt.NDArray[np.float64], MfccSpec, tuple[str, ...]]:
    if isinstance(patterns, HasMfcc):
        spec = spec or patterns.spec
        names = names or getattr(patterns, "names", None)
        patterns = patterns.mfcc
    if spec is None:
        raise ParameterError("An array of MFCCs needs the `spec` of its front end. Received: spec=None")
    targets = np.asarray(patterns, np.float64)
    targets = targets[None] if targets.ndim == 2 else targets  # noqa: PLR2004
    if targets.ndim != 3 or targets.shape[1] != spec.n_mfcc or targets.shape[2] < 2 or not len(targets):  # noqa: PLR2004
        raise ParameterError(
            f"MFCCs must be ([n,] {spec.n_mfcc}, frames) with at least 2 frames. Received: {np.shape(patterns)}"
        )
    if not np.isfinite(targets).all():
        raise DataError("The MFCCs hold NaN or Inf, so there is no sound to them.")
    loudest = float(np.max(mfcc_to_log_mel(targets, spec)))
    if loudest > LOUDEST:
        raise DataError(
            f"The MFCCs ask for a band of {loudest:.0f} dB; no sound is louder than {LOUDEST:.0f} dB. "
            "Are they scaled, or of another front end?"
        )
    names = tuple(names) if names else tuple(f"sound:{i}" for i in range(len(targets)))
    if len(names) != len(targets):
        raise ParameterError(f"There must be one name a sound. Received: {len(names)} and {len(targets)}")
    return targets, spec, names


def _invert_one(
    target: npt.NDArray[np.float64], spec: MfccSpec, *, method: str, iterations: int, pitch: float, seed: list[int]
) -> npt.NDArray[np.float64]:
    samples = spec.samples_of(target.shape[1])
    if method == "librosa":
        return _librosa(target, spec, samples, seed)
    rng = np.random.default_rng(seed)
    log_mel = np.asarray(mfcc_to_log_mel(target, spec), np.float64)
    envelope = log_envelope(log_mel, spec)
    if method == "voiced":
        contour = pitch_contour(log_mel, spec, base=pitch)
        start = synthesize(envelope, voicing(log_mel, spec), contour, spec, samples, rng=rng)
    else:
        amplitude = np.exp(envelope) * np.sqrt(np.sum(np.hanning(spec.win) ** 2))
        start = griffin_lim(amplitude, spec, samples, rng=rng, iterations=12)
    return match(start, target, spec, iterations=iterations)


def _librosa(
    target: npt.NDArray[np.float64], spec: MfccSpec, samples: int, seed: list[int]
) -> npt.NDArray[np.float64]:
    """Chain librosa's own steps, with the seed that its mfcc_to_audio does not let through."""
    import librosa

    mel = librosa.feature.inverse.mfcc_to_mel(target, n_mels=spec.n_mels, ref=1.0, lifter=spec.lifter)
    amplitude = librosa.feature.inverse.mel_to_stft(
        mel, sr=spec.sr, n_fft=spec.n_fft, power=2.0, fmin=spec.fmin, fmax=spec.fmax, htk=spec.htk
    )
    known = inspect.signature(librosa.griffinlim).parameters
    name = "rng" if "rng" in known else "random_state"  # renamed in librosa 1.0
    first = int(np.random.default_rng(seed).integers(2**31))
    sound = librosa.griffinlim(
        amplitude, hop_length=spec.hop, win_length=spec.win, n_fft=spec.n_fft, length=samples, **{name: first}
    )
    return np.asarray(sound, np.float64)


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name)
