"""The extraction side of `scripts/bench.py`: clips on disk to shards on disk, beside librosa in a loop.

    python scripts/bench.py extract --json
    python scripts/bench_extract.py scaling --clips 20000 --rate 16000 --frames 101

The peer is what a person would write: ``librosa.load(path, sr=None)`` and ``librosa.feature.mfcc`` of each clip, with
the same settings; it writes nothing. Ours is `write_features`, which does all from decoding to scaled patches of 64
frames in their files, with one process and with two, which are warm. `speed_ratio_all_frames` is that of patches as
long as the clips, so that ours computes every frame that the peer does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench_timing import Run, seconds, turns
from limits import RATE, make_corpus

CLIPS = 5000  # one-second clips of noise
FLOOR = 1e-5


def spec_of(**changes: Any) -> Any:
    """Return the settings of runs, at the rate of the clips."""
    from cepscope.features import MfccSpec

    return MfccSpec(**{"sr": RATE, "n_mfcc": 20, "floor": FLOOR, **changes})


def peer_mfcc(path: Path, spec: Any, **more: Any) -> Any:
    """Return librosa's MFCC of a file."""
    import librosa

    y, sr = librosa.load(path, sr=None)
    same = {"n_mfcc": spec.n_mfcc, "n_fft": spec.n_fft, "hop_length": spec.hop, "n_mels": spec.n_mels}
    return librosa.feature.mfcc(y=y, sr=sr, win_length=spec.win, **same, **more)


def ours(corpus: Any, place: Path, frames: int, workers: Any, rate: int = RATE) -> Run:
    """Return an extraction into a new folder, removed before the next."""
    from cepscope.corpora.extract import write_features

    def run() -> None:
        shutil.rmtree(place, ignore_errors=True)
        write_features(corpus, place, spec_of(sr=rate), frames=frames, workers=workers)

    return run


def largest_difference(paths: Sequence[Path]) -> dict[str, float]:
    """Return how far MFCC are from librosa's of the same samples, under librosa's own floor."""
    import librosa
    import numpy as np

    from cepscope.features import mfcc

    spec = spec_of(floor=1e-10, top_db=80.0)
    worst = largest = 0.0
    for path in paths:
        y = librosa.load(path, sr=None)[0]
        expected = peer_mfcc(path, spec)
        worst = max(worst, float(np.abs(mfcc(y, spec) - expected).max()))
        largest = max(largest, float(np.abs(expected).max()))
    return {"max_abs_diff": worst, "largest_value": largest}


