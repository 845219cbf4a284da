"""Stages in pieces, which other processes, workers of a cluster and jobs of an array can do.

What is to be done is cut by the settings alone, never by who does it, so the bytes do not depend on that. A worker
opens the run by its folder and settings, once, and leaves a file for each of its pieces. The file has a key of all that
decides what is in it: one of other settings, or of other code, is not taken. The stage reads the files in order, and
removes them when what it makes of them is there.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from joblib.externals.loky import get_reusable_executor

from cepscope.atomic import load_npz, save_npz, sha256
from cepscope.config import RunConfig
from cepscope.errors import CorruptArtifactError

if TYPE_CHECKING:
    from cepscope.pipeline.stages import Context
    from cepscope.workers import Workers

_SERVED: list[str] = []  # key of the stage that this process's own processes work for
_OPEN: dict[tuple[str, str], Context] = {}  # the run that this process works for


@dataclass(frozen=True)
class Piece:
    """Some of what a stage does, in paths and numbers.

    Attributes
    ----------
    run : str
        Folder.
    config : RunConfig
        Its settings.
    stage : str
        Key of all that decides what comes of the stage.
    path : str
        The file to write.
    first, stop : int
        Which of what the stage counts.
    """

    run: str
    config: RunConfig
    stage: str
    path: str
    first: int
    stop: int

    @property
    def key(self) -> str:
        """Return a key of all that decides what comes of the piece."""
        return f"{self.stage}:{self.first}-{self.stop}"

    @property
    def rows(self) -> range:
        """Return which of what the stage counts."""
        return range(self.first, self.stop)

    def open(self) -> Context:
        """Return the run, opened once in each process."""
        from cepscope.pipeline.ledger import Ledger
        from cepscope.pipeline.stages import Context

        name = self.run, self.stage
        if name not in _OPEN:
            _OPEN.clear()
            _OPEN[name] = Context(Path(self.run), self.config, Ledger(Path(self.run)), key=self.stage)
        return _OPEN[name]

    def read(self) -> dict[str, Any] | None:
        """Return what was found; None if it is not there whole, or of other settings."""
        try:
            arrays = load_npz(self.path)
        except CorruptArtifactError:
            return None
        return arrays if str(arrays.pop("key", "")) == self.key else None

    def write(self, **arrays: Any) -> str:
        """Write what was found; return the file's checksum."""
        save_npz(self.path, key=self.key, **arrays)
        return sha256(self.path)


class Work(Protocol):
    """A function of a module that does a piece and returns the checksum of its file."""

    def __call__(self, piece: Piece, *, context: Context | None = None, report: Callable[[int], None] = ...) -> str: ...  # noqa: D102


class Pieces:
    """The pieces of a stage, and their files.

    Parameters
    ----------
    context : Context
    folder : Path
        Where the files lie until the stage is done.
    ranges : sequence of range
        What each piece holds of what the stage counts.
    done : callable, optional
        Whether what a file has is all that there is to it.
    """

    def __init__(
        self,
        context: Context,
        folder: Path,
        ranges: Sequence[range],
        done: Callable[[Piece, dict[str, Any]], bool] = lambda _piece, _found: True,
    ) -> None:
        self.context, self.folder, self._done = context, folder, done
        run = str(context.folder)
        self.every = [
            Piece(run, context.config, context.key, str(folder / f"{rows.start:08d}.npz"), rows.start, rows.stop)
            for rows in ranges
        ]

    def work(self, work: Work, what: str, workers: Workers, *, weigh: Callable[[Piece], int]) -> None:
        """Do what is missing; in a job of several its share.

        Parameters
        ----------
        work : callable
        what : str
            Name of the progress.
        workers : Workers
        weigh : callable
            How much of the progress a piece is, in what `work` reports.
        """
        context = self.context
        mine = context.share.of(self.every) if context.share else self.every
        missing = [piece for piece in mine if not self._is_done(piece)]
        total, done = sum(map(weigh, mine)), sum(map(weigh, mine)) - sum(map(weigh, missing))
        weights = {piece.path: weigh(piece) for piece in missing}

        def finished(result: tuple[str, str]) -> None:
            nonlocal done
            done += weights[result[0]]
            context.progress(what, done, total)

        def within(part: int) -> None:
            context.progress(what, done + part, total)

        alone = not workers.cluster and workers.processes(len(missing)) == 1
        here: dict[str, Any] = {"context": context, "report": within} if alone else {}
        if not alone and not workers.cluster:
            _end_processes_of_other_stages(context.key)
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="A worker stopped"
            )  # what TensorFlow keeps, joblib takes for a leak
            results = workers.map(partial(_do, work, **here), missing, folder=context.folder, done=finished)
        for path, digest in results:
            if not Path(path).is_file() or sha256(path) != digest:
                raise CorruptArtifactError(f"{path} is not what a worker wrote. Run the same command again.")

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield what each piece found, in order."""
        for piece in self.every:
            found = piece.read()
            if found is None:
                raise CorruptArtifactError(f"{piece.path} can't be read any more. Run the same command again.")
            yield found

    def clear(self) -> None:
        """Remove the files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _is_done(self, piece: Piece) -> bool:
        found = piece.read()
        return found is not None and self._done(piece, found)


def _end_processes_of_other_stages(stage: str) -> None:
    """End the processes of this machine that did something else: they hold what is of no use now."""
    if [stage] != _SERVED:
        get_reusable_executor().shutdown(wait=True)
        _SERVED[:] = [stage]


def cut(count: int, size: int) -> list[range]:
    """Cut so many things into pieces, `size` in each but the last.

    Examples
    --------
    >>> cut(5, 2)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    return [range(first, min(first + size, count)) for first in range(0, count, size)]


def _do(work: Work, piece: Piece, **here: Any) -> tuple[str, str]:
    return piece.path, work(piece, **here)
