"""Settings: what zeros resolve to, what is refused and how, and the numbers that follow from them."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cepscope.errors import ParameterError
from cepscope.features import MfccSpec, mfcc

SOME = settings(max_examples=50, deadline=None)


def test_zeros_are_resolved_from_the_rate() -> None:
    spec = MfccSpec(sr=22050)
    assert (spec.win, spec.hop, spec.n_fft, spec.fmax) == (551, 220, 1024, 11025.0)
    assert MfccSpec(sr=22050, win=551, hop=220, n_fft=1024, fmax=11025) == spec
    assert hash(MfccSpec(sr=22050, n_fft=1024)) == hash(spec)


def test_fields_are_plain_numbers_whatever_was_given() -> None:
    spec = MfccSpec(
        sr=np.int64(8000),
        n_mels=np.int32(30),
        fmin=20,
        floor=np.float32(0.5),
        htk=np.True_,
        log=np.str_("ln"),
        c0=np.False_,
        window=np.str_("hamming"),
        periodic=np.False_,
        scale=32768,
        power=np.int16(1),
        preemphasis=np.float32(0.5),
    )
    types = [type(value) for value in dataclasses.astuple(spec)]
    assert types[:14] == [int] * 6 + [float] * 3 + [bool] + [float] * 2 + [str, bool]
    assert types[14:] == [str, bool, str, float, bool, float, int, str, str, float]


@SOME
@given(
    sr=st.sampled_from([8000, 16000, 44100]),
    n_mels=st.integers(2, 40),
    lifter=st.sampled_from([0.0, 22.0]),
    top_db=st.sampled_from([math.inf, 80.0, 0.0]),
    htk=st.booleans(),
    log=st.sampled_from(["db", "ln"]),
    c0=st.booleans(),
    window=st.sampled_from(["hann", "povey"]),
    padding=st.sampled_from(["zeros", "none"]),
    power=st.sampled_from([1, 2]),
    filterbank=st.sampled_from(["slaney", "mel"]),
    cepstra=st.sampled_from(["librosa", "htk"]),
    scale=st.sampled_from([1.0, 32768.0]),
)
def test_json_round_trip(**values: Any) -> None:
    spec = MfccSpec(**values, n_mfcc=1)
    text = json.dumps(spec.to_dict(), allow_nan=False)
    assert MfccSpec.from_dict(json.loads(text)) == spec


def test_names_left_out_take_defaults_and_unknown_ones_are_named() -> None:
    assert MfccSpec.from_dict({"sr": 8000}) == MfccSpec(sr=8000)
    with pytest.raises(ParameterError, match=r"Received: hop_length, win_length$"):
        MfccSpec.from_dict({"win_length": 200, "hop_length": 80})


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"sr": 0}, "sr must be at least 1. Received: sr=0"),
        ({"sr": 16000.0}, "sr must be an integer. Received: sr=16000.0"),
        ({"n_mels": True}, "n_mels must be an integer. Received: n_mels=True"),
        ({"hop": -1}, "hop must be at least 1, or 0 to take it from sr. Received: hop=-1"),
        ({"n_fft": 513}, "n_fft must be even. Received: n_fft=513"),
        ({"n_fft": 256}, "win must be at most n_fft=256. Received: win=400"),
        ({"n_mfcc": 41}, "n_mfcc must be at most n_mels=40. Received: n_mfcc=41"),
        ({"fmax": 9000.0}, "fmax must be at most half of sr, 8000. Received: fmax=9000.0"),
        ({"fmin": -1.0}, "fmin must be at least 0 and below fmax=8000. Received: fmin=-1.0"),
        ({"fmin": 4000, "fmax": 4000}, "fmin must be at least 0 and below fmax=4000. Received: fmin=4000.0"),
        ({"lifter": -2}, r"lifter must be 0 \(none\) or a positive number. Received: lifter=-2.0"),
        ({"lifter": math.inf}, r"lifter must be 0 \(none\) or a positive number. Received: lifter=inf"),
        ({"floor": 0.0}, "floor must be a mel power from 1e-38 to 1. Received: floor=0.0"),
        ({"floor": math.nan}, "floor must be a number. Received: floor=nan"),
        ({"floor": "low"}, "floor must be a number. Received: floor='low'"),
        ({"top_db": -80}, "top_db must be at least 0 dB, or inf for none. Received: top_db=-80.0"),
        ({"top_db": None}, "top_db must be a number. Received: top_db=None"),
        ({"htk": 1}, "htk must be true or false. Received: 1"),
        ({"c0": "no"}, "c0 must be true or false. Received: 'no'"),
        ({"log": "log10"}, "log must be 'db' or 'ln'. Received: log='log10'"),
        ({"log": True}, "log must be 'db' or 'ln'. Received: log=True"),
        ({"log": ["ln"]}, r"log must be 'db' or 'ln'. Received: log=\['ln'\]"),
        ({"window": "hanning"}, "window must be 'hann', 'hamming', .* or 'rectangular'. Received: window='hanning'"),
        ({"periodic": 1}, "periodic must be true or false. Received: 1"),
        ({"padding": "edge"}, "padding must be 'zeros', 'reflect' or 'none'. Received: padding='edge'"),
        ({"filterbank": "bark"}, "filterbank must be 'slaney', .* or 'tensorflow'. Received: filterbank='bark'"),
        ({"cepstra": None}, "cepstra must be 'librosa', 'kaldi' or 'htk'. Received: cepstra=None"),
        ({"scale": 0}, r"scale must be from 1e-06 to 1e\+06. Received: scale=0.0"),
        (
            {"scale": 32768, "floor": 2e9},
            r"floor must be a mel power from 1e-38 to 1.07374e\+09. Received: floor=2000000000.0",
        ),
        ({"preemphasis": 1}, "preemphasis must be at least 0 and below 1. Received: preemphasis=1.0"),
        ({"power": 3}, "power must be 2 or 1. Received: power=3"),
        ({"power": 2.0}, "power must be an integer. Received: power=2.0"),
        ({"c0": False, "n_mfcc": 40}, "n_mfcc must be at most n_mels - 1=39 without c0. Received: n_mfcc=40"),
        ({"c0": False, "n_mels": 1, "n_mfcc": 1}, "n_mfcc must be at most n_mels - 1=0 without c0. Received: n_mfcc=1"),
    ],
)
def test_bad_values_are_refused_in_one_line(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ParameterError, match=rf"^{says}$"):
        MfccSpec(**values)


def test_a_filter_without_a_bin_is_refused_and_what_is_suggested_works() -> None:
    with pytest.raises(ParameterError, match=r"take n_mels=\d+ or n_fft=\d+$") as caught:
        MfccSpec(sr=8000, n_mels=200)
    message = str(caught.value)
    n_mels, n_fft = (int(option.split("=")[1]) for option in message.split("take ")[1].split(" or "))
    assert n_mels < 200
    assert n_fft > 256
    assert MfccSpec(sr=8000, n_mels=n_mels).n_mels == n_mels
    assert MfccSpec(sr=8000, n_mels=200, n_fft=n_fft).n_fft == n_fft
    with pytest.raises(ParameterError, match=r"hold no FFT bin"):
        MfccSpec(sr=8000, n_mels=n_mels + 1)  # it is the most that works


def test_a_range_without_any_bin_asks_for_a_wider_one() -> None:
    with pytest.raises(ParameterError, match=r"1 of 1 mel filters hold no FFT bin.* take n_fft=16384$"):
        MfccSpec(fmin=1000.5, fmax=1001.5, n_mels=1, n_mfcc=1)
    with pytest.raises(ParameterError, match=r"take a larger fmax - fmin$"):
        MfccSpec(fmin=1000.0001, fmax=1000.0002, n_mels=1, n_mfcc=1)


@SOME
@given(samples=st.integers(1, 5000), hop=st.integers(1, 700))
def test_frames_and_samples_fit_together(samples: int, hop: int) -> None:
    spec = MfccSpec(sr=8000, hop=hop)
    frames = spec.frames_of(samples)
    assert mfcc(np.zeros(samples), spec).shape[-1] == frames
    assert spec.samples_of(frames) <= samples < spec.samples_of(frames + 1)
    times = spec.times(frames)
    assert times.shape == (frames,)
    assert times[-1] * spec.sr <= samples + 1e-9


def test_counts_below_one_are_refused() -> None:
    for call in (MfccSpec().frames_of, MfccSpec().samples_of):
        with pytest.raises(ParameterError, match="at least 1"):
            call(0)


def test_settings_of_old_files_mean_what_they_did() -> None:
    values = MfccSpec(lifter=22).to_dict()
    first = ["sr", "n_fft", "win", "hop", "n_mels", "n_mfcc", "fmin", "fmax", "lifter", "htk", "floor", "top_db"]
    assert list(values)[:14] == [*first, "log", "c0"]
    for known in (first, [*first, "log", "c0"]):
        assert MfccSpec.from_dict({name: values[name] for name in known}) == MfccSpec(lifter=22)


@SOME
@given(n_mfcc=st.integers(1, 39), lifter=st.sampled_from([0.0, 0.7, 22.0]), log=st.sampled_from(["db", "ln"]))
def test_a_gain_belongs_to_an_order_whether_or_not_c0_is_kept(n_mfcc: int, lifter: float, log: Any) -> None:
    all_ = MfccSpec(n_mfcc=40, lifter=lifter, log=log)
    np.testing.assert_array_equal(all_.orders, np.arange(40))
    unit = 1.0 if log == "db" else math.log(10) / 10
    row = np.arange(1, 41)  # of librosa, which counts from 1
    expected = unit * (1 + lifter / 2 * np.sin(np.pi * row / lifter) if lifter else np.ones(40))
    np.testing.assert_allclose(all_.coefficient_gains(), expected, rtol=0, atol=1e-14 * (1 + lifter))
    for c0 in (True, False):
        few = dataclasses.replace(all_, n_mfcc=n_mfcc, c0=c0)
        assert few.orders.tolist() == list(range(not c0, n_mfcc + (not c0)))
        assert few.coefficient_gains().dtype == np.float64
        np.testing.assert_array_equal(few.coefficient_gains(), all_.coefficient_gains()[few.orders])
        np.testing.assert_array_equal(few.lifter_gains(), all_.lifter_gains()[few.orders])


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("c0", [True, False])
def test_htk_and_kaldi_count_orders_from_zero_and_htks_c0_is_larger(c0: bool, power: int) -> None:
    values: dict[str, Any] = {"n_mfcc": 13, "lifter": 22.0, "log": "ln", "c0": c0, "power": power}
    n = np.arange(13) + (not c0)
    lifter = 1 + 11 * np.sin(np.pi * n / 22)
    unit = math.log(10) / (10 if power == 2 else 20)
    kaldi, htk = MfccSpec(**values, cepstra="kaldi"), MfccSpec(**values, cepstra="htk")
    for spec in (kaldi, htk):
        np.testing.assert_allclose(spec.lifter_gains(), lifter, rtol=1e-12)
    np.testing.assert_allclose(kaldi.coefficient_gains(), unit * lifter, rtol=1e-12)
    larger = np.where(n == 0, math.sqrt(2), 1)
    np.testing.assert_allclose(htk.coefficient_gains(), unit * lifter * larger, rtol=1e-12)


@pytest.mark.parametrize("log", ["db", "ln"])
@pytest.mark.parametrize("c0", [True, False])
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"floor": 1e-5, "lifter": 22},
        {"sr": 8000, "n_mels": 13, "n_mfcc": 12, "htk": True},
        {"n_mels": 2, "n_mfcc": 1, "top_db": 80},
        {"floor": 1.0},
    ],
    ids=["default", "lifter", "htk", "one", "floor 1"],
)
def test_silence_is_the_mfcc_of_zeros(values: dict[str, Any], c0: bool, log: Any) -> None:
    spec = MfccSpec(**values, c0=c0, log=log)
    zeros = mfcc(np.zeros(3 * spec.hop), spec)
    assert spec.silence.dtype == np.float32
    # 2**-21: 4 float32 roundings of c0, which the DCT's sum leaves in every coefficient, kept or not, times its gain
    level = float(dataclasses.replace(spec, c0=True).silence[0])
    tolerance = 2.0**-21 * max(1.0, abs(level)) * max(1.0, float(np.abs(spec.lifter_gains()).max()))
    np.testing.assert_allclose(zeros, np.repeat(spec.silence[:, np.newaxis], 4, axis=1), atol=tolerance, rtol=0)