def stage_shares(corpus: Any, frames: int, rounds: int) -> dict[str, float]:
    """Return the share of each stage in the time of an extraction in one process, each timed by itself."""
    import numpy as np
    import scipy.fft

    from cepscope.corpora.computing import compute
    from cepscope.corpora.conditioning import Levelled
    from cepscope.corpora.corpus import Clips
    from cepscope.corpora.shards import write_shard
    from cepscope.corpora.waves import read_pcm
    from cepscope.features.filterbank import mel_filters
    from cepscope.features.framing import cut_some_frames, repeated_window, spare_frames

    spec = spec_of()
    clips = Clips.of(corpus.root, corpus.clips).part(0, 256)
    paths = [str(clip.path) for clip in clips]
    raw = [read_pcm(path, 60.0)[0][:, 0] for path in paths]
    off, _ = spare_frames(spec.frames_of(RATE), frames)
    part = slice(off * spec.hop - spec.n_fft // 2, (off + frames) * spec.hop + spec.n_fft)
    level = [Levelled(pcm)[part] for pcm in raw]
    block, window = np.zeros((4 * frames, spec.n_fft)), repeated_window(spec, 4 * frames)

    def framed() -> Any:
        for first in range(0, len(level), 4):
            for i, y in enumerate(level[first : first + 4]):
                block[i * frames : (i + 1) * frames] = cut_some_frames(y, spec, 2, frames)
            np.multiply(block, window, out=block)
        return block

    groups = [framed().copy() for _ in range(len(level) // 4)]
    spectra = [scipy.fft.rfft(group) for group in groups]
    powers = [np.ascontiguousarray((np.abs(spectrum) ** 2).T) for spectrum in spectra]
    mels = [(mel_filters(spec) @ power).astype(np.float32) for power in powers]
    shard = compute(clips, spec, frames)
    with tempfile.TemporaryDirectory() as place:
        runs: dict[str, Run] = {
            "decode": lambda: [read_pcm(path, 60.0) for path in paths],
            "condition": lambda: [Levelled(pcm)[part] for pcm in raw],
            "frames": framed,
            "fft": lambda: [scipy.fft.rfft(group) for group in groups],
            "mel": lambda: [_mel(spectrum, spec) for spectrum in spectra],
            "log_dct": lambda: [scipy.fft.dct(10 * np.log10(np.maximum(mel, FLOOR)), axis=0) for mel in mels],
            "write": lambda: write_shard(Path(place) / "shard.npz", shard),
        }
        found = {name: statistics.median(times) for name, times in turns(runs, rounds).items()}
    return {name: round(taken / sum(found.values()), 3) for name, taken in found.items()}


def _mel(spectrum: Any, spec: Any) -> Any:
    import numpy as np

    from cepscope.features.filterbank import mel_filters

    squares = spectrum.view(np.float64) ** 2
    return mel_filters(spec) @ np.ascontiguousarray((squares[:, ::2] + squares[:, 1::2]).T)


def bench_extract(rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Compare, in turns."""
    from cepscope.corpora import load_corpus
    from cepscope.workers import Workers

    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        listed = load_corpus(make_corpus(place / "corpus", CLIPS))
        paths, spec = [clip.path for clip in listed.clips], spec_of()
        frames = spec.frames_of(RATE)
        runs: dict[str, Run] = {
            "ours": ours(listed, place / "one", 64, 1),
            "peer": lambda: [peer_mfcc(path, spec) for path in paths],
            "all_frames": ours(listed, place / "all", frames, 1),
            "two": ours(listed, place / "two", 64, Workers(count=2)),
        }
        found = turns(runs, rounds)
        started = time.process_time()
        runs["ours"]()
        worked = time.process_time() - started
        stages = stage_shares(listed, 64, rounds)
        size = sum(path.stat().st_size for path in (place / "one").iterdir())
        difference = largest_difference(paths[:50])
    hours = len(paths) / 3600
    ratio = {name: statistics.median(a / b for a, b in zip(found["peer"], found[name], strict=True)) for name in found}
    out = {
        "speed_ratio": round(ratio["ours"], 2),
        "speed_ratio_2_workers": round(ratio["two"], 2),
        "speed_ratio_all_frames": round(ratio["all_frames"], 2),
        **difference,
        "stages": stages,
        "hours_of_audio_a_core_hour": round(hours / (worked / 3600)),
        "clips": len(paths),
        "us_a_clip": {name: round(1e6 * statistics.median(times) / len(paths)) for name, times in found.items()},
        "bytes_a_clip": round(size / len(paths)),
        "load_before": load,
    }
    say(f"{out['speed_ratio']} times as fast as librosa in a loop, {out['speed_ratio_2_workers']} with two workers")
    return out


@contextmanager
def local_cluster(workers: int) -> Iterator[str | None]:
    """Start Dask workers; give the scheduler's address, or None where Dask is not installed."""
    try:
        from distributed import LocalCluster
    except ImportError:
        yield None
        return
    with LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


def scaling(clips: int, rounds: int, rate: int, frames: int) -> dict[str, Any]:
    """Measure one process, two of loky and two of Dask: cold, with their start, and warm."""
    from cepscope.corpora import load_corpus
    from cepscope.workers import Workers

    load = os.getloadavg()[0]
    rows: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, local_cluster(2) as address:
        place = Path(folder)
        corpus = load_corpus(make_corpus(place / "corpus", clips, rate))
        ways: dict[str, Workers] = {"one": Workers(count=1), "loky_warm": Workers(count=2)}
        if address:
            ways |= {"dask_warm": Workers(cluster=address), "dask_cold": Workers(cluster="dask:2")}
        for turn in range(rounds + 1):
            for name, workers in {"loky_cold": Workers(count=2), **ways}.items():
                if name == "loky_cold":
                    _end_loky()
                taken = round(seconds(ours(corpus, place / "features", frames, workers, rate)), 2)
                if turn:  # the first warms up
                    rows.setdefault(name, []).append(taken)
    medians = {name: statistics.median(times) for name, times in rows.items()}
    ratios = {name: round(medians["one"] / taken, 2) for name, taken in medians.items() if name != "one"}
    asked = {"clips": clips, "rate": rate, "frames": frames}
    return {**asked, "seconds": rows, "faster_than_one": ratios, "load_before": load}


def _end_loky() -> None:
    from joblib.externals.loky import get_reusable_executor

    with suppress(Exception):
        get_reusable_executor().shutdown(wait=True)


def main() -> None:
    """Parse the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["scaling"])
    parser.add_argument("--clips", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=int, default=RATE, help="of the clips, in Hz")
    parser.add_argument("--frames", type=int, default=64, help="of a patch")
    options = parser.parse_args()
    print(json.dumps(scaling(options.clips, options.rounds, options.rate, options.frames), indent=1))


if __name__ == "__main__":
    main()
