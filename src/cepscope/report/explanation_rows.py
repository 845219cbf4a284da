"""The page of a recording as its template takes it: sounds, pictures, and everything that lies on the time axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.audio import to_wav_bytes
from cepscope.corpora.recordings import Recording
from cepscope.probe.explanation import Explanation
from cepscope.probe.tracks import Moment, Track
from cepscope.report import raster, wording
from cepscope.report.media import Ids, Media, equally_loud
from cepscope.report.overview import axis_ticks

FloatArray = npt.NDArray[np.float32]
Array = npt.NDArray[Any]
Part = tuple[float, float]

LONG = 120.0  # s; of a longer recording the page holds excerpts, or it would be slow to open
EXCERPTS = 24  # moments at most around which a long recording can be heard
AROUND = 0.25  # s that are heard before and behind what the network is given at a moment
UNITS = 4  # of a layer that are shown
CLASSES = 4  # whose probabilities are shown
TOLD = 20  # stretches that are read aloud
MOMENTS = 8  # of a layer that are listed
MOST_COLUMNS = 1000  # of a picture, or points of a curve
HEADROOM = 1.1  # above the highest of a layer's curves
LOOKS = 8  # windows behind one column of a long spectrogram


@dataclass(frozen=True, eq=False)
class Side:
    """What a unit's moment is compared with.

    Attributes
    ----------
    pattern : array [shape=(n_mfcc, frames)]
        The unit's pattern, in standard deviations of each coefficient.
    audio : array [shape=(samples,)] or None
        Its sound.
    sr : int
        In Hz.
    """

    pattern: FloatArray
    audio: FloatArray | None
    sr: int


def shown_moments(explanation: Explanation, units: int = UNITS) -> tuple[Moment, ...]:
    """Return the strongest moment of each unit that is shown: the last layer's first, its strongest first."""
    order = {track.layer: -i for i, track in enumerate(explanation.tracks)}
    return tuple(sorted(explanation.top(units), key=lambda one: (order[one.layer], -one.activation)))


def listed_moments(explanation: Explanation) -> tuple[Moment, ...]:
    """Return the moments that are listed, in the order of time."""
    return tuple(sorted(explanation.moments(MOMENTS), key=lambda one: (one.time, one.unit)))


def heard_parts(explanation: Explanation) -> list[Part]:
    """Return which parts of the recording can be heard on the page, in s: all of it, or excerpts around moments."""
    if explanation.seconds <= LONG:
        return [(0.0, explanation.seconds)]
    half = explanation.window / 2 + AROUND
    shown = sorted(shown_moments(explanation), key=lambda one: -one.activation)
    chosen = [one.time for one in (*shown, *explanation.moments(MOMENTS))]
    parts: list[Part] = []
    for time in sorted(dict.fromkeys(chosen[:EXCERPTS])):
        start, stop = max(0.0, time - half), min(explanation.seconds, time + half)
        if parts and start <= parts[-1][1]:
            parts[-1] = (parts[-1][0], stop)
        else:
            parts.append((start, stop))
    return parts


def sounds(explanation: Explanation, parts: Sequence[Part], media: Media) -> list[dict[str, Any]]:
    """Return the audio of each part, as the network hears it and equally loud."""
    sr = explanation.recording.spec.sr
    found = []
    for start, stop in parts:
        first, last = round(start * sr), round(stop * sr)
        y = equally_loud(explanation.recording.audio(first, last), sr)
        found.append({"begin": first / sr, "seconds": (last - first) / sr, "source": media.sound(to_wav_bytes(y, sr))})
    return found


def spectrogram(explanation: Explanation) -> tuple[bytes, str]:
    """Return the picture of the recording's spectrogram, and its description."""
    alt = (
        f"Spectrogram of {explanation.name}: 0 to {explanation.recording.spec.sr / 2:g} Hz, "
        f"{explanation.seconds:.2f} s."
    )
    return raster.paint_spectrogram(spectrogram_db(explanation)), alt


def spectrogram_db(explanation: Explanation) -> Array:
    """Return a recording's spectrogram in dB below its maximum (bins, columns), of at most 1000 columns or so."""
    recording = explanation.recording
    spec = recording.spec
    hop, window = max(spec.hop / spec.sr / 2, recording.seconds / MOST_COLUMNS), spec.win / spec.sr
    if hop > window:
        return _overview(recording)
    return raster.spectrogram_db(recording.audio(0, len(recording.samples)), spec.sr, window=window, hop=hop)


