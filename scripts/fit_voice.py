"""Fit the model that tells voicing and pitch from MFCC (src/cepscope/invert/voice.json), and test it.

    pip install -e '.[bench]'
    python scripts/fit_voice.py --json
    python scripts/fit_voice.py --librispeech corpora/librispeech_sex --fsdd corpora/fsdd --check

The truth is Praat's. Fitted on the train speakers of LibriSpeech and the train takes of FSDD; tested on the test
speakers of LibriSpeech and the test takes of FSDD, there by regressions that left the speaker out.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from cepscope.audio import read_audio, resample
from cepscope.features import MfccSpec, log_mel
from cepscope.invert.voice import (
    REFERENCE,
    Regression,
    VoiceModel,
    choose,
    coefficients,
    cosines,
    has_long_window,
    pitch_features,
    pitch_of,
    read_models,
    resolution,
    voicing_features,
    voicing_of,
)

Array = npt.NDArray[Any]

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "src" / "cepscope" / "invert" / "voice.json"
SOURCE = (
    "Fitted by scripts/fit_voice.py on LibriSpeech train-clean-100 (Panayotov et al., 2015; CC BY 4.0; 6 s of each of "
    "60 speakers), every third train take of the Free Spoken Digit Dataset (CC BY-SA 4.0; 6 speakers) and noises made "
    "by the script; voicing and pitch by Praat."
)
SIZES = {True: (8, 10, 13, 16, 20), False: (8, 13, 20)}  # with and without levels
PENALTIES = tuple(10.0**k for k in np.arange(-4, 1.01, 0.5))
FOLDS = 6
LIMITS = (60.0, 400.0)  # Hz, of Praat's pitch
FSDD_SHARE = 1 / 3  # of the takes are used: words of six men should not outweigh the sentences of sixty people
SPEAKER_WEIGHT = 8.0  # of a speaker of FSDD, where pitch is concerned: few, recorded otherwise, low voices
COLOUR_DB = 2.5  # of the microphones' colours that the training data are given: MFCC of other rooms are told too
PIECES = (60.0, 0.6, 60.0, 0.25)  # seconds: patterns are short, and know only their own loudest frame
NOISES = 40  # sounds without any voice: in speech alone what is loud is voiced

# "known": by the model in the file, which has heard other takes of FSDD's speakers
METHODS = ("model", "known", "constant")

TESTED = {
    "8 kHz, 64 mels, 13": MfccSpec(sr=8000, n_fft=512, n_mels=64, n_mfcc=13),
    "8 kHz, 40 mels, 20": MfccSpec(sr=8000, n_mels=40, n_mfcc=20, floor=1e-5),
    "8 kHz, 64 mels, 40": MfccSpec(sr=8000, n_fft=512, n_mels=64, n_mfcc=40),
    "16 kHz, 80 mels, 13": MfccSpec(sr=16000, n_fft=1024, n_mels=80, n_mfcc=13),
    "16 kHz, 40 mels, 20": MfccSpec(sr=16000, n_mels=40, n_mfcc=20, floor=1e-5),
    "22.05 kHz, 128 mels, 20, n_fft 2048": MfccSpec(
        sr=22050, n_fft=2048, win=2048, hop=512, n_mels=128, n_mfcc=20, top_db=80
    ),
    "16 kHz, 26 htk mels, 13, lifter": MfccSpec(sr=16000, n_mels=26, n_mfcc=13, htk=True, lifter=22),
    "48 kHz, 40 mels, 13": MfccSpec(sr=48000, n_fft=2048, n_mels=40, n_mfcc=13),
    "16 kHz, 40 mels, 19 without c0": MfccSpec(sr=16000, n_mels=40, n_mfcc=19, c0=False),
}
FURTHER = (
    MfccSpec(sr=8000, n_mels=26, n_mfcc=13, hop=40, htk=True),
    MfccSpec(sr=44100, n_fft=2048, n_mels=64, n_mfcc=20),
    MfccSpec(sr=8000, n_fft=512, win=512, hop=128, n_mels=40, n_mfcc=13),
    MfccSpec(sr=16000, n_fft=1024, win=1024, hop=256, n_mels=64, n_mfcc=40),
    MfccSpec(sr=16000, n_fft=2048, win=1200, hop=320, n_mels=80, n_mfcc=13),
    MfccSpec(sr=22050, n_fft=1024, win=1024, hop=256, n_mels=64, n_mfcc=20),
)


@dataclass(frozen=True)
class Clip:
    """A recording and Praat's pitch track of it, 0 Hz where unvoiced."""

    corpus: str
    speaker: str
    test: bool
    y: Array
    sr: int
    times: Array
    hz: Array

    def truth(self, spec: MfccSpec, frames: int) -> Array:
        """Return Hz (frames,), 0 where unvoiced, at the frames' centres."""
        at = spec.times(frames)
        after = np.clip(np.searchsorted(self.times, at), 1, self.times.size - 1)
        nearest = np.where(at - self.times[after - 1] < self.times[after] - at, after - 1, after)
        return np.where(np.abs(self.times[nearest] - at) <= 0.01, self.hz[nearest], 0.0)


