"""The scaler: statistics, round trips, files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cepscope.errors import CorruptArtifactError, DataError, NotFittedError, ParameterError
from cepscope.features import CoefficientScaler, PCAWhitener
from cepscope.features.scaler import CHUNK

SOME = settings(max_examples=50, deadline=None)


@SOME
@given(st.integers(1, 30), st.integers(1, 8), st.integers(1, 9), st.floats(-600, 600), st.floats(0.01, 100))
def test_fit_equals_numpy_and_standardises(n: int, k: int, frames: int, mean: float, spread: float) -> None:
    x = mean + spread * np.random.default_rng(n).standard_normal((n, k, frames))
    x = x.astype(np.float32)
    scaler = CoefficientScaler.fit(x)
    expected = x.astype(np.float64).std(axis=(0, 2))
    np.testing.assert_allclose(scaler.mean, x.astype(np.float64).mean(axis=(0, 2)), rtol=2e-7, atol=1e-6)
    varied = expected > 1e-5 * 600
    np.testing.assert_allclose(scaler.scale[varied], expected[varied], rtol=1e-6)
    z = scaler.transform(x)
    assert z.dtype == np.float32
    np.testing.assert_allclose(scaler.inverse_transform(z), x, rtol=1e-5, atol=1e-3 * spread)
    if n * frames > 1:
        # float32 rounding of values near 600, over the spread
        np.testing.assert_allclose(z.mean(axis=(0, 2), dtype=np.float64), 0, atol=1e-5 + 1e-4 / spread)


def test_many_patches_are_measured_in_chunks_as_if_at_once() -> None:
    x = np.random.default_rng(0).normal(-300, 50, (2500, 2, 3)).astype(np.float32)
    scaler = CoefficientScaler.fit(x)
    np.testing.assert_allclose(scaler.mean, x.astype(np.float64).mean(axis=(0, 2)), rtol=1e-7)
    np.testing.assert_allclose(scaler.scale, x.astype(np.float64).std(axis=(0, 2)), rtol=1e-7)


class Twice:
    """Chunks that are made anew each time they are gone through, in the same memory."""

    def __init__(self, x: npt.NDArray[np.float32]) -> None:
        self.x, self.times = x, 0

    def __iter__(self) -> Iterator[npt.NDArray[np.float32]]:
        self.times += 1
        room = np.empty_like(self.x[:CHUNK])
        for start in range(0, len(self.x), CHUNK):
            part = self.x[start : start + CHUNK]
            room[: len(part)] = part
            yield room[: len(part)]


@pytest.mark.parametrize("kind", [CoefficientScaler, PCAWhitener])
@pytest.mark.parametrize("n", [1, CHUNK, CHUNK + 1, 2500])
def test_what_comes_in_chunks_is_fitted_to_the_same_bits(kind: Any, n: int) -> None:
    x = np.random.default_rng(n).normal(-300, 50, (n, 5, 7)).astype(np.float32)
    chunks = Twice(x)
    found, expected = kind.fit_chunks(chunks), kind.fit(x)
    assert chunks.times > 1
    for name in ("mean", "scale", "encoder"):
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes()


def test_a_constant_coefficient_is_only_centred() -> None:
    x = np.random.default_rng(0).standard_normal((5, 3, 4)).astype(np.float32)
    x[:, 1] = -632.4555
    scaler = CoefficientScaler.fit(x)
    assert scaler.scale[1] == 1
    np.testing.assert_array_equal(scaler.transform(x)[:, 1], 0)


def test_leading_axes_are_free_and_each_patch_is_scaled_alone() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    scaler = CoefficientScaler.fit(x[0])
    z = scaler.transform(x)
    assert z.shape == x.shape
    np.testing.assert_array_equal(z[1, 2], scaler.transform(x[1, 2]))
    np.testing.assert_array_equal(z[..., :1], scaler.transform(x[..., :1]))


def test_saved_scaler_comes_back_bit_for_bit(tmp_path: Path) -> None:
    scaler = CoefficientScaler.fit(np.random.default_rng(0).standard_normal((5, 3, 4)))
    scaler.save(tmp_path / "scaler.npz")
    loaded = CoefficientScaler.load(tmp_path / "scaler.npz")
    np.testing.assert_array_equal(loaded.mean, scaler.mean)
    np.testing.assert_array_equal(loaded.scale, scaler.scale)
    with pytest.raises(NotFittedError, match=r"no scaler at .*; extract features first"):
        CoefficientScaler.load(tmp_path / "other.npz")


def test_damaged_files_are_reported_as_such(tmp_path: Path) -> None:
    path = tmp_path / "scaler.npz"
    CoefficientScaler(np.zeros(3), np.ones(3)).save(path)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[60] ^= 0xFF
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    np.savez(tmp_path / "negative.npz", mean=np.zeros(3), scale=-np.ones(3))
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "objects.npz", mean=np.array([None]), scale=np.ones(1))
    others = [(tmp_path / name).read_bytes() for name in ("other.npz", "negative.npz", "array.npy", "objects.npz")]
    for content in (b"", b"text", whole[:-30], whole[:50], bytes(flipped), *others):
        path.write_bytes(content)
        with pytest.raises(CorruptArtifactError, match="is not a scaler's npz, or it is damaged"):
            CoefficientScaler.load(path)


def test_it_cannot_be_changed() -> None:
    mean = np.zeros(2, np.float32)
    scaler = CoefficientScaler(mean, np.ones(2))
    mean[0] = 5
    assert scaler.mean[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        scaler.mean[0] = 1


@pytest.mark.parametrize(
    ("mean", "scale"),
    [
        ([0.0], [1.0, 1.0]),
        ([[0.0]], [[1.0]]),
        ([], []),
        ([0.0], [0.0]),
        ([0.0], [-1.0]),
        ([np.nan], [1.0]),
        ([0.0], [np.inf]),
    ],
)
def test_bad_vectors_are_refused(mean: list[float], scale: list[float]) -> None:
    with pytest.raises(ParameterError, match="Received"):
        CoefficientScaler(np.array(mean), np.array(scale))


def test_bad_input_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"shape \(n, n_mfcc, frames\). Received: \(3, 4\)"):
        CoefficientScaler.fit(np.zeros((3, 4)))
    for empty in (np.zeros((0, 3, 4)), np.zeros((2, 3, 0))):
        with pytest.raises(DataError, match="no MFCCs to fit"):
            CoefficientScaler.fit(empty)
    for bad in (np.nan, np.inf):
        with pytest.raises(DataError, match="must be finite"):
            CoefficientScaler.fit(np.full((2, 3, 4), bad))
    scaler = CoefficientScaler(np.zeros(3), np.ones(3))
    for call in (scaler.transform, scaler.inverse_transform):
        with pytest.raises(ParameterError, match=r"\(\.\.\., 3, frames\). Received: \(4, 3\)"):
            call(np.zeros((4, 3)))