def _overview(recording: Recording) -> Array:
    """Return a long recording's spectrogram: each column the mean of a few windows."""
    win = 1 << (recording.spec.win - 1).bit_length()
    shape = np.hanning(win + 1)[:-1]
    edges = np.linspace(0, len(recording.samples), MOST_COLUMNS + 1)
    pooled = max(1, round((win // 2 + 1) / raster.MAX_BINS + 0.3))
    usable = (win // 2 + 1) // pooled * pooled
    columns = []
    for start, stop in pairwise(edges):
        y = recording.audio(int(start), int(stop) + win)
        places = np.linspace(0, len(y) - win, LOOKS).astype(np.intp)
        frames = np.lib.stride_tricks.sliding_window_view(y, win)[places]
        power = np.mean(np.abs(np.fft.rfft(frames * shape)) ** 2, axis=0)
        columns.append(power[:usable].reshape(-1, pooled).mean(axis=1))
    power = np.stack(columns, axis=1)
    least = 10 ** (-raster.RANGE_DB / 10)
    decibels: Array = 10 * np.log10(np.maximum(power / power.max(), least))
    return decibels


def class_order(explanation: Explanation) -> list[int]:
    """Return the classes that are shown: the likeliest in any audible window, or of the whole."""
    heard = np.where(explanation.audible[:, np.newaxis], explanation.probabilities, 0)
    best = np.maximum(heard.max(axis=0), explanation.overall)
    return [int(c) for c in np.argsort(-best, kind="stable")[:CLASSES]]


def class_view(explanation: Explanation) -> dict[str, Any]:
    """Return which class is heard where, and how likely the likeliest are."""
    if not explanation.classes:
        return {"stretches": [], "alt": "", "tracks": [], "table": []}
    heard = np.where(explanation.audible[:, np.newaxis], explanation.probabilities, 0)
    order = class_order(explanation)
    seconds, centres = explanation.seconds, explanation.centres
    colour = {explanation.classes[c]: i for i, c in enumerate(order)}
    tracks, table = [], []
    for i, c in enumerate(order):
        best = int(heard[:, c].argmax())
        name, value = explanation.classes[c], float(heard[best, c])
        time = float(np.clip(centres[best], 0, seconds))
        tracks.append(
            {
                "name": name,
                "colour": i,
                "path": _area(centres, explanation.probabilities[:, c], seconds, 1.0),
                "alt": f"Probability of {name}: at most {value:.2f}, at {time:.2f} s.",
                "peak": wording.number(value),
            }
        )
        table.append(
            (
                float(explanation.overall[c]),
                name,
                wording.number(explanation.overall[c]),
                wording.number(value),
                f"{time:.2f} s",
            )
        )
    stretches = explanation.stretches()
    strip = [
        {
            "x": round(100 * one.start / seconds, 3),
            "width": round(100 * (one.stop - one.start) / seconds, 3),
            "name": one.label,
            "opacity": round(0.25 + 0.6 * one.probability, 2),
            "colour": colour.get(one.label, "other"),
            "fits": 100 * (one.stop - one.start) / seconds > 1 + 0.8 * len(one.label),
        }
        for one in stretches
    ]
    said = [f"{one.label} {one.probability:.2f}, {one.start:.2f} to {one.stop:.2f} s" for one in stretches]
    more = f" and {len(said) - TOLD} more" if len(said) > TOLD else ""
    table.sort(key=lambda row: -row[0])
    alt = f"Likeliest class over time: {'; '.join(said[:TOLD])}{more}."
    return {"stretches": strip, "alt": alt, "tracks": tracks, "table": table}


def layer_views(explanation: Explanation, cards: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the shown units' activations, by layer; all of a layer on one scale."""
    found = []
    for track in reversed(explanation.tracks):
        own = [one for one in shown_moments(explanation) if one.layer == track.layer]
        if own:
            limit = HEADROOM * max(1.0, own[0].activation)
            found.append(
                {
                    "name": track.layer,
                    "rule": round(100 - 100 / limit, 3),
                    "tracks": [_track_view(one, track, explanation.seconds, limit, cards) for one in own],
                }
            )
    return found


def _track_view(one: Moment, track: Track, seconds: float, limit: float, cards: Mapping[str, str]) -> dict[str, Any]:
    values = track.relative[:, track.units.index(one.unit)]
    return {
        "unit": one.unit,
        "label": one.label,
        "card": cards[one.unit],
        "path": _area(track.times, values, seconds, limit),
        "peak": wording.number(one.activation),
        "x": round(100 * one.time / seconds, 3),
        "y": round(100 - 100 * min(max(one.activation, 0.0), limit) / limit, 3),
        "alt": f"Activation of {one.unit}{' ' + one.label if one.label else ''}: at most {one.activation:.2f}, "
        f"at {one.time:.2f} s.",
    }


def _area(times: Array, values: Array, seconds: float, limit: float) -> str:
    """Return the outline of an area under a curve, in a box of 1000 by 100: an SVG path."""
    reach = float(np.median(np.diff(times))) / 2 if len(times) > 1 else seconds
    ends = np.clip([times[0] - reach, times[-1] + reach], 0, seconds)
    at_ends = np.interp(ends, times, values)
    inside = (times > ends[0]) & (times < ends[1])
    times, values = times[inside], values[inside]
    if len(times) > MOST_COLUMNS:  # the highest of each column: a peak must not get lost
        starts = np.arange(0, len(times), -(-len(times) // MOST_COLUMNS))
        times, values = times[starts], np.maximum.reduceat(values, starts)
    x = np.concatenate([ends[:1], times, ends[1:]]) / seconds * 1000
    y = 100 - 100 * np.clip(np.concatenate([at_ends[:1], values, at_ends[1:]]) / limit, 0, 1)
    points = [f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True)]
    return f"M{points[0].split()[0]} 100L{'L'.join(points)}L{points[-1].split()[0]} 100Z"


def moment_views(explanation: Explanation, cards: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the moments that are listed."""
    return [
        {
            "unit": one.unit,
            "label": one.label,
            "time": f"{one.time:.3f}",
            "text": f"{one.time:.2f} s",
            "activation": wording.number(one.activation),
            "card": cards.get(one.unit, ""),
            **_played(one, explanation),
        }
        for one in listed_moments(explanation)
    ]


def _played(one: Moment, explanation: Explanation) -> dict[str, str]:
    """Return from when to when a moment is played: what the network is given around it."""
    half = explanation.window / 2
    return {"start": f"{one.time - half:.3f}", "stop": f"{one.time + half:.3f}"}


def card_view(one: Moment, explanation: Explanation, side: Side | None, media: Media, ids: Ids) -> dict[str, Any]:
    """Return a unit beside its moment: the patch that the network was given then, the pattern, both sounds."""
    spec = explanation.recording.spec
    patch = explanation.scaler.in_deviations(explanation.patch(one.time))
    track = next(track for track in explanation.tracks if track.layer == one.layer)
    best = track.relative_patches[:, track.units.index(one.unit)].max()
    sound = ""
    if side is not None and side.audio is not None:
        sound = media.sound(to_wav_bytes(equally_loud(side.audio, side.sr), side.sr))
    size = f"{patch.shape[0]} coefficients by {patch.shape[1]} frames"
    return {
        "id": ids.new(one.unit),
        "anchor": Ids(()).new(one.unit),  # as on the run's page
        "unit": one.unit,
        "label": one.label,
        "layer": one.layer,
        "time": f"{one.time:.2f} s",
        "activation": wording.number(one.activation),
        "patch_activation": wording.number(float(best)),
        "patch": media.picture(raster.paint_pattern(patch)),
        "patch_alt": f"MFCC of {explanation.name} around {one.time:.2f} s: {size}.",
        "pattern": media.picture(raster.paint_pattern(side.pattern)) if side is not None else "",
        "pattern_alt": f"MFCC pattern of {one.unit}: {size}.",
        "sound": sound,
        "times": axis_ticks(explanation.window, 2),
        "coefficients": [
            (round(100 * (1 - (k + 0.5) / spec.n_mfcc), 3), str(spec.orders[k])) for k in range(0, spec.n_mfcc, 5)
        ],
        **_played(one, explanation),
    }
