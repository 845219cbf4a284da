"""A search in three steps, of which many processes can do the second: lay out batches, climb for one, gather them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from cepscope.corpora import Patches
from cepscope.errors import DataError, ParameterError
from cepscope.maximize.ascent import classic_search, speech_search
from cepscope.maximize.context import Context, fit_context
from cepscope.maximize.memory import memory_of_device, patterns_within
from cepscope.maximize.objectives import Objective, ObjectiveReader, objective_reader, parse, to_plain
from cepscope.maximize.parametrizations import parametrization
from cepscope.maximize.patterns import Patterns
from cepscope.maximize.search import Callback, Found, Kept, Plan, Search, climb
from cepscope.maximize.space import directions_kept
from cepscope.maximize.transforms import DRAWS, Transforms
from cepscope.maximize.units import all_units
from cepscope.models.backend import forgetting_gradients
from cepscope.models.checkpoint import key_of
from cepscope.models.checks import natural, positive

MODES = ("speech", "classic")


@dataclass(frozen=True, kw_only=True, eq=False)
class Maximization:
    """A search in pieces; what is asked for as of `maximize`, whose errors it has.

    Nothing is fitted or compiled before the first batch climbs, and then it is kept for the next.
    """

    model: Any
    patches: Patches
    layers: str | Sequence[str]
    objectives: Sequence[Objective | str]
    mode: str
    space: str
    steps: int
    learning_rate: float
    radius: float
    components: int
    shrinkage: float
    priors: Mapping[str, float]
    transforms: Transforms
    headroom: float
    context: str | npt.ArrayLike
    restarts: int
    variants: int
    diversity: float
    patience: int
    step: float
    memory: int
    batch: int
    seed: int

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ParameterError(f"`mode` must be one of {', '.join(MODES)}. Received: {self.mode!r}")
        positive(learning_rate=self.learning_rate, radius=self.radius, step=self.step)
        natural(1, **{name: getattr(self, name) for name in ("steps", "components", "restarts", "variants")})
        natural(patience=self.patience, seed=self.seed, memory=self.memory, batch=self.batch)
        if not (np.isfinite(self.headroom) and 0 <= self.shrinkage < 1 and 0 <= self.diversity < np.inf):
            raise ParameterError(
                "`headroom` must be finite, `shrinkage` from 0 to below 1, `diversity` 0 or more. "
                f"Received: {self.headroom}, {self.shrinkage}, {self.diversity}"
            )
        if tuple(self.model.inputs[0].shape[1:]) != self.patches.input_shape:
            raise ParameterError(
                f"The model must take patches of {self.patches.input_shape}: (n_mfcc, frames, 1). "
                f"Received: a model that takes {tuple(self.model.inputs[0].shape[1:])}"
            )

    @cached_property
    def _asked(self) -> tuple[Context | None, list[Objective]]:
        wanted = _objectives(self.model, self.patches, self.layers, self.objectives)
        if self.mode == "classic" or (isinstance(self.context, str) and self.context == ""):
            return None, wanted
        return fit_context(self.context, self.model, self.patches, wanted)

    @property
    def around(self) -> Context | None:
        """What surrounds patterns."""
        return self._asked[0]

    @property
    def wanted(self) -> list[Objective]:
        """What is maximized."""
        return self._asked[1]

    @cached_property
    def plan(self) -> Plan:
        """Which patterns there are."""
        several = (self.restarts, self.variants) if self.mode == "speech" else (1, 1)
        return Plan(self.wanted, *several, self.seed)

    @cached_property
    def batches(self) -> list[range]:
        """The rows of the plan that climb together; who climbs for them does not matter."""
        within = patterns_within(self.memory or memory_of_device(), self.model, draws=self._draws)
        return self.plan.batches(min(within, self.batch or within))

    @property
    def _draws(self) -> int:
        return DRAWS + self.transforms.normals if self.transforms and self.mode == "speech" else 0

    @cached_property
    def _read(self) -> ObjectiveReader:
        return objective_reader(self.model, self.wanted, speech=self.patches.train.x)

    @cached_property
    def _search(self) -> Search:
        if self.mode == "classic":
            return classic_search(self._read, self.patches, step=self.step)
        fitted = {name: getattr(self, name) for name in ("radius", "components", "shrinkage", "model")}
        return speech_search(
            self._read,
            parametrization(self.space, self.patches, **fitted),
            self.patches,
            build=(self.model, self.priors, self.headroom, self.around),
            transforms=self.transforms,
            learning_rate=self.learning_rate,
            diversity=self.diversity if self.variants > 1 else 0.0,
            variants=self.variants,
            restarts=self.restarts,
            patience=self.patience or self.steps,
        )

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What is kept of the settings with the patterns: those that were used."""
        used: dict[str, Any] = {"step": self.step}
        if self.mode == "speech":
            is_speech = self.space == "speech"
            used = {
                "space": self.space,
                "learning_rate": self.learning_rate,
                "radius": self.radius,
                "components": directions_kept(self.patches.train.x, self.components) if is_speech else self.components,
                "shrinkage": self.shrinkage,
                "priors": dict(self.priors),
                "transforms": asdict(self.transforms),
                "headroom": self.headroom,
                "context": self.context if isinstance(self.context, str) else "array",
                "restarts": self.restarts,
                "variants": self.variants,
                "diversity": self.diversity,
                "patience": self.patience,
            }
        return {"mode": self.mode, "steps": self.steps, **used, "seed": self.seed}

    @cached_property
    def key(self) -> str:
        """A key of all that decides what is found."""
        plain, vectors = to_plain(self.wanted)
        return key_of(
            self.patches.train.x,
            *([] if self.around is None else [self.around.patch]),
            *vectors.values(),
            *self.model.get_weights(),
            objectives=plain,
            model=self.model.to_json(),
            batch=len(self.batches[0]),
            **self.settings,
        )

    def climb(
        self,
        rows: range,
        path: Path | None = None,
        *,
        key: str = "",
        callback: Callback | None = None,
        report: Callable[[int], None] = lambda _done: None,
    ) -> Found:
        """Climb for one of the batches.

        Parameters
        ----------
        rows : range
            One of `batches`.
        path : Path, optional
            A file for its state, then for what it found; if it is there and has the key, the search goes on from it.
        key : str
            Of all that decides what is found, such as `key`.
        callback : callable, optional
            As of `maximize`.
        report : callable, optional
            Called with the steps done.
        """
        kept = Kept(path, key)
        found = kept.finished()
        if found is None:
            with forgetting_gradients(), threadpool_limits(1):  # the number of BLAS threads shows in the last bits
                x, history, stopped = climb(self._search, self.plan, rows, self.steps, kept, callback, report)
                owner = self.plan.owner[rows.start : rows.stop : self.plan.restarts]
                found = Found(x[..., None], history, self._read.measure_own(x[..., None], owner))
            if not stopped:
                kept.finish(found)
        return found

    def gather(self, parts: Iterable[Found]) -> Patterns:
        """Put together what the batches found, in their order; DataError if numbers are not finite."""
        count = len(self.plan.names)
        x = np.empty((count, *self.patches.input_shape), np.float32)
        history, activation = np.empty((self.steps, count), np.float32), np.empty(count, np.float32)
        for rows, part in zip(self.batches, parts, strict=True):
            mine = slice(rows.start // self.plan.restarts, rows.stop // self.plan.restarts)
            x[mine], history[:, mine], activation[mine] = part.x, part.history, part.activation
        if not np.isfinite(x).all():
            names = [name for name, one in zip(self.plan.names, x, strict=True) if not np.isfinite(one).all()]
            raise DataError(
                f"The search for {names[0]} ({len(names)} of {len(x)}) ended in NaN or Inf; take a smaller "
                "`learning_rate`."
            )
        owner = self.plan.owner[:: self.plan.restarts]
        plain, vectors = to_plain([self.wanted[i] for i in owner])
        return Patterns(
            units=self.plan.names,
            x=x,
            mfcc=self.patches.decode(x),
            spec=self.patches.spec,
            activation=activation,
            history=history,
            settings=self.settings,
            objectives=tuple(plain),
            vectors=vectors,
        )


def _objectives(
    model: Any, patches: Patches, layers: str | Sequence[str], objectives: Sequence[Objective | str]
) -> list[Objective]:
    if isinstance(objectives, str | Objective):
        raise ParameterError(f"`objectives` must be a list. Received: {objectives!r}")
    if not objectives:
        return [Objective({unit: 1.0}) for unit in all_units(model, layers)]
    found = [parse(item) if isinstance(item, str) else item for item in objectives]
    resolved = [item.resolved(model, patches.classes) for item in found]
    names = [item.name for item in resolved]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ParameterError(f"Two objectives are called {twice!r}; use `variants` for several patterns of one.")
    return resolved
