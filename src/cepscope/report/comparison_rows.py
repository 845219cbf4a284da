"""A page of methods as its template takes it: each row's sounds, pictures and scores, and the medians of all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.audio import at_loudness, loudness, to_wav_bytes
from cepscope.errors import ParameterError
from cepscope.features import MfccSpec
from cepscope.invert.harmonicity import harmonics_to_noise
from cepscope.invert.scores import score_sound
from cepscope.invert.sounds import Sounds
from cepscope.report import raster, wording
from cepscope.report.media import Ids, Media
from cepscope.report.overview import axis_ticks

Array = npt.NDArray[Any]

ERROR_SD = 0.5  # errors are drawn from minus to plus this many standard deviations
RECORDING = "original"

# score, short name, unit, digits after the point, what it means
SCORES = (
    (
        *("relative_error", "MFCC error", "", 3),
        "Distance between the MFCC wanted and those of the sound, relative to the movement of the wanted ones: "
        "0 is exact, 1 as wrong as a constant.",
    ),
    (
        *("mcd_db", "MCD", "dB", 2),
        "Mel cepstral distortion: the root mean square difference of the log-mel spectra, level aside.",
    ),
    (
        *("hnr_db", "HNR", "dB", 1),
        "Harmonics-to-noise ratio of the voiced frames: how clear the voice is. Recorded speech has about 8 to 15.",
    ),
    ("voiced_share", "voiced", "", 2, "Share of the frames in which a pitch is found; 0 is a whisper."),
    (
        "stoi",
        "STOI",
        "",
        2,
        "Short-time objective intelligibility against the original: 0 to 1, which is the original.",
    ),
    (
        "pesq",
        "PESQ",
        "",
        2,
        "Quality against the original that listeners would give: 1 is bad, about 4.6 the original.",
    ),
)
AGAINST_ORIGINAL = ("stoi", "pesq")


@dataclass(frozen=True, eq=False)
class ComparisonItem:
    """A recording or a pattern, and what methods made of it.

    Attributes
    ----------
    name : str
        What its row is called.
    mfcc : array [shape=(n_mfcc, frames)]
        The MFCC wanted, unscaled.
    spec : MfccSpec
        Their front end.
    sounds : mapping of str to Sounds
        One sound a method, by the method's name.
    recording : array [shape=(samples,)], optional
        The recording that `mfcc` was extracted from, at ``spec.sr``. Its level plays no part.

    Raises
    ------
    ParameterError
        There is no sound; an array is empty, not finite or of another shape; a sound is of another front end.
    """

    name: str
    mfcc: Array
    spec: MfccSpec
    sounds: Mapping[str, Sounds]
    recording: Array | None = None

    def __post_init__(self) -> None:
        wanted = np.asarray(self.mfcc, np.float64)
        if wanted.ndim != 2 or len(wanted) != self.spec.n_mfcc or not wanted.size or not np.isfinite(wanted).all():
            raise ParameterError(
                f"The MFCC of {self.name} must be finite, ({self.spec.n_mfcc}, frames). Received: {wanted.shape}"
            )
        if not self.sounds:
            raise ParameterError(f"{self.name} needs at least one method's sound. Received: none")
        if RECORDING in self.sounds:
            raise ParameterError(
                f"{RECORDING!r} is the recording's name on the page; call that method of {self.name} otherwise"
            )
        for method, sounds in self.sounds.items():
            if len(sounds) != 1 or sounds.sr != self.spec.sr or sounds.mfcc.shape[1:] != wanted.shape:
                raise ParameterError(
                    f"{self.name} needs one sound a method, of {self.spec.sr} Hz and {wanted.shape[1]} frames. "
                    f"Received for {method}: {len(sounds)} of {sounds.sr} Hz with MFCC of shape {sounds.mfcc.shape[1:]}"
                )
        object.__setattr__(self, "mfcc", wanted)
        if self.recording is not None:
            recording = np.asarray(self.recording, np.float32)
            if recording.ndim != 1 or not recording.size or not np.isfinite(recording).all():
                raise ParameterError(
                    f"The recording of {self.name} must be finite, (samples,). Received: shape {recording.shape}"
                )
            object.__setattr__(self, "recording", recording)

    @property
    def samples(self) -> int:
        """Samples in all its sounds."""
        made = sum(sounds.audio.size for sounds in self.sounds.values())
        return made + (0 if self.recording is None else self.recording.size)


def row_view(item: ComparisonItem, lufs: float, media: Media, ids: Ids) -> dict[str, Any]:
    """Return everything on a recording or pattern: the wanted MFCC first, then each method's sound."""
    spec = item.spec
    given = {method: sounds.audio[0] for method, sounds in item.sounds.items()}
    if item.recording is not None:
        given = {RECORDING: item.recording, **given}
    audio, level = equally_loud({name: (y, spec.sr) for name, y in given.items()}, lufs)
    seconds = max(s.audio.shape[-1] for s in item.sounds.values()) / spec.sr
    deviation = item.mfcc.std(axis=1, keepdims=True)
    constant = deviation <= 1e-6 * np.maximum(1.0, np.abs(item.mfcc).max(axis=1, keepdims=True))
    unit = np.where(constant, 1.0, deviation)  # as in `coefficient_rmse`
    wanted = (item.mfcc - item.mfcc.mean(axis=1, keepdims=True)) / unit
    size = f"{item.mfcc.shape[0]} coefficients by {item.mfcc.shape[1]} frames, {seconds:.2f} s"
    first = {
        "method": RECORDING if item.recording is not None else "wanted",
        "scores": _scores_of_recording(item),
        "mfcc": media.picture(raster.paint_pattern(raster.narrow(wanted))),
        "mfcc_alt": f"MFCC wanted of {item.name}: {size}.",
        **_heard(audio.get(RECORDING), item, RECORDING, media),
    }
    tiles = [first]
    for method, sounds in item.sounds.items():
        got = np.asarray(sounds.mfcc[0], np.float64)
        error = (got - item.mfcc) / unit
        row, frame = divmod(int(np.abs(error).argmax()), error.shape[1])
        time = frame * spec.hop / spec.sr
        tiles.append(
            {
                "method": method,
                "scores": score_sound(
                    sounds.audio[0], item.mfcc, spec, gain=float(sounds.gain[0]), reference=item.recording
                ),
                "mfcc": media.picture(raster.paint_pattern(raster.narrow(wanted + error))),
                "mfcc_alt": f"MFCC of {item.name} by {method}: {size}.",
                "error": media.picture(raster.paint(raster.narrow(error), -ERROR_SD, ERROR_SD)),
                "error_alt": f"Error of {item.name} by {method}: root mean square "
                f"{wording.number(np.sqrt(np.mean(error**2)))} standard deviations, the largest "
                f"{wording.number(error[row, frame])} in coefficient {spec.orders[row]} at {time:.2f} s.",
                **_heard(audio[method], item, method, media),
            }
        )
    return {
        "id": ids.new(item.name),
        "name": item.name,
        "recorded": item.recording is not None,
        "tiles": tiles,
        "seconds": seconds,
        "rate": f"{spec.sr / 1000:g} kHz",
        "frames": item.mfcc.shape[1],
        "lufs": level,
        "times": axis_ticks(seconds, 3),
        "hertz": axis_ticks(spec.sr / 2, 4, up=True),
        "coefficients": coefficient_ticks(spec),
    }


