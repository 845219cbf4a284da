"""The differentiable front end: against the one it is the twin of, librosa, finite differences and closed forms."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import numpy.typing as npt
import pytest
import scipy.fft
import tensorflow as tf
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from cepscope.audio import condition, read_audio
from cepscope.corpora import load_corpus
from cepscope.errors import DataError, ParameterError
from cepscope.features import FRONT_ENDS, MfccSpec, front_end, log_mel, mfcc
from cepscope.features.differentiable import differentiable_mfcc

FloatArray = npt.NDArray[np.float32]

ROUNDING = 2.0**-23
# of decibels and of the sums of a DCT, as in tests/oracles/test_mfcc_against_librosa.py
ROUNDINGS = 16
# of a float32 FFT: errors of a bin grow with log2(n) * 2**-24 of the norm of the frame; 0.6 of that were seen (over
# 7,000 random settings and sounds, where n was a prime times 2)
FFT_ROUNDINGS = 2
# In standard deviations of each coefficient over speech, the largest difference of all frames and coefficients: 2.9e-5
# was seen with the pipeline's floor (900 clips of each corpus). With librosa's floor, values 140 dB below the loudest
# bin of a frame are left, where the float32 FFT's own noise is: 1.0e-4, and 2.8e-4 with 80 narrow filters and a lifter.
OF_DEVIATION = {1e-5: 1e-4, 1e-10: 1e-3}


def noise(*shape: int, seed: int = 0) -> FloatArray:
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def gradient(function: Any, y: npt.ArrayLike) -> FloatArray:
    y = tf.constant(y, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(y)
        total = tf.reduce_sum(function(y))
    return np.asarray(tape.gradient(total, y))


def sound(kind: str, samples: int, sr: int, seed: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / sr
    y = {
        "noise": lambda: 0.1 * rng.standard_normal(samples),
        "faint noise": lambda: 1e-5 * rng.standard_normal(samples),
        "tone": lambda: 0.9 * np.sin(2 * np.pi * rng.uniform(20, sr / 2) * t),
        "decay": lambda: np.sin(2 * np.pi * 500 * t) * np.exp(-30 * t),
        "click": lambda: np.eye(1, samples, rng.integers(samples))[0],
        "zeros": lambda: np.zeros(samples),
    }[kind]()
    return np.asarray(y, dtype=np.float32)


# what other front ends do otherwise
OTHERS = st.fixed_dictionaries(
    {
        "window": st.sampled_from(["hann", "hamming", "povey", "blackman", "rectangular"]),
        "periodic": st.booleans(),
        "padding": st.sampled_from(["zeros", "reflect", "none"]),
        "scale": st.sampled_from([1.0, 32768.0]),
        "remove_dc": st.booleans(),
        "preemphasis": st.sampled_from([0.0, 0.5, 0.97]),
        "power": st.sampled_from([1, 2]),
        "filterbank": st.sampled_from(["hz", "mel", "htk", "tensorflow"]),
        "cepstra": st.sampled_from(["kaldi", "htk"]),
    }
)


@st.composite
def specs(draw: st.DrawFn) -> MfccSpec:
    win = draw(st.integers(16, 700))
    n_mels = draw(st.integers(2, 64))
    c0 = draw(st.booleans())
    values: dict[str, Any] = draw(OTHERS) if draw(st.booleans()) else {}
    values |= {
        "n_fft": 2 * math.ceil((win + draw(st.integers(0, 400))) / 2),
        "hop": draw(st.integers(1, 500)),
        "n_mfcc": draw(st.integers(1, n_mels - (not c0))),
        "c0": c0,
        "log": draw(st.sampled_from(["db", "ln"])),
        "lifter": draw(st.sampled_from([0.0, 22.0, 0.7, 41.3])),
        "htk": draw(st.booleans()),
        "floor": 10.0 ** draw(st.sampled_from([-37.0, -10.0, -5.0, -1.0])),
        "top_db": draw(st.sampled_from([math.inf, 80.0, 11.5, 0.0])),
    }
    try:
        return MfccSpec(sr=draw(st.sampled_from([8000, 11025, 22050])), win=win, n_mels=n_mels, **values)
    except ParameterError as error:
        assume("hold no FFT bin" not in str(error))
        raise


@settings(max_examples=60, deadline=None)
@given(
    spec=specs(),
    samples=st.integers(1, 3000),
    kind=st.sampled_from(["noise", "faint noise", "tone", "decay", "click", "zeros"]),
    seed=st.integers(0, 9),
)
@example(MfccSpec(), 1, "click", 0)  # one sample
@example(MfccSpec(), 399, "noise", 0)  # shorter than a window
@example(MfccSpec(sr=8000, win=201, hop=81), 2999, "noise", 0)  # all odd
@example(MfccSpec(sr=8000, win=16, n_fft=512, hop=300), 2000, "noise", 0)  # samples that no window reaches
@example(MfccSpec(lifter=22, htk=True, top_db=80), 3000, "tone", 0)
@example(MfccSpec(n_mels=1, n_mfcc=1), 3000, "noise", 0)
@example(front_end("htk"), 3000, "tone", 0)
@example(front_end("kaldi"), 3000, "noise", 0)
@example(front_end("torchaudio"), 3000, "decay", 0)
@example(front_end("tf-speech-commands"), 3000, "click", 0)
@example(MfccSpec(n_mels=26, n_mfcc=12, lifter=22, htk=True, log="ln", c0=False), 3000, "noise", 0)
def test_is_the_front_end(spec: MfccSpec, samples: int, kind: str, seed: int) -> None:
    """In amplitudes: there the error of an FFT is bounded, in decibels it is not, far below a frame's loudest bin."""
    least = {"zeros": 1, "reflect": spec.n_fft // 2 + 1, "none": spec.win}[spec.padding]
    y = sound(kind, max(samples, least), spec.sr, seed)
    twin = differentiable_mfcc(spec)
    expected = log_mel(y, spec)
    actual = twin.log_mel(y[np.newaxis]).numpy()[0]
    assert actual.shape == expected.shape
    assert actual.dtype == np.float32
    # root of mel power is a norm of the spectrum, weighted by the filter; so the triangle inequality holds for it
    norm = np.abs(y).max() * spec.scale * (1 + spec.preemphasis) * math.sqrt(spec.win)
    weight = twin.filters.sum(axis=0).max() ** (1 / spec.power)
    fft = FFT_ROUNDINGS * ROUNDING / 2 * math.log2(spec.n_fft) * norm * weight
    decibels = ROUNDINGS * ROUNDING * max(1.0, np.abs(expected).max(), 20 * math.log10(twin.gain))
    amplitude = 10 ** (expected / 20.0)
    off = np.abs(10 ** (actual / 20.0) - amplitude)
    assert np.all(off <= fft + decibels * math.log(10) / 20 * amplitude)

    C = twin(y[np.newaxis]).numpy()[0]
    cepstra = scipy.fft.dct(actual.astype(np.float64), axis=0, norm="ortho")[spec.orders]
    gains = spec.coefficient_gains()[:, np.newaxis]
    largest = max(1.0, np.abs(actual).max()) * math.sqrt(spec.n_mels)
    assert C.dtype == np.float32
    assert np.all(np.abs(C - gains * cepstra) <= ROUNDINGS * ROUNDING * largest * np.maximum(1, np.abs(gains)))


SPECS = {
    "pipeline": {"floor": 1e-5},
    "odd": {"floor": 1e-5, "win": 301, "hop": 97, "n_fft": 514},
    "htk": {"floor": 1e-5, "htk": True, "fmin": 60.0, "fmax": 3800.0},
    "librosa": {"top_db": 80.0},
    "bare": {},
    "no c0": {"floor": 1e-5, "c0": False},
    "htk's": {"floor": 1e-5, "n_mels": 26, "n_mfcc": 12, "lifter": 22.0, "htk": True, "log": "ln", "c0": False},
    "fine": {"n_mels": 80, "n_mfcc": 40, "n_fft": 1024, "lifter": 22.0, "htk": True},
}


def assert_same_over_speech(clips: list[tuple[FloatArray, int]], values: dict[str, Any]) -> None:
    spec = MfccSpec(sr=clips[0][1], **values)
    twin = differentiable_mfcc(spec)
    actual = np.concatenate([twin(y[np.newaxis]).numpy()[0] for y, _ in clips], axis=1)
    ours = np.concatenate([mfcc(y, spec) for y, _ in clips], axis=1)
    theirs = np.concatenate([_librosa(y, spec) for y, _ in clips], axis=1)
    deviations = theirs.std(axis=1, keepdims=True)
    unit = 1.0 if spec.log == "db" else math.log(10) / 10
    assert (deviations > unit).all()  # speech, so that a fraction of it says something
    for expected in (ours, theirs):
        assert np.abs((actual - expected) / deviations).max() <= OF_DEVIATION[spec.floor]


def _librosa(y: FloatArray, spec: MfccSpec) -> FloatArray:
    power = librosa.feature.melspectrogram(
        y=y,
        sr=spec.sr,
        n_fft=spec.n_fft,
        win_length=spec.win,
        hop_length=spec.hop,
        n_mels=spec.n_mels,
        fmin=spec.fmin,
        fmax=spec.fmax,
        htk=spec.htk,
    )
    decibels = librosa.power_to_db(power, amin=spec.floor, top_db=None if math.isinf(spec.top_db) else spec.top_db)
    first = 0 if spec.c0 else 1
    C = np.asarray(librosa.feature.mfcc(S=decibels, n_mfcc=first + spec.n_mfcc, lifter=spec.lifter))[first:]
    return C * np.float32(math.log(10) / 10) if spec.log == "ln" else C


def _conditioned(folder: str | Path, count: int) -> list[tuple[FloatArray, int]]:
    corpus = load_corpus(folder)
    clips = corpus.clips[:: max(1, len(corpus.clips) // count)]
    read = [read_audio(Path(corpus.root) / clip.path) for clip in clips]
    return [(condition(y), sr) for y, sr in read]


@pytest.mark.parametrize("values", SPECS.values(), ids=SPECS.keys())
def test_over_synthetic_speech(values: dict[str, Any]) -> None:
    assert_same_over_speech(_conditioned("spoken-digits", 25), values)


@pytest.mark.parametrize("values", SPECS.values(), ids=SPECS.keys())
def test_over_real_speech(shared_dir: Path, values: dict[str, Any]) -> None:
    assert_same_over_speech(_conditioned(shared_dir / "corpora" / "fsdd", 60), values)


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_front_ends_over_synthetic_speech(name: Any) -> None:
    """2.6e-4 of a deviation was seen of Kaldi's, and of TensorFlow's 7e-3, where only a few samples are not silence."""
    clips = _conditioned("spoken-digits", 25)
    spec = front_end(name, sr=clips[0][1])
    twin = differentiable_mfcc(spec)
    actual = np.concatenate([twin(y[np.newaxis]).numpy()[0] for y, _ in clips], axis=1)
    expected = np.concatenate([mfcc(y, spec) for y, _ in clips], axis=1)
    off = np.abs(actual - expected) / expected.std(axis=1, keepdims=True)
    assert off.max() <= (2e-2 if name == "tf-speech-commands" else 1e-3)
    assert np.median(off) <= 1e-5


@pytest.mark.parametrize("name", FRONT_ENDS)
@pytest.mark.parametrize("kind", ["zeros", "click", "faint noise", "tone", "constant"])
def test_gradient_of_front_ends_is_finite(kind: str, name: Any) -> None:
    """Magnitudes are roots, whose slope at zero is infinite: of silence the gradient is zero all the same."""
    spec = front_end(name)
    y = np.ones(4096, np.float32) if kind == "constant" else sound(kind, 4096, spec.sr, 0)
    twin = differentiable_mfcc(spec)
    g = gradient(twin, y[np.newaxis])
    assert np.isfinite(g).all()
    if kind == "zeros":
        np.testing.assert_array_equal(g, 0)


def test_equals_librosas_own_function() -> None:
    y = noise(8000)
    spec = MfccSpec(sr=16000, n_fft=2048, win=2048, hop=512, n_mels=128, n_mfcc=20, floor=1e-10, top_db=80.0)
    expected = librosa.feature.mfcc(y=y, sr=16000)  # with librosa's defaults
    actual = differentiable_mfcc(spec)(y[np.newaxis]).numpy()[0]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=ROUNDINGS * ROUNDING * 100 * math.sqrt(128))  # dB < 100


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"floor": 1e-5, "lifter": 22.0},
        {"log": "ln", "c0": False, "lifter": 22.0},
        {"win": 201, "hop": 81, "n_fft": 300, "htk": True},
        {"top_db": 40.0},
        {"padding": "reflect", "filterbank": "hz", "htk": True},
        {
            "padding": "none", "window": "hamming", "periodic": False, "scale": 32768.0, "remove_dc": True,
            "preemphasis": 0.97, "power": 1, "filterbank": "mel", "cepstra": "htk", "log": "ln", "floor": 1.0,
        },
    ],
)  # fmt: skip
def test_gradient_is_that_of_finite_differences(values: dict[str, Any]) -> None:
    """The slope of `features.mfcc` itself, which shares no code with the gradient, along random directions.

    All in units of the slope that a random direction has (root of the sum of squares of its terms). With a step of 0.3%
    of the amplitude two errors of about 1e-3 are left: curvature, which grows with the step's square (7e-3 at 1%), and
    the rounding of the decibels in `features.mfcc`, which falls with the step (3e-3 at 0.1%). 5e-3 is twice their sum.
    """
    spec = MfccSpec(sr=8000, n_mels=20, n_mfcc=13, **values)
    fade = np.repeat(np.float32([1, 1e-3]), 4000)  # the second half is at the floor or at top_db in two of the specs
    y = noise(8000) * fade
    weights = np.random.default_rng(1).standard_normal((13, spec.frames_of(len(y)))).astype(np.float32)
    twin = differentiable_mfcc(spec)
    g = gradient(lambda x: weights * twin(x), y[np.newaxis])[0].astype(np.float64)
    for seed in range(2, 6):
        direction = noise(len(y), seed=seed) * fade
        step = np.float32(0.003)
        ahead, behind = (mfcc(y + sign * step * direction, spec).astype(np.float64) for sign in (1, -1))
        slope = np.sum(weights * (ahead - behind)) / (2 * step)
        assert abs(g @ direction - slope) <= 5e-3 * np.linalg.norm(g * direction)


