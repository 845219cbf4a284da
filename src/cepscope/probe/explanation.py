"""What a network makes of one recording: classes and activations over time, counted as real speech is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.atomic import save_npz, write_text
from cepscope.corpora.recordings import Recording
from cepscope.features import Scaling
from cepscope.probe.tracks import Moment, Stretch, Track

FloatArray = npt.NDArray[np.float32]
Array = npt.NDArray[Any]

HEIGHT = 0.5  # of a peak: half way from the mean of real clips to their strongest moment
PROMINENCE = 0.25  # of a peak above the ground beside it
MOMENTS = 20  # of a layer
# Windows so far below the loudest do not decide on the class of the whole: they hold a part of a word, or none. Of 100
# digits between stretches of noise 60 dB below, .98 are heard right with 3 dB, .84 with 20 dB, .18 with all windows.
COUNTED_DB = 3.0
AUDIBLE_DB = 20.0  # of windows further below, no class is shown over time
TOP = 5  # units of a layer


@dataclass(frozen=True, eq=False)
class Explanation:
    """Which class a network hears in a recording, which units fire and when.

    Attributes
    ----------
    recording : Recording
        What was heard.
    scaler : CoefficientScaler or PCAWhitener
    frames, hop : int
        Frames of a window, which is the network's patch, and from window to window.
    starts : array [shape=(windows,)]
        First frame of each window; the patch that extraction takes of such a clip is one of them.
    levels : array [shape=(windows,)]
        Energy of the sound in each window, in dB below the loudest (at most 0).
    classes : tuple of str
        Empty if the network has none.
    probabilities : array [shape=(windows, classes)]
    overall : array [shape=(classes,)]
        Of the whole: from the mean of the log-probabilities of the windows that count.
    tracks : tuple of Track
        One a layer.
    notes : tuple of str
        What one should know, in sentences.
    """

    recording: Recording
    scaler: Scaling
    frames: int
    hop: int
    starts: npt.NDArray[np.intp]
    levels: FloatArray
    classes: tuple[str, ...]
    probabilities: FloatArray
    overall: FloatArray
    tracks: tuple[Track, ...]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        said = f"{self.said!r} ({self.overall.max():.2f}), " if self.classes else ""
        return f"Explanation({self.name!r}, {said}{self.seconds:.2f} s, {len(self.starts)} windows)"

    @property
    def name(self) -> str:
        """What the recording is called."""
        return self.recording.name

    @property
    def seconds(self) -> float:
        """The recording's length."""
        return self.recording.seconds

    @property
    def frame(self) -> float:
        """Seconds from frame to frame."""
        return self.recording.spec.hop / self.recording.spec.sr

    @property
    def window(self) -> float:
        """Seconds of sound in a window."""
        return self.recording.spec.samples_of(self.frames) / self.recording.spec.sr

    @property
    def said(self) -> str:
        """The class that is the likeliest for the whole; empty if the network has none."""
        return self.classes[int(self.overall.argmax())] if self.classes else ""

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        """The middle of each window in s (windows,)."""
        return np.asarray(self.starts * self.frame + self.window / 2, np.float64)

    @property
    def counted(self) -> npt.NDArray[np.bool_]:
        """Which windows decide on the class of the whole: those at most 3 dB below the loudest (windows,)."""
        return self.levels >= -COUNTED_DB

    @property
    def audible(self) -> npt.NDArray[np.bool_]:
        """Which windows have a class over time: those at most 20 dB below the loudest (windows,)."""
        return self.levels >= -AUDIBLE_DB

    def stretches(self) -> tuple[Stretch, ...]:
        """Return where which class is the likeliest: neighbouring windows of one class as one, each as wide as the hop.

        Windows that are not audible leave a gap.
        """
        if not self.classes:
            return ()
        between = (self.centres[1:] + self.centres[:-1]) / 2
        edges = np.concatenate([[0.0], np.clip(between, 0, self.seconds), [self.seconds]])
        best = np.where(self.audible, self.probabilities.argmax(axis=1), -1)
        found: list[Stretch] = []
        for i, (start, stop) in enumerate(pairwise(edges)):
            if best[i] < 0 or start >= stop:
                continue
            label, likely = self.classes[best[i]], float(self.probabilities[i, best[i]])
            if found and found[-1].label == label and found[-1].stop == start:
                found[-1] = Stretch(found[-1].start, float(stop), label, max(found[-1].probability, likely))
            else:
                found.append(Stretch(float(start), float(stop), label, likely))
        return tuple(found)

    def moments(self, most: int = MOMENTS) -> tuple[Moment, ...]:
        """Return the strongest moments of each layer, the strongest first.

        A moment is a peak of a unit's relative activation, `scipy.signal.find_peaks`, that is at least .5 high, rises
        at least .25 above the ground beside it, and is further than half a patch from a higher one of its unit. What
        lies before and behind the recording counts as silence, in which nothing fires.

        Parameters
        ----------
        most : int
            Of a layer.
        """
        found = [one for own in self._peaks for one in own[:most]]
        return tuple(sorted(found, key=_strongest_first))

    @cached_property
    def _peaks(self) -> list[list[Moment]]:
        """All moments, by layer."""
        from scipy.signal import find_peaks

        found = []
        for track in self.tracks:
            inside = np.flatnonzero((track.times >= 0) & (track.times <= self.seconds))
            values = track.relative[inside]
            step = float(np.median(np.diff(track.times))) if len(track.times) > 1 else math.inf
            apart = max(1, math.ceil(self.frames / 2 * self.frame / step))
            own: list[Moment] = []
            for unit in range(len(track.units)):
                ground = min(0.0, float(values[:, unit].min(initial=0.0)))
                raised = np.pad(values[:, unit], 1, constant_values=ground)  # a peak may lie at the border
                places, _ = find_peaks(raised, height=HEIGHT, prominence=PROMINENCE, distance=apart)
                own += [self._moment(track, unit, int(inside[place - 1])) for place in places]
            found.append(sorted(own, key=_strongest_first))
        return found

    def top(self, count: int = TOP) -> tuple[Moment, ...]:
        """Return the strongest moment of the units that fire most, of each layer so many; the strongest first.

        Units that stay below the mean of real clips are not among them.
        """
        found: list[Moment] = []
        for track in self.tracks:
            inside = np.flatnonzero((track.times >= 0) & (track.times <= self.seconds))
            if not len(inside):
                continue
            best = inside[track.relative[inside].argmax(axis=0)]
            own = [self._moment(track, unit, int(place)) for unit, place in enumerate(best)]
            found += sorted((one for one in own if one.activation > 0), key=_strongest_first)[:count]
        return tuple(sorted(found, key=_strongest_first))

    def patch(self, time: float) -> FloatArray:
        """Return what the network is given around a time in s: scaled MFCC (n_mfcc, frames)."""
        start = round((time - self.window / 2) / self.frame)
        return self.scaler.transform(self.recording.mfcc(start, start + self.frames))

    def _moment(self, track: Track, unit: int, place: int) -> Moment:
        time = float(track.times[place])
        start, stop = (min(max(time + side * track.span / 2, 0.0), self.seconds) for side in (-1, 1))
        value = float(track.relative[place, unit])
        return Moment(track.units[unit], track.layer, track.labels[unit], time, start, stop, value)

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as JSON can hold it."""
        return {
            "file": self.name,
            "seconds": round(self.seconds, 3),
            "class": self.said or None,
            "probabilities": {
                name: round(float(value), 6) for name, value in zip(self.classes, self.overall, strict=True)
            },
            "top_units": [
                {"unit": one.unit, "time": round(one.time, 4), "activation": round(one.activation, 4)}
                for one in self.top()
            ],
            "notes": list(self.notes),
        }

    def save_npz(self, path: str | Path) -> None:
        """Write everything that was measured.

        ``classes, starts`` and ``stops`` of the windows in s, ``levels`` in dB, ``probabilities, overall``; and for
        each layer ``LAYER_units, LAYER_times`` in s, ``LAYER_activations`` and ``LAYER_relative`` (times, units),
        ``LAYER_patches`` (windows, units), ``LAYER_mean, LAYER_best_patch`` and ``LAYER_best_moment`` of real clips.
        """
        arrays: dict[str, Array] = {}
        for track in self.tracks:
            arrays |= {
                f"{track.layer}_units": np.array(track.units, dtype=np.str_),
                f"{track.layer}_times": track.times,
                f"{track.layer}_activations": track.activation,
                f"{track.layer}_relative": track.relative,
                f"{track.layer}_patches": track.patches,
                f"{track.layer}_mean": track.reach.mean,
                f"{track.layer}_best_patch": track.reach.patch,
                f"{track.layer}_best_moment": track.reach.moment,
            }
        save_npz(
            path,
            classes=np.array(self.classes, dtype=np.str_),
            starts=self.starts * self.frame,
            stops=self.starts * self.frame + self.window,
            levels=self.levels,
            probabilities=self.probabilities,
            overall=self.overall,
            layers=np.array([track.layer for track in self.tracks], dtype=np.str_),
            **arrays,
        )

    def save_labels(self, path: str | Path, *, most: int = MOMENTS) -> None:
        """Write the strongest moments as a label track for Audacity: start, stop, unit and relative activation."""
        rows = [
            (one.start, one.stop, " ".join(filter(None, (one.unit, one.label, f"{one.activation:.2f}"))))
            for one in sorted(self.moments(most), key=lambda one: one.start)
        ]
        write_text(path, _label_track(rows))

    def save_class_labels(self, path: str | Path) -> None:
        """Write `stretches` as a label track for Audacity: start, stop, class and its highest probability."""
        rows = [(one.start, one.stop, f"{one.label} {one.probability:.2f}") for one in self.stretches()]
        write_text(path, _label_track(rows))


def _strongest_first(one: Moment) -> float:
    return -one.activation


def _label_track(rows: list[tuple[float, float, str]]) -> str:
    """Write labels as Audacity imports them, a line each; names can't break a line."""
    return "".join(f"{start:.6f}\t{stop:.6f}\t{' '.join(text.split())}\n" for start, stop, text in rows)