def equally_loud(sounds: Mapping[str, tuple[Array, int]], lufs: float) -> tuple[dict[str, Array], float]:
    """Bring sounds to one loudness: as asked, or the most that the peaks of all of them allow.

    Parameters
    ----------
    sounds : mapping of str to (array [shape=(samples,)], int)
        Each with its rate in Hz.
    lufs : float

    Returns
    -------
    dict of str to array, float
        The sounds, and how loud they are.
    """
    found = {name: y for name, (y, _) in sounds.items()}
    level = lufs
    for _ in range(2):
        found = {name: at_loudness(y, sounds[name][1], lufs=level)[0] for name, y in found.items()}
        reached = [loudness(y, sounds[name][1]) for name, y in found.items()]
        level = min([level, *filter(math.isfinite, reached)])
    return found, level


def heard(audio: Array, spec: MfccSpec, whose: str, media: Media) -> dict[str, str]:
    """Return the addresses of a sound (samples,) and of its spectrogram, and what that shows."""
    sr = spec.sr
    hop = max(spec.hop / sr / 2, len(audio) / sr / raster.MOST_COLUMNS)
    decibels = raster.spectrogram_db(audio, sr, window=spec.win / sr, hop=hop)
    return {
        "sound": media.sound(to_wav_bytes(audio, sr)),
        "spectrogram": media.picture(raster.paint_spectrogram(decibels)),
        "spectrogram_alt": f"Spectrogram of {whose}: 0 to {sr / 2:g} Hz, {len(audio) / sr:.2f} s.",
    }


def _heard(audio: Array | None, item: ComparisonItem, method: str, media: Media) -> dict[str, str]:
    """Return a sound and its spectrogram; nothing for a pattern without a recording."""
    if audio is None:
        return {"sound": "", "spectrogram": "", "spectrogram_alt": ""}
    return heard(audio, item.spec, f"{item.name}, {method}", media)


def coefficient_ticks(spec: MfccSpec) -> list[tuple[float, str]]:
    """Return ticks of an MFCC picture's axis: percent from the top, and the coefficient."""
    return [(round(100 * (1 - (k + 0.5) / spec.n_mfcc), 3), str(spec.orders[k])) for k in range(0, spec.n_mfcc, 5)]


def _scores_of_recording(item: ComparisonItem) -> dict[str, float]:
    """Return what can be said of a recording alone: its voice."""
    if item.recording is None:
        return {}
    hnr_db, _ = harmonics_to_noise(item.recording, item.spec.sr)
    voiced = np.isfinite(hnr_db)
    return {
        "hnr_db": float(hnr_db[voiced].mean()) if voiced.any() else math.nan,
        "voiced_share": float(voiced.mean()),
    }


def medians(
    rows: Sequence[Mapping[str, Any]], methods: Sequence[str], scores: Sequence[tuple[str, str, str, int, str]]
) -> list[tuple[str, list[str]]]:
    """Return the median over the rows of each score, as text, by method."""
    table = []
    for method in methods:
        own = [tile["scores"] for row in rows for tile in row["tiles"] if tile["method"] == method]
        cells = []
        for key, _, _, digits, _ in scores:
            values = [value for one in own if math.isfinite(value := one.get(key, math.nan))]
            cells.append(wording.number(float(np.median(values)) if values else None, digits))
        table.append((method, cells))
    return table