def test_gradient_along_the_sound_is_that_of_its_level() -> None:
    """Level moves every band alike, 20 log10(level), so the slope along y is 20 / ln 10 for each above the floor."""
    spec = MfccSpec(sr=8000, floor=1e-5)
    y = noise(4000)
    y[2000:] *= 1e-4  # the second half is at the floor throughout
    twin = differentiable_mfcc(spec)
    above = log_mel(y, spec) > -50
    assert 0.3 < above.mean() < 0.7
    slope = float(gradient(twin.log_mel, y[np.newaxis])[0].astype(np.float64) @ y)
    # float32 sums of thousands of terms either sign: 1e-5
    assert slope == pytest.approx(20 / math.log(10) * above.sum(), rel=1e-5)
    relative = MfccSpec(sr=8000, top_db=0)  # every value is the loudest: one band's slope, as often as there are values
    slope = float(gradient(differentiable_mfcc(relative).log_mel, y[np.newaxis])[0].astype(np.float64) @ y)
    assert slope == pytest.approx(20 / math.log(10) * above.size, rel=1e-5)


@pytest.mark.parametrize("top_db", [math.inf, 80.0, 0.0])
@pytest.mark.parametrize("floor", [float(np.finfo(np.float32).tiny), 1e-30, 1e-10, 1e-5, 1.0])
@pytest.mark.parametrize("kind", ["zeros", "click", "faintest", "faint", "noise", "tone", "constant", "loud"])
def test_gradient_is_finite(kind: str, floor: float, top_db: float) -> None:
    spec = MfccSpec(sr=8000, floor=floor, top_db=top_db, lifter=22)
    special = {
        "faintest": noise(1500) * np.float32(1e-37),
        "faint": noise(1500) * np.float32(1e-18),
        "constant": np.ones(1500, np.float32),
        "loud": noise(1500) * np.float32(1e8),
    }
    y = special[kind] if kind in special else sound(kind, 1500, 8000, 0)
    twin = differentiable_mfcc(spec)
    assert np.isfinite(twin(y[np.newaxis])).all()
    g = gradient(twin, y[np.newaxis])
    assert np.isfinite(g).all()
    if kind == "zeros":
        np.testing.assert_array_equal(g, 0)


