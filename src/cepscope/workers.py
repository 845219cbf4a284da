"""Pieces of work on several processes: of this machine, or of a Dask cluster.

A piece says what is to be done in paths and numbers, so nothing large travels; what comes of it is written where it is
made, whole or not at all. A piece may therefore be done twice, and one whose worker was lost is done again.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import joblib

from cepscope.allocation import keep_freed_memory
from cepscope.errors import CepscopeError, DataError, MissingExtraError, ParameterError

Piece = TypeVar("Piece")
Result = TypeVar("Result")

VERSION = version("cepscope")
LOSSES = 3  # of workers in a row, without a piece done between them, after which a job is given up
PATIENCE = 30  # s, for a scheduler and its first worker
_LOCAL = re.compile(r"dask:([1-9]\d{0,3})")
_ADDRESS = re.compile(r"(tcp|tls|ws|wss)://\S+")
_SHARE = re.compile(r"(\d{1,6})/(\d{1,6})")


@dataclass(frozen=True)
class Share:
    """One job's share of the pieces, when a scheduler of jobs (Slurm) starts several: every `jobs`-th of them.

    Attributes
    ----------
    number
        Of this job, from 1.
    jobs
        In all.
    """

    number: int
    jobs: int

    @classmethod
    def parse(cls, text: str) -> Share:
        """Read ``"3/8"``, the third of eight.

        Examples
        --------
        >>> Share.parse("3/8").of(range(20))
        range(2, 20, 8)
        """
        found = _SHARE.fullmatch(text.strip())
        share = cls(*map(int, found.groups())) if found else cls(0, 0)
        if not 1 <= share.number <= share.jobs:
            raise ParameterError(f"A shard is i/n, i from 1 to n, as 3/8. Received: {text!r}")
        return share

    def of(self, pieces: Sequence[Piece]) -> Sequence[Piece]:
        """Return this job's pieces."""
        return pieces[self.number - 1 :: self.jobs]


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Where pieces of work are done; what comes of them is the same, bit for bit, wherever that is.

    Each process has one thread for BLAS, because the last bits of a product depend on how many share it.

    Attributes
    ----------
    count
        Processes on this machine; 0 is one a core, 1 is this process itself.
    cluster
        Instead: the address of a Dask scheduler, as ``"tcp://10.0.0.1:8786"``, whose workers have one thread each, see
        the same files and have the same cepscope; or ``"dask:4"``, four such workers on this machine.

    Raises
    ------
    ParameterError
        Neither is possible, or both are asked for.
    """

    count: int = 0
    cluster: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.count <= 10_000:
            raise ParameterError(f"The number of workers must be 0 (one a core) to 10000. Received: {self.count}")
        if self.cluster and not (_LOCAL.fullmatch(self.cluster) or _ADDRESS.fullmatch(self.cluster)):
            raise ParameterError(
                'A cluster is the address of a Dask scheduler, as "tcp://10.0.0.1:8786", or "dask:N", N workers on '
                f"this machine. Received: {self.cluster!r}"
            )
        if self.cluster and self.count:
            raise ParameterError(f"A cluster has its own workers; leave out their number. Received: {self.count}")

    def unless_asked(self, count: int) -> Workers:
        """Return these, with another number of processes where nobody has chosen one."""
        return self if self.count or self.cluster else replace(self, count=count)

    def processes(self, pieces: int) -> int:
        """Return how many processes of this machine share so many pieces."""
        return max(1, min(self.count or joblib.cpu_count(), pieces))

    def map(
        self,
        work: Callable[[Piece], Result],
        pieces: Sequence[Piece],
        *,
        folder: Path | None = None,
        done: Callable[[Result], object] | None = None,
    ) -> list[Result]:
        """Do all pieces.

        Parameters
        ----------
        work
            A function of a module, that does one piece; it may be called again for one whose worker was lost.
        pieces
            Small and picklable.
        folder
            That every worker must see.
        done
            Called in this process with each result, as it comes.

        Returns
        -------
        list
            Results, in the order of the pieces.

        Raises
        ------
        CepscopeError
            Workers were lost again and again.
        DataError
            The cluster can't be reached, or a worker of it does not see the folder.
        ParameterError
            The cluster's workers have several threads, or another cepscope.
        MissingExtraError
            Dask is not installed.
        """
        results: dict[int, Result] = {}
        for i, result in self._each(work, pieces, folder):
            results[i] = result
            if done:
                done(result)
        return [results[i] for i in range(len(pieces))]

    def _each(
        self, work: Callable[[Piece], Result], pieces: Sequence[Piece], folder: Path | None
    ) -> Iterator[tuple[int, Result]]:
        if not pieces:
            return
        if self.cluster:
            with _client(self.cluster) as client:
                _inspect(client, self.cluster, folder)
                yield from _on_cluster(client, work, pieces)
        elif (processes := self.processes(len(pieces))) == 1:
            yield from ((i, work(piece)) for i, piece in enumerate(pieces))
        else:
            yield from _on_this_machine(processes, work, pieces)


def _on_this_machine(
    processes: int, work: Callable[[Piece], Result], pieces: Sequence[Piece]
) -> Iterator[tuple[int, Result]]:
    """Do pieces on processes of this machine, those of a lost one again."""
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    left = dict(enumerate(pieces))
    losses = 0
    while left:
        try:
            with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
                pool = joblib.Parallel(n_jobs=processes, return_as="generator_unordered", batch_size=1)
                calls = [joblib.delayed(_one)(work, i, piece) for i, piece in left.items()]
                with _deaf_to_interrupts():
                    found = pool(calls)
                with _closing(found):
                    for i, result in found:
                        del left[i]
                        losses = 0
                        yield i, result
        except TerminatedWorkerError as error:
            losses += 1
            if losses == LOSSES:
                raise CepscopeError(
                    f"A worker process was ended from outside {LOSSES} times; perhaps memory ran out. What is done is "
                    "kept: run the same command again, with fewer workers."
                ) from error


def _on_cluster(client: Any, work: Callable[[Piece], Result], pieces: Sequence[Piece]) -> Iterator[tuple[int, Result]]:
    """Do pieces on a cluster; its scheduler gives those of a lost worker to another.

    By Dask itself: joblib's backend for it waits for ever for a piece that the scheduler has given up.
    """
    from distributed import KilledWorker, as_completed
    from distributed.client import FutureCancelledError

    futures = client.map(partial(_one, work), range(len(pieces)), pieces, pure=False)
    try:
        with _giving_up_without_workers(client, futures):
            for future in as_completed(futures, loop=client.loop):
                yield future.result()
                future.release()
    except KilledWorker as error:
        raise CepscopeError(
            "Workers of the cluster were lost again and again over the same piece; perhaps memory ran out. What is "
            "done is kept: run the same command again, on workers with more memory."
        ) from error
    except FutureCancelledError as error:
        raise DataError(
            "The scheduler of the cluster, or its last worker, was lost. What is done is kept: run the same command "
            "again when they are back."
        ) from error


@contextmanager
def _giving_up_without_workers(client: Any, futures: Sequence[Any]) -> Iterator[None]:
    """Cancel what is left when no worker has been there for a while: Dask would wait for ever."""
    over = threading.Event()

    def watch() -> None:
        seen = time.monotonic()
        while not over.wait(1):
            try:
                if client.nthreads():
                    seen = time.monotonic()
            except OSError:  # of a lost scheduler Dask itself cancels the futures
                return
            if time.monotonic() - seen > PATIENCE:
                client.cancel(futures)
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


@contextmanager
def _closing(found: Any) -> Iterator[None]:
    """End a generator of joblib, which warns of results that nobody takes, as after Ctrl-C."""
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found.close()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: this one ends them, and they have nothing to say."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is started inherits it
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _one(work: Callable[[Piece], Result], number: int, piece: Piece) -> tuple[int, Result]:
    """Do one piece, in a process of its own."""
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # read when TensorFlow is loaded
    keep_freed_memory()
    return number, work(piece)


@contextmanager
def _client(cluster: str) -> Iterator[Any]:
    """Connect to a cluster; one of this machine lives as long."""
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise MissingExtraError(f"A cluster needs Dask: pip install 'cepscope[dask]'. Received: {cluster!r}") from error
    if local := _LOCAL.fullmatch(cluster):
        with _deaf_to_interrupts():
            here = LocalCluster(
                n_workers=int(local[1]), threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
            )
        with here, Client(here, set_as_default=False) as client:
            yield client
        return
    try:
        client = Client(cluster, timeout=PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise DataError(
            f"No Dask scheduler answers at {cluster} ({error}); start one with `dask scheduler`."
        ) from error
    with client:
        yield client


def _inspect(client: Any, cluster: str, folder: Path | None) -> None:
    """Refuse a cluster whose workers would find something else than this process, or come to other bits."""
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        raise DataError(
            f"The cluster at {cluster} has no worker; start some with `dask worker --nthreads 1 {cluster}`."
        ) from error
    for address, threads in client.nthreads().items():
        if threads != 1:
            raise ParameterError(
                "Workers must have one thread each, or the last bits of results would depend on them: start them with "
                f"`dask worker --nthreads 1 --nworkers N`. Received: {threads} threads at {address}"
            )
    try:
        found = client.run(_facts, None if folder is None else str(folder))
    except ImportError as error:
        raise ParameterError(
            f"The cluster's workers lack cepscope ({error}); install the same version there."
        ) from error
    for host, theirs, seen in found.values():
        if theirs != VERSION:
            raise ParameterError(f"Every worker must have cepscope {VERSION}. Received: {theirs} on {host}")
        if not seen:
            raise DataError(f"The worker on {host} does not see {folder}; use a folder that all machines share.")


def _facts(folder: str | None) -> tuple[str, str, bool]:
    """Return a worker's host, its version of cepscope, and whether it sees a folder."""
    return socket.gethostname(), VERSION, folder is None or Path(folder).is_dir()
