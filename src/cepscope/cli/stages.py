"""Stages of a run, with what a person sees of them."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cepscope.cli import console

if TYPE_CHECKING:
    from cepscope.config import RunConfig
    from cepscope.workers import Share, Workers


def run_stage(
    name: str,
    folder: Path,
    set_: list[str] | None,
    flags: dict[str, Any] | None = None,
    *,
    tensorboard: Path | None = None,
    workers: Workers | None = None,
    share: Share | None = None,
) -> Path:
    """Run one stage of a run that is there, with changed settings; return its folder."""
    from cepscope.pipeline import stored_config

    settings = stored_config(folder, overrides=tuple(set_ or ()), flags=flags)
    run_stages(folder, settings, only=name, tensorboard=tensorboard, workers=workers, share=share)
    return folder


def run_stages(
    folder: Path,
    settings: RunConfig,
    *,
    only: str | None = None,
    opening: tuple[str, ...] = (),
    tensorboard: Path | None = None,
    workers: Workers | None = None,
    share: Share | None = None,
) -> None:
    """Run every stage, or one, with bars and messages; `opening` is said once something is to be done."""
    from cepscope import pipeline
    from cepscope.models.cluster import this_worker

    if not this_worker().is_chief:
        opening, tensorboard = (), None
    lines = list(opening)  # said once it is sure that there is something to do

    def starting(stage: str) -> None:
        while lines and stage != "extract":  # until recordings are read, a bad corpus may still be all there is to say
            console.say(lines.pop(0))

    def notify(outcome: pipeline.Outcome) -> None:
        while lines:
            console.say(lines.pop(0))
        console.stage_done(outcome)

    def say(line: str) -> None:
        (lines.append if lines else console.say)(line)

    hooks: dict[str, Any] = {"starting": starting, "notify": notify, "say": say, "workers": workers, "share": share}
    with ExitStack() as opened:
        log = None
        if tensorboard is not None:
            from cepscope.report import TensorBoardLog

            log = opened.enter_context(TensorBoardLog(tensorboard))
            hooks["epoch"] = log.epoch
        bars = opened.enter_context(console.progress())
        pipeline.run_stages(folder, settings, only=only, progress=bars.update, **hooks)
        if log:
            log.finish(folder, training_only=only == "train")


def crew(workers: int | None, cluster: str | None) -> Workers:
    """Return who does the work, from the flags."""
    from cepscope.workers import Workers

    return Workers(count=workers or 0, cluster=cluster or "")


def share_of(shard: str | None, **unfit: bool) -> Share | None:
    """Return a job's share, from the flag; ParameterError beside flags that want the result of all jobs."""
    if shard is None:
        return None
    from cepscope.errors import ParameterError
    from cepscope.workers import Share

    if given := [name for name, said in unfit.items() if said]:
        raise ParameterError(f"--{given[0]} wants the result of all shards; leave it out. Received: --shard {shard}")
    return Share.parse(shard)


def say_share(share: Share) -> None:
    """Tell what is left to do once a job's share is done."""
    console.say(f"Shard {share.number}/{share.jobs} is there. When all are, run the same command without --shard.")
