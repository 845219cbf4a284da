"""Make the built-in corpus data/spoken-digits: ten English digits by 45 synthetic voices.

    python scripts/make_spoken_digits.py [--out data/spoken-digits] [--jobs 2]
    python scripts/make_spoken_digits.py --check        # examine the clips that are there

Needs espeak-ng and flite (Debian: apt-get install espeak-ng flite). The same program versions
give the same files, byte for byte: every rendition's speed and pitch come from a generator seeded by
voice, word and rendition.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import shutil
import subprocess
import sys
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import gcd
from pathlib import Path

import librosa
import numpy as np
import soundfile as sf
from numpy.typing import NDArray
from scipy.signal import resample_poly

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RENDITIONS = 2
SR = 16000
MARGIN = 0.05  # s of near silence kept on both sides
PEAK = 0.25  # quiet enough for small FLAC files, 80 dB above the 16-bit grid, never a clipped peak
LIMIT_BYTES = 8_000_000
COLUMNS = ("file_name", "label", "speaker", "engine", "split")
# Two voices whose time-normalised cepstra correlate more than this on one word are one voice under two names
# (espeak-ng's klatt, klatt6 and caleb: 1.00; the closest two voices below: see `check`'s last line).
MAX_SIMILARITY = 0.97
MAX_SIMILARITY_OF_RENDITIONS = 0.99  # one voice, one word, spoken twice: like, but not the same

Samples = NDArray[np.float64]


@dataclass(frozen=True)
class Voice:
    """One synthetic voice: the program that speaks, its voice name and what kind of voice it resembles."""

    speaker: str
    engine: str  # "espeak-ng" or "flite"
    voice: str  # as the engine names it
    kind: str  # "female-like" or "male-like"
    split: str


def _espeak(split: str, kind: str, accents: str) -> list[Voice]:
    """Read "accent:Variant Variant ..., accent:..." as a list of espeak-ng voices."""
    pairs = [(a.split(":")[0].strip(), v) for a in accents.split(",") for v in a.split(":")[1].split()]
    return [Voice(v.lower(), "espeak-ng", f"{a}+{v}", kind, split) for a, v in pairs]


# One accent a variant. Left out: variants that are one sound under two names (mike = mario = Mr serious),
# whispers, robots, and what a classifier trained on all the others can't recognise (kaukovalta, zac, Lee).
# Variants of one author that sound alike (f2-f5, aunty-belinda-linda) are all in train.
# `en-gb+X` must not be used: espeak-ng 1.51 then ignores X without a word.
VOICES = (
    *_espeak(
        "train",
        "female-like",
        "en-us:Alicia belinda linda f2 f5 anika, en:f3 aunty, en-gb-x-rp:Annie, en-gb-scotland:f4, en-029:grandma",
    ),
    *_espeak(
        "train",
        "male-like",
        "en-us:adam Andy ed Gene Jacky max paul rob m3 sandro, en:Alex m8 quincy m1, "
        "en-gb-x-rp:gustave pedro, en-gb-scotland:Henrique victor, en-029:klatt4 Nguyen, en-gb-x-gbclan:iven",
    ),
    Voice("kal", "flite", "kal16", "male-like", "train"),
    Voice("awb", "flite", "awb", "male-like", "train"),
    Voice("slt", "flite", "slt", "female-like", "train"),
    *_espeak("test", "female-like", "en-us:Andrea steph, en:f1, en-gb-scotland:shelby"),
    *_espeak("test", "male-like", "en-us:boris norbert, en:m2, en-gb-x-rp:pablo, en-029:Storm"),
    Voice("rms", "flite", "rms", "male-like", "test"),
)


def require_engines() -> None:
    """Stop with one clear line when a synthesizer is missing."""
    missing = [name for name in ("espeak-ng", "flite") if shutil.which(name) is None]
    if missing:
        sys.exit(f"error: {' and '.join(missing)} not found; on Debian: apt-get install {' '.join(missing)}")


def _run(*command: str) -> bytes:
    result = subprocess.run(command, capture_output=True, check=False)
    if result.returncode != 0:
        sys.exit(f"error: {' '.join(command)} failed: {result.stderr.decode(errors='replace').strip()}")
    return result.stdout


def synthesize(voice: Voice, word: str, rendition: int) -> tuple[Samples, int]:
    """Speak one word; rendition 0 is slower, pitch differs too (flite's rms has one pitch)."""
    rng = np.random.default_rng(zlib.crc32(f"{voice.engine}/{voice.voice}/{word}/{rendition}".encode()))
    pitch = rng.uniform(-1, 1)
    if voice.engine == "espeak-ng":
        speed = rng.integers(138, 158) if rendition == 0 else rng.integers(172, 201)  # words a minute
        options = ["-a", "50", "-s", str(speed), "-p", str(round(50 + 12 * pitch)), "-v", voice.voice]
        data = _run("espeak-ng", *options, "--stdout", word)
        audio, sr = sf.read(io.BytesIO(data))
        return audio, sr
    stretch = rng.uniform(0.98, 1.12) if rendition == 0 else rng.uniform(0.78, 0.90)
    with tempfile.TemporaryDirectory() as folder:
        wav = str(Path(folder) / "a.wav")
        settings = {"duration_stretch": stretch, "f0_shift": 1 + 0.08 * pitch}
        options = [x for key, value in settings.items() for x in ("--setf", f"{key}={value:.4f}")]
        _run("flite", "-voice", voice.voice, *options, "-t", word, "-o", wav)
        audio, sr = sf.read(wav)
    return audio, sr


def finish(audio: Samples, sr: int) -> Samples:
    """Resample to 16 kHz, keep 50 ms around the word, set the peak; returns (samples,) on the 16-bit grid."""
    audio = audio - audio.mean()
    if sr != SR:
        common = gcd(sr, SR)
        audio = resample_poly(audio, SR // common, sr // common)
    hop = SR // 200  # 5 ms
    frames = audio[: len(audio) // hop * hop].reshape(-1, hop)
    level = np.sqrt(np.mean(frames**2, axis=1))
    # 45 dB below the loudest 5 ms still holds the hiss of "six" and the tail of "nine"
    loud = np.flatnonzero(level > level.max() * 10 ** (-45 / 20))
    margin = round(MARGIN * SR)
    padded = np.pad(audio, margin)
    word = padded[loud[0] * hop : (loud[-1] + 1) * hop + 2 * margin]
    word = word - word.mean()
    ramp = np.linspace(0, 1, hop)  # no click where the cut is not at zero
    word[:hop] *= ramp
    word[-hop:] *= ramp[::-1]
    return np.round(word * (PEAK / np.abs(word).max()) * 32768) / 32768


def make(out: Path, jobs: int) -> None:
    """Write audio/*.flac, metadata.csv and README.md into `out` (an older audio folder there is replaced)."""
    names = [v.speaker for v in VOICES]
    if len(set(names)) != len(names):
        raise SystemExit("error: two voices have one speaker name")
    tasks = [(v, w, r) for v in VOICES for w in WORDS for r in range(RENDITIONS)]
    with ThreadPoolExecutor(jobs) as pool:  # the work is in child processes
        clips = list(pool.map(lambda task: finish(*synthesize(*task)), tasks))
    audio = out / "audio"
    if audio.exists():
        shutil.rmtree(audio)
    audio.mkdir(parents=True)
    rows = []
    for (voice, word, rendition), clip in zip(tasks, clips, strict=True):
        name = f"audio/{word}_{voice.speaker}_{rendition}.flac"
        sf.write(out / name, clip, SR, subtype="PCM_16", format="FLAC", compression_level=1.0)
        rows.append((name, word, voice.speaker, voice.engine, voice.split))
    with (out / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *sorted(rows)])
    (out / "README.md").write_text(readme(), encoding="utf-8")
    print(f"{len(rows)} clips, {len(VOICES)} voices, {sum(map(len, clips)) / SR:.0f} s of sound in {out}")


def _shape(clip: Samples) -> NDArray[np.float64]:
    """Return the cepstra of a clip on 24 points from its beginning to its end, level left out."""
    mfcc = librosa.feature.mfcc(y=clip.astype(np.float32), sr=SR, n_mfcc=20, n_fft=512, hop_length=160, n_mels=40)
    places = np.linspace(0, mfcc.shape[1] - 1, 24)
    return np.stack([np.interp(places, np.arange(mfcc.shape[1]), row) for row in mfcc[1:]]).ravel()


def check(out: Path) -> None:
    """Stop when the folder is too large, two clips are the same sound, or a voice is in train and test."""
    with (out / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    sounds: dict[str, str] = {}
    sides: dict[str, set[str]] = {}
    shapes: dict[str, list[tuple[str, str, NDArray[np.float64]]]] = {}
    for row in rows:
        audio, sr = sf.read(out / row["file_name"])
        if sr != SR or audio.ndim != 1:
            sys.exit(f"error: {row['file_name']} is not 16 kHz mono")
        digest = hashlib.sha256(audio.tobytes()).hexdigest()
        if digest in sounds:
            sys.exit(f"error: {row['file_name']} and {sounds[digest]} hold the same samples")
        sounds[digest] = row["file_name"]
        sides.setdefault(row["speaker"], set()).add(row["split"])
        shapes.setdefault(row["label"], []).append((row["speaker"], row["file_name"], _shape(audio)))
    if both := [speaker for speaker, splits in sides.items() if len(splits) > 1]:
        sys.exit(f"error: voices in train and in test: {', '.join(both)}")
    closest = max(_closest(group, same_voice=False) for group in shapes.values())
    for score, one, other in (closest, max(_closest(group, same_voice=True) for group in shapes.values())):
        limit = MAX_SIMILARITY if (one, other) == closest[1:] else MAX_SIMILARITY_OF_RENDITIONS
        if score > limit:
            sys.exit(f"error: {one} and {other} sound the same (correlation {score:.4f}, limit {limit})")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    if size > LIMIT_BYTES:
        sys.exit(f"error: {out} holds {size / 1e6:.2f} MB, more than {LIMIT_BYTES / 1e6:.0f} MB")
    print(f"{len(rows)} different clips, {size / 1e6:.2f} MB")
    print("most alike of two voices: {1}, {2} (correlation {0:.4f})".format(*closest))


def _closest(group: list[tuple[str, str, NDArray[np.float64]]], *, same_voice: bool) -> tuple[float, str, str]:
    """Return the largest correlation of two clips of one word, by one voice or by two, and their names."""
    shapes = np.stack([shape for _, _, shape in group])
    matrix = np.corrcoef(shapes - shapes.mean(axis=0))  # what the word itself makes alike is left out
    speakers = np.array([speaker for speaker, _, _ in group])
    matrix[(speakers[:, None] == speakers[None, :]) != same_voice] = -1.0
    np.fill_diagonal(matrix, -1.0)
    i, j = np.unravel_index(np.argmax(matrix), matrix.shape)
    return float(matrix[i, j]), group[i][1], group[j][1]


def _versions() -> tuple[str, str]:
    espeak = _run("espeak-ng", "--version").decode().split("  ")[0].strip()
    # flite answers --version with exit status 1
    text = subprocess.run(["flite", "--version"], capture_output=True, check=False).stdout.decode()
    return espeak, text.split("version:")[1].split("(")[0].strip().replace("flite-", "flite ")


def readme() -> str:
    """Return the text of the corpus's README.md, with the versions that spoke."""
    espeak, flite = _versions()
    lines = [f"| {v.speaker} | {v.engine} | `{v.voice}` | {v.kind} | {v.split} |" for v in VOICES]
    test = sum(v.split == "test" for v in VOICES)
    return README.format(
        clips=len(VOICES) * len(WORDS) * RENDITIONS,
        voices=len(VOICES),
        train=len(VOICES) - test,
        test=test,
        espeak=espeak,
        flite=flite,
        table="\n".join(lines),
    )


README = """# spoken-digits: a synthetic corpus

**No human speaks here.** {clips} clips of the English words zero to nine, spoken by {voices} voices of
two speech synthesizers, two renditions a word. It exists so that cepscope runs, tests and demonstrates
itself without a download. Accuracy on it says that the machinery works, nothing about human speech:
synthesizers are far more regular.

| | |
|---|---|
| Sound | 16 kHz, mono, 16 bit, FLAC; peak at 0.25; about 50 ms of near silence around the word |
| Labels | `zero` ... `nine`, {voices} x 2 clips each |
| Split | by voice: {train} in train, {test} in test; both engines and both kinds of voice in both |
| Files | `audio/WORD_SPEAKER_RENDITION.flac`; `metadata.csv`: file_name, label, speaker, engine, split |

## How it was made

`python scripts/make_spoken_digits.py` with {espeak} and {flite} (Debian packages `espeak-ng` and
`flite`). Rendition 0 is slower than rendition 1; pitch varies by voice, word and rendition, except for
flite's rms, whose pitch can't be set. The script run twice gives the same files, byte for byte. With
`--check` it verifies that no two clips hold the same samples, that no two voices sound alike on any
word, that no voice is in both splits, and the size.

Known limits: the variants of espeak-ng share one phoneme inventory and one set of recorded consonants,
so they are closer to each other than people are. "Female-like" and "male-like" name the synthesizer's
intent, not the result of a listening test. Of the 75 espeak-ng variants tried, the three that a
classifier trained on all other voices recognised worst (kaukovalta, zac, Lee: 5 to 8 words of 10) were
left out, so accuracy is a little flattered.

## Licences

The clips are the output of two programs. espeak-ng is free software under the GNU General Public
License, version 3 or later. flite and its voices kal, awb, rms and slt are under Carnegie Mellon
University's BSD-like licence; awb, rms and slt were built from the CMU ARCTIC databases, which are free
for any use. As far as the developers of cepscope hold rights in the clips, these are under cepscope's
MIT licence. See LICENSE.txt.

## Voices

| Speaker | Engine | Voice | Kind | Split |
|---|---|---|---|---|
{table}
"""


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Make or check the built-in corpus of spoken digits.")
    default = Path(__file__).resolve().parents[1] / "data" / "spoken-digits"
    parser.add_argument("--out", type=Path, default=default, help="folder to write (default: data/spoken-digits)")
    parser.add_argument("--jobs", type=int, default=2, help="voices spoken at once (default: 2)")
    parser.add_argument("--check", action="store_true", help="only examine the clips in --out")
    args = parser.parse_args()
    if not args.check:
        require_engines()
        args.out.mkdir(parents=True, exist_ok=True)
        make(args.out, args.jobs)
    if not (args.out / "metadata.csv").is_file():
        sys.exit(f"error: no metadata.csv in {args.out}; run without --check to make the corpus")
    check(args.out)


if __name__ == "__main__":
    main()
