"""Scores of sounds made from patterns: how near their MFCC are, how voiced they are, how much like a recording.

Each is a function of arrays alone. Where a score has no meaning (the pitch of silence, the intelligibility of a click)
it is NaN, so that a table of sounds never stops at one of them.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from cepscope.atomic import write_text
from cepscope.errors import CorruptArtifactError, MissingExtraError, ParameterError
from cepscope.features import MfccSpec, log_mel, mfcc
from cepscope.invert.checks import conditioned_sound, given_sound
from cepscope.invert.distances import coefficient_rmse, mel_cepstral_distortion, spectral_convergence
from cepscope.invert.feasibility import feasibility_gap
from cepscope.invert.harmonicity import hnr_and_voiced_share
from cepscope.invert.listeners import pesq, stoi
from cepscope.invert.matching import relative_error

Row = dict[str, Any]

_BESIDE = ("stoi", "pesq", "spectral_convergence")


class HasGain(Protocol):
    """Sounds, and what each was multiplied by, such as `cepscope.invert.Sounds`."""

    @property
    def audio(self) -> Any: ...  # noqa: D102
    @property
    def sr(self) -> int: ...  # noqa: D102
    @property
    def gain(self) -> Any: ...  # noqa: D102
    @property
    def names(self) -> Sequence[str]: ...  # noqa: D102


def log_mel_range(y: npt.ArrayLike, spec: MfccSpec) -> float:
    """Return how far the loudest mel value of a sound [shape=(samples,)] lies above its quietest, in dB.

    Of all bands and frames of the extractor's log-mel spectrum, with its floor but before its `top_db`. A sound that
    asks for more than recordings have is exaggerated in contrast: at full scale speech has 50 to 70 dB above a floor of
    1e-5, 50 to 110 above one of 1e-10, the more the quieter the room.

    Raises
    ------
    DataError
        `y` is empty, or holds NaN, Inf or values beyond 1e12.
    """
    decibels = log_mel(np.asarray(y, np.float64), dataclasses.replace(spec, top_db=math.inf))
    return float(decibels.max() - decibels.min())


def score_sound(
    y: npt.ArrayLike,
    wanted: npt.ArrayLike,
    spec: MfccSpec,
    *,
    gain: float = 1.0,
    sd: npt.ArrayLike | None = None,
    reference: npt.ArrayLike | None = None,
) -> dict[str, float]:
    """Give every score of one sound.

    Parameters
    ----------
    y : array [shape=(samples,)]
        Audio at ``spec.sr``: the sound at the level that its pattern asks for, times `gain`.
    wanted : array [shape=(n_mfcc, frames)]
        The pattern that it was made from.
    spec : MfccSpec
    gain : float
        As in `Sounds`. What depends on level (MFCC, range) is taken of ``y / gain``.
    sd : array [shape=(n_mfcc,)], optional
        As in `coefficient_rmse`.
    reference : array [shape=(samples,)], optional
        The recording that the pattern was extracted from.

    Returns
    -------
    dict
        ``relative_error`` (at the pattern's own level), ``normalised_error`` (the same at full scale), ``rmse_sd``
        (mean over the coefficients of `coefficient_rmse`), ``mcd_db``, ``hnr_db``, ``voiced_share``,
        ``log_mel_range_db``, ``peak`` (of `y` as given; ``peak / gain`` is what the pattern asks for) and ``gain``.
        With a reference also ``stoi``, ``pesq`` and ``spectral_convergence``. NaN where a score is undefined, or its
        library is not installed; pitch needs a rate of at least 800 Hz.

    Raises
    ------
    DataError
        `y` or `reference` is empty, holds NaN or Inf, or values beyond 1e12; `y` and `wanted` differ in frames.
    ParameterError
        `gain` is not a positive number, `sd` not one a coefficient; a sound is not of shape (samples,).
    """
    if not 0 < gain < math.inf:
        raise ParameterError(f"gain must be a positive number. Received: {gain!r}")
    audio = given_sound(y)
    asked = audio / gain
    C = mfcc(asked, spec)
    distortion = mel_cepstral_distortion(C, wanted, spec)  # first: it refuses patterns of another shape
    hnr_db, share = hnr_and_voiced_share(audio, spec.sr)
    scores = {
        "relative_error": relative_error(C, np.asarray(wanted)),
        "normalised_error": relative_error(mfcc(conditioned_sound(audio), spec), np.asarray(wanted)),
        "rmse_sd": float(coefficient_rmse(C, wanted, sd=sd).mean()),
        "mcd_db": distortion,
        "hnr_db": hnr_db,
        "voiced_share": share,
        "log_mel_range_db": log_mel_range(asked, spec),
        "peak": float(np.abs(audio).max()),
        "gain": float(gain),
    }
    if reference is not None:
        scores["stoi"] = _or_nan(stoi, audio, reference, spec.sr)
        scores["pesq"] = _or_nan(pesq, audio, reference, spec.sr)
        scores["spectral_convergence"] = spectral_convergence(audio, reference, spec)
    return scores


def score_sounds(
    sounds: HasGain,
    targets: Any,
    spec: MfccSpec | None = None,
    *,
    sd: npt.ArrayLike | None = None,
    references: Sequence[npt.ArrayLike | None] | None = None,
) -> list[Row]:
    """Give every score of every sound: a table.

    Parameters
    ----------
    sounds : Sounds
    targets : Patterns or array [shape=(..., n_mfcc, frames)]
        What they were made from, as `cepscope.invert` takes it.
    spec : MfccSpec
        Front end of an array; patterns bring their own.
    sd : array [shape=(n_mfcc,)], optional
        Standard deviation of each coefficient in the corpus; default: in each target itself, over time.
    references : sequence of array [shape=(samples,)], optional
        The recording that each target was extracted from; None where there is none.

    Returns
    -------
    list of dict
        One row a sound: its ``name``, what `score_sound` gives, with references those of every sound, NaN where there
        is none, and ``feasibility_gap``: the relative error below which no sound can come.

    Raises
    ------
    DataError
        A sound can't be scored against its target.
    ParameterError
        There is not one target (and reference) a sound, or they have another rate; `sd` is not one a coefficient.

    Examples
    --------
    >>> import cepscope as cs
    >>> spec = MfccSpec(sr=8000, floor=1e-5)
    >>> tone = 0.5 * np.sin(2 * np.pi * 150 * np.arange(4000) / 8000)
    >>> C = mfcc(tone, spec)
    >>> row = score_sounds(cs.invert(C, spec, iterations=2, refine_steps=0), C, spec)[0]
    >>> row["name"], row["mcd_db"] < 5
    ('sound:0', True)
    """
    spec = spec or getattr(targets, "spec", None)
    if spec is None:
        raise ParameterError("An array of MFCC needs the spec of its front end. Received: spec=None")
    if sounds.sr != spec.sr:
        raise ParameterError(f"Sounds must have the rate of their patterns, {spec.sr} Hz. Received: {sounds.sr} Hz")
    wanted = np.asarray(getattr(targets, "mfcc", targets))
    wanted = wanted.reshape(-1, *wanted.shape[-2:])
    beside = [None] * len(sounds.audio) if references is None else references
    if not len(sounds.audio) == len(wanted) == len(beside):
        received = f"{len(sounds.audio)} sounds, {len(wanted)} targets, {len(beside)} references"
        raise ParameterError(f"There must be one target (and one reference, if any) a sound. Received: {received}")
    compared = () if references is None else _BESIDE
    rows: list[Row] = []
    with threadpool_limits(1):  # the number of BLAS threads shows in the last bits
        for name, y, gain, C, reference in zip(sounds.names, sounds.audio, sounds.gain, wanted, beside, strict=True):
            scores = score_sound(y, C, spec, gain=float(gain), sd=sd, reference=reference)
            rows.append({"name": name, **scores, **{column: scores.get(column, math.nan) for column in compared}})
            rows[-1]["feasibility_gap"] = feasibility_gap(C, spec)
    return rows


def save_sound_rows(path: str | Path, rows: Sequence[Row]) -> None:
    """Write rows of `score_sounds` as CSV, whole or not at all."""
    out = io.StringIO()
    columns = dict.fromkeys(key for row in rows for key in row)
    writer = csv.DictWriter(out, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: f"{value:.6g}" if key != "name" else value for key, value in row.items()} for row in rows)
    write_text(path, out.getvalue())


def load_sound_rows(path: str | Path) -> list[Row]:
    """Read what `save_sound_rows` wrote.

    Raises
    ------
    CorruptArtifactError
        The file is missing, or a number in it can't be read.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            return [
                {key: value if key == "name" else float(value) for key, value in row.items()}
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, TypeError) as error:
        raise CorruptArtifactError(
            f"{path} can't be read as scores of sounds ({error}). Delete it and run `cepscope invert` again."
        ) from error


def _or_nan(score: Callable[..., float], *given: Any) -> float:
    try:
        return score(*given)
    except MissingExtraError:
        return math.nan
