"""A recording over time, as the template of sheets takes it: its player, and pictures and curves below it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.audio import resample, to_wav_bytes
from cepscope.report import raster
from cepscope.report.curves import as_text, ticks
from cepscope.report.media import Ids, Media, equally_loud
from cepscope.report.overview import axis_ticks, share
from cepscope.report.sounding import (
    HIGHEST_HZ,
    LOWEST_HZ,
    NARROW_BAND,
    NARROW_BAND_BINS,
    NARROW_BAND_HZ,
    WIDE_BAND,
    Sounding,
    in_deviations,
)

POINTS = 500  # of a drawn line
LONGEST_AT_OWN_RATE = 1_500_000  # samples
PLAYED_RATE = 16000  # Hz, of what is long
HIGHEST_HNR = 30.0  # dB, of the axis
EVERY = 5  # coefficients from label to label

Array = npt.NDArray[Any]
Lane = dict[str, Any]


def sounding_view(
    sounding: Sounding,
    lanes: Sequence[str],
    media: Media,
    ids: Ids,
    *,
    facts: Sequence[str] = (),
    samples: int = LONGEST_AT_OWN_RATE,
) -> dict[str, Any]:
    """Return a recording's player and what is seen of it.

    Parameters
    ----------
    sounding : Sounding
    lanes : sequence of str
        Some of `LANES`.
    media : Media
    ids : Ids
    facts : sequence of str
        What stands beside its name.
    samples : int
        What has more is played at 16000 Hz at most, or the page would be slow to open.

    Returns
    -------
    dict
    """
    found = [LANES[name](sounding, media) for name in lanes]
    stop = sounding.start + sounding.seconds
    places = [(share((t - sounding.start) / sounding.seconds), f"{t:g}") for t in ticks(sounding.start, stop, 5)]
    return {
        "id": ids.new(sounding.name),
        "name": sounding.name,
        "facts": list(facts),
        "seconds": sounding.seconds,
        "sound": media.sound(_played(sounding, samples)),
        "lanes": [lane for lane in found if lane],
        "times": places,
    }


def _played(sounding: Sounding, samples: int) -> bytes:
    audio, sr = np.asarray(sounding.audio, np.float32), sounding.sr
    if len(audio) > samples and sr > PLAYED_RATE:
        audio, sr = resample(audio, sr, PLAYED_RATE), PLAYED_RATE
    return to_wav_bytes(equally_loud(audio, sr), sr)


def waveform(sounding: Sounding, _media: Media) -> Lane:
    """Return the waveform as an area between the lowest and the highest sample of each column."""
    y = np.asarray(sounding.audio, np.float64)
    limit = float(np.abs(y).max()) or 1.0
    starts = np.arange(0, len(y), -(-len(y) // POINTS))
    x = np.append(starts, len(y)) * (1000 / len(y))
    sides = [np.append(edge, edge[-1]) for edge in (np.maximum.reduceat(y, starts), np.minimum.reduceat(y, starts))]
    high, low = (50 - 50 * side / limit for side in sides)
    points = [f"{a:.1f} {b:.1f}" for a, b in zip([*x, *x[::-1]], [*high, *low[::-1]], strict=True)]
    end = as_text(limit, 2)
    return {
        "title": "waveform",
        "note": "of full scale",
        "label": "amplitude",
        "size": "low",
        "ticks": [(0.0, end), (50.0, "0"), (100.0, f"\N{MINUS SIGN}{end}")],
        "areas": [f"M{'L'.join(points)}Z"],
        "alt": f"Waveform of {sounding.name}: {sounding.seconds:.2f} s, largest sample {end} of full scale.",
    }


def narrow_band(sounding: Sounding, media: Media) -> Lane:
    """Return a spectrogram in which harmonics show."""
    levels = sounding.spectrogram(NARROW_BAND, highest=NARROW_BAND_HZ, bins=NARROW_BAND_BINS)
    return _spectrogram(sounding, media, levels, "narrow-band", NARROW_BAND, min(NARROW_BAND_HZ, sounding.sr / 2))


def wide_band(sounding: Sounding, media: Media) -> Lane:
    """Return a spectrogram in which pitch periods and formants show."""
    return _spectrogram(sounding, media, sounding.spectrogram(WIDE_BAND), "wide-band", WIDE_BAND, sounding.sr / 2)


def _spectrogram(sounding: Sounding, media: Media, levels: Array, kind: str, window: float, highest: float) -> Lane:
    strongest = (int(levels.mean(axis=1).argmax()) + 0.5) * highest / len(levels)
    return {
        "title": f"{kind} spectrogram",
        "note": f"windows of {1000 * window:g} ms, 0 to {highest:g} Hz",
        "label": "Hz",
        "size": "tall",
        "ticks": axis_ticks(highest, 4, up=True),
        "picture": media.picture(raster.paint_spectrogram(raster.narrow(levels, 2 * raster.MOST_COLUMNS))),
        "alt": f"{kind.capitalize()} spectrogram of {sounding.name}: 0 to {highest:g} Hz, {sounding.seconds:.2f} s, "
        f"strongest on average near {round(strongest, -1):.0f} Hz.",
    }


def mel_levels(sounding: Sounding, media: Media) -> Lane:
    """Return the levels of the mel bands, labelled by their centres."""
    levels = np.asarray(sounding.log_mel, np.float64)
    centres = np.asarray(sounding.spec.mel_frequencies())
    bands = np.unique(np.linspace(0, len(centres) - 1, 5).round().astype(int))
    peak = float(levels.max())
    return {
        "title": "log-mel spectrogram",
        "note": f"{len(centres)} bands, at full scale without DC{_merged(levels)}",
        "label": "Hz",
        "size": "middle",
        "ticks": [(share(1 - (band + 0.5) / len(centres)), f"{centres[band]:.0f}") for band in bands],
        "picture": media.picture(
            raster.paint(raster.narrow(levels), peak - raster.RANGE_DB, peak, colours=raster.SEQUENTIAL)
        ),
        "alt": f"Log-mel spectrogram of {sounding.name}: {len(centres)} bands from {centres[0]:.0f} to "
        f"{centres[-1]:.0f} Hz, {sounding.seconds:.2f} s.",
    }


def _merged(values: Array) -> str:
    """Say how many frames a column of the picture is the mean of, if of several."""
    frames = -(-values.shape[1] // raster.MOST_COLUMNS)
    return f"; each column is the mean of {frames} frames" if frames > 1 else ""


def _coefficients(title: str, order: int) -> Callable[[Sounding, Media], Lane]:
    def lane(sounding: Sounding, media: Media) -> Lane:
        values = sounding.delta(order) if order else sounding.mfcc
        orders = sounding.spec.orders
        size = f"{values.shape[0]} coefficients by {values.shape[1]} frames, {sounding.seconds:.2f} s"
        return {
            "title": title,
            "note": f"each coefficient in its own standard deviations{_merged(values)}",
            "label": "coefficient",
            "size": "middle",
            "ticks": [(share(1 - (k + 0.5) / len(orders)), str(orders[k])) for k in range(0, len(orders), EVERY)],
            "picture": media.picture(raster.paint_pattern(raster.narrow(in_deviations(values)))),
            "diverging": True,
            "alt": f"{title} of {sounding.name}: {size}.",
        }

    return lane


def pitch(sounding: Sounding, _media: Media) -> Lane:
    """Return the pitch of voiced frames; nothing at rates too low for one."""
    if not sounding.has_pitch:
        return {}
    f0 = np.asarray(sounding.pitch, np.float64)
    voiced = f0 > 0
    times = sounding.spec.times(len(f0))
    text = "no frame is voiced"
    if voiced.any():
        low, middle, high = np.percentile(f0[voiced], [5, 50, 95])
        text = f"median {middle:.0f} Hz, 90 % from {low:.0f} to {high:.0f} Hz, {voiced.mean():.0%} of frames voiced"
    return {
        "title": "pitch",
        "note": text,
        "label": "Hz",
        "size": "middle",
        "ticks": [(share((HIGHEST_HZ - hertz) / (HIGHEST_HZ - LOWEST_HZ)), f"{hertz:g}") for hertz in (100, 200, 300)],
        "rules": True,
        "lines": _voiced_lines(times, f0, voiced, sounding.seconds, (LOWEST_HZ, HIGHEST_HZ)),
        "alt": f"Pitch of {sounding.name}: {text}.",
    }


def harmonicity(sounding: Sounding, _media: Media) -> Lane:
    """Return the harmonics-to-noise ratio of voiced frames; nothing at rates too low for pitch."""
    if not sounding.has_pitch:
        return {}
    times, hnr_db = sounding.harmonicity
    voiced = np.isfinite(hnr_db)
    text = f"mean {hnr_db[voiced].mean():.1f} dB over voiced frames" if voiced.any() else "no frame is voiced"
    return {
        "title": "voicing",
        "note": f"harmonics-to-noise ratio, {text}",
        "label": "dB",
        "size": "low",
        "ticks": [(share((HIGHEST_HNR - value) / HIGHEST_HNR), f"{value:g}") for value in (0, 10, 20)],
        "rules": True,
        "lines": _voiced_lines(times, hnr_db, voiced, sounding.seconds, (0.0, HIGHEST_HNR)),
        "alt": f"Harmonics-to-noise ratio of {sounding.name}: {text}.",
    }


def _voiced_lines(times: Array, values: Array, voiced: Array, seconds: float, ends: tuple[float, float]) -> list[str]:
    """Return a line for each run of voiced frames, in a box of 1000 by 100; of a long sound not every frame."""
    step = max(1, len(times) // (4 * POINTS))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], voiced, [False]]).astype(np.int8)))
    lines = []
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        kept = np.unique(np.append(np.arange(start, stop, step), stop - 1))
        x = 1000 * times[kept] / seconds
        y = 100 - 100 * (np.clip(values[kept], *ends) - ends[0]) / (ends[1] - ends[0])
        points = [f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True)]
        lines.append(f"M{'L'.join(points if len(points) > 1 else points * 2)}")
    return lines


LANES: Mapping[str, Callable[[Sounding, Media], Lane]] = {
    "waveform": waveform,
    "narrow-band": narrow_band,
    "wide-band": wide_band,
    "log-mel": mel_levels,
    "mfcc": _coefficients("MFCC", 0),
    "delta": _coefficients("MFCC delta", 1),
    "delta-delta": _coefficients("MFCC delta-delta", 2),
    "pitch": pitch,
    "voicing": harmonicity,
}
