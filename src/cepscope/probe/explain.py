"""A recording against a network: which class it hears, which units fire, and when.

The recording goes the way of any clip: conditioned, extracted, scaled. Windows of the network's own patch length slide
over it by about a quarter of a patch, a whole number of every layer's columns, so that overlapping windows agree on the
time of what they see. One of the windows is the patch that extraction would take of the recording; those at its ends
reach into silence by less than a hop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from cepscope.corpora.recordings import Recording, as_recording
from cepscope.errors import ParameterError
from cepscope.features import MfccSpec, Scaling
from cepscope.probe.explanation import COUNTED_DB, Explanation
from cepscope.probe.tracks import Reach, Track
from cepscope.probe.windows import IntArray, hop_for, window_energies, window_starts, windows

if TYPE_CHECKING:
    from cepscope.maximize.timeline import TimeAxis, TimeReader

FloatArray = npt.NDArray[np.float32]

BATCH = 64  # windows that are computed at once: a long recording takes no more memory than a short one
LEAST = 1e-6  # probability: no single window can rule a class out
LEAST_POWER = 1e-12  # of a window, relative to the loudest


class HasFrontEnd(Protocol):
    """What must be known of how a network's patches are made; `Patches` knows it."""

    @property
    def spec(self) -> MfccSpec: ...  # noqa: D102
    @property
    def frames(self) -> int: ...  # noqa: D102
    @property
    def scaler(self) -> Scaling: ...  # noqa: D102
    @property
    def classes(self) -> tuple[str, ...]: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class FrontEnd:
    """How a network's patches are made, without the patches; see `Patches` for the attributes."""

    spec: MfccSpec
    frames: int
    scaler: Scaling
    classes: tuple[str, ...]


class Explainer:
    """A network that is ready for recordings: what real clips reach in it is measured once.

    Parameters
    ----------
    model : keras.Model
        Input (batch, n_mfcc, frames, 1).
    front_end : Patches or FrontEnd
        How the network's patches are made.
    real : iterable of array [shape=(n, n_mfcc, frames, 1)]
        Scaled patches of real held-out clips, in as many parts as one likes.

    Raises
    ------
    ParameterError
        The network takes other patches, or there are no real clips.
    """

    def __init__(self, model: Any, front_end: HasFrontEnd, real: Iterable[npt.ArrayLike]) -> None:
        from cepscope.maximize.timeline import time_reader
        from cepscope.probe.measures import logits_layer

        expected = (front_end.spec.n_mfcc, front_end.frames, 1)
        if tuple(model.input_shape[1:]) != expected:
            raise ParameterError(
                f"The network takes patches of {model.input_shape[1:]}; the front end's are {expected}"
            )
        self.front_end = front_end
        self.reader: TimeReader = time_reader(model)
        self.reach = natural_reach(self.reader, real)
        shape = model.output_shape
        count = int(shape[1]) if len(shape) == 2 and shape[1] > 1 else 0
        known = front_end.classes if len(front_end.classes) == count else tuple(f"output {i}" for i in range(count))
        self.classes: tuple[str, ...] = known
        self.logits = logits_layer(model, count) if count else ""
        self._as_probabilities = _output_kind(self.reader, expected) if count else None
        steps = [round(axis.step) for axis in self.reader.axes if axis.step]
        self.hop = hop_for(front_end.frames, steps)

    def __call__(self, recording: Recording, *, progress: Callable[[int, int], None] | None = None) -> Explanation:
        """Explain a recording that is at the front end's rate; `progress` is called with windows done and in all."""
        front, hop = self.front_end, self.hop
        starts = window_starts(recording.frames, front.frames, hop)
        tracks = [_Sums(axis, starts, hop) for axis in self.reader.axes]
        outputs, energies = [], []
        for part in _batches(starts):
            x = windows(recording, front.scaler, part, front.frames)
            output, columns = self.reader.read(x)
            outputs.append(output)
            energies.append(window_energies(recording, part, front.frames))
            for track, values in zip(tracks, columns, strict=True):
                track.add(part, values)
            if progress:
                progress(sum(map(len, outputs)), len(starts))
        energy = np.concatenate(energies)
        levels = 10 * np.log10(np.maximum(energy / energy.max(), LEAST_POWER))
        if self._as_probabilities:
            probabilities = self._as_probabilities(np.concatenate(outputs))
        else:
            probabilities = np.zeros((len(starts), 0), np.float32)
        frame, first = front.spec.hop / front.spec.sr, float(front.spec.times(1)[0])
        found = []
        for track, reach in zip(tracks, self.reach, strict=True):
            axis = track.axis
            labels = self.classes if axis.layer == self.logits else ("",) * axis.units
            names = tuple(f"{axis.layer}:{i}" for i in range(axis.units))
            times, activation = track.means()
            patches = np.concatenate(track.patches)
            times = first + times * frame
            found.append(Track(axis.layer, names, labels, times, axis.span * frame, activation, patches, reach))
        return Explanation(
            recording=recording,
            scaler=front.scaler,
            frames=front.frames,
            hop=hop,
            starts=starts,
            levels=levels.astype(np.float32),
            classes=self.classes,
            probabilities=probabilities,
            overall=together(probabilities[levels >= -COUNTED_DB]),
            tracks=tuple(found),
            notes=tuple(_notes(recording, front)),
        )


