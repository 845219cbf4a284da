"""The transform is the extractor's own, its inverse is exact, the adjoints are adjoint."""

from __future__ import annotations

from dataclasses import replace

import librosa
import numpy as np
import pytest

from cepscope.errors import DataError
from cepscope.features import MfccSpec, log_mel
from cepscope.features.presets import FRONT_ENDS, front_end
from cepscope.invert.matching import mel_power, power_to_db
from cepscope.invert.stft import Inverse, istft, sound_length, spare, stft, stft_adjoint

SPECS = [
    MfccSpec(sr=8000),
    MfccSpec(sr=16000, n_mfcc=13),
    MfccSpec(sr=8000, win=255, hop=85, n_fft=512),  # odd window in a longer transform
    MfccSpec(sr=22050, win=2048, n_fft=2048, hop=512),
]
OTHERS = [front_end(name) for name in FRONT_ENDS if name != "librosa"]


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("extra", [0, 37])
def test_equals_librosa_and_comes_back(spec: MfccSpec, extra: int) -> None:
    y = np.random.default_rng(0).standard_normal(sound_length(20, spec) + extra)
    X = stft(y, spec)
    expected = librosa.stft(y, n_fft=spec.n_fft, hop_length=spec.hop, win_length=spec.win, pad_mode="constant")
    np.testing.assert_allclose(X, expected, atol=1e-11)  # float64 sums of some 2000 terms
    np.testing.assert_allclose(istft(X, spec, y.size), y, atol=1e-11)
    y = y.astype(np.float32)
    assert stft(y, spec).dtype == np.complex64
    np.testing.assert_allclose(istft(stft(y, spec), spec, y.size), y, atol=3e-5)  # float32


def test_batch_equals_single(narrow: MfccSpec) -> None:
    y = np.random.default_rng(0).standard_normal((2, 3, 800))
    X = stft(y, narrow)
    assert X.shape == (2, 3, 129, 11)
    np.testing.assert_array_equal(X[1, 2], stft(y[1, 2], narrow))
    np.testing.assert_array_equal(istft(X, narrow, 800)[1, 2], istft(X[1, 2], narrow, 800))


def test_bins_to_spare() -> None:
    """A window of 200 in a transform of 512: every second bin says all of the sound."""
    spec = MfccSpec(sr=8000, n_fft=512)
    y = np.random.default_rng(0).standard_normal(sound_length(20, spec))
    assert spare(spec) == 2
    assert [spare(replace(spec, n_fft=n)) for n in (200, 256, 400, 1024)] == [1, 1, 2, 4]
    np.testing.assert_allclose(Inverse(spec, y.size, every=2, dtype="float64")(stft(y, spec)[::2]), y, atol=1e-11)


@pytest.mark.parametrize("spec", OTHERS)
def test_other_framings_come_back(spec: MfccSpec) -> None:
    """Pre-emphasis is undone, whatever the padding; the mean that frames lose is lost."""
    spec = replace(spec, remove_dc=False)
    y = np.random.default_rng(0).standard_normal(sound_length(20, spec))
    assert stft(y, spec).shape == (spec.n_fft // 2 + 1, 20)
    back = istft(stft(y, spec), spec, y.size)
    scale = np.abs(stft(y, spec)).max()
    np.testing.assert_allclose(stft(back, spec), stft(y, spec), atol=1e-8 * scale)
    # without padding no window reaches the ends; under Kaldi's, which begins at 0, .97^t can be added unseen
    inside = slice(600, -2) if spec.padding == "none" else slice(None)
    np.testing.assert_allclose(back[inside], y[inside], atol=1e-5)


@pytest.mark.parametrize("spec", [*SPECS, *(replace(spec, remove_dc=False) for spec in OTHERS)])
def test_weighted_inverse_is_the_weighted_least_squares_solution(spec: MfccSpec) -> None:
    """A change of any kind makes the weighted distance larger; of a true transform, the sound comes back."""
    rng = np.random.default_rng(0)
    samples = sound_length(9, spec)
    weights = 10.0 ** rng.uniform(-3, 0, 9)
    y = rng.standard_normal(samples)
    if spec.padding == "zeros":
        np.testing.assert_allclose(istft(stft(y, spec), spec, samples, weights=weights), y, atol=1e-9)
    else:  # without padding nothing else fixes the ends; the inverse takes the padding for zeros, not for a mirror
        y[[0, -1]] = 0
    spec = replace(spec, padding="zeros" if spec.padding == "reflect" else spec.padding)
    G = stft(y, spec) * rng.uniform(0.1, 2, (spec.n_fft // 2 + 1, 9))
    best = istft(G, spec, samples, weights=weights)
    both = np.r_[1, np.full(spec.n_fft // 2 - 1, 2), 1][:, None]  # bins of a real sound come in pairs

    def distance(z: np.ndarray) -> float:
        return float(np.sum(weights * both * np.abs(stft(z, spec) - G) ** 2))

    for _ in range(4):
        assert distance(best) < distance(best + 1e-3 * rng.standard_normal(samples))
    assert distance(best) < distance(istft(G, spec, samples))


@pytest.mark.parametrize("spec", [*SPECS, *OTHERS])
def test_adjoints(spec: MfccSpec) -> None:
    """<A y, G> = <y, A' G> for both transforms: what the analytic gradient stands on."""
    rng = np.random.default_rng(0)
    samples = sound_length(9, spec) + 5
    y, g = rng.standard_normal((2, samples))
    shape = (spec.n_fft // 2 + 1, 9)
    G = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    G[[0, -1]] = G[[0, -1]].real  # 0 Hz and Nyquist of a real sound are real

    def inner(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.sum(a.real * b.real + a.imag * b.imag))

    assert inner(stft(y, spec), G) == pytest.approx(float(y @ stft_adjoint(G, spec, samples)), rel=1e-10)
    every = spare(spec)
    for weights, few in ((None, 1), (rng.uniform(0.1, 10, 9), 1), (None, every)):
        inverse = Inverse(spec, samples, weights=weights, every=few, dtype="float64")
        H = G[::few]
        assert float(inverse(H) @ g) == pytest.approx(inner(H, inverse.adjoint(g)), rel=1e-10)


@pytest.mark.parametrize("top_db", [np.inf, 40.0])
def test_levels_are_the_extractors(top_db: float) -> None:
    spec = MfccSpec(sr=8000, floor=1e-3, top_db=top_db)
    y = np.random.default_rng(0).standard_normal(4000).astype(np.float32) * np.linspace(0, 0.1, 4000, dtype=np.float32)
    # float32 transform against the extractor's float64: 1e-3 dB is 1e-4 in amplitude, near the quietest bands
    np.testing.assert_allclose(power_to_db(mel_power(y, spec), spec), log_mel(y, spec), atol=1e-3)


@pytest.mark.parametrize("frames", [1, 2, 64])
def test_sound_length(narrow: MfccSpec, frames: int) -> None:
    assert narrow.frames_of(sound_length(frames, narrow)) == frames


def test_wrong_length_is_refused(narrow: MfccSpec) -> None:
    with pytest.raises(DataError, match="frames of hop 80"):
        istft(np.zeros((129, 7), complex), narrow, 800)
