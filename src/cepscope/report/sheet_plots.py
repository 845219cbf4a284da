"""Figures of what the pages of one subject show: a recording over time, spectra of classes, methods side by side."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cepscope.report.comparison_rows import RECORDING, ComparisonItem
from cepscope.report.figures import (
    COEFFICIENT,
    FREQUENCY,
    TIME,
    draw_map,
    draw_mfcc,
    draw_spectrogram,
    new_figure,
)
from cepscope.report.plots import COLOURS
from cepscope.report.raster import RANGE_DB, SEQUENTIAL, SPREAD_SD
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
from cepscope.report.spectra import Spectra

SHORT_LANES = ("waveform", "log-mel", "mfcc")
COLUMNS = 4
RATE_POINTS = 20000  # of a drawn waveform

LEVEL, DEVIATION = "level [dB below maximum]", "value [sd]"


def plot_sounding(sounding: Sounding, *, short: bool = False) -> Figure:
    """Draw a recording over time: waveform, spectrograms, log-mel spectrogram, MFCC, derivatives, pitch, voicing.

    Parameters
    ----------
    sounding : Sounding
    short : bool
        Only waveform, log-mel spectrogram and MFCC.

    Returns
    -------
    Figure
    """
    lanes = SHORT_LANES if short else tuple(name for name in _DRAWN if name in SHORT_LANES or _fits(name, sounding))
    heights = [1.0 if name in ("waveform", "voicing") else 1.5 for name in lanes]
    figure = new_figure(7.0, 0.5 + 1.1 * sum(heights))
    rows = figure.subplots(len(lanes), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, name in zip(rows, lanes, strict=True):
        image = _DRAWN[name](axes, sounding)
        axes.set_xlabel("")
        axes.title.set_fontsize(9)
        if image is not None:
            figure.colorbar(image[0], ax=axes, label=image[1]).ax.yaxis.label.set_fontsize(7)
        axes.yaxis.label.set_fontsize(8)
        axes.tick_params(labelsize=8)
    rows[-1].set(xlabel=TIME, xlim=(0, sounding.seconds))
    start = f", from {sounding.start:.1f} s on" if sounding.start else ""
    figure.suptitle(f"{sounding.name}{start}")
    return figure


def _fits(name: str, sounding: Sounding) -> bool:
    return sounding.has_pitch or name not in ("pitch", "voicing")


def _waveform(axes: Any, sounding: Sounding) -> None:
    y = sounding.audio
    starts = np.arange(0, len(y), max(1, len(y) // RATE_POINTS))
    times = starts / sounding.sr
    axes.fill_between(times, np.maximum.reduceat(y, starts), np.minimum.reduceat(y, starts), color=COLOURS[0], lw=0.4)
    axes.set(title="waveform", ylabel="of full scale")


def _narrow_band(axes: Any, sounding: Sounding) -> tuple[Any, str]:
    levels = sounding.spectrogram(NARROW_BAND, highest=NARROW_BAND_HZ, bins=NARROW_BAND_BINS)
    return _spectrogram(axes, sounding, levels, f"narrow-band spectrogram ({1000 * NARROW_BAND:g} ms)", NARROW_BAND_HZ)


def _wide_band(axes: Any, sounding: Sounding) -> tuple[Any, str]:
    title = f"wide-band spectrogram ({1000 * WIDE_BAND:g} ms)"
    return _spectrogram(axes, sounding, sounding.spectrogram(WIDE_BAND), title, math.inf)


def _spectrogram(axes: Any, sounding: Sounding, levels: Any, title: str, highest: float) -> tuple[Any, str]:
    extent = (0.0, sounding.seconds, 0.0, min(highest, sounding.sr / 2))
    image = draw_map(axes, levels, extent, colours=SEQUENTIAL, low=-RANGE_DB, high=0.0)
    axes.set(title=title, ylabel=FREQUENCY)
    return image, LEVEL


def _log_mel(axes: Any, sounding: Sounding) -> tuple[Any, str]:
    levels, spec = sounding.log_mel, sounding.spec
    hop, peak = spec.hop / spec.sr, float(levels.max())
    extent = (-hop / 2, (levels.shape[1] - 0.5) * hop, -0.5, spec.n_mels - 0.5)
    image = draw_map(axes, levels, extent, colours=SEQUENTIAL, low=peak - RANGE_DB, high=peak)
    bands = np.unique(np.linspace(0, spec.n_mels - 1, 5).round().astype(int))
    axes.set_yticks(bands, [f"{hz:.0f}" for hz in np.asarray(spec.mel_frequencies())[bands]])
    axes.set(title="log-mel spectrogram", ylabel="band centre [Hz]")
    return image, "level [dB]"


def _mfcc(axes: Any, sounding: Sounding) -> tuple[Any, str]:
    return _coefficients(axes, sounding, sounding.mfcc, "MFCC")


def _delta(axes: Any, sounding: Sounding) -> tuple[Any, str]:
    return _coefficients(axes, sounding, sounding.delta(1), "MFCC delta")


def _delta_delta(axes: Any, sounding: Sounding) -> tuple[Any, str]:
    return _coefficients(axes, sounding, sounding.delta(2), "MFCC delta-delta")


def _coefficients(axes: Any, sounding: Sounding, values: Any, title: str) -> tuple[Any, str]:
    image = draw_mfcc(axes, in_deviations(values), sounding.spec, SPREAD_SD)
    axes.set(title=title, ylabel="coefficient")
    return image, DEVIATION


def _pitch(axes: Any, sounding: Sounding) -> None:
    f0 = np.asarray(sounding.pitch, np.float64)
    axes.plot(sounding.spec.times(len(f0)), np.where(f0 > 0, f0, np.nan), ".-", color=COLOURS[0], ms=3, lw=1)
    axes.set(title="pitch", ylabel="pitch [Hz]", ylim=(LOWEST_HZ, HIGHEST_HZ))


def _voicing(axes: Any, sounding: Sounding) -> None:
    times, hnr_db = sounding.harmonicity
    axes.plot(times, hnr_db, ".-", color=COLOURS[0], ms=3, lw=1)
    axes.set(title="voicing", ylabel="HNR [dB]")


_DRAWN = {
    "waveform": _waveform,
    "narrow-band": _narrow_band,
    "wide-band": _wide_band,
    "log-mel": _log_mel,
    "mfcc": _mfcc,
    "delta": _delta,
    "delta-delta": _delta_delta,
    "pitch": _pitch,
    "voicing": _voicing,
}


def plot_spectra(spectra: Spectra) -> Figure:
    """Draw the long-term average spectrum of each class or speaker, with the mean of all behind it.

    Parameters
    ----------
    spectra : Spectra
        From `cepscope.report.spectra.long_term_spectra`.

    Returns
    -------
    Figure
    """
    columns = max(1, min(COLUMNS, len(spectra.groups)))
    rows = max(1, math.ceil(len(spectra.groups) / columns))
    figure = new_figure(2.4 * columns + 0.6, 1.8 * rows + 0.8)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(spectra.groups) :]:
        axes.set_axis_off()
    for axes, (name, levels) in zip(grid.flat, spectra.groups.items(), strict=False):
        axes.plot(spectra.frequencies / 1000, spectra.every, "--", color="0.55", lw=1, label="mean of those shown")
        axes.plot(spectra.frequencies / 1000, levels, color=COLOURS[0], lw=1.3)
        axes.set_title(name, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    if spectra.groups:
        grid.flat[0].legend(frameon=False, fontsize=7)
    figure.suptitle(f"Long-term average spectrum of each {spectra.of}")
    figure.supxlabel("frequency [kHz]", fontsize=9)
    figure.supylabel("power density [dB/Hz of a power of 1]", fontsize=9)
    return figure


def plot_methods(item: ComparisonItem) -> Figure:
    """Draw what each method of inversion makes of a recording or pattern: spectrogram and MFCC, the original first.

    Parameters
    ----------
    item : ComparisonItem

    Returns
    -------
    Figure
    """
    spec = item.spec
    wanted = np.asarray(item.mfcc, np.float64)
    centre, deviation = wanted.mean(axis=1, keepdims=True), wanted.std(axis=1, keepdims=True)
    deviation = np.where(deviation > 0, deviation, np.inf)
    first = RECORDING if item.recording is not None else "wanted"
    sounds = {first: item.recording, **{method: sound.audio[0] for method, sound in item.sounds.items()}}
    coefficients = {first: wanted, **{method: sound.mfcc[0] for method, sound in item.sounds.items()}}
    figure = new_figure(2.6 * len(sounds) + 1.2, 4.4)
    grid = figure.subplots(2, len(sounds), sharex=True, sharey="row", squeeze=False)
    levels: Any = None
    pattern: Any = None
    for column, (method, audio) in enumerate(sounds.items()):
        upper, lower = grid[:, column]
        if audio is None:
            upper.set_axis_off()
        else:
            levels = draw_spectrogram(upper, audio, spec, spec.sr)
        pattern = draw_mfcc(lower, (coefficients[method] - centre) / deviation, spec, SPREAD_SD)
        upper.set(xlabel="", ylabel="" if column else FREQUENCY)
        lower.set(ylabel="" if column else COEFFICIENT)
        error = "" if column == 0 else f"  error {item.sounds[method].relative_error[0]:.3f}"
        (lower if audio is None else upper).set_title(f"{method}{error}", fontsize=9)
    figure.colorbar(levels, ax=grid[0], label=LEVEL)
    figure.colorbar(pattern, ax=grid[1], label=DEVIATION)
    figure.suptitle(item.name)
    return figure
