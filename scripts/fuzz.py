"""Broken files against everything that reads files: no traceback, no hang, no crash, no memory, no half of a result.

    python scripts/fuzz.py --files 5000 --seed 0 --json
    python scripts/fuzz.py --kinds sound keras --files 500 --keep broken
    python scripts/fuzz.py --only sound/1234 --seed 0 --keep broken

Sound files of nine kinds are broken ``--files`` times, files of each other kind ``--others`` times (see `mutants`: each
from a seed of its own, so that one can be repeated by itself), and given to the commands and functions that read such
files (see `fuzz_kinds`). What comes of it is *fine* (a result that is finite), *refused* (a CepscopeError of one line),
or a failure: another exception, more than ``--seconds``, a process that dies, more than ``--megabytes`` of memory, a
message of several lines, a result with NaN in it, a part of a file left behind. A process works on each kind; it is
started anew where it died or hung. The exit code is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1", MPLBACKEND="Agg")

from fuzz_kinds import KINDS, Failed, File, Kind, memory, reset_memory

MEGABYTE = 1 << 20
ADDRESSES = 6 << 30  # bytes of address space beyond those of a started process


def main() -> int:
    """Break, feed, count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=5000, help="broken sound files")
    parser.add_argument("--others", type=int, default=300, help="broken files of each other kind")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10.0, help="that reading a file may take")
    parser.add_argument("--megabytes", type=int, default=300, help="that reading a file may take")
    parser.add_argument("--only", metavar="KIND/NUMBER", help="repeat one")
    parser.add_argument("--keep", type=Path, help="folder for the files that failed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.only:
        kind, _, number = options.only.partition("/")
        work = {kind: range(int(number), int(number) + 1)}
    else:
        work = {kind: range(options.files if kind == "sound" else options.others) for kind in options.kinds}
    started, found = time.monotonic(), {}
    for kind, numbers in work.items():
        found[kind] = run_kind(kind, numbers, options)
        print(f"{kind}: {len(numbers)} files, {dict(found[kind]['outcomes'])}", file=sys.stderr, flush=True)
    failures = [line for one in found.values() for line in one["failures"]]
    total = sum((Counter(one["outcomes"]) for one in found.values()), Counter())
    report = {
        "seed": options.seed,
        "files": sum(map(len, work.values())),
        "outcomes": dict(total),
        "kinds": {
            kind: {name: one[name] for name in ("outcomes", "slowest", "most_memory")} for kind, one in found.items()
        },
        "failures": failures,
        "seconds": round(time.monotonic() - started),
    }
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        print("\n".join(failures) or "nothing failed")
    return bool(failures)


def run_kind(kind: str, numbers: range, options: argparse.Namespace) -> dict[str, Any]:
    """Feed all files of a kind; return counts, what failed, the slowest and the most memory."""
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    slowest, most = 0.0, 0
    rest = list(numbers)
    while rest:
        for number, outcome, why, seconds, megabytes in _in_process(kind, rest, options):
            outcomes[outcome] += 1
            slowest, most = max(slowest, seconds), max(most, megabytes)
            if outcome not in ("fine", "refused"):
                failures.append(f"{kind}/{number}: {outcome}: {why}")
                print(f"  {failures[-1]}", file=sys.stderr, flush=True)
            rest = rest[rest.index(number) + 1 :]
    return {"outcomes": outcomes, "failures": failures, "slowest": round(slowest, 2), "most_memory": most}


def _in_process(kind: str, numbers: list[int], options: argparse.Namespace) -> Any:
    """Yield what came of files until all are done or the process is lost."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    worker = context.Process(target=work, args=(kind, numbers, vars(options), theirs), daemon=True)
    worker.start()
    theirs.close()
    current, patience = -1, 120.0  # to start
    try:
        while True:
            if not ours.poll(patience):
                yield current, "hang", f"more than {options.seconds:g} s", options.seconds, 0
                return
            message = ours.recv()
            if message is None:
                return
            if isinstance(message, int):
                current, patience = message, options.seconds
            else:
                patience = 120.0
                yield message
    except EOFError:
        worker.join()
        if current < 0:
            raise SystemExit(f"{kind}: the process could not start") from None
        yield current, "crash", f"the process ended with {worker.exitcode}", 0.0, 0
    finally:
        worker.kill()
        worker.join()


def work(kind: str, numbers: list[int], options: dict[str, Any], pipe: Connection) -> None:
    """Feed files one after the other; say which comes next before, and what came of it after."""
    with tempfile.TemporaryDirectory() as folder:
        made = KINDS[kind](Path(folder))
        for whole in made.wholes:  # what is loaded at first use is loaded now
            outcome, why = feed(made, Path(folder), whole)
            if outcome != "fine":
                raise SystemExit(f"{kind}: {whole.name} is {outcome} before it is broken: {why}")
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        addresses = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (addresses + ADDRESSES,) * 2)
        for number in numbers:
            file = made.mutant(random.Random(f"{options['seed']}/{kind}/{number}"), number)
            pipe.send(number)
            reset_memory()
            before, started = memory(), time.monotonic()
            outcome, why = feed(made, Path(folder), file)
            megabytes = (memory(peak=True) - before) // MEGABYTE
            if megabytes > options["megabytes"] and outcome in ("fine", "refused"):
                outcome, why = "memory", f"{megabytes} MB ({outcome}: {why})"
            if outcome not in ("fine", "refused") and options["keep"]:
                options["keep"].mkdir(parents=True, exist_ok=True)
                (options["keep"] / f"{kind}-{number}-{file.name}").write_bytes(file.content)
            pipe.send((number, outcome, why, time.monotonic() - started, megabytes))
        pipe.send(None)


def feed(kind: Kind, folder: Path, file: File) -> tuple[str, str]:
    """Give one broken file to what reads its kind; return what came of it, and why."""
    from cepscope.errors import CepscopeError

    try:
        kind.feed(folder / "work", file)
    except CepscopeError as error:
        message = str(error)
        return ("lines", message[:300]) if "\n" in message.strip() else ("refused", message[:200])
    except Failed as error:
        return "result", str(error)[:300]
    except BaseException as error:
        where = error.__traceback__
        while where and where.tb_next:
            where = where.tb_next
        place = f"{Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}" if where else ""
        return "exception", f"{type(error).__name__} at {place}: {str(error)[:200]!r}"
    return "fine", ""


if __name__ == "__main__":
    sys.exit(main())
