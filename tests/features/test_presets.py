"""Front ends by name: what follows from what. Their numbers: tests/oracles."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from cepscope.errors import ParameterError
from cepscope.features import FRONT_ENDS, MfccSpec, front_end, log_mel, mfcc, mfcc_to_log_mel
from cepscope.features.presets import front_end_settings


def noise(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return (0.1 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "changes", "sizes"),
    [  # n_fft, win, hop
        ("librosa", {}, (2048, 2048, 512)),
        ("librosa", {"sr": 8000, "n_fft": 1024}, (1024, 1024, 512)),
        ("torchaudio", {}, (400, 400, 200)),
        ("torchaudio", {"n_fft": 512}, (512, 512, 256)),
        ("torchaudio", {"win": 300}, (400, 300, 150)),
        ("htk", {}, (512, 400, 160)),
        ("htk", {"sr": 11025}, (512, 275, 110)),
        ("kaldi", {"sr": 8000}, (256, 200, 80)),
        ("kaldi", {"sr": 22050, "hop": 100}, (1024, 551, 100)),
        ("tf-speech-commands", {}, (1024, 640, 320)),
        ("tf-speech-commands", {"sr": 8000}, (512, 320, 160)),
    ],
)
def test_sizes_follow_as_in_the_front_end_itself(name: Any, changes: dict[str, Any], sizes: tuple[int, ...]) -> None:
    spec = front_end(name, **changes)
    assert (spec.n_fft, spec.win, spec.hop) == sizes


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("htk3", {}, "front_end must be 'librosa', 'htk', .* or 'tf-speech-commands'. Received: front_end='htk3'"),
        (None, {}, "front_end must be .* Received: front_end=None"),
        ("htk", {"n_mel": 23}, "MfccSpec has the settings sr, .*, warp. Received: n_mel"),
        ("kaldi", {"sr": "16k"}, "sr must be an integer. Received: sr='16k'"),
        ("torchaudio", {"n_fft": 400.0}, "n_fft must be an integer. Received: n_fft=400.0"),
        ("torchaudio", {"win": None}, "win must be an integer. Received: win=None"),
        ("kaldi", {"n_mfcc": 24}, "n_mfcc must be at most n_mels=23. Received: n_mfcc=24"),
    ],
)
def test_what_no_front_end_has_is_refused(name: Any, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ParameterError, match=rf"^{says}$"):
        front_end(name, **changes)


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_settings_are_every_one_and_survive_json(name: Any) -> None:
    spec = front_end(name)
    assert MfccSpec(**front_end_settings(name, {})) == spec
    assert set(front_end_settings(name, {})) == set(spec.to_dict())
    assert MfccSpec.from_dict(json.loads(json.dumps(spec.to_dict(), allow_nan=False))) == spec


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_a_clip_alone_gives_the_bits_it_gives_in_a_batch(name: Any) -> None:
    spec = front_end(name)
    y = noise(19, 4100)  # several groups
    y[:, 2000:] *= 1e-3
    C = mfcc(y, spec)
    assert C.shape == (19, spec.n_mfcc, spec.frames_of(4100))
    for i in (0, 7, 18):
        np.testing.assert_array_equal(C[i], mfcc(y[i], spec))


@pytest.mark.parametrize("name", ["htk", "kaldi", "tf-speech-commands"])
def test_frames_depend_on_what_their_window_sees_alone(name: Any) -> None:
    """Also where a clip is longer than a block; the first of them without padding begins at sample 0."""
    spec = front_end(name)
    y = noise(spec.hop * 1100)
    C = mfcc(y, spec)
    for frame in (0, 1, 255, 256, 511, 512, C.shape[1] - 1):
        start = frame * spec.hop
        alone = mfcc(y[start : start + spec.win], spec)
        assert alone.shape[1] == 1
        np.testing.assert_array_equal(C[:, frame], alone[:, 0])


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_silence_is_the_mfcc_of_zeros(name: Any) -> None:
    spec = front_end(name)
    zeros = mfcc(np.zeros(3 * spec.n_fft), spec)
    level = float(np.abs(spec.silence).max())
    # 2**-21: 4 float32 roundings of c0, which the DCT's sum leaves in every coefficient, times its gain
    tolerance = 2.0**-21 * max(1.0, level) * float(np.abs(spec.lifter_gains()).max())
    np.testing.assert_allclose(zeros, np.tile(spec.silence[:, None], zeros.shape[1]), atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_log_mel_comes_back_from_all_coefficients(name: Any) -> None:
    spec = front_end(name, n_mfcc=front_end(name).n_mels, lifter=0.0)
    y = noise(3000)
    # rounding of numbers up to sqrt(n_mels) times as large as decibels of 100
    np.testing.assert_allclose(mfcc_to_log_mel(mfcc(y, spec), spec), log_mel(y, spec), atol=1e-3)


def test_the_scale_is_that_of_samples() -> None:
    spec = front_end("kaldi")
    integers = np.rint(noise(4000) * 32768)
    one = front_end("kaldi", scale=1.0)
    np.testing.assert_array_equal(mfcc(integers / 32768, spec), mfcc(integers, one))
