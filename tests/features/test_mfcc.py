"""MFCC: what must hold whatever librosa says; against librosa see tests/oracles."""

from __future__ import annotations

from typing import Any

import librosa
import numpy as np
import numpy.typing as npt
import pytest
import scipy.fft
import scipy.sparse
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from cepscope.errors import DataError, ParameterError
from cepscope.features import MfccSpec, fit_length, log_mel, mfcc, mfcc_to_log_mel
from cepscope.features.mfcc import fill_patches

SOME = settings(max_examples=40, deadline=None)
SPEC = MfccSpec(sr=8000)


def noise(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


@SOME
@given(
    lead=st.lists(st.integers(0, 7), max_size=3),
    samples=st.integers(1, 3000),
    top_db=st.sampled_from([np.inf, 20.0]),
    data=st.data(),
)
def test_a_clip_alone_gives_the_bits_it_gives_in_a_batch(
    lead: list[int], samples: int, top_db: float, data: Any
) -> None:
    spec = MfccSpec(sr=8000, top_db=top_db, lifter=22)
    y = noise(*lead, samples)
    C = mfcc(y, spec)
    decibels = log_mel(y, spec)
    assert C.dtype == decibels.dtype == np.float32
    assert C.shape == (*lead, spec.n_mfcc, spec.frames_of(samples))
    assert decibels.shape == (*lead, spec.n_mels, spec.frames_of(samples))
    if 0 not in lead:
        index = tuple(data.draw(st.integers(0, n - 1)) for n in lead)
        np.testing.assert_array_equal(C[index], mfcc(y[index], spec))
        np.testing.assert_array_equal(decibels[index], log_mel(y[index], spec))


@SOME
@given(
    lengths=st.lists(st.integers(300, 9000), max_size=12),
    frames=st.integers(1, 130),
    changes=st.sampled_from(
        [{}, {"top_db": 30.0}, {"padding": "none"}, {"padding": "reflect"}, {"preemphasis": 0.97, "remove_dc": True}]
    ),
    more=st.sampled_from([{}, {"c0": False, "log": "ln", "lifter": 22.0}, {"win": 100, "hop": 37}]),
)
def test_patches_of_many_sounds_have_the_bits_of_each_alone(
    lengths: list[int], frames: int, changes: dict[str, Any], more: dict[str, Any]
) -> None:
    spec = MfccSpec(sr=8000, **changes, **more)
    sounds = [noise(n, seed=i) for i, n in enumerate(lengths)]
    patches = np.full((len(sounds) + 1, spec.n_mfcc, frames), 7, np.float32)
    fill_patches(patches, [(i + 1, y) for i, y in enumerate(sounds)], spec)
    assert (patches[0] == 7).all()  # of no sound
    for y, patch in zip(sounds, patches[1:], strict=True):
        np.testing.assert_array_equal(patch, fit_length(mfcc(y, spec), frames, spec))


def test_patches_refuse_what_is_not_finite_or_too_short() -> None:
    patches = np.zeros((2, SPEC.n_mfcc, 40), np.float32)
    with pytest.raises(DataError, match="must be finite"):
        fill_patches(patches, [(0, noise(4000)), (1, np.full(4000, np.nan, np.float32))], SPEC)
    with pytest.raises(DataError, match="one window of 200 samples"):
        fill_patches(patches, [(0, noise(150))], MfccSpec(sr=8000, padding="none"))


def test_bits_are_the_same_over_many_groups_and_numbers_of_threads() -> None:
    y = noise(37, 8000)  # several groups, the last one not full
    with threadpool_limits(1):
        one = mfcc(y, SPEC)
    with threadpool_limits(2):
        two = mfcc(y, SPEC)
    np.testing.assert_array_equal(one, two)
    for i in (0, 9, 10, 36):
        np.testing.assert_array_equal(one[i], mfcc(y[i], SPEC))


@pytest.mark.parametrize("top_db", [np.inf, 30.0])
def test_a_clip_longer_than_a_block_is_seamless(top_db: float) -> None:
    spec = MfccSpec(sr=8000, top_db=top_db)
    y = noise(300_000) * np.linspace(1, 1e-4, 300_000, dtype=np.float32)  # 3751 frames in blocks of 1024
    C = mfcc(y, spec)
    if np.isfinite(top_db):  # the limit is that of the whole clip, so the quiet end is all at the limit
        quiet = log_mel(y, spec)[:, -100:]
        np.testing.assert_array_equal(quiet, quiet.min())
        return
    for frame in (1023, 1024, 2047, 2048, 3000):  # frames are independent: each equals that of its window alone
        start = frame * spec.hop - 5 * spec.hop
        alone = mfcc(y[start : start + 10 * spec.hop], spec)[:, 5]
        np.testing.assert_array_equal(C[:, frame], alone)


@settings(max_examples=25, deadline=None)
@given(
    win=st.integers(16, 600),
    more=st.integers(0, 200),
    hop=st.integers(1, 300),
    n_mels=st.integers(2, 40),
    htk=st.booleans(),
    top_db=st.sampled_from([np.inf, 40.0]),
    samples=st.integers(1, 3000),
)
def test_the_default_front_end_has_the_bits_that_it_always_had(
    win: int, more: int, hop: int, n_mels: int, htk: bool, top_db: float, samples: int
) -> None:
    """The front end in a few lines, as it was before there were others: what runs have kept must be found again."""
    try:
        n_fft = 2 * ((win + more + 1) // 2)
        spec = MfccSpec(sr=8000, win=win, n_fft=n_fft, hop=hop, n_mels=n_mels, n_mfcc=2, htk=htk, top_db=top_db)
    except ParameterError as error:
        assume("hold no FFT bin" not in str(error))
        raise
    y = noise(samples)
    left = (n_fft - win) // 2
    window = np.zeros(n_fft)
    window[left : left + win] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(win) / win)
    filters = librosa.filters.mel(sr=8000, n_fft=n_fft, n_mels=n_mels, htk=htk).astype(np.float64)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(y.astype(np.float64), n_fft // 2), n_fft)[::hop]
    spectrum = scipy.fft.rfft(frames * window, axis=-1)
    power = np.ascontiguousarray((spectrum.real * spectrum.real + spectrum.imag * spectrum.imag).T)
    mel = np.maximum((scipy.sparse.csr_array(filters) @ power).astype(np.float32), np.float32(1e-10))
    decibels = np.log10(mel) * np.float32(10)
    decibels = np.maximum(decibels, decibels.max() - np.float32(top_db))
    np.testing.assert_array_equal(log_mel(y, spec), decibels)
    np.testing.assert_array_equal(mfcc(y, spec), scipy.fft.dct(decibels, axis=0, norm="ortho")[:2])


@SOME
@given(shift=st.integers(1, 20), seed=st.integers(0, 100))
def test_a_shift_by_whole_hops_shifts_the_frames(shift: int, seed: int) -> None:
    y = noise(2000, seed=seed)
    later = np.concatenate([np.zeros(shift * SPEC.hop, np.float32), y])
    np.testing.assert_array_equal(mfcc(later, SPEC)[:, shift:], mfcc(y, SPEC))


@SOME
@given(st.floats(-40, 40))
def test_gain_moves_c0_only(db: float) -> None:
    y = noise(4000).astype(np.float64)
    moved = mfcc(y * 10 ** (db / 20), SPEC) - mfcc(y, SPEC)
    np.testing.assert_allclose(moved[0], db * np.sqrt(SPEC.n_mels), atol=1e-3)  # float32 at values near 500
    np.testing.assert_allclose(moved[1:], 0, atol=1e-3)


def test_tone_is_loudest_in_its_filter() -> None:
    for k in range(0, SPEC.n_mels, 5):
        hz = SPEC.mel_frequencies()[k]
        y = np.sin(2 * np.pi * hz * np.arange(8000) / 8000)
        assert np.argmax(log_mel(y, SPEC)[:, 50]) == k


@SOME
@given(
    n_mels=st.integers(1, 40),
    lifter=st.sampled_from([0.0, 50.0, 80.0]),
    log=st.sampled_from(["db", "ln"]),
    data=st.data(),
)
def test_log_mel_comes_back_from_mfcc(n_mels: int, lifter: float, log: Any, data: Any) -> None:
    n_mfcc = data.draw(st.integers(1, n_mels))
    full = MfccSpec(sr=8000, n_mels=n_mels, n_mfcc=n_mels, lifter=lifter, log=log)
    few = MfccSpec(sr=8000, n_mels=n_mels, n_mfcc=n_mfcc, lifter=lifter, log=log)
    y = noise(2, 1000)
    decibels = log_mel(y, full)
    # all coefficients: the same, to the rounding of numbers up to sqrt(n_mels) times as large
    np.testing.assert_allclose(mfcc_to_log_mel(mfcc(y, full), full), decibels, atol=1e-3)
    # few: the orthogonal projection on smooth spectra, which taking the MFCC of it again does not change
    smooth = mfcc_to_log_mel(mfcc(y, few), few)
    assert smooth.shape == decibels.shape
    assert smooth.dtype == np.float32
    rest = decibels - smooth
    np.testing.assert_allclose((rest * smooth).mean(), 0, atol=0.01)  # of values near 30**2


@SOME
@given(n_mels=st.integers(2, 40), lifter=st.sampled_from([0.0, 50.0]), log=st.sampled_from(["db", "ln"]))
def test_without_c0_the_log_mel_comes_back_at_a_mean_of_0_db(n_mels: int, lifter: float, log: Any) -> None:
    spec = MfccSpec(sr=8000, n_mels=n_mels, n_mfcc=n_mels - 1, lifter=lifter, log=log, c0=False)
    y = noise(2, 1000)
    decibels = log_mel(y, spec)
    back = mfcc_to_log_mel(mfcc(y, spec), spec)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, decibels - decibels.mean(axis=-2, keepdims=True), atol=1e-3)
    silent = mfcc_to_log_mel(spec.silence[:, np.newaxis], spec)
    np.testing.assert_array_equal(silent, np.zeros((n_mels, 1)))


def test_without_c0_and_of_the_natural_logarithm_a_clip_alone_gives_the_bits_it_gives_in_a_batch() -> None:
    spec = MfccSpec(sr=8000, lifter=22, log="ln", c0=False)
    y = noise(23, 8000)
    C = mfcc(y, spec)
    for i in (0, 11, 22):
        np.testing.assert_array_equal(C[i], mfcc(y[i], spec))


def test_mfcc_to_log_mel_of_no_frames_is_empty() -> None:
    for c0 in (True, False):
        assert mfcc_to_log_mel(np.zeros((3, 20, 0)), MfccSpec(sr=8000, c0=c0)).shape == (3, 40, 0)


def test_a_lifter_that_removes_a_coefficient_cannot_be_undone() -> None:
    spec = MfccSpec(lifter=2.0 / 1.0, n_mfcc=3)  # gain of n = 3: 1 + sin(3 pi / 2) = 0
    with pytest.raises(ParameterError, match=r"coefficient 2 by .* Received: lifter=2, n_mfcc=3; .* at least 3$"):
        mfcc_to_log_mel(np.zeros((3, 5)), spec)
    spec = MfccSpec(lifter=2.0, n_mfcc=2, c0=False, log="ln")  # the same order
    with pytest.raises(ParameterError, match=r"coefficient 2 by .* Received: lifter=2, n_mfcc=2; .* at least 3$"):
        mfcc_to_log_mel(np.zeros((2, 5)), spec)
    assert np.isfinite(mfcc_to_log_mel(np.ones((2, 5)), MfccSpec(lifter=3.0, n_mfcc=2, c0=False))).all()


def test_the_loudest_that_is_taken_is_counted_after_scaling() -> None:
    spec = MfccSpec(sr=8000, scale=32768.0)
    assert np.isfinite(mfcc(np.full(1000, 3e7), spec)).all()
    with pytest.raises(DataError, match=r"at most 3.05176e\+07. Received: a peak of 3.1e\+07"):
        mfcc(np.full(1000, 3.1e7), spec)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e13])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    y = noise(3, 1000)
    y[1, 500] = bad
    for call in (mfcc, log_mel):
        with pytest.raises(DataError, match=r"audio must be finite and at most 1e\+12. Received: a peak of"):
            call(y, SPEC)


