"""Silence, constants, single frames, single classes, other float widths, huge gains: finite results or a refusal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

import cepscope as cs
from cepscope.audio import at_loudness, condition, read_audio, resample, to_wav_bytes
from cepscope.corpora import extract, load_corpus
from cepscope.errors import CepscopeError, DataError
from cepscope.features import CoefficientScaler, MfccSpec, PCAWhitener, mfcc
from cepscope.invert import feasibility_gap, lengthen, track_pitch
from cepscope.probe import label_selectivity, linear_cka, linear_probe
from cepscope.probe.signal import noise_floor, spectral_contrast

SPEC = MfccSpec(sr=8000, n_mfcc=13, floor=1e-5)
TONE = 0.3 * np.sin(np.arange(4000) / 7)
SOUNDS = {
    "silence": np.zeros(4000),
    "constant": np.full(4000, 0.3),
    "one sample": np.array([0.5]),
    "two samples": np.array([0.5, -0.5]),
    "float16": TONE.astype(np.float16),
    "float64": TONE,
    "gain 1e6": 1e6 * TONE,
    "gain 1e38, float32": (1e38 * TONE).astype(np.float32),
    "gain 1e300": 1e300 * TONE,
    "loudest float16": np.where(TONE > 0, 65504, -65504).astype(np.float16),
    "gain 1e-30": 1e-30 * TONE,
    "denormal": 1e-310 * TONE,
    "impulse": np.eye(1, 4000, 100)[0],
    "DC": 0.9 + 1e-3 * TONE,
    "clipped": np.clip(100 * TONE, -1, 1),
    "half the rate": np.tile([1.0, -1.0], 2000),
}
REFUSED_SOUNDS = {  # what is above float32, or float32 once sums are taken; MFCC take 1e12
    "gain 1e300": {"condition", "resample", "at_loudness", "mfcc", "track_pitch", "invert"},
    "gain 1e38, float32": {"resample", "mfcc", "invert"},
}
ON_SOUNDS: dict[str, Callable[[Any], Any]] = {
    "condition": condition,
    "resample": lambda y: resample(y, 8000, 16000),
    "at_loudness": lambda y: at_loudness(y, 8000)[0],
    "mfcc": lambda y: mfcc(y, SPEC),
    "track_pitch": lambda y: track_pitch(y, SPEC),
    "invert": lambda y: cs.invert(mfcc(y, SPEC), SPEC, iterations=2, refine_steps=2).audio,
}


@pytest.mark.parametrize("what", list(ON_SOUNDS))
@pytest.mark.parametrize("kind", list(SOUNDS))
def test_sounds(kind: str, what: str) -> None:
    if what in REFUSED_SOUNDS.get(kind, ()):
        with pytest.raises(DataError) as caught:
            ON_SOUNDS[what](SOUNDS[kind])
        assert "\n" not in str(caught.value)
    else:
        assert np.isfinite(ON_SOUNDS[what](SOUNDS[kind])).all()


def test_a_loud_file_is_not_resampled_into_nan(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", SOUNDS["gain 1e38, float32"], 8000, subtype="FLOAT")
    assert np.isfinite(read_audio(tmp_path / "a.wav")[0]).all()
    with pytest.raises(DataError, match="audio must be lower to be resampled"):
        read_audio(tmp_path / "a.wav", sr=16000)
    assert np.abs(condition(read_audio(tmp_path / "a.wav")[0])).max() == 1


RNG = np.random.default_rng(0)
PATTERNS = {
    "zeros": np.zeros((13, 20)),
    "one frame": RNG.standard_normal((13, 1)),
    "all equal": np.full((13, 20), 5.0),
    "float16": (10 * RNG.standard_normal((13, 20))).astype(np.float16),
    "float64": 10 * RNG.standard_normal((13, 20)),
    "whole numbers": np.ones((13, 20), np.int64),
    "very low": np.full((13, 20), -1e6),
    "1e30": np.full((13, 20), 1e30),
    "1e300": np.full((13, 20), 1e300),
    "NaN": np.full((13, 5), np.nan),
    "Inf": np.full((13, 5), np.inf),
}
ON_PATTERNS: dict[str, Callable[[Any], Any]] = {
    "invert": lambda C: cs.invert(C, SPEC, iterations=2, refine_steps=2).audio,
    "fast": lambda C: cs.invert(C, SPEC, method="fast").audio,
    "feasibility_gap": lambda C: feasibility_gap(C, SPEC),
    "lengthen": lambda C: lengthen(C, 60, way="loop", crossfade=1).mfcc,
    "scaler": lambda C: _there_and_back(CoefficientScaler.fit(C[None]), C),
    "whitener": lambda C: _there_and_back(PCAWhitener.fit([C]), C),
}
REFUSED_PATTERNS = {
    "1e30": {"invert", "fast", "feasibility_gap"},
    "1e300": {"invert", "fast", "feasibility_gap", "scaler", "whitener"},
    "NaN": set(ON_PATTERNS),
    "Inf": set(ON_PATTERNS),
}


def _there_and_back(scaler: Any, C: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    x = scaler.transform(C)
    assert np.isfinite(x).all()
    back = scaler.inverse_transform(x)
    np.testing.assert_allclose(back, C, rtol=1e-3, atol=1e-3)
    return back


@pytest.mark.parametrize("what", list(ON_PATTERNS))
@pytest.mark.parametrize("kind", list(PATTERNS))
def test_patterns(kind: str, what: str) -> None:
    if what in REFUSED_PATTERNS.get(kind, ()):
        with pytest.raises(CepscopeError) as caught:
            ON_PATTERNS[what](PATTERNS[kind])
        assert "\n" not in str(caught.value)
    else:
        assert np.isfinite(ON_PATTERNS[what](PATTERNS[kind])).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_width_of_floats_does_not_matter(dtype: Any) -> None:
    y = TONE.astype(np.float16)  # the same numbers in all of them
    np.testing.assert_array_equal(condition(y.astype(dtype)), condition(y))
    np.testing.assert_array_equal(mfcc(y.astype(dtype), SPEC), mfcc(y.astype(np.float32), SPEC))
    assert to_wav_bytes(y.astype(dtype), 8000) == to_wav_bytes(y, 8000)


def corpus(folder: Path, make: Callable[[np.random.Generator], npt.ArrayLike], *, clips: int = 8) -> Path:
    rng = np.random.default_rng(0)
    for label in "ab":
        (folder / label).mkdir(parents=True)
        for i in range(clips):
            soundfile.write(folder / label / f"{i}.wav", make(rng), 8000, subtype="FLOAT")
    return folder


CORPORA: dict[str, tuple[Callable[[np.random.Generator], npt.ArrayLike], int]] = {
    "silence": (lambda _: np.zeros(2000), 16),
    "one sound": (lambda _: TONE, 16),
    "gain 1e30": (lambda rng: 1e30 * rng.standard_normal(2000), 16),
    "one frame": (lambda rng: rng.standard_normal(2000), 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(CORPORA))
def test_the_whole_way_of_corpora_that_say_nothing(kind: str, tmp_path: Path) -> None:
    make, frames = CORPORA[kind]
    patches = extract(load_corpus(corpus(tmp_path / "c", make)), SPEC, frames=frames)
    assert np.isfinite(patches.train.x).all()
    size = {"kernel_sizes": ((3, 1),), "pool_sizes": ((1, 1),)} if frames == 1 else {"kernel_sizes": ((3, 3),)}
    model = cs.build_cdbn(
        patches.input_shape, patches.classes, filters=(3,), **({"pool_sizes": ((2, 2),)} | size), seed=0
    )
    cs.pretrain(model, patches, epochs=1)
    cs.fit_classifier(model, patches, epochs=1)
    assert all(np.isfinite(weights).all() for weights in model.get_weights())
    if kind != "gain 1e30":
        with pytest.raises(
            DataError, match=r"^(All patches are equal, |A mixture of speech needs at least).* Add recordings"
        ):
            cs.maximize(model, patches, steps=4)
        return
    patterns = cs.maximize(model, patches, steps=4)
    sounds = cs.invert(patterns, method="fast")
    for array in (
        patterns.x,
        patterns.mfcc,
        patterns.activation,
        patterns.history,
        sounds.audio,
        sounds.relative_error,
    ):
        assert np.isfinite(array).all()


def test_one_class_and_one_clip_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one clip only in class 'a', 'b'"):
        load_corpus(corpus(tmp_path / "c", lambda _: TONE, clips=1))
    root = corpus(tmp_path / "d", lambda _: TONE)
    for path in (root / "b").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="one class only"):
        load_corpus(root)


FEATURES = {
    "zeros": np.zeros((20, 4)),
    "float16": RNG.standard_normal((20, 4)).astype(np.float16),
    "1e30": 1e30 * RNG.standard_normal((20, 4)),
    "1e-300": 1e-300 * RNG.standard_normal((20, 4)),
    "one feature": RNG.standard_normal((20, 1)),
    "1e300": 1e300 * RNG.standard_normal((20, 4)),
}
TWO = np.repeat([0, 1], 10)
ON_FEATURES: dict[str, Callable[[Any], Any]] = {
    "probe": lambda x: linear_probe(x, TWO, x, TWO).accuracy,
    "cka": lambda x: linear_cka(x, x),
    "debiased cka": lambda x: linear_cka(x, x[::-1], debiased=True),
    "dprime": lambda x: label_selectivity(x, TWO).dprime,
    "information": lambda x: label_selectivity(x, TWO).information,
}


@pytest.mark.parametrize("what", list(ON_FEATURES))
@pytest.mark.parametrize("kind", list(FEATURES))
def test_what_is_read_from_features(kind: str, what: str) -> None:
    if kind == "1e300" or (kind == "zeros" and "cka" in what):
        with pytest.raises(CepscopeError, match=r"must be .*finite|is the same for all clips"):
            ON_FEATURES[what](FEATURES[kind])
    else:
        assert np.isfinite(ON_FEATURES[what](FEATURES[kind])).all()


def test_likeness_has_no_scale() -> None:
    x, y = RNG.standard_normal((2, 20, 4))
    for debiased in (False, True):
        expected = linear_cka(x, y, debiased=debiased)
        assert linear_cka(2.0**-900 * x, 2.0**400 * y, debiased=debiased) == expected


def test_one_class_and_one_row_tell_nothing() -> None:
    x = RNG.standard_normal((20, 4))
    with pytest.raises(CepscopeError, match="two classes to learn"):
        linear_probe(x, np.zeros(20, int), x, TWO)
    with pytest.raises(CepscopeError, match="two classes to learn"):
        linear_probe(x[:1], TWO[:1], x, TWO)


@pytest.mark.parametrize("kind", [kind for kind in SOUNDS if kind not in REFUSED_SOUNDS])
def test_scores_of_a_sound_alone(kind: str) -> None:
    for score in (noise_floor, spectral_contrast):
        assert np.isfinite(score(SOUNDS[kind], SPEC)).all()
