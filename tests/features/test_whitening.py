"""Whitening against scikit-learn and against its definition; the front end of Lee et al. against slow loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.decomposition import PCA

from cepscope.errors import CorruptArtifactError, DataError, NotFittedError, ParameterError
from cepscope.features.lee2009 import lee2009_spectrogram
from cepscope.features.whitening import PCAWhitener

Array = npt.NDArray[Any]


def _frames(n: int = 5, size: int = 7, frames: int = 40) -> Array:
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((size, size))
    return mixing @ rng.standard_normal((n, size, frames)) + rng.standard_normal((size, 1))


def test_it_is_scikit_learns_whitening_but_for_signs() -> None:
    x = _frames()
    rows = np.moveaxis(x, 1, 2).reshape(-1, 7)  # one frame a row
    reference = PCA(whiten=True).fit(rows)
    ours = PCAWhitener.fit(x)
    theirs = reference.transform(rows) * np.sqrt(len(rows) / (len(rows) - 1))  # it divides by n - 1
    signs = np.sign((reference.components_ * ours.components).sum(axis=1))
    got = np.moveaxis(ours.transform(x), 1, 2).reshape(-1, 7)
    np.testing.assert_allclose(got, theirs * signs, rtol=1e-4, atol=1e-5)  # float32
    np.testing.assert_allclose(np.cov(got.T, bias=True), np.eye(7), atol=1e-5)


def test_damping_and_no_centring_as_in_the_paper() -> None:
    """Divide by the root of the second moment's eigenvalue plus 3, mean left in."""
    x = _frames()
    rows = np.moveaxis(x, 1, 2).reshape(-1, 7)
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    found = PCAWhitener.fit(x, components=3, damping=3.0, center=False)
    np.testing.assert_allclose(found.variances, values[::-1][:3], rtol=1e-10)
    expected = rows @ vectors[:, ::-1][:, :3] / np.sqrt(values[::-1][:3] + 3)
    got = np.moveaxis(found.transform(x), 1, 2).reshape(-1, 3)
    np.testing.assert_allclose(np.abs(got), np.abs(expected), rtol=1e-4, atol=1e-5)  # float32
    assert (found.components[np.arange(3), np.abs(found.components).argmax(axis=1)] > 0).all()


@pytest.mark.parametrize("damping", [0.0, 3.0])
def test_all_components_go_back_to_the_frames(damping: float) -> None:
    x = _frames()
    found = PCAWhitener.fit(x, damping=damping)
    np.testing.assert_allclose(found.inverse_transform(found.transform(x)), x, rtol=1e-4, atol=1e-4)  # float32
    few = PCAWhitener.fit(x, components=4)
    lost = ((few.inverse_transform(few.transform(x)) - x) ** 2).mean() * 7
    assert lost == pytest.approx(found.variances[4:].sum(), rel=1e-3)


def test_a_constant_row_stays_finite() -> None:
    x = _frames()
    x[:, 3] = 2.0
    white = PCAWhitener.fit(x).transform(x)
    assert np.isfinite(white).all()
    assert np.abs(white).max() < 50


def test_files_round_trip(tmp_path: Path) -> None:
    found = PCAWhitener.fit(_frames(), components=4, damping=0.5)
    found.save(tmp_path / "w.npz")
    again = PCAWhitener.load(tmp_path / "w.npz")
    np.testing.assert_array_equal(again.transform(_frames()), found.transform(_frames()))
    with pytest.raises(NotFittedError):
        PCAWhitener.load(tmp_path / "none.npz")
    (tmp_path / "w.npz").write_bytes(b"no")
    with pytest.raises(CorruptArtifactError):
        PCAWhitener.load(tmp_path / "w.npz")


def test_wrong_input_is_refused() -> None:
    with pytest.raises(DataError, match="of one n_in"):
        PCAWhitener.fit([np.zeros((3, 4)), np.zeros((2, 4))])
    with pytest.raises(DataError, match="finite"):
        PCAWhitener.fit([np.full((3, 4), np.nan)])
    with pytest.raises(ParameterError, match="from 1 to 7"):
        PCAWhitener.fit(_frames(), components=8)
    with pytest.raises(ParameterError, match=r"\(..., 7, frames\)"):
        PCAWhitener.fit(_frames()).transform(np.zeros((6, 4)))


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
