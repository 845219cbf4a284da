"""Runs, layers of one, or the moments of its training, side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cepscope.atomic import load_npz, save_npz, sha256
from cepscope.errors import CorruptArtifactError, NotFittedError, ParameterError
from cepscope.features import Scaling, load_scaling
from cepscope.models.snapshots import at_snapshot, epoch_of, snapshots_in
from cepscope.pipeline.ledger import Ledger, code_version, fingerprint
from cepscope.pipeline.run import require, stored_config
from cepscope.pipeline.stages import SNAPSHOTS, Context, stored_sounds
from cepscope.probe import load_unit_rows
from cepscope.probe.matching import Units
from cepscope.report.side_by_side_content import Column, SideBySide
from cepscope.report.side_by_side_matching import MOST_ROWS, choose, side_by_side

Progress = Callable[[str, int, int], None]  # what is being done, parts done, parts in all

KEPT = "compare"  # in the run: patterns and sounds of its snapshots
SCORES = ("pattern_over_natural", "sound_over_natural", "retention", "final_over_natural")
ROOMS = ("maximize", "invert", "models", "features", "audio", "probe/development", "pipeline/comparing")
TRAINED = "trained"


def compare_runs(
    folders: Sequence[str | Path],
    *,
    by: str = "auto",
    units: Sequence[str] = (),
    most: int = MOST_ROWS,
) -> SideBySide:
    """Put finished runs side by side: each unit of the first beside those of the others that answer to it.

    Nothing is computed but the matching; TensorFlow is not needed.

    Parameters
    ----------
    folders : sequence of path
        Two or more runs that were probed.
    by : {"auto", "name", "label", "pattern"}
        See `cepscope.probe.match_units`.
    units, most
        Which units of the first are shown, see `cepscope.report.side_by_side`.

    Returns
    -------
    SideBySide
        `cepscope.report.write_side_by_side` makes a page of it.

    Raises
    ------
    NotFittedError, CorruptArtifactError
        There is no run, a stage is missing, or one of its files.
    ParameterError
        A folder is named twice; the runs can't be compared so; there is no such unit.
    """
    roots = [Path(folder).resolve() for folder in folders]
    if len(set(roots)) < len(roots):
        raise ParameterError(f"Different runs are compared. Received twice: {_twice(roots)}")
    contexts = [_opened(folder) for folder in folders]
    spec = contexts[0].patterns.spec  # deviations are those of the first run's speech, where coefficients are the same
    scalings = [_scaling(context if context.patterns.spec != spec else contexts[0]) for context in contexts]
    columns = [_column(*one) for one in zip(contexts, _names(folders), scalings, strict=True)]
    return side_by_side(columns, by=by, units=units, most=most)


def compare_layers(
    folder: str | Path,
    layers: Sequence[str],
    *,
    by: str = "auto",
    units: Sequence[str] = (),
    most: int = MOST_ROWS,
) -> SideBySide:
    """Put layers of a run side by side: each unit of the first beside those of the others whose patterns are like it.

    Parameters, results and errors are those of `compare_runs`, of one folder and two or more of its layers.
    """
    if len(layers) < 2 or len(set(layers)) < len(layers):
        raise ParameterError(f"Two or more different layers are compared. Received: {', '.join(layers) or 'none'}")
    context = _opened(folder)
    whole = _column(context, "", _scaling(context))
    there = list(dict.fromkeys(whole.units.layers))
    if unknown := [layer for layer in layers if layer not in there]:
        raise ParameterError(f"The run {folder} has the layers {', '.join(there)}. Received: {unknown[0]}")
    columns = []
    for layer in layers:
        places = [i for i, own in enumerate(whole.units.layers) if own == layer]
        columns.append(_part(whole, places, layer))
    return side_by_side(columns, by=by, units=units, most=most)


def compare_snapshots(
    folder: str | Path,
    *,
    by: str = "auto",
    units: Sequence[str] = (),
    most: int = MOST_ROWS,
    progress: Progress | None = None,
) -> SideBySide:
    """Put a network beside itself, at the moments of its training that ``train.snapshots`` kept.

    Patterns and sounds of each moment are searched for with the run's own settings and seed, and kept in the run, so
    that the next call is quick.

    Parameters
    ----------
    folder : path
        Of a run that was probed.
    by : {"auto", "name", "label", "pattern"}
        ``"auto"`` is by name: it is one network.
    units, most
        Which units are shown, see `cepscope.report.side_by_side`; only these are searched for.
    progress : callable, optional
        Called with (what, parts done, parts in all).

    Returns
    -------
    SideBySide
        The last column, the trained network, is the reference.

    Raises
    ------
    NotFittedError
        The run kept no snapshots, or was not probed; says what to do.
    CorruptArtifactError
        A file of it is damaged.
    ParameterError
        There is no such unit.
    """
    context = _opened(folder)
    taken = snapshots_in(context.folder / "model" / SNAPSHOTS)
    if not taken:
        why = "its network was trained elsewhere" if context.config.model.file else ""
        how = f"cepscope run --config {folder}/run.toml --out {folder} --set train.snapshots=true"
        raise NotFittedError(
            f"The run {folder} has no snapshots of its training to compare: {why or f'get them with `{how}`'}."
        )
    scaling = _scaling(context)
    final = _column(context, TRAINED, scaling, in_the_end=True)
    final = _part(final, list(choose(final.units, units, most=most)), TRAINED)
    if progress:
        context.progress = progress
    columns = [_moment(context, path, final.units, scaling) for path in taken]
    moments = {-1: "new", 0: "pre"}
    short = [moments.get(epoch_of(path.stem), path.stem.removeprefix("epoch-")) for path in taken]
    return side_by_side(
        [*columns, final],
        by="name" if by == "auto" else by,
        reference=-1,
        units=units,
        most=len(final.units),
        moments=[*short, "end"],
    )


def _opened(folder: str | Path) -> Context:
    config = stored_config(folder)
    root = Path(folder).resolve()
    ledger = Ledger(root)
    require(ledger, "report", config)
    return Context(root, config, ledger)


def _twice(roots: Sequence[Path]) -> Path:
    return next(root for place, root in enumerate(roots) if root in roots[:place])


def _names(folders: Sequence[str | Path]) -> list[str]:
    """Return what the runs are called: their folders' names, or as much of the path as tells them apart."""
    parts = [Path(folder).resolve().parts for folder in folders]
    depth = next(n for n in range(1, 99) if len({own[-n:] for own in parts}) == len(parts))
    return ["/".join(own[-depth:]) for own in parts]


