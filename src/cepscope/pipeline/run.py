"""Stages in order; what is current is skipped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cepscope.atomic import write_text
from cepscope.config import RunConfig, load_config, to_toml
from cepscope.corpora.checksum import corpus_checksum
from cepscope.errors import CorruptArtifactError, NotFittedError, ParameterError
from cepscope.models.cluster import this_worker
from cepscope.pipeline import by_unit, stages
from cepscope.pipeline.foreign import outside_sums, settle
from cepscope.pipeline.ledger import SETTINGS, Ledger, code_version, fingerprint, run_folder
from cepscope.pipeline.stages import Context, Progress
from cepscope.pipeline.together import meet, take_part, tell, worker_of
from cepscope.workers import Share, Workers


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    Attributes
    ----------
    name : str
    needs : tuple of str
        Stages whose files it reads.
    sections : tuple of str
        Sections or single settings that it depends on, besides the seed.
    rooms : tuple of str
        Whose code it runs.
    run : callable
        Does the work and gives the files that it wrote.
    """

    name: str
    needs: tuple[str, ...]
    sections: tuple[str, ...]
    rooms: tuple[str, ...]
    run: Callable[[Context], list[Path]]


READING = ("corpus", "layout", "label", "split", "margin", "strict", "features")
STAGES = (
    Stage("extract", (), READING, ("corpora", "features", "audio"), stages.run_extract),
    Stage("train", ("extract",), ("model", "train"), ("models",), stages.run_train),
    Stage("maximize", ("extract", "train"), ("maximize",), ("maximize", "models", "features"), by_unit.run_maximize),
    Stage("invert", ("extract", "maximize"), ("invert",), ("invert", "features"), by_unit.run_invert),
    Stage(
        "probe",
        ("extract", "train", "maximize", "invert"),
        ("report.exemplars",),
        ("probe", "maximize", "models", "features", "audio"),
        by_unit.run_probe,
    ),
    Stage(
        "report",
        ("extract", "train", "maximize", "invert", "probe"),
        ("report",),
        ("report", "probe"),
        stages.run_report,
    ),
)
NAMES = tuple(stage.name for stage in STAGES)
IN_PIECES = (
    "extract",
    "maximize",
    "invert",
    "probe",
)  # stages whose work is cut into pieces that know nothing of others
OUTSIDE = ("model.file", "model.labels", "model.scaling")  # inputs that are no files of the run


@dataclass(frozen=True)
class Outcome:
    """What became of a stage."""

    stage: str
    skipped: bool
    seconds: float


def run_stages(
    folder: str | Path,
    config: RunConfig,
    *,
    only: str | None = None,
    progress: Progress | None = None,
    starting: Callable[[str], None] | None = None,
    notify: Callable[[Outcome], None] | None = None,
    say: Callable[[str], None] | None = None,
    epoch: Callable[[dict[str, Any]], None] | None = None,
    workers: Workers | None = None,
    share: Share | None = None,
) -> list[Outcome]:
    """Run every stage, or one, in a run's folder.

    Under TF_CONFIG the first worker does; the others train with it, write nothing and get no outcomes.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    config : RunConfig
    only : str, optional
        A single stage; those before it must be done.
    progress : callable, optional
        Called with (what, parts done, parts in all).
    starting : callable, optional
        Called with the name of each stage that is not skipped, before it.
    notify : callable, optional
        Called after each stage.
    say : callable, optional
        Called with what was found out about a network of others, a line at a time.
    epoch : callable, optional
        Called with each epoch's row while the network is trained.
    workers : Workers, optional
        Who shares the work of stages that have pieces; by default processes of this machine.
    share : Share, optional
        Of the pieces of the stage `only`, which are done and left for a later run of the stage to find: nothing is
        finished, and others may do their shares at the same time.

    Returns
    -------
    list of Outcome

    Raises
    ------
    NotFittedError
        If `only` needs a stage that was not run.
    CorruptArtifactError
        If `only` needs a file that was changed.
    ParameterError
        If `only` needs a stage that was run with other settings or before its own inputs changed, or the
        folder holds something else than a run.
    """
    if share and only not in IN_PIECES:
        raise ParameterError(f"Shares are of one stage: {', '.join(IN_PIECES)}. Received: {only or 'all stages'}")
    folder = Path(folder).resolve()
    outcomes: list[Outcome] = []
    given = {"progress": progress, "say": say, "epoch": epoch, "workers": workers, "share": share}
    hooks: dict[str, Any] = {name: hook for name, hook in given.items() if hook}
    worker = worker_of(only)
    if not worker.is_chief:
        context = Context(folder, config, Ledger(folder), **hooks)
        meet(worker, context)
        take_part(worker, context)
        return outcomes
    with run_folder(folder, shared=share is not None):
        ledger = Ledger(folder)
        context = Context(folder, config, ledger, **hooks)
        meet(worker, context)
        if config.model.file and only in (None, "extract", "train"):
            context.config, lines = settle(config, stages.corpus_rate(context.corpus))
            for line in lines:
                context.say(line)
        for stage in STAGES:
            if only is not None and stage.name != only:
                continue
            if only is not None:
                require(ledger, stage.name, context.config)
            outcome = _run_stage(stage, context, starting)
            outcomes.append(outcome)
            if notify:
                notify(outcome)
    return outcomes


