"""Whitening against scikit-learn and its definition, and in place of the scaler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

import cepscope as cs
from cepscope.audio import read_audio
from cepscope.corpora import Corpus, Patches
from cepscope.errors import CorruptArtifactError, DataError, NotFittedError, ParameterError
from cepscope.features import CoefficientScaler, load_scaling
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


def test_a_frame_does_not_depend_on_its_neighbours_or_on_threads() -> None:
    """Bit for bit: a sound by itself must become what it was among others."""
    x = _frames(6, 20, 300).astype(np.float32)
    found = PCAWhitener.fit(x)
    white = found.transform(x)
    for part in (np.s_[2], np.s_[1:3], np.s_[:, :, 7:8], np.s_[4, :, ::5]):
        np.testing.assert_array_equal(found.transform(x[part]), white[part])
    with threadpool_limits(1):
        np.testing.assert_array_equal(found.transform(x), white)
    np.testing.assert_array_equal(found.inverse_transform(white[1:3]), found.inverse_transform(white)[1:3])


def test_the_matrices_are_the_transformations() -> None:
    x = _frames()
    for scaling in (PCAWhitener.fit(x, components=5, damping=0.1), CoefficientScaler.fit(x)):
        white = scaling.transform(x)
        np.testing.assert_allclose(scaling.encoder @ (x - scaling.mean[:, None]), white, atol=1e-5)  # float32
        back = scaling.decoder @ white + scaling.mean[:, None]
        np.testing.assert_allclose(scaling.inverse_transform(white), back, rtol=1e-5, atol=1e-5)


def test_pictures_are_in_standard_deviations_of_each_row() -> None:
    x = _frames()
    expected = (x - x.mean(axis=(0, 2))[:, None]) / x.std(axis=(0, 2))[:, None]
    for scaling in (PCAWhitener.fit(x, damping=0.5), CoefficientScaler.fit(x)):
        np.testing.assert_allclose(scaling.in_deviations(scaling.transform(x)), expected, rtol=1e-4, atol=1e-5)


def test_the_kind_of_scaling_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "scaler.npz"
    with pytest.raises(NotFittedError, match="extract features first"):
        load_scaling(path)
    for scaling in (PCAWhitener.fit(_frames(), components=4), CoefficientScaler.fit(_frames())):
        scaling.save(path)
        again = load_scaling(path)
        assert type(again) is type(scaling)
        np.testing.assert_array_equal(again.transform(_frames()), scaling.transform(_frames()))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CorruptArtifactError, match="or it is damaged"):
        load_scaling(path)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    good = {"mean": np.zeros(3), "components": np.eye(3), "variances": np.ones(3), "damping": np.array(0.0)}
    for name, value in (("components", 2 * np.eye(3)), ("variances", -np.ones(3)), ("mean", np.zeros(2)),
                        ("damping", np.array(np.nan)), ("mean", np.array(["a"] * 3))):  # fmt: skip
        np.savez(tmp_path / "bad.npz", **{**good, name: value})
        with pytest.raises(CorruptArtifactError, match="not a whitener's npz"):
            load_scaling(tmp_path / "bad.npz")


def test_it_can_not_be_changed() -> None:
    mean = np.zeros(3)
    found = PCAWhitener(mean, np.eye(3), np.ones(3))
    mean[0] = 5
    assert not found.mean.any()
    with pytest.raises(ValueError, match="read-only"):
        found.components[0, 0] = 2


@pytest.fixture(scope="module")
def some() -> Corpus:
    """Six voices, ten digits each."""
    whole = cs.load_corpus("spoken-digits")
    sides = [sorted({clip.speaker for clip in whole.split(side)}) for side in ("train", "test")]
    speakers = {*sides[0][:6], *sides[1][:2]}
    return Corpus("some", whole.root, tuple(clip for clip in whole.clips if clip.speaker in speakers))


SPEC = cs.MfccSpec(sr=8000, n_mfcc=16, floor=1e-5)


@pytest.fixture(scope="module")
def whitened(some: Corpus) -> Patches:
    return cs.extract(some, SPEC, frames=40, whiten=True)


def test_whitened_patches_are_uncorrelated_on_train_and_hold_the_same_mfcc(some: Corpus, whitened: Patches) -> None:
    rows = whitened.train.x[..., 0].swapaxes(0, 1).reshape(16, -1)
    np.testing.assert_allclose(np.cov(rows, bias=True), np.eye(16), atol=1e-3)  # float32 over 5,000 frames
    assert np.abs(np.corrcoef(cs.extract(some, SPEC, frames=40).train.x[..., 0].swapaxes(0, 1).reshape(16, -1))
                  - np.eye(16)).max() > 0.2  # which scaling alone does not do  # fmt: skip
    plain = cs.extract(some, SPEC, frames=40)
    # float32 there and back, of cepstra up to 600
    np.testing.assert_allclose(whitened.decode(whitened.test.x), plain.decode(plain.test.x), atol=1e-3)
    assert whitened.input_shape == plain.input_shape


@pytest.mark.slow
def test_whitened_patches_are_what_a_sound_becomes_and_come_back_from_disk(some: Corpus, tmp_path: Path) -> None:
    written = cs.extract(some, SPEC, frames=40, whiten=True, out=tmp_path, workers=2, shard_size=30)
    shards = sorted(tmp_path.glob("mfcc-*.npz"))
    times = [path.stat().st_mtime_ns for path in shards]
    loaded = Patches.load(tmp_path)
    assert isinstance(loaded.scaler, PCAWhitener)
    np.testing.assert_array_equal(loaded.train.x, written.train.x)
    np.testing.assert_array_equal(loaded.scaler.components, written.scaler.components)
    audio, sr = read_audio(some.root / written.test.paths[3])
    np.testing.assert_array_equal(loaded.encode(audio, sr), written.test.x[3])
    plain = cs.extract(some, SPEC, frames=40, out=tmp_path, shard_size=30)  # from the same shards
    assert isinstance(Patches.load(tmp_path).scaler, CoefficientScaler)
    assert [path.stat().st_mtime_ns for path in shards] == times
    np.testing.assert_array_equal(plain.train.y, written.train.y)


def test_silence_is_found_in_whitened_patches(whitened: Patches) -> None:
    """Scores pass over digital silence: a frame within 1e-3 of it."""
    still = whitened.scaler.transform(SPEC.silence[:, None])[:, 0]
    x = whitened.encode(np.zeros(2000))[..., 0]
    assert np.abs(x - still[:, None]).max() < 1e-3
    quiet = np.all(np.abs(whitened.train.x[..., 0] - still[:, None]) < 1e-3, axis=1)
    plain = np.all(np.abs(whitened.decode(whitened.train.x) - SPEC.silence[:, None]) < 1e-2, axis=1)
    np.testing.assert_array_equal(quiet, plain)
    assert quiet.any()


@pytest.mark.slow
def test_from_whitened_patches_to_sounds_that_the_network_hears(whitened: Patches) -> None:
    """Extract, pretrain, fine-tune, maximize, invert, score, with kernels as high as the patches."""
    model = cs.build_cdbn(whitened.input_shape, whitened.classes, filters=(8, 8), kernel_sizes=((16, 5), (1, 3)),
                          pool_sizes=((1, 2), (1, 2)))  # fmt: skip
    cs.pretrain(model, whitened, epochs=2)
    cs.fit_classifier(model, whitened, epochs=4)
    patterns = cs.maximize(model, whitened, layers=["crbm1", "logits"], steps=24, components=60)
    sounds = cs.invert(patterns, iterations=8, refine_steps=0)
    summary = cs.score_units(model, whitened, patterns, sounds).summary()
    for layer in ("crbm1", "logits"):
        # .98 and 1.0 with more clips; a pattern misread as scaled MFCC keeps next to nothing
        assert summary["layers"][layer]["retention"] > 0.8
        assert summary["layers"][layer]["sound_over_natural"] > 1
        assert summary["layers"][layer]["mfcc_relative_error"] < 0.2


def test_wrong_input_is_refused() -> None:
    with pytest.raises(DataError, match="of one n_in"):
        PCAWhitener.fit([np.zeros((3, 4)), np.zeros((2, 4))])
    with pytest.raises(DataError, match="finite"):
        PCAWhitener.fit([np.full((3, 4), np.nan)])
    with pytest.raises(ParameterError, match="from 1 to 7"):
        PCAWhitener.fit(_frames(), components=8)
    with pytest.raises(ParameterError, match=r"\(..., 7, frames\)"):
        PCAWhitener.fit(_frames()).transform(np.zeros((6, 4)))
