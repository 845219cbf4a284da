"""Which axis is time, what a frame holds, and the linear map from cepscope's frames to a network's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cepscope.corpora import Corpus, Patches, extract, load_corpus
from cepscope.errors import DataError, ParameterError
from cepscope.features import MfccSpec, log_mel, mfcc
from cepscope.models.feeding import LAYOUTS, Feed, frame_map, infer_feed

DEFAULTS = {"n_mfcc": 20, "n_mels": 40, "frames": 64}


@pytest.mark.parametrize(
    ("shape", "said", "expected"),
    [
        ((49, 10, 1), {"n_mfcc": 10}, Feed((49, 10, 1), "time-first", "mfcc", 10, 49)),
        ((10, 49, 1), {"n_mfcc": 10}, Feed((10, 49, 1), "coefficients-first", "mfcc", 10, 49)),
        ((1, 49, 10), {"n_mfcc": 10}, Feed((1, 49, 10), "time-first", "mfcc", 10, 49)),
        ((98, 40), {"n_mels": 40}, Feed((98, 40), "time-first", "log-mel", 40, 98)),
        ((49, 10, 1), {"n_mels": 40}, Feed((49, 10, 1), "time-first", "mfcc", 10, 49)),  # 49 are more than the bands
        ((20, 64, 1), {}, Feed((20, 64, 1), "coefficients-first", "mfcc", 20, 64)),  # as the settings are
        ((70, 20), {}, Feed((70, 20), "time-first", "mfcc", 20, 70)),  # (steps, features)
        ((None, 13), {"n_mfcc": 13}, Feed((64, 13), "time-first", "mfcc", 13, 64)),
        ((13, None, 1), {"n_mfcc": 13, "frames": 30}, Feed((13, 30, 1), "coefficients-first", "mfcc", 13, 30)),
        ((40, 64, 1), {"n_mels": 40, "n_mfcc": 13}, Feed((40, 64, 1), "coefficients-first", "log-mel", 40, 64)),
    ],
)
def test_what_is_clear_is_found_out(shape: tuple[int, ...], said: dict[str, int], expected: Feed) -> None:
    assert infer_feed([shape], DEFAULTS | said, said) == expected


@pytest.mark.parametrize(
    ("shape", "said", "how", "message"),
    [
        ((49, 13, 1), {}, {}, r"takes \(49, 13, 1\), and either axis can be time. Set model.layout"),
        ((30, 30, 1), {"n_mfcc": 30}, {}, "either axis can be time"),
        ((98, 13), {}, {}, r"frames of 13 MFCC or of 13 log-mel bands\? Set model.input"),
        ((98, 40), {"n_mfcc": 40, "n_mels": 40}, {}, "40 MFCC or of 40 log-mel"),
        ((49, 10, 1), {"n_mfcc": 13}, {}, r"takes \(49, 10, 1\). Expected features.n_mfcc=13"),
        ((49, 10, 1), {"n_mfcc": 10, "frames": 50}, {}, "Expected features.n_mfcc=10, features.frames=50"),
        ((49, 10, 1), {"n_mfcc": 10}, {"layout": "coefficients-first"}, r"\(49, 10, 1\), coefficients-first. Expected"),
        ((98, 40), {"n_mels": 64}, {"kind": "log-mel"}, "Expected features.n_mels=64"),
        ((49, 10, 3), {}, {}, r"One channel is expected.*Received: \(49, 10, 3\); deltas"),
        ((49, 10, 1, 1), {}, {}, "A network of frames is expected"),
        ((490,), {"frames": 49}, {}, "490 numbers in a row. Expected model.layout and features.frames"),
        ((490,), {"frames": 48}, {"layout": "time-first"}, "a divisor of 490"),
        ((49, None), {}, {"layout": "time-first"}, "fixed number of values"),
    ],
)
def test_what_is_not_clear_is_asked_in_one_line(
    shape: tuple[int, ...], said: dict[str, int], how: dict[str, str], message: str
) -> None:
    with pytest.raises(ParameterError, match=message) as caught:
        infer_feed([shape], DEFAULTS | said, said, **how)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_several_inputs_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"one input is expected.*Received: 2 inputs"):
        infer_feed([(49, 10), (3,)], DEFAULTS)


@given(
    frames=st.integers(8, 99), rows=st.integers(8, 99), layout=st.sampled_from(LAYOUTS),
    kind=st.sampled_from(["mfcc", "log-mel"]), form=st.sampled_from(["last", "first", "none", "flat"]),
)  # fmt: skip
def test_a_reading_that_is_said_is_kept(frames: int, rows: int, layout: str, kind: str, form: str) -> None:
    size = (frames, rows) if layout == "time-first" else (rows, frames)
    shape = {"last": (*size, 1), "first": (1, *size), "none": size, "flat": (frames * rows,)}[form]
    said = {"n_mfcc" if kind == "mfcc" else "n_mels": rows, "frames": frames}
    feed = infer_feed([shape], DEFAULTS | said, said, layout=layout, kind=kind)  # type: ignore[arg-type]
    assert feed == Feed(shape, layout, kind, rows, frames)  # type: ignore[arg-type]
    settled = {"n_mels": 99} | feed.settings
    assert infer_feed([shape], settled, feed.settings, layout=layout, kind=kind) == feed  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def patches() -> Patches:
    """A few voices, all coefficients kept."""
    whole = load_corpus("spoken-digits")
    sides = [[clip for clip in whole.split(side) if clip.label in ("one", "two")][:12] for side in ("train", "test")]  # type: ignore[arg-type]
    corpus = Corpus("some", whole.root, (*sides[0], *sides[1]))
    return extract(corpus, MfccSpec(sr=8000, n_mels=16, n_mfcc=16, floor=1e-5, lifter=20), frames=40)


@pytest.mark.parametrize("log", ["db", "ln"])
def test_log_mel_bands_are_those_of_the_sound(patches: Patches, log: str) -> None:
    if log == "ln":
        patches = extract(load_corpus_of(patches), spec_in_ln(patches.spec), frames=40)
    feed = Feed((40, 16), "time-first", "log-mel", 16, 40)
    weights, bias = frame_map(patches, feed)
    wave = patches.load_wave(patches.train.paths[0])
    decibels = log_mel(wave, patches.spec)  # (16, 40)
    expected = decibels if log == "db" else decibels * np.log(10) / 10
    found = patches.scaler.transform(mfcc(wave, patches.spec)).T @ weights + bias
    # float32 MFCC of up to 200 dB, whose rounding the inverse transform adds up
    np.testing.assert_allclose(found.T, expected, atol=1e-3)


def spec_in_ln(spec: MfccSpec) -> MfccSpec:
    return MfccSpec.from_dict({**spec.to_dict(), "log": "ln"})


def load_corpus_of(patches: Patches) -> Corpus:
    whole = load_corpus("spoken-digits")
    paths = {*patches.train.paths, *patches.test.paths}
    return Corpus("some", whole.root, tuple(clip for clip in whole.clips if whole.relative(clip) in paths))


def test_mfcc_are_unscaled_or_scaled_as_the_network_was(patches: Patches, tmp_path: Path) -> None:
    feed = Feed((40, 16), "time-first", "mfcc", 16, 40)
    x = patches.test.x[:3, :, :, 0]
    plain = patches.decode(x).transpose(0, 2, 1)

    def fed(scaling: str) -> np.ndarray:
        weights, bias = frame_map(patches, feed, scaling=scaling)
        return np.asarray(x.transpose(0, 2, 1) @ weights + bias)

    np.testing.assert_allclose(fed("none"), plain, rtol=1e-5, atol=1e-4)  # float32
    np.testing.assert_allclose(fed("standard"), x.transpose(0, 2, 1), atol=1e-4)  # the patches' own scaling
    mean, scale = np.linspace(-5, 5, 16), np.linspace(1, 9, 16)
    np.savez(tmp_path / "each.npz", mean=mean, std=scale)
    np.testing.assert_allclose(fed(str(tmp_path / "each.npz")), (plain - mean) / scale, rtol=1e-4, atol=1e-4)
    np.savez(tmp_path / "one.npz", mean=-3.0, scale=[2.0])
    np.testing.assert_allclose(fed(str(tmp_path / "one.npz")), (plain + 3) / 2, rtol=1e-4, atol=1e-4)


def test_bands_are_brought_to_mean_0_and_deviation_1(patches: Patches) -> None:
    weights, bias = frame_map(patches, Feed((40, 16), "time-first", "log-mel", 16, 40), scaling="standard")
    fed = patches.train.x[..., 0].transpose(0, 2, 1) @ weights + bias
    np.testing.assert_allclose(fed.mean(axis=(0, 1)), 0, atol=1e-6)
    np.testing.assert_allclose(fed.std(axis=(0, 1)), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"mean": np.zeros(16)}, "must hold mean and scale. Received: mean"),
        ({"mean": np.zeros(16), "scale": np.zeros(16)}, "scale above 0"),
        ({"mean": np.zeros(3), "scale": np.ones(3)}, r"one for each of 16. Received: shapes \(3,\)"),
        ({"mean": np.full(16, np.nan), "scale": np.ones(16)}, "finite"),
        (None, "model.scaling must be none, standard or an npz"),
    ],
)
def test_a_scaling_that_does_not_fit_is_refused(
    arrays: dict[str, np.ndarray] | None, message: str, patches: Patches, tmp_path: Path
) -> None:
    if arrays is not None:
        np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        frame_map(patches, Feed((40, 16), "time-first", "mfcc", 16, 40), scaling=str(tmp_path / "a.npz"))
