"""Long-term average spectra: which frequencies the clips of a class, or of a speaker, hold on average."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.signal

from cepscope.corpora.conditioning import conditioned
from cepscope.corpora.corpus import Clip
from cepscope.corpora.description import Description
from cepscope.corpora.stretches import read_stretch
from cepscope.errors import DataError

MOST_GROUPS = 12  # that have a spectrum each
MOST_CLIPS = 24  # of a group that are measured, at equal distances
LONGEST = 10.0  # s of a clip: its middle
WINDOW = 0.032  # s
POOLED = 2  # neighbouring bins that make a point
LEAST_DB = -100.0

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Spectra:
    """The long-term average spectrum of each of some groups of clips.

    Attributes
    ----------
    frequencies : array [shape=(bins,)]
        Hz.
    groups : dict of str to array [shape=(bins,)]
        Mean power density of its clips, each brought to a power of 1, in dB of that power per Hz.
    every : array [shape=(bins,)]
        The mean of all groups.
    of : {"class", "speaker"}
        What a group is.
    left_out : int
        Groups that are not shown.
    clips : int
        Most that were measured of a group.
    """

    frequencies: Array
    groups: dict[str, Array]
    every: Array
    of: str
    left_out: int
    clips: int


def long_term_spectra(
    description: Description, sr: int, *, progress: Callable[[int, int], object] | None = None
) -> Spectra:
    """Measure the long-term average spectrum of each class, or of each speaker where classes are too many.

    Parameters
    ----------
    description : Description
        From `cepscope.corpora.description.describe`.
    sr : int
        Rate in Hz that all clips are brought to.
    progress : callable, optional
        Called as ``progress(clips_done, clips_in_all)``.

    Returns
    -------
    Spectra
        By Welch's method with Hann windows of 32 ms; silent and unreadable clips do not count.
    """
    sounding = [clip for clip, fact in description.pairs if np.isfinite(fact.level)]
    corpus = description.corpus
    by_class = len(corpus.labels) <= MOST_GROUPS or not 1 < len(corpus.speakers) <= MOST_GROUPS
    groups: dict[str, list[Clip]] = {}
    for clip in sounding:
        if name := clip.label if by_class else clip.speaker:
            groups.setdefault(name, []).append(clip)
    shown = sorted(groups)[:MOST_GROUPS]
    chosen = {name: _some(groups[name]) for name in shown}
    total, done = sum(map(len, chosen.values())), 0
    density: dict[str, Array] = {}
    frequencies = np.zeros(0)
    for name, clips in chosen.items():
        found = []
        for clip in clips:
            measured = _density(clip, sr)
            if measured is not None:
                frequencies, power = measured
                found.append(power)
            done += 1
            if progress:
                progress(done, total)
        if found:
            density[name] = np.mean(found, axis=0)
    every = np.mean(list(density.values()), axis=0) if density else np.zeros(0)
    return Spectra(
        frequencies,
        {name: _decibels(power) for name, power in density.items()},
        _decibels(every),
        "class" if by_class else "speaker",
        len(groups) - len(shown),
        max(map(len, chosen.values()), default=0),
    )


def _some(clips: Sequence[Clip]) -> list[Clip]:
    """Return clips at equal distances."""
    places = np.unique(np.linspace(0, len(clips) - 1, min(MOST_CLIPS, len(clips))).astype(int))
    return [clips[i] for i in places]


def _density(clip: Clip, sr: int) -> tuple[Array, Array] | None:
    """Return frequencies and power density of a clip of power 1; None if it can't be read, or is too short."""
    try:
        audio, rate = read_stretch(clip.path, clip.start, clip.stop, longest=LONGEST)
    except DataError:
        return None
    win = 2 * POOLED * max(1, round(WINDOW * sr / (2 * POOLED)))
    y = conditioned(audio, rate, sr).astype(np.float64)
    y = np.pad(y, (0, max(0, win - len(y))))
    power = float(np.mean(y**2))
    if not power:
        return None
    frequencies, density = scipy.signal.welch(y / np.sqrt(power), sr, nperseg=win)
    pooled = [np.asarray(values[1:], np.float64).reshape(-1, POOLED).mean(axis=1) for values in (frequencies, density)]
    return pooled[0], pooled[1]  # without 0 Hz: the offset is taken out


def _decibels(power: Array) -> Array:
    found: Array = 10 * np.log10(np.maximum(power, 10 ** (LEAST_DB / 10)))
    return found
