"""The same commands alone, on processes, on workers of Dask and as jobs of Slurm: the same bytes, worker killed or not.

    python scripts/cluster.py --json
    python scripts/cluster.py --ways alone dask killed slurm --corpus FOLDER

Each way makes a run from recordings to page, stage by stage, with the commands that a person would type. `dask` starts
a scheduler and two workers on loopback; `killed` ends one of them for good (``kill -9``, no nanny) in the middle of
each stage and starts another; `slurm` needs a Slurm that is set up (one node will do) and gives each stage to an array
of three jobs. The files of all runs are compared, but for the times in their records.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from crash import files_of

PIECES = ("extract", "maximize", "invert", "probe")
STAGES = ("extract", "train", "maximize", "invert", "probe", "report")
WAYS = ("alone", "processes", "dask", "killed", "slurm")
SMALL = (
    "features.sr=8000", "model.filters=[8, 12]", "train.pretrain_epochs=1", "train.epochs=2", "maximize.steps=16",
    "maximize.batch=6",
)  # fmt: skip
JOBS = 3  # of a Slurm array
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "MPLBACKEND": "Agg",
    "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1",  # the bits of a training depend on them
}  # fmt: skip


def command(stage: str, corpus: str, out: Path, *more: str) -> list[str]:
    """Return the command of a stage."""
    line = [sys.executable, "-m", "cepscope", "--quiet", stage]
    if stage == "extract":
        line += [corpus, "--out", str(out), *(word for setting in SMALL for word in ("--set", setting))]
    else:
        line.append(str(out))
    return [*line, *more]


def do(line: list[str]) -> None:
    """Run a command that must succeed."""
    found = subprocess.run(line, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, check=False)
    if found.returncode:
        raise SystemExit(f"{' '.join(line)} ended with {found.returncode}: {found.stderr.strip()}")


class Dask:
    """A scheduler and workers of one thread on loopback, as their commands start them."""

    def __init__(self, opened: ExitStack, place: Path, workers: int = 2) -> None:
        self.opened, self.place = opened, place
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        host, port = self.address.removeprefix("tcp://").split(":")
        self.start("scheduler", "--host", host, "--port", port, "--no-dashboard")
        self.workers = [self.start_worker() for _ in range(workers)]

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start one of Dask's commands, which ends with the cluster."""
        line = [sys.executable, "-m", "dask", *words]
        log = self.opened.enter_context((self.place / "dask.log").open("ab"))
        process = subprocess.Popen(line, env={**os.environ, **ENVIRONMENT}, cwd=self.place, stdout=log, stderr=log)
        self.opened.callback(process.wait)
        self.opened.callback(process.kill)
        return process

    def start_worker(self) -> subprocess.Popen[bytes]:
        """Start one more worker."""
        return self.start("worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard",
                          "--local-directory", str(self.place / "scratch"))  # fmt: skip

    def kill(self) -> None:
        """End a worker for good, and start another."""
        self.workers.pop(0).send_signal(signal.SIGKILL)
        self.workers.append(self.start_worker())


@contextmanager
def dask(place: Path) -> Iterator[Dask]:
    """Start a cluster and end it."""
    with ExitStack() as opened:
        yield Dask(opened, place)


def written(out: Path) -> int:
    """Return how many whole files a run has."""
    return sum(path.is_file() and not path.name.startswith(".") for path in out.rglob("*"))


def while_killing(line: list[str], out: Path, cluster: Dask) -> bool:
    """Run a command and kill a worker once the first piece is there; tell whether it was still at work then."""
    before = written(out)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    process = subprocess.Popen(line, env={**os.environ, **ENVIRONMENT}, text=True, **quiet)
    while process.poll() is None and written(out) == before:
        time.sleep(0.01)
    midway = process.poll() is None
    if midway:
        cluster.kill()
    _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(line)} ended with {process.returncode}: {errors.strip()}")
    return midway


def submit(line: list[str], place: Path) -> None:
    """Give a command to an array of Slurm jobs, each with its share, and wait for them."""
    script = place / "job.sh"
    words = " ".join(f"'{word}'" for word in line)
    script.write_text(f"#!/bin/sh\nexec {words} --shard $SLURM_ARRAY_TASK_ID/{JOBS}\n")
    do(["sbatch", "--quiet", "--wait", f"--array=1-{JOBS}", f"--output={place}/slurm-%a.log", str(script)])


def make(way: str, corpus: str, place: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Make a run in one way; return seconds by stage, and in which stages a worker was killed midway."""
    out = place / way
    seconds: dict[str, float] = {}
    killed = []
    with ExitStack() as opened:
        cluster = opened.enter_context(dask(place)) if way in ("dask", "killed") else None
        for stage in STAGES:
            started = time.perf_counter()
            if stage not in PIECES:
                do(command(stage, corpus, out))
            elif way == "killed" and cluster:
                if while_killing(command(stage, corpus, out, "--cluster", cluster.address), out, cluster):
                    killed.append(stage)
            elif cluster:
                do(command(stage, corpus, out, "--cluster", cluster.address))
            elif way == "slurm":
                submit(command(stage, corpus, out), place)
                do(command(stage, corpus, out, "--workers", "1"))
            else:
                do(command(stage, corpus, out, "--workers", "1" if way == "alone" else "2"))
            seconds[stage] = round(time.perf_counter() - started, 1)
            say(f"{way}: {stage} {seconds[stage]} s")
    return {"seconds": seconds, **({"killed_in": killed} if way == "killed" else {})}


def main() -> None:
    """Read the arguments, make the runs, print what was compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default="spoken-digits", help="a folder or a built-in corpus")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY", help=", ".join(WAYS))
    parser.add_argument("--json", action="store_true", help="print JSON only")
    args = parser.parse_args()
    ways = [way for way in args.ways if way != "slurm" or shutil.which("sbatch")]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        say = (lambda _text: None) if args.json else print
        found = {way: make(way, args.corpus, place, say) for way in ways}
        wanted = files_of(place / ways[0])
        for way in ways[1:]:
            files = files_of(place / way)
            names = sorted(name for name in {*wanted, *files} if wanted.get(name) != files.get(name))
            found[way] |= {"files": len(files), "differ": names}
            say(f"{way}: {len(files)} files, {len(names)} differ from {ways[0]} {names[:5]}")
    if args.json:
        print(json.dumps(found))
    raise SystemExit(any(row.get("differ") for row in found.values()))


if __name__ == "__main__":
    main()
