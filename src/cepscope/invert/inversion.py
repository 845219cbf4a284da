"""MFCC to sound: the whole chain.

Envelope, excitation and synthesis (or Griffin-Lim phases) give a start; `match` and `refine` make its MFCC those of the
pattern, on exactly the samples, frames and level that a later extraction will see.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import joblib
import numpy as np
import numpy.typing as npt
import scipy.optimize
from threadpoolctl import threadpool_limits

from cepscope.audio import condition
from cepscope.errors import DataError, ParameterError
from cepscope.features import MfccSpec, mfcc, mfcc_to_log_mel
from cepscope.invert.envelope import log_mel_to_envelope, mel_bands
from cepscope.invert.excitation import pitch_contour, voicing
from cepscope.invert.griffinlim import griffin_lim
from cepscope.invert.matching import LEVELS, Level, at_level, match, mel_power, power_to_db, relative_error
from cepscope.invert.refinement import refine
from cepscope.invert.sounds import Sounds
from cepscope.invert.stft import analysis_window, sound_length
from cepscope.invert.synthesis import synthesize_voiced

FloatArray = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]
Method = Literal["voiced", "neutral", "librosa"]

METHODS: tuple[Method, ...] = ("voiced", "neutral", "librosa")
PEAK = 0.89  # of exported sounds, -1 dB of full scale: leaves room for the player's own filters
EDGE = 6  # frames that a pattern is continued by on both sides: patterns end abruptly, voices do not
LOUDEST = 100.0  # dB of mel power that synthesis starts from at most; unnatural patterns ask for hundreds
LARGEST = 1e6  # of a coefficient
HIGHEST = 1e9  # peak at the level that a pattern asks for; its MFCC stay within float32


@runtime_checkable
class HasMfcc(Protocol):
    """Anything with MFCC and the front end they belong to, such as patterns."""

    @property
    def mfcc(self) -> Any: ...  # noqa: D102
    @property
    def spec(self) -> MfccSpec: ...  # noqa: D102


@dataclass(frozen=True)
class _Way:
    """Settings of one inversion."""

    method: Method
    level: Level
    iterations: int
    refine_steps: int
    pitch: float
    seed: int


def invert(
    patterns: HasMfcc | npt.ArrayLike,
    spec: MfccSpec | None = None,
    *,
    method: Method = "voiced",
    level: Level = "full_scale",
    iterations: int = 20,
    refine_steps: int = 20,
    pitch: float = 120.0,
    names: Sequence[str] | None = None,
    indices: Sequence[int] | None = None,
    seed: int = 0,
    workers: int = 1,
    progress: Progress | None = None,
) -> Sounds:
    """Turn MFCC into sounds whose MFCC they are.

    Parameters
    ----------
    patterns : Patterns or array [shape=(..., n_mfcc, frames)]
        Unscaled MFCC; leading axes become one axis of sounds.
    spec : MfccSpec
        Their front end; patterns bring their own.
    method : {"voiced", "neutral", "librosa"}
        A voice (minimum-phase synthesis, then matching); Griffin-Lim phases (sounds whispered), then matching; or
        librosa.feature.inverse without matching, for reference.
    level : {"full_scale", "free"}
        Match what will be extracted from the sound at full scale, or at whatever level the pattern asks for.
    iterations : int
        Steps of `match`; a quarter as many more are spent on the sound before its edges are cut.
    refine_steps : int
        Steps of `refine`.
    pitch : float
        Of the voice, Hz.
    names : sequence of str, optional
        Default: the patterns' own (``names`` or ``units``), else ``sound:0`` and so on.
    indices : sequence of int, optional
        Number of each sound, default 0, 1, ...: sound `i` draws from ``SeedSequence([seed, i])``, so one sound made
        alone under its own number has the bits that it has in any batch.
    seed : int
    workers : int
        Processes; the result does not depend on it.
    progress : callable, optional
        Called with (sounds done, sounds in all).

    Returns
    -------
    Sounds
        Each of ``(frames - 1) * hop`` samples (of one frame: ``hop - 1``), from which the front end extracts exactly
        `frames` frames.

    Raises
    ------
    ParameterError
        If a setting is out of range, or the array does not fit the front end.
    DataError
        If MFCC are not finite, or far beyond any sound.

    Examples
    --------
    >>> spec = MfccSpec(sr=8000, floor=1e-5)
    >>> sounds = invert(np.zeros((20, 30)), spec)
    >>> sounds.audio.shape, bool(abs(sounds.audio).max() < 1)
    ((1, 2320), True)
    """
    targets, spec, names = _targets(patterns, spec, names)
    numbers = list(range(len(targets))) if indices is None else [int(i) for i in indices]
    way = _Way(method, level, iterations, refine_steps, pitch, seed)
    _check(way, spec, numbers, len(targets), workers)
    jobs = zip(targets, numbers, strict=True)
    results: list[tuple[FloatArray, float, float, float, FloatArray]] = []
    made = (
        (_invert_one(target, spec, way, number) for target, number in jobs)
        if min(workers, len(targets)) == 1
        else joblib.Parallel(n_jobs=min(workers, len(targets)), return_as="generator")(
            joblib.delayed(_invert_one)(target, spec, way, number) for target, number in jobs
        )
    )
    for result in made:
        results.append(result)
        if progress:
            progress(len(results), len(targets))
    audio, gain, errors, normalised, extracted = zip(*results, strict=True)
    return Sounds(
        audio=np.stack(audio),
        sr=spec.sr,
        gain=np.array(gain, np.float32),
        relative_error=np.array(errors, np.float32),
        normalised_error=np.array(normalised, np.float32),
        mfcc=np.stack(extracted),
        names=names,
        method=method,
        level=level,
        seed=seed,
    )


def start_sound(
    C: npt.ArrayLike, spec: MfccSpec, *, method: Method, rng: np.random.Generator, pitch: float = 120.0
) -> FloatArray:
    """Make a first sound [shape=(samples,)] with about the envelope of MFCC [shape=(n_mfcc, frames)]."""
    C = np.asarray(C, np.float64)
    samples = sound_length(C.shape[-1], spec)
    log_mel = mfcc_to_log_mel(C, spec).astype(np.float64)
    top = log_mel.max()
    envelope = log_mel_to_envelope(log_mel - top + np.clip(top, -LOUDEST, LOUDEST), spec)
    if method == "neutral":
        magnitude = 10 ** (envelope / 20) * np.sqrt(np.sum(analysis_window(spec, "float64") ** 2))
        return griffin_lim(magnitude, spec, samples, rng=rng)
    contour = pitch_contour(C, spec, pitch=pitch)
    return synthesize_voiced(envelope, contour, voicing(C, spec), spec, samples, rng=rng)


def librosa_sound(C: npt.ArrayLike, spec: MfccSpec, *, rng: np.random.Generator) -> FloatArray:
    """Chain librosa's inverse steps, seeded (its mfcc_to_audio lets no seed through), within the range of floats."""
    import librosa

    C = np.asarray(C, np.float32)
    mel = librosa.db_to_power(np.clip(mfcc_to_log_mel(C, spec), -LOUDEST, LOUDEST))
    magnitude = librosa.feature.inverse.mel_to_stft(
        mel, sr=spec.sr, n_fft=spec.n_fft, power=2.0, fmin=spec.fmin, fmax=spec.fmax, htk=spec.htk
    )
    known = inspect.signature(librosa.griffinlim).parameters
    seed: dict[str, Any] = {"rng" if "rng" in known else "random_state": int(rng.integers(2**31))}  # renamed in 1.0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_fft=.* is too large")  # a pattern of one or two frames is that short
        sound = librosa.griffinlim(
            magnitude,
            hop_length=spec.hop,
            win_length=spec.win,
            n_fft=spec.n_fft,
            length=sound_length(C.shape[-1], spec),
            **seed,
        )
    return np.asarray(sound, np.float32)


