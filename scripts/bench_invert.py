"""MFCC back to sound: how close, how voiced, how fast, beside librosa in one process.

Recordings are those of FSDD (takes 0 to 4, every twelfth or thirteenth in the order of their names: 24) and of
LibriSpeech (6, spread likewise) under the folder that CEPSCOPE_SHARED names. Every sound is judged from outside: MFCC
by librosa, voicing and harmonics-to-noise ratio by Praat, intelligibility by pystoi, quality by pesq.
"""

from __future__ import annotations

import csv
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import numpy.typing as npt
import scipy.ndimage
from threadpoolctl import threadpool_limits

from cepscope.audio import condition, read_audio
from cepscope.features import MfccSpec, mfcc
from cepscope.invert.distances import mel_cepstral_distortion
from cepscope.invert.inversion import METHODS, invert
from cepscope.invert.listeners import pesq, stoi
from cepscope.invert.matching import relative_error
from cepscope.invert.pitch import track_pitch

FloatArray = npt.NDArray[np.float32]

NARROW = {"sr": 8000, "n_fft": 512, "win": 200, "hop": 80, "n_mels": 64, "top_db": 80.0}
CONFIGS = {
    "8k_13": MfccSpec(**NARROW, n_mfcc=13),
    "8k_40": MfccSpec(**NARROW, n_mfcc=40),
    "16k_13": MfccSpec(sr=16000, n_fft=512, win=400, hop=160, n_mels=80, n_mfcc=13, top_db=80.0),
    "22k_default": MfccSpec(sr=22050, n_fft=2048, win=2048, hop=512, n_mels=128, n_mfcc=20, top_db=80.0),
}


def shared() -> Path:
    """Return the folder of the recordings; end with one line where there is none."""
    folder = Path(os.environ.get("CEPSCOPE_SHARED", "../shared"))
    if not (folder / "corpora" / "fsdd").is_dir():
        sys.exit(f"bench.py invert needs corpora/fsdd and corpora/librispeech_sex in {folder}; set CEPSCOPE_SHARED")
    return folder / "corpora"


