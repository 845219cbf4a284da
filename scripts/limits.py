"""How much time and memory the stages take, and how both grow: with clips, with units, with patterns.

    python scripts/limits.py extract --sizes 1000 10000 100000
    python scripts/limits.py command --sizes 5000 20000 100000 --workers 2
    python scripts/limits.py maximize --sizes 50 500 5000 --memory 64
    python scripts/limits.py invert --sizes 10 100 1000 --json

`command` is ``cepscope extract`` as a person calls it, with all of its processes: their memory together (pages that
several share counted once), and the peak of the one that was called.

Each other size has a process of its own, so that its peak is its own; this one loads nothing but the standard library,
because a new process's peak is at first that of the one that started it. Clips are noise, units have random weights:
what a step costs depends on neither.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

RATE = 8000  # Hz, of the clips, which are one second long
DISTINCT = 200  # sound files; the other clips are hard links to them, of which a file system allows some ten thousand
CLASSES = 10
SIZES = {
    "extract": (1000, 10_000, 100_000),
    "command": (5000, 20_000, 100_000),
    "maximize": (50, 500, 5000),
    "invert": (10, 100, 1000),
}
COUNTED = {"extract": "clips", "command": "clips", "maximize": "units", "invert": "patterns"}
Row = dict[str, Any]


def peak_mb() -> int:
    """Return the most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1 << 20 if sys.platform == "darwin" else 1 << 10)


def cpu_s() -> float:
    """Return the seconds that cores have worked for this process: of a busy machine the better figure."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def alone(run: Callable[..., Row], *arguments: object) -> Row:
    """Return what a function gives in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as process:
        return process.submit(run, *arguments).result()