def best_gain_db(y: npt.ArrayLike, C: npt.ArrayLike, spec: MfccSpec) -> float:
    """Return the gain in dB that brings the MFCC of a sound [shape=(samples,)] nearest to `C` [shape=(n_mfcc, frames)].

    Were there no floor, this would be c0's mean offset; bands at the floor do not follow the gain, so it is searched.
    Without c0 a pattern asks for no level, and the gain is 0 dB.
    """
    if not spec.c0:
        return 0.0
    bands = mel_bands(spec)
    power = mel_power(np.asarray(y, np.float32), spec)
    wanted = (np.asarray(C) / bands.lifter[:, None]).astype(np.float32)

    def distance(gain_db: float) -> float:
        got = bands.dct @ power_to_db(power * np.float32(10 ** (gain_db / 10)), spec)
        return float(np.linalg.norm((got - wanted).astype(np.float64)))

    coarse = np.arange(-120.0, 121.0, 6.0)
    near = coarse[int(np.argmin([distance(gain) for gain in coarse]))]
    found = scipy.optimize.minimize_scalar(
        distance, bounds=(near - 6, near + 6), method="bounded", options={"xatol": 0.01}
    )
    return float(found.x) if found.fun < distance(0.0) else 0.0


def _invert_one(
    target: npt.NDArray[np.float64], spec: MfccSpec, way: _Way, number: int
) -> tuple[FloatArray, float, float, float, FloatArray]:
    """Return audio, gain, relative error at the pattern's level, the same at full scale, and the MFCC."""
    with threadpool_limits(1):  # the number of BLAS threads shows in the last bits
        sound = _sound(target, spec, way, np.random.default_rng(np.random.SeedSequence([way.seed, number])))
        full = condition(sound)
        loudest = min(float(np.abs(sound).max()), HIGHEST) if way.level == "free" and full.any() else 1.0
        gain = min(loudest * 10 ** (best_gain_db(full * np.float32(loudest), target, spec) / 20), HIGHEST)
        own = mfcc(full * np.float32(gain), spec)
        normalised = relative_error(mfcc(full, spec), target)
        return full * np.float32(PEAK), PEAK / gain, relative_error(own, target), normalised, own


