"""Patterns: what activation maximization found, with all that is needed to hear and score it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.atomic import load_npz, save_npz
from cepscope.errors import CorruptArtifactError
from cepscope.features import MfccSpec

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Patterns:
    """One MFCC pattern a unit.

    Attributes
    ----------
    units : tuple of str
        Names, ``layer:index``.
    x : array [shape=(n, n_mfcc, frames, 1)]
        Scaled patterns, as the network takes them.
    mfcc : array [shape=(n, n_mfcc, frames)]
        The same in the front end's own scale.
    spec : MfccSpec
    activation : array [shape=(n,)]
        Each pattern's activation of its unit (pre-activation).
    history : array [shape=(steps, n)]
        Each objective along the ascent, in units of real speech, random changes included.
    settings : dict
        How they were made.
    objectives : tuple of dict
        What each maximizes, in plain words (`cepscope.maximize.objectives.to_plain`); units only, if empty.
    vectors : dict
        Arrays of those objectives that have any.
    """

    units: tuple[str, ...]
    x: FloatArray
    mfcc: FloatArray
    spec: MfccSpec
    activation: FloatArray
    history: FloatArray
    settings: dict[str, Any] = field(default_factory=dict)
    objectives: tuple[dict[str, Any], ...] = ()
    vectors: dict[str, FloatArray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.units)

    @property
    def names(self) -> tuple[str, ...]:
        """The units' names."""
        return self.units

    @property
    def layers(self) -> tuple[str, ...]:
        """Layer of each pattern: of several, that of the weightiest term."""
        if not self.objectives:
            return tuple(name.rpartition(":")[0] for name in self.units)
        return tuple(str(max(one["terms"], key=_weight)["layer"]) for one in self.objectives)

    @property
    def indices(self) -> tuple[int, ...]:
        """Index of each pattern's unit in its layer; -1 where the objective is something else."""
        if not self.objectives:
            return tuple(int(name.rpartition(":")[2]) for name in self.units)
        return tuple(
            int(terms[0]["index"]) if len(terms) == 1 and terms[0]["kind"] == "Unit" and terms[0]["weight"] == 1 else -1
            for terms in (one["terms"] for one in self.objectives)
        )

    def save(self, path: str | Path) -> None:
        """Write everything to one npz file, whole or not at all."""
        save_npz(
            Path(path),
            units=np.array(self.units, dtype=np.str_),
            x=self.x,
            mfcc=self.mfcc,
            activation=self.activation,
            history=self.history,
            spec=np.array(json.dumps(self.spec.to_dict())),
            settings=np.array(json.dumps(self.settings)),
            objectives=np.array(json.dumps(self.objectives)),
            **{f"vector_{name}": value for name, value in self.vectors.items()},
        )

    @classmethod
    def load(cls, path: str | Path) -> Patterns:
        """Read what `save` wrote.

        Raises
        ------
        CorruptArtifactError
            If the file is damaged or lacks an array.
        """
        data = load_npz(path)
        try:
            found = cls(
                units=tuple(str(name) for name in data["units"]),
                x=data["x"],
                mfcc=data["mfcc"],
                spec=MfccSpec.from_dict(json.loads(str(data["spec"]))),
                activation=data["activation"],
                history=data["history"],
                settings=json.loads(str(data["settings"])),
                objectives=tuple(json.loads(str(data["objectives"]))),
                vectors={name[7:]: value for name, value in data.items() if name.startswith("vector_")},
            )
            found._check()
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CorruptArtifactError(
                f"{path} can't be read as patterns ({reason}). Delete it and run `cepscope maximize` again."
            ) from error
        return found

    def _check(self) -> None:
        """Raise an error of Python's own where arrays and objectives do not belong together."""
        for name in ("x", "mfcc", "activation"):
            array = getattr(self, name)
            if array.dtype.kind != "f" or len(array) != len(self):
                raise ValueError(f"{name} is {array.dtype} of shape {array.shape}, for {len(self)} units")
        if len(self.layers) != len(self) or len(self.indices) != len(self):
            raise ValueError(f"{len(self.objectives)} objectives for {len(self)} units")


def _weight(term: dict[str, Any]) -> float:
    return abs(float(term["weight"]))