def test_the_loudest_that_is_taken_stays_finite() -> None:
    y = np.full(8000, 1e12, np.float32) * np.resize([1, -1], 8000).astype(np.float32)
    assert np.isfinite(mfcc(y, SPEC)).all()


@pytest.mark.parametrize(
    ("y", "error", "says"),
    [
        (np.zeros(100, np.int16), ParameterError, "int16 of shape .*divide 16-bit integers by 32768"),
        (np.zeros(100, np.complex64), ParameterError, "complex64 of shape"),
        (np.float32(1), ParameterError, r"of shape \(\)"),
        (np.zeros((3, 0)), DataError, r"at least one sample. Received: shape \(3, 0\)"),
    ],
)
def test_what_is_no_audio_is_refused(y: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        mfcc(y, SPEC)


@pytest.mark.parametrize("shape", [(20,), (19, 5), (5, 20)])
def test_mfcc_to_log_mel_checks_the_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ParameterError, match=r"\(\.\.\., 20, frames\)"):
        mfcc_to_log_mel(np.zeros(shape), SPEC)


def test_input_is_left_alone_and_may_be_a_view() -> None:
    base = noise(2, 4000)
    view = base[:, ::2]
    before = base.copy()
    np.testing.assert_array_equal(mfcc(view, SPEC), mfcc(view.copy(), SPEC))
    view.flags.writeable = False
    mfcc(view, SPEC)
    np.testing.assert_array_equal(base, before)
