"""MFCC to sound: the whole chain.

A first sound, spoken by a synthetic voice or with phases from Griffin-Lim, has about the envelope that the pattern asks
for; `match` and `refine` make its MFCC those of the pattern, on exactly the samples, frames and level that a later
extraction will see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, Protocol, runtime_checkable

import joblib
import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from cepscope.audio import condition
from cepscope.errors import DataError, ParameterError
from cepscope.features import MfccSpec, mfcc, mfcc_to_log_mel
from cepscope.features.framing import check_length
from cepscope.invert.excitation import EXCITATIONS, Excitation
from cepscope.invert.gain import best_gain_db
from cepscope.invert.matching import LARGEST, LEVELS, Level, at_level, match, relative_error
from cepscope.invert.refinement import refine
from cepscope.invert.sounds import Sounds
from cepscope.invert.starting import librosa_sound, reachable, resolves_harmonics, start_sound
from cepscope.invert.stft import sound_length

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]
Method = Literal["accurate", "fast", "neutral", "librosa"]

PEAK = 0.89  # of exported sounds, -1 dB of full scale: leaves room for the player's own filters
LOWEST_PITCH = 20.0  # Hz
FAR_DB = 10.0  # a pattern this far from full scale is matched at its own level
ENOUGH = 0.006  # relative error: `invert` stops there
LOUDEST_AUDIO = 1e12  # times the scale of samples: what the front end takes
HIGHEST = 1e9  # peak at the level that a pattern asks for; its MFCC stay within float32


@dataclass(frozen=True)
class Recipe:
    """How a method works.

    Attributes
    ----------
    voice : bool
        Whether a voice speaks the first sound; otherwise Griffin-Lim finds phases for it.
    edge : int
        Frames that a pattern is continued by on both sides at first: patterns end abruptly, voices do not.
    wide : int
        Steps of `match` on the pattern so continued.
    iterations : int
        Steps of `match` on the pattern itself.
    refine_steps : int
        Steps of `refine` at most.
    """

    voice: bool
    edge: int
    wide: int
    iterations: int
    refine_steps: int


RECIPES: dict[str, Recipe] = {
    "accurate": Recipe(voice=True, edge=6, wide=3, iterations=15, refine_steps=30),
    "fast": Recipe(voice=True, edge=3, wide=1, iterations=6, refine_steps=0),
    "neutral": Recipe(voice=False, edge=6, wide=3, iterations=15, refine_steps=30),
}
METHODS: tuple[Method, ...] = ("accurate", "fast", "neutral", "librosa")


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
    excitation: Excitation
    pitch: float | None
    iterations: int | None
    refine_steps: int | None
    seed: int

    @property
    def recipe(self) -> Recipe:
        """The method's, with the steps that were asked for."""
        own = RECIPES[self.method]
        return replace(
            own,
            wide=own.wide if self.iterations is None else min(own.wide, self.iterations),
            iterations=own.iterations if self.iterations is None else self.iterations,
            refine_steps=own.refine_steps if self.refine_steps is None else self.refine_steps,
        )


