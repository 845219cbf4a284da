"""Kill a run at random moments, again and again, and look at what comes of it.

    python scripts/crash.py --kills 200 --json

A small run (recordings to page, every stage) is made once undisturbed. Then, over and over, one is started in a fresh
folder, ended at a random moment (``kill -9``, or what --signal says) and started again until it is through. In the end
its files must be those of the undisturbed run, byte for byte, with nothing else beside them. Moments are drawn evenly
from the time that the undisturbed run took; which stage they fell into is counted.

Each run is a process of its own, forked from one that has loaded TensorFlow but not used it: a kill costs seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SMALL = (
    "features.sr=8000", "features.frames=48", "model.filters=[3, 4]", "train.pretrain_epochs=2", "train.epochs=3",
    "maximize.steps=8", "invert.method=fast", "report.exemplars=2",
)  # fmt: skip
RECORD = "run.json"  # holds times
MOST_KILLS = 5  # of one run, which may then end in peace: on a busy machine it would never get there


def make_corpus(folder: Path, words: Iterable[str] = ("one", "two"), clips: int = 10) -> Path:
    """Copy some clips of the built-in corpus, by class."""
    for word in words:
        (folder / word).mkdir(parents=True)
        for clip in sorted((ROOT / "data" / "spoken-digits" / "audio").glob(f"{word}_*_0.flac"))[:clips]:
            shutil.copy(clip, folder / word)
    return folder


def preload() -> None:
    """Import what a run needs, so that the processes forked from this one have it; nothing of it is used here."""
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1", MPLBACKEND="Agg")
    import keras  # noqa: F401
    import librosa  # noqa: F401
    import sklearn.mixture  # noqa: F401
    import tensorflow  # noqa: F401

    import cepscope.cli.app
    import cepscope.pipeline.stages
    import cepscope.report  # noqa: F401


def start(corpus: Path, out: Path) -> int:
    """Fork a process that runs `cepscope run`; return its number."""
    number = os.fork()
    if number:
        return number
    code = 1
    try:
        with (out.parent / f"{out.name}.log").open("a") as log:
            for stream in (1, 2):
                os.dup2(log.fileno(), stream)
            from cepscope.cli import main

            settings = [word for setting in SMALL for word in ("--set", setting)]
            main(["run", str(corpus), "--out", str(out), *settings])
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        os._exit(code)


def finish(number: int) -> int:
    """Wait for a process; return its exit status, negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def files_of(folder: Path) -> dict[str, str]:
    """Return the digest of each file of a run, hidden ones too; of the record what holds no times."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if not path.is_dir()):
        content = path.read_bytes()
        if path.name == RECORD:
            content = re.sub(rb'"(seconds|finished)": [^\n]*', b"", content)
        found[path.relative_to(folder).as_posix()] = hashlib.sha256(content).hexdigest()
    return found


def stage_of(folder: Path) -> str:
    """Return the stage that a run was in when it ended, by what is recorded of those that are finished."""
    try:
        stages = json.loads((folder / RECORD).read_text("utf-8"))["stages"]
    except FileNotFoundError:
        return "extract"
    names = ("extract", "train", "maximize", "invert", "probe", "report")
    return next((name for name in names if "fingerprint" not in stages.get(name, {})), "over")


def crash(
    corpus: Path, place: Path, *, kills: int, seed: int, signals: tuple[int, ...] = (signal.SIGKILL,),
    say: Callable[[str], None] = lambda _text: None,
) -> dict[str, Any]:  # fmt: skip
    """Make the undisturbed run and the killed ones.

    Returns
    -------
    dict
        ``kills, runs, stages`` (in which kills fell), ``failures`` (one line each), ``left_behind`` (temporary files
        that kills left and the next start removed).
    """
    preload()
    draw = random.Random(seed)
    started = time.perf_counter()
    if code := finish(start(corpus, place / "calm")):
        raise SystemExit(f"The undisturbed run failed ({code}): {(place / 'calm.log').read_text()}")
    seconds = time.perf_counter() - started
    wanted = files_of(place / "calm")
    say(f"undisturbed: {seconds:.1f} s, {len(wanted)} files")
    done, runs, left = 0, 0, 0
    stages: Counter[str] = Counter()
    failures: list[str] = []

    def fail(text: str) -> None:
        failures.append(text)
        say(text)

    while done < kills:
        runs += 1
        out = place / f"run{runs}"
        for turn in range(MOST_KILLS + 1):
            number = start(corpus, out)
            ending = None
            if done < kills and turn < MOST_KILLS:
                ending = draw.choice(signals)
                time.sleep(draw.uniform(0, seconds))
                os.kill(number, ending)
            code = finish(number)
            if code == 0:
                break
            if ending is None or code not in (-ending, 128 + ending):
                fail(f"run {runs} ended with {code}: {_last_line(place / f'{out.name}.log')}")
                break
            done += 1
            stages[stage_of(out)] += 1
            left += sum(path.name.startswith(".part-") for path in out.rglob("*"))
            say(f"{done} of {kills} kills, run {runs}, in {stage_of(out)}")
        got = files_of(out)
        for name in sorted(wanted.keys() | got.keys()):
            if wanted.get(name) != got.get(name):
                what = "is missing" if name not in got else "is other" if name in wanted else "is left over"
                fail(f"run {runs}: {name} {what}")
        shutil.rmtree(out, ignore_errors=True)
    return {"kills": done, "runs": runs, "stages": dict(stages), "left_behind": left, "failures": failures}


def _last_line(path: Path) -> str:
    lines = path.read_text("utf-8", "replace").splitlines()
    return lines[-1] if lines else "nothing was said"


def main() -> None:
    """Parse the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--signal", choices=["KILL", "TERM", "INT", "any"], default="KILL")
    parser.add_argument("--json", action="store_true", help="print JSON to stdout")
    options = parser.parse_args()
    every = {name: getattr(signal, f"SIG{name}") for name in ("KILL", "TERM", "INT")}
    signals = tuple(every.values()) if options.signal == "any" else (every[options.signal],)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        corpus = make_corpus(place / "words")
        found = crash(corpus, place, kills=options.kills, seed=options.seed, signals=signals, say=say)
    print(json.dumps(found) if options.json else "\n".join(f"{name}: {value}" for name, value in found.items()))
    sys.exit(bool(found["failures"]))


if __name__ == "__main__":
    main()