def explain(
    model: Any,
    patches: Any,
    y: npt.ArrayLike,
    sr: int | None = None,
    *,
    name: str = "recording",
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Explain one recording; for several of them, make an `Explainer` once.

    Parameters
    ----------
    model : keras.Model
    patches : Patches
        What the network was trained on; its held-out clips say how strong an activation is.
    y : array [shape=(samples,)]
        Audio of any length and level.
    sr : int, optional
        Its rate in Hz, by default the patches' own.
    name : str
        How the recording is called.
    progress : callable, optional
        Called with (windows done, windows in all).

    Returns
    -------
    Explanation

    Raises
    ------
    DataError
        The recording is empty or silent, or holds NaN or Inf.
    ParameterError
        It has more than one axis, or there are no held-out clips.
    """
    explainer = Explainer(model, patches, [patches.test.x])
    found = as_recording(y, patches.spec.sr if sr is None else sr, patches.spec, name=name)
    return explainer(found, progress=progress)


def natural_reach(reader: TimeReader, real: Iterable[npt.ArrayLike]) -> tuple[Reach, ...]:
    """Measure what real clips, parts of (n, n_mfcc, frames, 1), reach in each layer."""
    count = 0
    totals = [np.zeros(axis.units) for axis in reader.axes]
    patches, moments = ([np.full(axis.units, -np.inf, np.float32) for axis in reader.axes] for _ in range(2))
    for part in real:
        x = np.asarray(part, np.float32)
        count += len(x)
        for start in range(0, len(x), BATCH):
            for i, values in enumerate(reader.read(x[start : start + BATCH])[1]):
                whole = values.mean(axis=1)
                totals[i] += whole.sum(axis=0, dtype=np.float64)
                patches[i] = np.maximum(patches[i], whole.max(axis=0))
                moments[i] = np.maximum(moments[i], values.max(axis=(0, 1)))
    if not count:
        raise ParameterError("Activations are counted against real held-out clips, and there are none.")
    return tuple(
        Reach((total / count).astype(np.float32), patch, moment)
        for total, patch, moment in zip(totals, patches, moments, strict=True)
    )


def together(probabilities: npt.ArrayLike) -> FloatArray:
    """Return the probabilities of a whole (classes,) from those of its windows (windows, classes).

    They are proportional to the exponential of the mean log-probability: the geometric mean, as if each window spoke
    for itself. What is below 1e-6 counts as that.
    """
    mean = np.log(np.maximum(np.asarray(probabilities, np.float64), LEAST)).mean(axis=0)
    return np.asarray(_softmax(mean[np.newaxis])[0], np.float32)


def _softmax(values: npt.ArrayLike) -> FloatArray:
    given = np.asarray(values, np.float64)
    if not given.size:
        return given.astype(np.float32)
    powers = np.exp(given - given.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def _shares(values: npt.ArrayLike) -> FloatArray:
    given = np.maximum(np.asarray(values, np.float64), np.finfo(np.float32).tiny)
    return np.asarray(given / given.sum(axis=1, keepdims=True), np.float32)


def _output_kind(reader: TimeReader, shape: tuple[int, ...]) -> Callable[[npt.ArrayLike], FloatArray]:
    """Return what makes probabilities of a network's outputs: it is asked by random patches what they are.

    What sums to 1 is taken as it is, and what lies between 0 and 1 but does not (one sigmoid a class) is divided by its
    sum; all else are logits.
    """
    output, _ = reader.read(np.random.default_rng(0).standard_normal((16, *shape)))
    return _shares if ((output >= 0) & (output <= 1)).all() else _softmax


class _Sums:
    """A layer's activations added up, each column at its own time."""

    def __init__(self, axis: TimeAxis, starts: IntArray, hop: int) -> None:
        self.axis = axis
        self.step = axis.step or float(hop)
        self.first = float(starts[0] + axis.centres[0])
        last = float(starts[-1] + axis.centres[-1])
        cells = round((last - self.first) / self.step) + 1
        self.sums = np.zeros((cells, axis.units))
        self.times = np.zeros(cells)
        self.counts = np.zeros(cells, np.intp)
        self.patches: list[FloatArray] = []

    def add(self, starts: IntArray, values: FloatArray) -> None:
        """Add windows (windows, columns, units) that begin at some frames."""
        times = (starts[:, np.newaxis] + self.axis.centres).ravel()
        cells = np.rint((times - self.first) / self.step).astype(np.intp)
        np.add.at(self.sums, cells, values.reshape(-1, values.shape[-1]))
        np.add.at(self.times, cells, times)
        np.add.at(self.counts, cells, 1)
        self.patches.append(values.mean(axis=1))

    def means(self) -> tuple[npt.NDArray[np.float64], FloatArray]:
        """Return times in frames and mean activations, where there are any."""
        seen = self.counts > 0
        counts = self.counts[seen]
        return self.times[seen] / counts, (self.sums[seen] / counts[:, np.newaxis]).astype(np.float32)


def _batches(starts: IntArray) -> Iterator[IntArray]:
    for first in range(0, len(starts), BATCH):
        yield starts[first : first + BATCH]


def _notes(recording: Recording, front: HasFrontEnd) -> Iterator[str]:
    patch = front.spec.samples_of(front.frames) / front.spec.sr
    if recording.frames < front.frames:
        yield (
            f"{recording.name} is {recording.seconds:.2f} s long, shorter than the network's patch of {patch:.2f} s: "
            "it was padded with silence on both sides, as extraction does."
        )
    if recording.own_sr < front.spec.sr:
        yield (
            f"{recording.name} has a rate of {recording.own_sr} Hz, and the network learned from {front.spec.sr} Hz: "
            f"above {recording.own_sr // 2} Hz it hears nothing."
        )
