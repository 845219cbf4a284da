"""Activation maximization of all units, in batches and in one compiled loop.

A pattern maximizes its objective (see `cepscope.maximize.objectives`) less the weighted priors, over a ball in the
space of speech (Erhan et al. 2009 maximize over a norm ball of the input; here the norm is that of speech). Above the
mean of speech the objective counts as its logarithm, log(1 + a): where a unit can get ten times what any clip gives it,
the tenth must not outweigh the priors. Patterns never see each other: no step, norm or prior runs across the batch,
except between the variants of one unit that are asked to differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from cepscope.corpora import Patches
from cepscope.maximize.maximization import Maximization
from cepscope.maximize.objectives import Objective
from cepscope.maximize.patterns import Patterns
from cepscope.maximize.priors import DEFAULT_PRIORS
from cepscope.maximize.search import Callback, Found, Progress
from cepscope.maximize.transforms import DEFAULT_TRANSFORMS, Transforms


def maximize(
    model: Any,
    patches: Patches,
    *,
    layers: str | Sequence[str] = "all",
    objectives: Sequence[Objective | str] = (),
    mode: str = "speech",
    space: str = "speech",
    steps: int = 64,
    learning_rate: float = 0.1,
    radius: float = 1.3,
    components: int = 600,
    shrinkage: float = 0.05,
    priors: Mapping[str, float] = DEFAULT_PRIORS,
    transforms: Transforms = DEFAULT_TRANSFORMS,
    headroom: float = 3.0,
    context: str | npt.ArrayLike = "",
    restarts: int = 1,
    variants: int = 1,
    diversity: float = 0.3,
    patience: int = 0,
    step: float = 1.0,
    memory: int = 256,
    batch: int = 128,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    callback: Callback | None = None,
    progress: Progress | None = None,
) -> Patterns:
    """Find the MFCC pattern that each unit, or each objective, prefers.

    Parameters
    ----------
    model : keras.Model
        Input (batch, n_mfcc, frames, 1).
    patches : Patches
        Real speech: its train split gives the space, the scale of the priors and of each term.
    layers : "all" or sequence of str
        Whose units to show.
    objectives : sequence of Objective or str
        What to maximize instead, if any; text as in ``"0.5 * crbm2:7 - crbm2:9"``.
    mode : {"speech", "classic"}
        Search in the space of speech, or climb the plain normalised gradient of the raw pattern from noise, which
        leaves speech at once and is here to compare with; of the settings below it takes `steps`, `step` and `seed`.
    space : str
        How patterns are written down; see `cepscope.maximize.parametrizations`.
    steps : int
        Steps of ascent.
    learning_rate : float
        Of Adam, in the coordinates of `space`: of speech, standard deviations.
    radius : float
        Largest root mean square of a pattern's coordinates; real speech has 1.
    components : int
        Principal components of speech that span the space.
    shrinkage : float
        See `fit_patch_space`.
    priors : mapping of str to float
        Weights of priors, each of which scores 1 on real speech; see `cepscope.maximize.priors`.
    transforms : Transforms
        Random changes at each step; by default some noise with the covariance of speech, without which other networks
        hear less in the sounds. ``Transforms()`` is none.
    headroom : float
        Decibels by which patterns stay below the level of real speech; see `cepscope.maximize.reach`.
    context : {"", "silence", "donor"} or array [shape=(n_mfcc, frames, 1)]
        What surrounds patterns that are no longer than their unit's receptive field; units then climb in the middle of
        their map. ``""``: patterns fill the patch. See `cepscope.maximize.context`.
    restarts : int
        Starts of each pattern, of which the best is kept.
    variants : int
        Patterns of each objective, named ``crbm2:7#0`` and so on if there are several.
    diversity : float
        Weight of the likeness between variants (mean cosine above the mean of speech).
    patience : int
        Leave a pattern alone after so many steps without a better score; 0 never does. With random changes scores are
        compared without them, every 16 steps.
    step : float
        Of the classic mode, in standard deviations.
    memory : int
        Megabytes that patterns, activations and gradients may take; 0 is half of what is free on a GPU, 256 without
        one. No more patterns than that allows share a batch, but the starts and variants of one objective always do.
    batch : int
        Patterns that share a batch, at most; 0 is as many as `memory` allows. Of the result only the last bits depend
        on how many there are.
    seed : int
        Start of the ascent, derived for each pattern from its name: it does not depend on its neighbours.
    checkpoint : path, optional
        A folder that keeps a file of each batch; what there is of the same search is gone on from.
    callback : callable, optional
        Called every few steps with (steps done, names, objectives); True ends the search of these patterns.
    progress : callable, optional
        Called with (steps done, steps in all).

    Returns
    -------
    Patterns

    Raises
    ------
    ParameterError
        If a setting is out of range, a layer does not exist, or the model takes other inputs than `patches`.
    DataError
        If the search ends in numbers that are not finite.
    """
    task = Maximization(
        model=model,
        patches=patches,
        layers=layers,
        objectives=objectives,
        mode=mode,
        space=space,
        steps=steps,
        learning_rate=learning_rate,
        radius=radius,
        components=components,
        shrinkage=shrinkage,
        priors=priors,
        transforms=transforms,
        headroom=headroom,
        context=context,
        restarts=restarts,
        variants=variants,
        diversity=diversity,
        patience=patience,
        step=step,
        memory=memory,
        batch=batch,
        seed=seed,
    )
    folder = None if checkpoint is None else Path(checkpoint)
    key = "" if folder is None else task.key

    def climbed() -> Iterator[Found]:
        for number, rows in enumerate(task.batches):

            def report(done: int, number: int = number) -> None:
                if progress:
                    progress(steps * number + done, steps * len(task.batches))

            yield task.climb(
                rows, folder and folder / f"{rows.start:08d}.npz", key=key, callback=callback, report=report
            )

    return task.gather(climbed())