def make_corpus(folder: Path, clips: int, rate: int = RATE) -> Path:
    """Write clips of noise, by class; most are links."""
    rng, originals = random.Random(0), []
    for i in range(clips):
        path = folder / f"class-{i % CLASSES}" / f"{i:07d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        if i < DISTINCT:
            with wave.open(str(path), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(rate)
                file.writeframes(rng.randbytes(2 * rate))
            originals.append(path)
        else:
            path.hardlink_to(originals[i % DISTINCT])
    return folder


def extract(corpus: Path, features: Path, frames: int) -> Row:
    """List a corpus and extract it."""
    import cepscope as cs

    start = time.perf_counter()
    listed = cs.load_corpus(corpus)
    there, worked = time.perf_counter(), cpu_s()
    cs.extract(listed, cs.MfccSpec(sr=RATE, n_mfcc=20, floor=1e-5), frames=frames, out=features)
    taken = time.perf_counter() - there
    return {
        "list_s": round(there - start, 1),
        "seconds": round(taken, 1),
        "cpu_s": round(cpu_s() - worked, 1),
        "clips_per_s": round(len(listed.clips) / taken),
        "peak_mb": peak_mb(),
    }


def read(features: Path) -> Row:
    """Read what was extracted."""
    from cepscope.corpora import Patches

    start = time.perf_counter()
    patches = Patches.load(features)
    bytes_of_x = patches.train.x.nbytes + patches.test.x.nbytes
    return {
        "read_s": round(time.perf_counter() - start, 1),
        "read_peak_mb": peak_mb(),
        "patches_mb": round(bytes_of_x / (1 << 20)),
        "bytes_a_clip": bytes_of_x // (len(patches.train) + len(patches.test)),
    }


def command(corpus: Path, run: Path, frames: int, workers: int) -> Row:
    """Call ``cepscope extract`` and watch its processes."""
    line = [sys.executable, "-m", "cepscope", "--quiet", "extract", str(corpus), "--out", str(run)]
    line += ["--workers", str(workers), "--set", f"features.frames={frames}"]
    start = time.perf_counter()
    called = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    together = alone = 0
    while called.poll() is None:
        every = [called.pid, *descendants(called.pid)]
        together = max(together, sum(memory_kb(f"{pid}/smaps_rollup", "Pss:") for pid in every))
        alone = max(alone, memory_kb(f"{called.pid}/status", "VmHWM:"))
        time.sleep(0.02)
    if called.returncode:
        raise SystemExit(f"{' '.join(line)}: {called.stderr.read() if called.stderr else ''}")
    taken = time.perf_counter() - start
    return {"seconds": round(taken, 1), "peak_mb": round(together / 1024), "called_peak_mb": round(alone / 1024)}


def descendants(pid: int) -> list[int]:
    """Return the processes that a process started, and those that these started."""
    try:
        children = [
            int(word) for path in Path(f"/proc/{pid}/task").glob("*/children") for word in path.read_text().split()
        ]
    except OSError:
        return []
    return [*children, *(found for child in children for found in descendants(child))]


def memory_kb(file: str, name: str) -> int:
    """Return a line's number from a file of a process; 0 when it has just ended."""
    try:
        lines = Path("/proc", file).read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def spoken_digits(frames: int) -> Any:
    """Return the patches of the built-in corpus."""
    import cepscope as cs

    return cs.extract(cs.load_corpus("spoken-digits"), cs.MfccSpec(sr=16000, n_mfcc=20, floor=1e-5), frames=frames)


def maximize(units: int, frames: int, clips: int, memory: int, steps: int) -> Row:
    """Find the patterns of a dense layer on top of a small network."""
    import numpy as np

    import cepscope as cs
    from cepscope.models.backend import keras, tf

    tf.get_logger().setLevel("ERROR")
    patches = spoken_digits(frames)
    if clips:
        rng, real = np.random.default_rng(0), patches.train
        pick = rng.integers(len(real), size=clips)
        x = real.x[pick]
        x += 0.1 * rng.standard_normal(x.shape, np.float32)
        train = replace(real, x=x, y=real.y[pick], paths=("",) * clips, speakers=("",) * clips)
        patches = replace(patches, train=train)
    below = cs.build_cdbn(patches.input_shape, patches.classes)
    top = keras.layers.Dense(units, name="many")(keras.layers.Flatten()(below.get_layer("crbm2").output))
    model = keras.Model(below.inputs, top)
    return costs(lambda: cs.maximize(model, patches, layers=["many"], memory=memory, steps=steps), units, "ms_a_unit")


def invert(patterns: int, frames: int) -> Row:
    """Turn patches of speech into sound."""
    import numpy as np

    import cepscope as cs

    patches = spoken_digits(frames)
    real = patches.decode(patches.train.x)
    targets = real[np.arange(patterns) % len(real)]
    return costs(lambda: cs.invert(targets, patches.spec), patterns, "ms_a_pattern")


def costs(work: Callable[[], Any], count: int, each: str) -> Row:
    """Do some work on so many things; return what it cost, in all and for each."""
    before, worked, start = peak_mb(), cpu_s(), time.perf_counter()
    work()
    taken = time.perf_counter() - start
    return {
        "seconds": round(taken, 1),
        "cpu_s": round(cpu_s() - worked, 1),
        each: round(1000 * taken / count),
        "before_mb": before,
        "peak_mb": peak_mb(),
    }


def measure(stage: str, size: int, args: argparse.Namespace) -> Row:
    """Measure one size of a stage."""
    if stage == "maximize":
        return alone(maximize, size, args.frames, args.clips, args.memory, args.steps)
    if stage == "invert":
        return alone(invert, size, args.frames)
    with tempfile.TemporaryDirectory(prefix="limits-") as folder:
        if stage == "command":
            return command(make_corpus(Path(folder) / "corpus", size), Path(folder) / "run", args.frames, args.workers)
        corpus, features = make_corpus(Path(folder) / "corpus", size), Path(folder) / "features"
        return alone(extract, corpus, features, args.frames) | alone(read, features)


def main() -> None:
    """Measure all sizes of a stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=SIZES)
    parser.add_argument("--sizes", type=int, nargs="+", help="clips, units or patterns, from few to many")
    parser.add_argument("--frames", type=int, default=64, help="of a patch")
    parser.add_argument("--workers", type=int, default=2, help="of command")
    parser.add_argument("--clips", type=int, default=0, help="of maximize: noisy copies of the built-in corpus's 700")
    parser.add_argument("--memory", type=int, default=256, help="of maximize, MB")
    parser.add_argument("--steps", type=int, default=64, help="of maximize")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
    counted = COUNTED[args.stage]
    rows: list[Row] = []
    for size in args.sizes or SIZES[args.stage]:
        row = {counted: size} | measure(args.stage, size, args)
        if rows:  # from size to size: what does not grow cancels
            grown = (row["peak_mb"] - rows[-1]["peak_mb"]) / (size - rows[-1][counted])
            row["mb_per_1000_more"] = round(1000 * grown, 1)
        rows.append(row)
        if not args.json:
            print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    if args.json:
        print(json.dumps({"stage": args.stage, "cores": os.cpu_count(), "frames": args.frames, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