def stored_config(
    folder: str | Path, *, overrides: tuple[str, ...] = (), flags: dict[str, Any] | None = None
) -> RunConfig:
    """Read the settings of an earlier run, with changes.

    Raises
    ------
    NotFittedError
        If there is no run in that folder.
    """
    path = Path(folder) / SETTINGS
    if not path.is_file():
        raise NotFittedError(
            f"There is no run in {folder}: it has no {SETTINGS}. Start one with `cepscope run --out {folder}`."
        )
    return load_config(path, overrides=overrides, flags=flags, environment={})


def require(ledger: Ledger, single: str, config: RunConfig) -> None:
    """Refuse a single stage whose inputs are missing, were changed, or are not those of these settings."""
    stage = next(one for one in STAGES if one.name == single)
    values, defaults = (_plain(one.model_dump(mode="json")) for one in (config, RunConfig()))
    for needed in (other for other in STAGES if other.name in stage.needs):
        name = needed.name
        if not ledger.outputs(name):
            raise NotFittedError(
                f"`{stage.name}` needs `{name}`, which was not run in {ledger.folder}. Run `cepscope {name}` first."
            )
        if not ledger.is_intact(name):
            raise CorruptArtifactError(
                f"A file of `{name}` in {ledger.folder} is missing or was changed. Run `cepscope {name}` again."
            )
        recorded = {**ledger.entry(name)["settings"], "seed": ledger.entry(name)["seed"]}
        was = _own(needed, defaults) | recorded  # a run from before a setting was there had its default
        now = _own(needed, values) | {"seed": config.seed}
        if changed := [key for key in now if now[key] != was.get(key)]:
            raise ParameterError(
                f"`{name}` was run with {changed[0]}={was.get(changed[0])}. Received: {now[changed[0]]}. "
                f"Run `cepscope {name}` with the new setting first, or `cepscope run`."
            )
        read = {path: digest for path, digest in ledger.entry(name)["inputs"].items() if path not in OUTSIDE}
        if needed.needs and read != _inputs(ledger, needed):
            raise ParameterError(
                f"`{name}` was run before its inputs changed. Run `cepscope {name} {ledger.folder}` first."
            )


def _run_stage(stage: Stage, context: Context, starting: Callable[[str], None] | None) -> Outcome:
    if context.share and stage.name == "extract":  # its pieces are found by name: no job has to read the whole corpus
        return _run_share(stage, context, starting)
    ledger, config = context.ledger, context.config
    values = _plain(config.model_dump(mode="json"))
    own = _own(stage, values)
    inputs = _corpus(context) if stage.name == "extract" else _inputs(ledger, stage)
    if stage.name == "train":
        inputs |= outside_sums(config.model)
    code = code_version(*stage.rooms)
    key = fingerprint(stage=stage.name, settings=own, seed=config.seed, inputs=inputs, code=code)
    current = ledger.is_current(stage.name, key)
    if stage.name == "train":
        tell(this_worker(), not current and not config.model.file)
    if current:
        return Outcome(stage.name, skipped=True, seconds=0.0)
    context.key = key
    if context.share:
        return _run_share(stage, context, starting)
    if starting:
        starting(stage.name)
    started = time.perf_counter()
    ledger.begin(stage.name)
    outputs = stage.run(context)
    seconds = time.perf_counter() - started
    write_text(context.folder / SETTINGS, to_toml(config))
    ledger.describe(settings=values)
    ledger.finish(stage.name, key, outputs, seconds=seconds, settings=own, inputs=inputs, seed=config.seed)
    return Outcome(stage.name, skipped=False, seconds=seconds)


def _run_share(stage: Stage, context: Context, starting: Callable[[str], None] | None) -> Outcome:
    """Have this job's pieces of a stage made."""
    if starting:
        starting(stage.name)
    started = time.perf_counter()
    stage.run(context)
    return Outcome(stage.name, skipped=False, seconds=time.perf_counter() - started)


def _inputs(ledger: Ledger, stage: Stage) -> dict[str, str]:
    return {path: digest for name in stage.needs for path, digest in ledger.outputs(name).items()}


def _corpus(context: Context) -> dict[str, str]:
    counter = context.counter("extract: checksum")
    return {"corpus": corpus_checksum(context.corpus, workers=context.workers, progress=counter)}


def _own(stage: Stage, values: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a stage by name, as ``train.epochs``."""
    own: dict[str, Any] = {}
    for section in stage.sections:
        name, dot, key = section.partition(".")
        value = values[name][key] if dot else values[name]
        own |= {f"{section}.{name}": v for name, v in value.items()} if isinstance(value, dict) else {section: value}
    return own


def _plain(values: Any) -> Any:
    """Return values as JSON can hold them and gives them back: an infinite number becomes None."""
    if isinstance(values, dict):
        return {name: _plain(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [_plain(value) for value in values]
    return None if isinstance(values, float) and math.isinf(values) else values
