"""Stages in order; what is current is skipped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cepscope.atomic import sha256, write_text
from cepscope.config import RunConfig, load_config, to_toml
from cepscope.errors import CorruptArtifactError, NotFittedError
from cepscope.pipeline import stages
from cepscope.pipeline.ledger import Ledger, fingerprint, run_folder, versions
from cepscope.pipeline.stages import Context, Progress


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    Attributes
    ----------
    name : str
    needs : tuple of str
        Stages whose files it reads.
    sections : tuple of str
        Settings that it depends on, besides the seed.
    run : callable
        Does the work and gives the files that it wrote.
    """

    name: str
    needs: tuple[str, ...]
    sections: tuple[str, ...]
    run: Callable[[Context], list[Path]]


STAGES = (
    Stage("extract", (), ("corpus", "strict", "features"), stages.run_extract),
    Stage("train", ("extract",), ("model", "train"), stages.run_train),
    Stage("maximize", ("extract", "train"), ("maximize",), stages.run_maximize),
    Stage("invert", ("maximize",), ("invert",), stages.run_invert),
    Stage("probe", ("extract", "train", "maximize", "invert"), ("report",), stages.run_probe),
    Stage("report", ("extract", "train", "maximize", "invert", "probe"), ("report",), stages.run_report),
)
NAMES = tuple(stage.name for stage in STAGES)


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
    notify: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Run every stage, or one, in a run's folder.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    config : RunConfig
    only : str, optional
        A single stage; those before it must be done.
    progress : callable, optional
        Called with (what, parts done, parts in all).
    notify : callable, optional
        Called after each stage.

    Returns
    -------
    list of Outcome

    Raises
    ------
    NotFittedError
        If `only` needs a stage that was not run.
    CorruptArtifactError
        If `only` needs a file that was changed.
    """
    folder = Path(folder).resolve()
    outcomes = []
    with run_folder(folder):
        ledger = Ledger(folder)
        context = Context(folder, config, ledger)
        if progress:
            context.progress = progress
        for stage in STAGES:
            if only is not None and stage.name != only:
                continue
            _require(ledger, stage, chosen=only is not None)
            outcome = _run_stage(stage, context)
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
    path = Path(folder) / "run.toml"
    if not path.is_file():
        raise NotFittedError(
            f"There is no run in {folder}: it has no run.toml. Start one with `cepscope run --out {folder}`."
        )
    return load_config(path, overrides=overrides, flags=flags, environment={})


def _require(ledger: Ledger, stage: Stage, *, chosen: bool) -> None:
    """Refuse a single stage whose inputs are missing or were changed."""
    if not chosen:
        return
    for name in stage.needs:
        if not ledger.outputs(name):
            raise NotFittedError(
                f"`{stage.name}` needs `{name}`, which was not run in {ledger.folder}. Run `cepscope {name}` first."
            )
        if not ledger.is_intact(name):
            raise CorruptArtifactError(
                f"A file of `{name}` in {ledger.folder} is missing or was changed. Run `cepscope {name}` again."
            )


def _run_stage(stage: Stage, context: Context) -> Outcome:
    ledger, config = context.ledger, context.config
    inputs = _corpus_sums(context) if stage.name == "extract" else {}
    for name in stage.needs:
        inputs |= ledger.outputs(name)
    values = config.model_dump(mode="json")
    own = {name: values[name] for name in stage.sections}
    key = fingerprint(stage=stage.name, settings=own, seed=config.seed, inputs=inputs, versions=versions())
    if ledger.is_current(stage.name, key):
        return Outcome(stage.name, skipped=True, seconds=0.0)
    ledger.begin(stage.name)
    started = time.perf_counter()
    outputs = stage.run(context)
    seconds = time.perf_counter() - started
    write_text(context.folder / "run.toml", to_toml(config))
    ledger.describe(settings=_without_infinity(values))
    recorded = {"corpus": fingerprint(**inputs)} if stage.name == "extract" else inputs
    ledger.finish(stage.name, key, outputs, seconds=seconds, inputs=recorded, seed=config.seed)
    return Outcome(stage.name, skipped=False, seconds=seconds)


def _corpus_sums(context: Context) -> dict[str, str]:
    """Return the checksum of every clip, with what is said of it."""
    corpus = context.corpus
    return {
        corpus.relative(
            clip
        ): f"{sha256(clip.path) if clip.path.is_file() else ''} {clip.label} {clip.speaker} {clip.split}"
        for clip in corpus.clips
    }


def _without_infinity(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: _without_infinity(value) for name, value in values.items()}
    return None if isinstance(values, float) and values in (float("inf"), float("-inf")) else values