def invert(
    patterns: HasMfcc | npt.ArrayLike,
    spec: MfccSpec | None = None,
    *,
    method: Method = "accurate",
    level: Level = "full_scale",
    excitation: Excitation = "predicted",
    pitch: float | None = None,
    f0: npt.ArrayLike | None = None,
    iterations: int | None = None,
    refine_steps: int | None = None,
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
    method : {"accurate", "fast", "neutral", "librosa"}
        A voice (minimum-phase synthesis), matched and refined; the same, matched in a few steps; Griffin-Lim phases
        (sounds whispered), matched and refined; or librosa.feature.inverse without matching, for reference. Where the
        coefficients resolve the harmonics of a voice and `f0` is not given, all take the phases of Griffin-Lim: a
        made-up pitch would contradict them.
    level : {"full_scale", "free"}
        Match what will be extracted from the sound at full scale, or at whatever level the pattern asks for. Patterns
        more than 10 dB from full scale are matched at their own level in any case.
    excitation : {"predicted", "voiced", "whispered"}
        Of the voice: voiced where the pattern looks so, all voiced, or all noise.
    pitch : float, optional
        Mean pitch of the voice, Hz; by default predicted from the pattern. Methods without a voice have no use for it.
    f0 : array [shape=(..., frames)], optional
        Pitch contour of each pattern, Hz, 0 where unvoiced, as `track_pitch` finds it in a recording; in place of
        `excitation` and `pitch`.
    iterations : int, optional
        Steps of `match` in place of the method's.
    refine_steps : int, optional
        Steps of `refine` in place of the method's.
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
        Each of ``sound_length(frames, spec)`` samples, ``(frames - 1) * hop`` where the front end pads the sound, from
        which it extracts exactly `frames` frames.

    Raises
    ------
    ParameterError
        If a setting is out of range, or an array does not fit the front end.
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
    way = _Way(method, level, excitation, pitch, iterations, refine_steps, seed)
    _check(way, spec, numbers, len(targets), workers)
    contours = _contours(f0, targets, spec)
    jobs = zip(targets, contours, numbers, strict=True)
    results: list[tuple[FloatArray, float, float, float, FloatArray]] = []
    made = (
        (_invert_one(target, contour, spec, way, number) for target, contour, number in jobs)
        if min(workers, len(targets)) == 1
        else joblib.Parallel(n_jobs=min(workers, len(targets)), return_as="generator")(
            joblib.delayed(_invert_one)(target, contour, spec, way, number) for target, contour, number in jobs
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
        patterns=targets.astype(np.float32),
        spec=spec,
    )


def _invert_one(
    target: npt.NDArray[np.float64], f0: Array | None, spec: MfccSpec, way: _Way, number: int
) -> tuple[FloatArray, float, float, float, FloatArray]:
    """Return audio, gain, relative error at the pattern's level, the same at full scale, and the MFCC."""
    with _threads().limit(limits=1):  # the number of BLAS threads shows in the last bits
        sound = _sound(target, f0, spec, way, np.random.default_rng(np.random.SeedSequence([way.seed, number])))
        full = condition(sound)
        highest = min(HIGHEST, LOUDEST_AUDIO / spec.scale)
        loudest = min(float(np.abs(sound).max()), highest) if full.any() else 1.0
        gain = min(loudest * 10 ** (best_gain_db(full * np.float32(loudest), target, spec) / 20), highest)
        own, at_full_scale = mfcc(np.stack([full * np.float32(gain), full]), spec)
        errors = relative_error(own, target), relative_error(at_full_scale, target)
        return full * np.float32(PEAK), PEAK / gain, *errors, own


@lru_cache(maxsize=1)
def _threads() -> ThreadpoolController:
    """Find the pools of threads once: a search takes as long as several steps of `match`."""
    return ThreadpoolController()


def _sound(
    target: npt.NDArray[np.float64], f0: Array | None, spec: MfccSpec, way: _Way, rng: np.random.Generator
) -> FloatArray:
    frames = target.shape[-1]
    samples = sound_length(frames, spec)
    if _is_silent(target, spec):
        return np.zeros(samples, np.float32)
    if way.method == "librosa":
        return at_level(librosa_sound(target, spec, rng=rng), way.level)
    recipe = way.recipe
    edges = (recipe.edge, recipe.edge)
    aim = reachable(target, spec, level=way.level)
    wide = np.pad(aim, ((0, 0), edges), mode="edge")
    resolved = resolves_harmonics(spec)
    sound = start_sound(
        wide,
        spec,
        voice=recipe.voice and (f0 is not None or not resolved),
        rng=rng,
        excitation=way.excitation,
        pitch=way.pitch,
        f0=None if f0 is None else np.pad(f0, edges, mode="edge"),
    )
    sound, _ = match(sound, wide, spec, iterations=recipe.wide, level="free")
    sound = sound[recipe.edge * spec.hop :][:samples]
    peak_db = 20 * np.log10(max(float(np.abs(sound).max()), 1e-9))
    level = way.level if abs(peak_db) < FAR_DB else "free"  # so far off, only its gain can bring a sound to the pattern
    sound, _ = match(sound, aim, spec, iterations=recipe.iterations, level=level, enough=ENOUGH)
    return refine(sound, target, spec, steps=recipe.refine_steps, level=level, phases=resolved, enough=ENOUGH)


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
    check_length(sound_length(targets.shape[-1], spec), spec)
    if not (np.abs(targets) <= LARGEST).all():
        raise DataError(
            f"MFCC must be finite and at most {LARGEST:g}. Received: a value of {np.abs(targets).max():.3g}. "
            "Are they of this front end?"
        )
    names = tuple(names) if names else tuple(f"sound:{i}" for i in range(len(targets)))
    if len(names) != len(targets):
        raise ParameterError(f"There must be one name a sound. Received: {len(names)} names, {len(targets)} sounds")
    return targets, spec, names


def _contours(f0: npt.ArrayLike | None, targets: npt.NDArray[np.float64], spec: MfccSpec) -> Sequence[Array | None]:
    """Return the pitch contour of each pattern, or None of each."""
    if f0 is None:
        return [None] * len(targets)
    given = np.asarray(f0, np.float64)
    frames = targets.shape[-1]
    if given.shape[-1:] != (frames,) or given.size != len(targets) * frames:
        raise ParameterError(
            f"f0 must be one pitch a frame of each pattern, {len(targets)} x {frames}. Received: {given.shape}"
        )
    if not (((given == 0) | (given >= LOWEST_PITCH)) & (given <= spec.sr / 4)).all():
        raise ParameterError(
            f"f0 must be 0 (unvoiced) or from {LOWEST_PITCH:g} Hz to a quarter of the rate, {spec.sr / 4:g}. "
            f"Received: {given.min():g} to {given.max():g}"
        )
    return list(given.reshape(-1, frames))


def _check(way: _Way, spec: MfccSpec, numbers: list[int], sounds: int, workers: int) -> None:
    if way.method not in METHODS:
        raise ParameterError(f"method must be one of {', '.join(METHODS)}. Received: {way.method!r}")
    if way.level not in LEVELS:
        raise ParameterError(f"level must be one of {', '.join(LEVELS)}. Received: {way.level!r}")
    if way.excitation not in EXCITATIONS:
        raise ParameterError(f"excitation must be one of {', '.join(EXCITATIONS)}. Received: {way.excitation!r}")
    if way.pitch is not None and not LOWEST_PITCH <= way.pitch <= spec.sr / 4:
        raise ParameterError(
            f"pitch must be from {LOWEST_PITCH:g} Hz to a quarter of the rate, {spec.sr / 4:g}. Received: {way.pitch}"
        )
    for name, value, least in (
        ("iterations", way.iterations, 0),
        ("refine_steps", way.refine_steps, 0),
        ("seed", way.seed, 0),
        ("workers", workers, 1),
    ):
        if value is not None and value < least:
            raise ParameterError(f"{name} must be at least {least}. Received: {value}")
    if len(numbers) != sounds or min(numbers) < 0:
        raise ParameterError(f"indices must be one number from 0 up a sound. Received: {numbers} for {sounds} sounds")
