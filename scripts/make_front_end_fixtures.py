"""Write what Kaldi's and torchaudio's front ends make of one clip: tests/oracles/front_ends.json.

    python -m venv ENV && ENV/bin/pip install numpy soundfile torch torchaudio kaldi-native-fbank
    ENV/bin/python scripts/make_front_end_fixtures.py

torch is too large to be installed for tests; so a few frames of each front end are kept, with the versions that made
them. cepscope is not used here.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import kaldi_native_fbank
import numpy as np
import numpy.typing as npt
import soundfile
import torch
import torchaudio

ROOT = Path(__file__).resolve().parents[1]
CLIP = "seven_annie_0.flac"  # has digital silence at both ends
TARGET = ROOT / "tests" / "oracles" / "front_ends.json"
FRAMES = 7  # kept of each, equally far apart, the first and the last among them

Array = npt.NDArray[Any]


def kaldi(integers: Array, **options: Any) -> Array:
    """Compute MFCC (coefficients, frames) by torchaudio's version of Kaldi's front end, without dither."""
    wave = torch.from_numpy(integers.astype(np.float32))[np.newaxis]
    return np.asarray(torchaudio.compliance.kaldi.mfcc(wave, dither=0.0, **options)).T


def native(integers: Array, *, htk_compat: bool = False) -> Array:
    """Compute MFCC (coefficients, frames) by Kaldi's own code, without dither and energy."""
    options = kaldi_native_fbank.MfccOptions()
    options.frame_opts.dither = 0
    options.use_energy = False
    options.htk_compat = htk_compat
    computer = kaldi_native_fbank.OnlineMfcc(options)
    computer.accept_waveform(16000, integers.astype(np.float32).tolist())
    computer.input_finished()
    found = np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)], axis=1)
    return np.roll(found, 1, axis=0) if htk_compat else found  # HTK has c0 last


def transform(integers: Array, **options: Any) -> Array:
    """Compute MFCC (coefficients, frames) by torchaudio's transform."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "At least one mel filterbank")  # by torchaudio's own defaults
        front_end = torchaudio.transforms.MFCC(**options)
    return np.asarray(front_end(torch.from_numpy((integers / 32768).astype(np.float32))))


CASES: tuple[tuple[str, str, dict[str, Any], Callable[[Array], Array]], ...] = (
    ("kaldi", "torchaudio.compliance.kaldi", {}, kaldi),
    ("kaldi", "kaldi_native_fbank", {}, native),
    ("kaldi", "kaldi_native_fbank, htk_compat", {"cepstra": "htk"}, lambda y: native(y, htk_compat=True)),
    ("kaldi", "torchaudio.compliance.kaldi", {"sr": 8000}, lambda y: kaldi(y, sample_frequency=8000.0)),
    ("kaldi", "torchaudio.compliance.kaldi", {"sr": 11025}, lambda y: kaldi(y, sample_frequency=11025.0)),
    ("kaldi", "torchaudio.compliance.kaldi", {"warp": 1.1}, lambda y: kaldi(y, vtln_warp=1.1)),
    ("kaldi", "torchaudio.compliance.kaldi", {"warp": 0.85}, lambda y: kaldi(y, vtln_warp=0.85)),
    (
        "kaldi",
        "torchaudio.compliance.kaldi",
        {"window": "hamming", "remove_dc": False, "n_mels": 40, "n_mfcc": 20, "fmin": 60.0, "fmax": 7000.0},
        lambda y: kaldi(
            y, window_type="hamming", remove_dc_offset=False, num_mel_bins=40, num_ceps=20, low_freq=60.0,
            high_freq=7000.0,
        ),
    ),
    (
        "kaldi",
        "torchaudio.compliance.kaldi",
        {"window": "blackman", "preemphasis": 0.0, "win": 320, "hop": 80, "lifter": 0.0},
        lambda y: kaldi(
            y, window_type="blackman", preemphasis_coefficient=0.0, frame_length=20.0, frame_shift=5.0,
            cepstral_lifter=0.0,
        ),
    ),
    ("torchaudio", "torchaudio.transforms", {}, transform),
    (
        "torchaudio",
        "torchaudio.transforms",
        {"n_fft": 512, "n_mels": 64, "n_mfcc": 13},
        lambda y: transform(y, n_mfcc=13, melkwargs={"n_fft": 512, "n_mels": 64}),
    ),
    (
        "torchaudio",
        "torchaudio.transforms",
        {"sr": 22050, "n_fft": 1024, "win": 800, "hop": 300, "n_mels": 80, "htk": False, "filterbank": "slaney"},
        lambda y: transform(
            y,
            sample_rate=22050,
            melkwargs={
                "n_fft": 1024, "win_length": 800, "hop_length": 300, "n_mels": 80, "mel_scale": "slaney",
                "norm": "slaney",
            },
        ),
    ),
)  # fmt: skip


def main() -> None:
    """Compute every case and write the file."""
    integers, _ = soundfile.read(ROOT / "data" / "spoken-digits" / "audio" / CLIP, dtype="int16")
    cases = []
    for front_end, by, changes, compute in CASES:
        C = compute(integers)
        frames = np.linspace(0, C.shape[1] - 1, FRAMES).round().astype(int)
        values = [[round(float(value), 4) for value in C[:, frame]] for frame in frames]
        cases.append(
            {"front_end": front_end, "by": by, "changes": changes, "shape": C.shape, "frames": frames.tolist()}
            | {"values": values}
        )
    versions = {name: version(name) for name in ("torch", "torchaudio", "kaldi-native-fbank", "numpy")}
    lines = ",\n".join(json.dumps(case) for case in cases)
    TARGET.write_text(
        f'{{"made_by": "scripts/make_front_end_fixtures.py", "versions": {json.dumps(versions)}, "clip": "{CLIP}",\n'
        f'"cases": [\n{lines}\n]}}\n'
    )


if __name__ == "__main__":
    main()
