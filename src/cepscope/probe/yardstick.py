"""What patterns and sounds are measured against: real held-out speech, measured once for all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from cepscope.atomic import load_npz, save_npz
from cepscope.corpora import Patches
from cepscope.errors import CorruptArtifactError, ParameterError
from cepscope.maximize.exemplars import best_exemplars
from cepscope.maximize.mixture import PatchMixture
from cepscope.maximize.patterns import Patterns
from cepscope.maximize.space import PatchSpace, fit_patch_space
from cepscope.probe.naturalness import Naturalness, fit_judge

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.intp]
_MIXTURE = ("mean", "directions", "log_weights", "centres", "whiteners", "residual", "silence", "width", "stride")
_LAYER = "layer:"


@dataclass(frozen=True, eq=False)
class Yardstick:
    """What real held-out clips give.

    Attributes
    ----------
    rest, natural : array [shape=(patterns,)]
        Mean and largest of each pattern's objective.
    exemplars : array [shape=(patterns, k)]
        The clips that excite each objective most, and how much: `exemplar_activations`.
    exemplar_activations : array [shape=(patterns, k)]
    layers : dict of array [shape=(2, units)]
        Mean and deviation of all units of each layer that patterns are of.
    space : PatchSpace
        Of the training clips.
    radius : float
        Mean Mahalanobis radius of held-out clips.
    judge : Naturalness
    accuracy : float
        Of the network as a classifier; NaN if it is none of the corpus's classes.
    real : array [shape=(clips, patterns)], optional
        Each objective by each clip; it is not kept in a file.
    """

    rest: FloatArray
    natural: FloatArray
    exemplars: IntArray
    exemplar_activations: FloatArray
    layers: dict[str, npt.NDArray[np.float64]]
    space: PatchSpace
    radius: float
    judge: Naturalness
    accuracy: float
    real: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32), repr=False)

    def save(self, path: str | Path, key: str = "") -> None:
        """Write all but `real` to one npz file, with a key of what it was measured of."""
        save_npz(
            path,
            key=key,
            **{name: getattr(self, name) for name in ("rest", "natural", "exemplars", "exemplar_activations")},
            **{f"{_LAYER}{name}": values for name, values in self.layers.items()},
            space_mean=self.space.mean,
            space_basis=self.space.basis,
            space_shape=self.space.shape,
            **{f"mixture_{name}": getattr(self.judge.mixture, name) for name in _MIXTURE},
            numbers=np.array([self.radius, self.judge.mean, self.judge.deviation, self.accuracy]),
        )

    @classmethod
    def load(cls, path: str | Path, key: str = "") -> Yardstick | None:
        """Read what `save` wrote; None if it is not there, or of something else."""
        try:
            data = load_npz(path)
            if str(data["key"]) != key:
                return None
            mixture: dict[str, Any] = {name: data[f"mixture_{name}"] for name in _MIXTURE}
            mixture |= {name: mixture[name].item() for name in ("residual", "width", "stride")}
            radius, mean, deviation, accuracy = map(float, data["numbers"])
            rows, frames = map(int, data["space_shape"])
            return cls(
                rest=data["rest"],
                natural=data["natural"],
                exemplars=data["exemplars"],
                exemplar_activations=data["exemplar_activations"],
                layers={name[len(_LAYER) :]: data[name] for name in data if name.startswith(_LAYER)},
                space=PatchSpace(data["space_mean"], data["space_basis"], (rows, frames)),
                radius=radius,
                judge=Naturalness(PatchMixture(**mixture), mean, deviation),
                accuracy=accuracy,
            )
        except (CorruptArtifactError, KeyError):
            return None


def fit_yardstick(model: Any, patches: Patches, patterns: Patterns, *, exemplars: int = 3, seed: int = 0) -> Yardstick:
    """Measure real speech.

    Parameters
    ----------
    model : keras.Model
    patches : Patches
        Its test split is the real held-out speech.
    patterns : Patterns
        Whose objectives to measure.
    exemplars : int
        Real clips kept for each.
    seed : int
        Of the judge of naturalness.

    Raises
    ------
    ParameterError
        If there is no held-out speech.
    """
    from cepscope.maximize.objectives import objective_reader, objectives_of
    from cepscope.maximize.units import unit_activations

    if not len(patches.test):
        raise ParameterError("Patterns are measured against held-out clips, and the test split has none.")
    clips = patches.test.x
    real = objective_reader(model, objectives_of(patterns)).measure(clips)
    best = best_exemplars(real, count=exemplars)
    layers = {}
    for name in dict.fromkeys(layer for layer, i in zip(patterns.layers, patterns.indices, strict=True) if i >= 0):
        heard = unit_activations(model, clips, layers=[name]).astype(np.float64)
        layers[name] = np.stack([heard.mean(axis=0), heard.std(axis=0)])
    with threadpool_limits(1):  # the number of BLAS threads shows in the last bits
        space = fit_patch_space(patches.train.x, components=int(np.prod(patches.input_shape)))
        radius = float(np.mean(radii(clips, space)))
        judge = fit_judge(patches, seed=seed)
    said = classes_heard(model, patches, clips)
    return Yardstick(
        rest=real.mean(axis=0),
        natural=real.max(axis=0),
        exemplars=best,
        exemplar_activations=np.take_along_axis(real, best.T, axis=0).T,
        layers=layers,
        space=space,
        radius=radius,
        judge=judge,
        accuracy=math.nan if said is None else float(np.mean(said == patches.test.y)),
        real=real,
    )


def classes_heard(model: Any, patches: Patches, x: FloatArray) -> IntArray | None:
    """Return the class that a network hears in each input (n,), if it is a classifier of the corpus's classes."""
    if tuple(model.output_shape) != (None, len(patches.classes)):
        return None
    said: IntArray = model.predict(x, batch_size=128, verbose=0).argmax(axis=1)
    return said


def radii(x: npt.ArrayLike, space: PatchSpace) -> npt.NDArray[np.float64]:
    """Return the Mahalanobis radius of patterns (n, rows, frames, 1): the root mean square over `space`, (n,)."""
    return np.asarray(np.sqrt(np.mean(space.encode(np.asarray(x, np.float32)).astype(np.float64) ** 2, axis=1)))


def at_radius(x: npt.ArrayLike, space: PatchSpace, radius: float) -> FloatArray:
    """Move patterns (n, rows, frames, 1) along their ray from the mean of speech to a Mahalanobis radius."""
    x = np.asarray(x, np.float32)
    factors = radius / np.maximum(radii(x, space), 1e-9)[:, None]
    return space.decode((space.encode(x) * factors).astype(np.float32))[..., None]
