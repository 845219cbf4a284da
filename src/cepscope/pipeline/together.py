"""One run by several workers: the first one runs it and writes; the others take part in its training only.

Who is who TF_CONFIG says, the same for every command. All must see the folder of the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cepscope.models.cluster import Worker, this_worker

if TYPE_CHECKING:
    from cepscope.pipeline.stages import Context


def worker_of(only: str | None) -> Worker:
    """Return which worker this process is of a run, or of a single stage: only training is shared."""
    return this_worker() if only in (None, "train") else Worker()


def meet(worker: Worker, context: Context) -> None:
    """Wait until all workers are there, before anything is done: from then on none can wait for one that is gone."""
    if worker.count > 1:
        context.say(f"Worker {worker.index} of {worker.count}: waiting for the others.")
        _strategy()


def tell(worker: Worker, trains: bool) -> None:
    """Tell the other workers, as the first one, whether there is something to train."""
    if worker.count > 1:
        from cepscope.models.parallel import chief_says

        chief_says(_strategy(), trains)


def take_part(worker: Worker, context: Context) -> None:
    """Train along, as another worker than the first, once that one says so; write nothing."""
    from cepscope.models.parallel import chief_says
    from cepscope.pipeline.stages import run_train

    me = f"Worker {worker.index} of {worker.count}"
    if chief_says(_strategy(), False):
        run_train(context)
        context.say(f"{me}: done. Worker 0 writes the network to {context.folder / 'model'}.")
    else:
        context.say(f"{me}: there is nothing to train.")


def _strategy() -> Any:
    from cepscope.models.parallel import training_strategy

    return training_strategy()