def recordings(spec: MfccSpec) -> list[FloatArray]:
    """Return the clips of a configuration at its rate and full scale, whole hops long."""
    name, count = ("fsdd", 24) if spec.sr == 8000 else ("librispeech_sex", 6)
    with (shared() / name / "metadata.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if name != "fsdd" or int(row["take"]) < 5]
    files = sorted(row["file_name"] for row in rows)
    clips = [read_audio(shared() / name / files[i * len(files) // count], sr=spec.sr)[0] for i in range(count)]
    return [condition(clip[: len(clip) // spec.hop * spec.hop]) for clip in clips]


def by_librosa(y: FloatArray, spec: MfccSpec) -> FloatArray:
    """Return MFCC as librosa extracts them."""
    found: FloatArray = librosa.feature.mfcc(
        y=y, sr=spec.sr, n_mfcc=spec.n_mfcc, n_fft=spec.n_fft, hop_length=spec.hop, win_length=spec.win,
        n_mels=spec.n_mels,
    )  # fmt: skip
    return found


def librosas_sound(C: FloatArray, spec: MfccSpec) -> FloatArray:
    """Return what a user of librosa gets."""
    sound: FloatArray = librosa.feature.inverse.mfcc_to_audio(
        C, n_mels=spec.n_mels, sr=spec.sr, n_fft=spec.n_fft, hop_length=spec.hop, win_length=spec.win,
        length=spec.samples_of(C.shape[-1]),
    )  # fmt: skip
    return sound


def praat(y: FloatArray, sr: int) -> tuple[npt.NDArray[np.bool_], float]:
    """Return Praat's voicing every 10 ms and its harmonics-to-noise ratio in dB, NaN where nothing is voiced."""
    import parselmouth

    sound = parselmouth.Sound(y.astype(np.float64), sr)
    pitch = sound.to_pitch(time_step=0.01, pitch_floor=60, pitch_ceiling=400).selected_array["frequency"]
    ratio = sound.to_harmonicity_cc(time_step=0.01, minimum_pitch=60).values[0]
    heard = ratio[ratio > -199]  # -200 says unvoiced
    return pitch > 0, float(heard.mean()) if heard.size else float("nan")


def judge(sounds: list[FloatArray], clips: list[FloatArray], spec: MfccSpec) -> dict[str, float | None]:
    """Return the scores of sounds at the level that their MFCC ask for, means over clips."""
    errors, distortion, ratios, listeners = [], [], [], []
    both = voiced = 0
    for sound, clip in zip(sounds, clips, strict=True):
        wanted, got = by_librosa(clip, spec), by_librosa(sound, spec)
        errors.append(relative_error(got, wanted))
        distortion.append(mel_cepstral_distortion(got, wanted, spec))
        (was, _), (now, ratio) = praat(clip, spec.sr), praat(condition(sound), spec.sr)
        both += int(np.sum(was[: len(now)] & now[: len(was)]))
        voiced += int(was.sum())
        ratios.append(ratio)
        listeners.append(
            (stoi(sound, clip, spec.sr), pesq(sound, clip, spec.sr) if spec.sr in (8000, 16000) else float("nan"))
        )
    intelligible, quality = np.array(listeners).T
    return {
        "relative_error": rounded(errors),
        "voiced_recall": round(both / voiced, 3),
        "hnr_db": rounded(ratios, 2),
        "mcd_db": rounded(distortion, 3),
        "stoi": rounded(intelligible, 3),
        "pesq": rounded(quality, 2),
    }


def rounded(values: Any, digits: int = 4) -> float | None:
    """Return the mean of what is known, None of nothing."""
    known = np.asarray(values, float)[np.isfinite(values)]
    return round(float(known.mean()), digits) if known.size else None


def bench_invert(rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Return the scores and the speed of every method for every configuration, and of a voice of known pitch."""
    report: dict[str, Any] = {}
    for name, spec in CONFIGS.items():
        clips = recordings(spec)
        patterns = [by_librosa(clip, spec) for clip in clips]
        times: dict[str, list[list[float]]] = {method: [] for method in METHODS}
        sounds: dict[str, list[FloatArray]] = {method: [] for method in METHODS}
        with threadpool_limits(1):
            for method in METHODS:
                way(method, patterns[0], spec, 0)()
            for i, C in enumerate(patterns):
                ways = {method: way(method, C, spec, i) for method in METHODS}
                spent: dict[str, list[float]] = {method: [] for method in METHODS}
                for _ in range(rounds):
                    for method, make in ways.items():
                        start = time.perf_counter()
                        make()
                        spent[method].append(time.perf_counter() - start)
                for method in METHODS:
                    times[method].append(spent[method])
                    sounds[method].append(ways[method]())
            known = [
                invert(C, spec, f0=track_pitch(y, spec), level="free") for C, y in zip(patterns, clips, strict=True)
            ]
        total = {method: sum(map(statistics.median, spent)) for method, spent in times.items()}
        report[name] = {
            method: judge(sounds[method], clips, spec) | {"speed_ratio": round(total["librosa"] / total[method], 2)}
            for method in METHODS
        }
        for method, row in report[name].items():
            say(f"{name} {method}: error {row['relative_error']}, {row['speed_ratio']} times as fast as librosa")
        report[name]["accurate_known_f0"] = judge([s.audio[0] / s.gain[0] for s in known], clips, spec)
    return report


def way(method: str, C: FloatArray, spec: MfccSpec, i: int) -> Callable[[], FloatArray]:
    """Return a run that makes the sound of a pattern at the level that it asks for."""
    if method == "librosa":
        return lambda: librosas_sound(C, spec)

    def make() -> FloatArray:
        made = invert(C, spec, method=method, level="free", indices=[i])
        return made.audio[0] / made.gain[0]

    return make


def bench_invert_more() -> dict[str, Any]:
    """Return what short and unnatural patterns reach, and the time and memory of a batch."""
    from cepscope.invert.feasibility import feasibility_gap

    spec = CONFIGS["8k_13"]
    clips = recordings(spec)
    patterns = [mfcc(clip, spec) for clip in clips]
    crops = [C[:, at : at + 12] for C in patterns for at in (C.shape[-1] // 4, C.shape[-1] // 2)]
    crops = [C for C in crops if C.shape[-1] == 12]
    report: dict[str, Any] = {
        "crops_of_12_frames": {
            method: rounded([invert(C, spec, method=method, level="free").relative_error[0] for C in crops])
            for method in METHODS
        }
    }
    for deviations in (1, 2):
        rows = []
        for i, C in enumerate(unnatural(patterns, deviations)):
            bound = feasibility_gap(C, spec)
            made = invert(C, spec, level="free", indices=[i])
            peer = relative_error(mfcc(librosas_sound(C.astype(np.float32), spec), spec), C)
            rows.append((bound, float(made.relative_error[0]), peer, float(np.abs(made.audio).max())))
        bounds, errors, peers, peaks = np.array(rows).T
        report[f"unnatural_{deviations}_sd"] = {
            "feasibility_bound": rounded(bounds),
            "relative_error": rounded(errors),
            "worst_ratio": round(float(np.max(errors / np.maximum(bounds, 1e-3))), 3),
            "librosa": rounded(peers),
            "peak": round(float(peaks.max()), 3),
        }
    rng = np.random.default_rng(0)
    whole = np.concatenate(patterns, axis=-1)
    starts = rng.integers(0, whole.shape[-1] - 101, 82)
    batch = np.stack([whole[:, at : at + 101] for at in starts])
    for method in ("accurate", "fast"):
        start = time.perf_counter()
        invert(batch, spec, method=method)
        spent = time.perf_counter() - start
        report[f"82_seconds_{method}"] = {"seconds": round(spent, 2), "real_time_factor": round(spent / 82, 4)}
    report["peak_memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return report


def unnatural(patterns: list[FloatArray], deviations: float, count: int = 8) -> Iterator[npt.NDArray[np.float64]]:
    """Yield smooth random cepstra [shape=(n_mfcc, 30)] that lie as many standard deviations off the mean."""
    frames = np.concatenate(patterns, axis=-1).astype(np.float64)
    rng = np.random.default_rng(1)
    for _ in range(count):
        noise = scipy.ndimage.gaussian_filter1d(rng.standard_normal((len(frames), 30)), 2.0, axis=1)
        noise /= noise.std(axis=1, keepdims=True)
        yield frames.mean(axis=1, keepdims=True) + deviations * frames.std(axis=1, keepdims=True) * noise