def test_gradient_at_the_floor_itself() -> None:
    """A band exactly at the floor is on either side of it; its gradient is finite, zero or that from above."""
    y = noise(1, 1500)
    loudest = float(log_mel(y[0], MfccSpec(sr=8000)).max())
    for nudge in (-1e-5, 0.0, 1e-5):
        spec = MfccSpec(sr=8000, floor=10 ** ((loudest + nudge) / 10))
        assert np.isfinite(gradient(differentiable_mfcc(spec), y)).all()


@pytest.mark.parametrize("log", ["db", "ln"])
@pytest.mark.parametrize("c0", [True, False])
def test_silence_is_the_vector_that_pads_patches(c0: bool, log: Any) -> None:
    spec = MfccSpec(sr=8000, lifter=22, floor=1e-5, c0=c0, log=log)
    C = differentiable_mfcc(spec)(np.zeros((1, 1000), np.float32)).numpy()[0]
    atol = ROUNDINGS * ROUNDING * 50 * math.sqrt(40) * spec.lifter_gains().max()  # as above; 50 dB is the floor
    np.testing.assert_allclose(C, np.tile(spec.silence[:, np.newaxis], (1, C.shape[1])), rtol=0, atol=atol)


@pytest.mark.parametrize("top_db", [math.inf, 30.0])
def test_nothing_crosses_the_batch(top_db: float) -> None:
    spec = MfccSpec(sr=8000, top_db=top_db)
    twin = differentiable_mfcc(spec)
    y = noise(7, 2001) * np.geomspace(1, 1e-3, 7, dtype=np.float32)[:, np.newaxis]
    together = twin(y).numpy()
    alone = np.concatenate([twin(clip[np.newaxis]).numpy() for clip in y])
    # the matrix product may sum in another order for another number of rows: rounding of decibels of 100, then the DCT
    np.testing.assert_allclose(together, alone, rtol=0, atol=ROUNDINGS * ROUNDING * 100 * math.sqrt(40))
    g = gradient(lambda x: twin(x)[3], y)
    assert np.any(g[3])
    np.testing.assert_array_equal(np.delete(g, 3, axis=0), 0)


def test_compiles_for_any_size() -> None:
    twin = differentiable_mfcc(MfccSpec(sr=8000, win=201, hop=81))
    compiled = tf.function(twin, input_signature=[tf.TensorSpec((None, None), tf.float32)])
    for samples in (1, 80, 81, 1000):
        y = noise(2, samples)
        # the graph may fuse operations: roundings as above
        np.testing.assert_allclose(compiled(y), twin(y), rtol=0, atol=ROUNDINGS * ROUNDING * 100 * math.sqrt(40))
    assert compiled.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(
    ("y", "error"),
    [
        (np.zeros(100, np.float32), ParameterError),
        (np.zeros((1, 100, 1), np.float32), ParameterError),
        (np.zeros((1, 100), np.float64), ParameterError),
        (np.zeros((1, 100), np.int16), ParameterError),
        (np.zeros((1, 0), np.float32), DataError),
    ],
)
def test_what_is_no_batch_of_sounds_is_named(y: npt.NDArray[Any], error: type[Exception]) -> None:
    with pytest.raises(error, match="Received"):
        differentiable_mfcc(MfccSpec())(y)