def _scaling(context: Context) -> Scaling:
    return load_scaling(context.folder / "features" / "scaler.npz")


def _column(context: Context, name: str, scaling: Scaling, *, in_the_end: bool = False) -> Column:
    """Return the units of a run, as they are stored, with patterns in the deviations of `scaling`."""
    patterns, stored = context.patterns, stored_sounds(context)
    rows = load_unit_rows(context.folder / "patterns" / "units.csv")
    single = _single(patterns)
    if not single:
        raise ParameterError(f"The run {context.folder} has no patterns of single units to compare.")
    places, keys = list(single.values()), SCORES[:3]
    scores = [{key: rows[i][key] for key in keys} for i in places]
    if in_the_end:
        scores = [{**own, SCORES[3]: own[SCORES[1]]} for own in scores]
    units = Units(
        tuple(single),
        _in_deviations(patterns.mfcc[places], scaling),
        tuple(rows[i]["label"] for i in places),
    )
    return Column(name, units, stored.audio[places], patterns.spec, scores)


def _single(patterns: Any) -> dict[str, int]:
    """Return the places of patterns that are of single units, by the unit's name; of several variants the first."""
    seen: dict[str, int] = {}
    for place, (name, index) in enumerate(zip(patterns.units, patterns.indices, strict=True)):
        if index >= 0:
            seen.setdefault(name.partition("#")[0], place)
    return seen


def _in_deviations(mfcc: Any, scaling: Scaling) -> Any:
    return scaling.in_deviations(scaling.transform(mfcc))


def _part(column: Column, places: Sequence[int], name: str) -> Column:
    chosen = list(places)
    units = column.units
    part = Units(tuple(units.names[i] for i in chosen), units.patterns[chosen], tuple(units.labels[i] for i in chosen))
    return Column(name, part, column.audio[chosen], column.spec, [column.scores[i] for i in chosen])


def _moment(context: Context, path: Path, units: Units, scaling: Scaling) -> Column:
    """Return units at a moment: from the run's folder what is kept there, searched for what is not."""
    kept = context.folder / KEPT / path.name
    settings = {name: getattr(context.config, name).model_dump(mode="json") for name in ("maximize", "invert")}
    for name in ("layers", "objectives"):  # decide which units, not what is found for one
        settings["maximize"].pop(name)
    inputs = {**context.ledger.outputs("extract"), "snapshot": sha256(path)}
    inputs["model"] = context.ledger.outputs("train")["model/model.keras"]
    key = fingerprint(settings=settings, seed=context.config.seed, inputs=inputs, code=code_version(*ROOMS))
    found = _kept(kept, key)
    there = {str(name) for name in found.get("units", ())}
    name = path.stem.replace("-", " ")
    if missing := [unit for unit in units.names if unit not in there]:
        more = _search(context, path, missing, name)
        found = {field: np.concatenate([found[field], more[field]]) if there else more[field] for field in more}
        save_npz(kept, key=key, **found)
    order = {str(unit): place for place, unit in enumerate(found["units"])}
    places = [order[unit] for unit in units.names]
    own = Units(units.names, _in_deviations(found["mfcc"][places], scaling), units.labels)
    scores = [{score: float(found[score][place]) for score in SCORES} for place in places]
    return Column(name, own, found["audio"][places], context.patterns.spec, scores)


def _kept(path: Path, key: str) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = load_npz(path)
    except CorruptArtifactError:
        return {}  # written whole or not at all, so this is no file of ours: it is replaced
    return found if str(found.pop("key", "")) == key else {}


def _search(context: Context, path: Path, units: Sequence[str], name: str) -> dict[str, Any]:
    """Find patterns and sounds of units in the network at a moment, as the run does, and measure them."""
    from cepscope.invert.inversion import invert
    from cepscope.maximize.engine import maximize
    from cepscope.maximize.transforms import Transforms
    from cepscope.probe.development import score_moment

    config = context.config
    model = at_snapshot(context.model, path)
    settings = config.maximize.model_dump(exclude={"layers", "objectives"})
    patterns = maximize(
        model,
        context.heard,
        **{**settings, "transforms": Transforms(**settings["transforms"])},
        objectives=units,
        seed=config.seed,
        progress=context.counter(f"{name}: patterns"),
    )
    sounds = invert(
        patterns,
        **config.invert.arguments(),
        indices=[
            context.patterns.units.index(unit) for unit in patterns.units
        ],  # its draws are those that the run made
        seed=config.seed,
        progress=context.counter(f"{name}: sounds"),
    )
    places = list(_single(patterns).values())
    scores = score_moment(model, context.model, context.heard, patterns, sounds)
    found = {"units": np.array(units, np.str_), "mfcc": patterns.mfcc[places], "audio": sounds.audio[places]}
    return found | {score: values[places] for score, values in scores.items()}