def _sound(target: npt.NDArray[np.float64], spec: MfccSpec, way: _Way, rng: np.random.Generator) -> FloatArray:
    frames = target.shape[-1]
    samples = sound_length(frames, spec)
    if _is_silent(target, spec):
        return np.zeros(samples, np.float32)
    if way.method == "librosa":
        return at_level(librosa_sound(target, spec, rng=rng), way.level)
    wide = np.pad(target, ((0, 0), (EDGE, EDGE)), mode="edge")
    sound = start_sound(wide, spec, method=way.method, rng=rng, pitch=way.pitch)
    sound, _ = match(sound, wide, spec, iterations=-(-way.iterations // 4), level="free")
    sound = sound[EDGE * spec.hop : EDGE * spec.hop + samples]
    sound, _ = match(sound, target, spec, iterations=way.iterations, level=way.level)
    return refine(sound, target, spec, steps=way.refine_steps, level=way.level)


def _is_silent(target: npt.NDArray[np.float64], spec: MfccSpec) -> bool:
    """Say whether a pattern asks for nothing above the floor; without c0 silence is flat frames."""
    if not spec.c0:
        return bool(np.abs(target - spec.silence[:, None]).max() < 0.01)
    return bool(mfcc_to_log_mel(target, spec).max() <= 10 * np.log10(spec.floor) + 0.01)


def _targets(
    patterns: HasMfcc | npt.ArrayLike, spec: MfccSpec | None, names: Sequence[str] | None
) -> tuple[npt.NDArray[np.float64], MfccSpec, tuple[str, ...]]:
    if isinstance(patterns, HasMfcc):
        spec = spec or patterns.spec
        names = names or getattr(patterns, "names", None) or getattr(patterns, "units", None)
        patterns = patterns.mfcc
    if spec is None:
        raise ParameterError("An array of MFCC needs the spec of its front end. Received: spec=None")
    targets = np.asarray(patterns, np.float64)
    if targets.ndim < 2 or targets.shape[-2] != spec.n_mfcc or not targets.size:
        raise ParameterError(f"MFCC must be (..., {spec.n_mfcc}, frames), none empty. Received: {targets.shape}")
    targets = targets.reshape(-1, *targets.shape[-2:])
    if not (np.abs(targets) <= LARGEST).all():
        raise DataError(
            f"MFCC must be finite and at most {LARGEST:g}. Received: a value of {np.abs(targets).max():.3g}. "
            "Are they of this front end?"
        )
    names = tuple(names) if names else tuple(f"sound:{i}" for i in range(len(targets)))
    if len(names) != len(targets):
        raise ParameterError(f"There must be one name a sound. Received: {len(names)} names, {len(targets)} sounds")
    return targets, spec, names


def _check(way: _Way, spec: MfccSpec, numbers: list[int], sounds: int, workers: int) -> None:
    if way.method not in METHODS:
        raise ParameterError(f"method must be one of {', '.join(METHODS)}. Received: {way.method!r}")
    if way.level not in LEVELS:
        raise ParameterError(f"level must be one of {', '.join(LEVELS)}. Received: {way.level!r}")
    if not 20 <= way.pitch <= spec.sr / 4:
        raise ParameterError(
            f"pitch must be from 20 Hz to a quarter of the rate, {spec.sr / 4:g}. Received: {way.pitch}"
        )
    for name, value, least in (
        ("iterations", way.iterations, 0),
        ("refine_steps", way.refine_steps, 0),
        ("seed", way.seed, 0),
        ("workers", workers, 1),
    ):
        if value < least:
            raise ParameterError(f"{name} must be at least {least}. Received: {value}")
    if len(numbers) != sounds or min(numbers) < 0:
        raise ParameterError(f"indices must be one number from 0 up a sound. Received: {numbers} for {sounds} sounds")
