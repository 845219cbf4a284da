"""The front end of Lee et al. 2009: against slow loops, and its statistics on real speech."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cepscope.audio import read_audio
from cepscope.errors import DataError, ParameterError
from cepscope.features import PCAWhitener, lee2009_spectrogram
from cepscope.features.lee2009 import COMPONENTS, DAMPING

Array = npt.NDArray[Any]


def test_the_spectrogram_is_the_papers_by_slow_loops() -> None:
    """20 ms Hamming windows every 10 ms, plain Fourier sums, floor 1e-5, mean and RMS of the recording."""
    y = np.random.default_rng(0).standard_normal(1700)
    got = lee2009_spectrogram(y, 16000)
    assert got.shape == (161, 1 + (1700 - 320) // 160)
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(320) / 319)
    spectra = np.zeros(got.shape)
    for frame in range(got.shape[1]):
        piece = y[160 * frame : 160 * frame + 320] * window
        for k in range(161):
            spectra[k, frame] = np.log(1e-5 + abs(np.sum(piece * np.exp(-2j * np.pi * k * np.arange(320) / 320))))
    spectra -= spectra.mean()
    np.testing.assert_allclose(got, spectra / np.sqrt((spectra**2).mean()), rtol=1e-4, atol=1e-5)  # float32


@pytest.mark.parametrize(
    ("audio", "sr", "error"),
    [
        (np.zeros(4000), 16000, DataError),
        (np.ones(100), 16000, DataError),
        (np.full(4000, np.nan), 16000, DataError),
        (np.zeros((2, 4000)), 16000, ParameterError),
        (np.zeros(4000), 10, ParameterError),
    ],
)
def test_what_is_no_speech_is_refused(audio: Array, sr: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        lee2009_spectrogram(audio, sr)


def test_real_speech_has_the_statistics_of_the_paper(shared_dir: Path) -> None:
    """Mean 0 and RMS 1 an utterance; damping leaves each component variance / (variance + 3), .1 to .18 on average."""
    files = sorted((shared_dir / "corpora" / "librispeech_sex" / "audio").glob("*.flac"))[:24]
    spectra = [lee2009_spectrogram(*read_audio(file)) for file in files]
    for found in spectra:
        assert len(found) == 161
        assert abs(found.mean(dtype=np.float64)) < 1e-5
        assert np.mean(found.astype(np.float64) ** 2) == pytest.approx(1, abs=1e-5)
    whitener = PCAWhitener.fit(spectra, components=COMPONENTS, damping=DAMPING, center=False)
    white = np.concatenate([whitener.transform(found) for found in spectra], axis=1).astype(np.float64)
    power = np.mean(white**2, axis=1)
    np.testing.assert_allclose(power, whitener.variances / (whitener.variances + 3), rtol=1e-4)
    assert 0.1 < power.mean() < 0.18
    assert whitener.variances.sum() > 0.95 * 161  # RMS 1 in each of 161 bins; 80 components keep nearly all of it
    products = white @ white.T / white.shape[1]
    np.testing.assert_allclose(products, np.diag(power), atol=1e-4)