Speaker = tuple[str, str]  # corpus and name


@dataclass(frozen=True)
class Pattern:
    """MFCC (n_mfcc, frames) of a clip or a piece of one, and the pitch (frames,) in Hz, 0 where unvoiced."""

    speaker: Speaker
    spec: MfccSpec
    C: Array
    hz: Array
    short: bool  # cut to a phone or two, which tell little of the voice


@dataclass(frozen=True)
class Sums:
    """What a ridge regression needs of some frames: sums of weights, features x, target y and their products."""

    weight: float
    x: Array
    y: float
    xx: Array
    xy: Array
    yy: float

    @classmethod
    def of(cls, X: Array, y: Array, weight: float) -> Sums:
        """Add up the features (features, frames) and the target (frames,)."""
        return cls(y.size, X.sum(axis=1), float(y.sum()), X @ X.T, X @ y, float(y @ y)).times(weight)

    def times(self, factor: float) -> Sums:
        """Return them all multiplied."""
        return Sums(*(factor * getattr(self, field.name) for field in fields(self)))

    def plus(self, other: Sums) -> Sums:
        """Return the sums of both."""
        return Sums(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def ridge(self, penalty: float) -> Regression:
        """Return the regression; the penalty is on weights of features of unit variance."""
        mx, my = self.x / self.weight, self.y / self.weight
        covariance = self.xx / self.weight - np.outer(mx, mx)
        sd = np.sqrt(np.maximum(np.diag(covariance), 1e-9))
        scaled = covariance / np.outer(sd, sd) + penalty * np.eye(len(sd))
        weights = np.linalg.solve(scaled, (self.xy / self.weight - mx * my) / sd) / sd
        return Regression(weights, float(my - weights @ mx))

    def error(self, regression: Regression) -> float:
        """Return the sum of squared errors."""
        w, b = regression.weights, regression.bias
        fitted = w @ self.xx @ w + 2 * b * (w @ self.x) + b * b * self.weight
        return float(self.yy - 2 * (w @ self.xy + b * self.y) + fitted)


def main() -> None:
    """Fit, test, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("CEPSCOPE_SHARED", ROOT.parent / "shared")) / "corpora"
    parser.add_argument("--librispeech", type=Path, default=shared / "librispeech_sex", help="folder with metadata.csv")
    parser.add_argument("--fsdd", type=Path, default=shared / "fsdd", help="folder with metadata.csv")
    parser.add_argument("--out", type=Path, default=MODEL, help="the model's file")
    parser.add_argument("--check", action="store_true", help="test the model that is there, fit and write nothing")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    args = parser.parse_args()
    clips = [*read_clips(args.librispeech, "librispeech"), *read_clips(args.fsdd, "fsdd")]
    others: dict[str, tuple[VoiceModel, ...]] = {}
    if args.check:
        models = read_models(json.loads(args.out.read_text(encoding="utf-8")))
    else:
        written, others = fit([*(clip for clip in clips if not clip.test), *noises()])
        text = json.dumps(written, separators=(",", ":")).replace('{"size"', '\n{"size"') + "\n"
        args.out.write_text(text, encoding="utf-8")
        models = read_models(written)
    tests = [clip for clip in clips if clip.test]
    results = test(tests, models, others, mean_pitch(clips))
    if args.json:
        print(json.dumps(results, indent=2))
    else:
        print_table(results)


def read_clips(folder: Path, corpus: str) -> Iterator[Clip]:
    """Read a corpus and let Praat find its pitch."""
    import parselmouth

    if not (folder / "metadata.csv").is_file():
        sys.exit(f"{folder} holds no metadata.csv; give the corpus's folder with --{corpus}")
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["file_name"])
    for row in rows:
        test = row["split"] == "test"
        if corpus == "fsdd" and not test and int(row["take"]) % round(1 / FSDD_SHARE):
            continue
        y, sr = read_audio(folder / row["file_name"])
        y = y / max(float(np.abs(y).max()), 1e-9)
        pitch = parselmouth.Sound(y.astype(np.float64), sr).to_pitch_ac(
            time_step=0.005, pitch_floor=LIMITS[0], pitch_ceiling=LIMITS[1]
        )
        yield Clip(corpus, row["speaker"], test, y, sr, pitch.xs(), pitch.selected_array["frequency"])


def noises() -> Iterator[Clip]:
    """Make noises of 1 s that slope by up to 4 dB an octave either way, steady or in bursts."""
    sr = 48000
    frequency = np.maximum(np.fft.rfftfreq(sr, 1 / sr), 100.0)
    for k in range(NOISES):
        rng = np.random.default_rng(k)
        slope = rng.uniform(-4, 4)
        spectrum = np.fft.rfft(rng.standard_normal(sr)) * 10 ** (slope * np.log2(frequency / 1000) / 20)
        depth = rng.uniform(0, 40) * (k % 2)  # dB
        swell = depth / 2 * np.cos(2 * np.pi * rng.uniform(2, 6) * np.arange(sr) / sr)
        y = np.fft.irfft(spectrum, sr) * 10 ** (swell / 20)
        times = np.arange(0.0, 1.005, 0.005)
        yield Clip("noise", f"noise{k}", False, y / np.abs(y).max(), sr, times, np.zeros(times.size))


def mean_pitch(clips: list[Clip]) -> float:
    """Return the constant that is compared with: the geometric mean of the speakers' pitches, Hz."""
    speakers: dict[str, list[Array]] = {}
    for clip in clips:
        if not clip.test:
            speakers.setdefault(clip.speaker, []).append(np.log(clip.hz[clip.hz > 0]))
    return float(np.exp(np.mean([np.concatenate(logs).mean() for logs in speakers.values()])))


def mfcc_of(clip: Clip, spec: MfccSpec, *, gain: float = 0.5, widen: bool = False) -> Array:
    """Return the MFCC (n_mfcc, frames) of a clip at a peak level.

    Parameters
    ----------
    clip
        The recording.
    spec
        The front end; its rate may be higher than the recording's.
    gain
        The peak.
    widen
        Fill bands that the recording lacks with what falls from its highest by 6 dB an octave, as a recording of the
        front end's rate would have something there.
    """
    decibels = log_mel(resample((gain * clip.y).astype(np.float32), clip.sr, spec.sr), spec).astype(np.float64)
    centres = spec.mel_frequencies()
    kept = int(np.count_nonzero(centres < 0.45 * clip.sr))
    if widen and kept < spec.n_mels:
        slope = 6 * np.log2(centres[kept:] / centres[kept - 1])[:, None]
        decibels[kept:] = np.maximum(decibels[kept - 1] - slope, 10 * np.log10(spec.floor))
    cepstra = scipy.fft.dct(decibels, axis=0, norm="ortho")[spec.orders]
    return cepstra * spec.coefficient_gains()[:, None]


def fit(clips: list[Clip]) -> tuple[dict[str, Any], dict[str, tuple[VoiceModel, ...]]]:
    """Fit the models.

    Returns
    -------
    written : dict
        What the file holds.
    others : dict
        For each speaker of FSDD, the models fitted without it.
    """
    specs = sorted({spec for spec in (*TESTED.values(), *FURTHER) if spec.c0}, key=repr)
    patterns: list[Pattern] = []
    for s, spec in enumerate(specs):
        for k, clip in enumerate(clips):
            # levels, wide or narrow, and cut or whole take turns over clips and front ends
            C = mfcc_of(clip, spec, gain=(0.5, 0.1, 0.02)[(k + s) % 3], widen=(k // 3 + s) % 2 == 0)
            C += colour(spec, np.random.default_rng([s, k]))[:, None]
            hz = clip.truth(spec, C.shape[1])
            length = PIECES[(k // 6 + s) % len(PIECES)]
            size = round(length * spec.sr / spec.hop)
            for start in range(0, max(1, hz.size - min(size, hz.size) // 2), size):
                part = slice(start, start + size)
                patterns.append(Pattern((clip.corpus, clip.speaker), spec, C[:, part], hz[part], length == PIECES[-1]))
    models: list[dict[str, Any]] = []
    left: dict[str, list[dict[str, Any]]] = {}
    for long, level in product((False, True), (True, False)):
        kind = [p for p in patterns if has_long_window(p.spec) == long]
        for size in SIZES[level]:
            chosen = [p for p in kind if size <= resolution(p.spec) + 1]
            values, without = fit_one(chosen, {"size": size, "level": level, "long": long})
            models.append(values)
            for name, others in without.items():
                left.setdefault(name, []).append(others)
    written = {"format": 1, "source": SOURCE, "models": models}
    return written, {name: read_models({"models": values}) for name, values in left.items()}


def colour(spec: MfccSpec, rng: np.random.Generator) -> Array:
    """Return the MFCC (n_mfcc,) that a microphone of smooth random colour adds to all frames."""
    place = np.log1p(spec.mel_frequencies() / 700) / np.log1p(3800 / 700)
    waves = np.cos(np.pi * np.arange(1, 4)[:, None] * np.minimum(place, 1.2))
    decibels = COLOUR_DB * rng.standard_normal(3) @ waves
    cepstra = scipy.fft.dct(decibels, norm="ortho")[spec.orders]
    return cepstra * spec.coefficient_gains()


def fit_one(patterns: list[Pattern], kind: dict[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Fit one model of a kind (size, level, long), and those without each speaker of FSDD."""
    # without levels MFCC with and without c0 come to the same
    raw = [cosines(p.C, p.spec, kind["size"], level=kind["level"]) for p in patterns]
    frames = np.concatenate(raw, axis=1)
    mean, sd = frames.mean(axis=1), frames.std(axis=1)
    values: dict[str, Any] = kind | {"mean": rounded(mean), "sd": rounded(sd)}
    values |= as_json("voicing", Regression(np.zeros(0), 0.0)) | as_json("pitch", Regression(np.zeros(0), 0.0))
    values |= {"slope": 1.0, "offset": 0.0}
    blank = as_model(values)
    zs = [coefficients(p.C, p.spec, blank) for p in patterns]
    folds = folds_of({p.speaker for p in patterns})

    groups: dict[Speaker, Sums] = {}
    for p, z in zip(patterns, zs, strict=True):
        add(groups, p, Sums.of(voicing_features(z, p.spec), (p.hz > 0).astype(np.float64), p.spec.hop / p.spec.sr))
    penalty = best_penalty(groups, folds)
    values |= as_json("voicing", total(groups).ridge(penalty))
    # the chances are calibrated on speakers that the regression has not seen
    held = [total({n: s for n, s in groups.items() if folds[n] != k}).ridge(penalty) for k in range(FOLDS)]
    scores = [held[folds[p.speaker]](voicing_features(z, p.spec)) for p, z in zip(patterns, zs, strict=True)]
    slope, offset = logistic(np.concatenate(scores), np.concatenate([p.hz > 0 for p in patterns]).astype(np.float64))
    values |= {"slope": round(slope, 4), "offset": round(offset, 4)}

    model = as_model(values)
    pitched: dict[Speaker, Sums] = {}
    for p, z in zip(patterns, zs, strict=True):
        voiced = p.hz > 0
        if not voiced.any() or p.short:
            continue
        X = pitch_features(z, voicing_of(model, z, p.spec), p.spec)[:, voiced]
        add(pitched, p, Sums.of(X, 12 * np.log2(p.hz[voiced] / REFERENCE), p.spec.hop / p.spec.sr))
    # what a speaker counts must not depend on how much it says
    pitched = {n: s.times((SPEAKER_WEIGHT if n[0] == "fsdd" else 1.0) / s.weight) for n, s in pitched.items()}
    pitch_penalty = best_penalty(pitched, folds)
    values |= as_json("pitch", total(pitched).ridge(pitch_penalty))
    print(f"{kind}: penalties {penalty:.2g} and {pitch_penalty:.2g}", file=sys.stderr)
    without = {}
    for left in [n for n in sorted(groups) if n[0] == "fsdd"]:
        regressions = [
            total({n: s for n, s in sums.items() if n != left}).ridge(by)
            for sums, by in ((groups, penalty), (pitched, pitch_penalty))
        ]
        without[left[1]] = values | as_json("voicing", regressions[0]) | as_json("pitch", regressions[1])
    return values, without


def add(groups: dict[Speaker, Sums], p: Pattern, sums: Sums) -> None:
    """Add a pattern's sums to its speaker's."""
    groups[p.speaker] = groups[p.speaker].plus(sums) if p.speaker in groups else sums


def total(groups: dict[Speaker, Sums]) -> Sums:
    """Return the sums over speakers."""
    first, *others = groups.values()
    for one in others:
        first = first.plus(one)
    return first


def folds_of(speakers: set[Speaker]) -> dict[Speaker, int]:
    """Deal the speakers out; those of each corpus go to all folds."""
    return {speaker: k % FOLDS for k, speaker in enumerate(sorted(speakers))}


def best_penalty(groups: dict[Speaker, Sums], folds: dict[Speaker, int]) -> float:
    """Return the penalty with the least squared error on speakers left out."""
    errors = np.zeros(len(PENALTIES))
    for k in range(FOLDS):
        rest = total({n: s for n, s in groups.items() if folds[n] != k})
        test = total({n: s for n, s in groups.items() if folds[n] == k})
        errors += [test.error(rest.ridge(penalty)) for penalty in PENALTIES]
    return PENALTIES[int(errors.argmin())]


def logistic(x: Array, y: Array) -> tuple[float, float]:
    """Return slope and offset of the logistic regression of y (0 or 1) on x, by Newton's method."""
    A = np.stack([x, np.ones_like(x)])
    w = np.array([4.0, -2.0])
    for _ in range(20):
        chance = 1 / (1 + np.exp(-(w @ A)))
        step = np.linalg.solve((A * (chance * (1 - chance))) @ A.T, A @ (y - chance))
        w += step
        if np.abs(step).max() < 1e-6:
            break
    return float(w[0]), float(w[1])


def rounded(values: Array) -> list[float]:
    """Return four significant digits: the rest would be noise in a file."""
    return [float(f"{value:.4g}") for value in values]


def as_json(name: str, regression: Regression) -> dict[str, Any]:
    """Return a regression as the file holds it."""
    return {name: rounded(regression.weights), f"{name}_bias": float(f"{regression.bias:.4g}")}


def as_model(values: dict[str, Any]) -> VoiceModel:
    """Return the model that the values make."""
    return read_models({"models": [values]})[0]


def test(
    clips: list[Clip], models: tuple[VoiceModel, ...], others: dict[str, tuple[VoiceModel, ...]], constant: float
) -> list[dict[str, Any]]:
    """Compare with Praat, per front end and corpus.

    Parameters
    ----------
    clips
        Test clips.
    models
        What the file holds.
    others
        Models to use for some speakers.
    constant
        Hz that a constant pitch has.
    """
    results = []
    for name, spec in TESTED.items():
        for corpus in sorted({clip.corpus for clip in clips}):
            voiced, right, off = [], [], []
            for clip in [c for c in clips if c.corpus == corpus]:
                C = mfcc_of(clip, spec)
                hz = clip.truth(spec, C.shape[1])
                chance, contour = predict(choose(others.get(clip.speaker, models), spec), C, spec)
                known_chance, known_contour = predict(choose(models, spec), C, spec)
                contours = (contour, known_contour, np.full(hz.size, constant))
                voiced.append(hz > 0)
                right.append([(v > 0.5) == voiced[-1] for v in (chance, known_chance)])
                off.append([np.abs(12 * np.log2(f[hz > 0] / hz[hz > 0])) for f in contours])
            share = float(np.concatenate(voiced).mean())
            accuracies = [*np.concatenate(right, axis=1).mean(axis=1), max(share, 1 - share)]
            errors = np.median(np.concatenate(off, axis=1), axis=1)
            results.append(
                {
                    "front_end": name,
                    "corpus": corpus,
                    "coefficients": choose(models, spec).size,
                    "voicing_right": {m: round(float(v), 3) for m, v in zip(METHODS, accuracies, strict=True)},
                    "pitch_off_semitones": {m: round(float(v), 2) for m, v in zip(METHODS, errors, strict=True)},
                }
            )
    return results


def predict(model: VoiceModel, C: Array, spec: MfccSpec) -> tuple[Array, Array]:
    """Return voicing and pitch in Hz (frames,) by a given model."""
    z = coefficients(C, spec, model)
    chance = voicing_of(model, z, spec)
    return chance, REFERENCE * 2.0 ** (pitch_of(model, z, chance, spec) / 12)


def print_table(results: list[dict[str, Any]]) -> None:
    """Print a line a front end and corpus."""
    print(f"{'':50}  {'voicing right':^36}  {'pitch off, semitones':^36}")
    print(f"{'':50}" + 2 * ("  " + "".join(f"{method:>9}" for method in METHODS)))
    for row in results:
        cells = (
            [f"{value:9.3f}" for value in row["voicing_right"].values()],
            [f"{value:9.2f}" for value in row["pitch_off_semitones"].values()],
        )
        print(f"{row['front_end']:38}{row['corpus']:12}" + "".join("  " + "".join(part) for part in cells))


if __name__ == "__main__":
    main()
