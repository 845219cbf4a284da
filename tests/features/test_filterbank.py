"""Filterbanks: shapes, the bins that are left out, warps, and what is refused. Against others: tests/oracles."""

from __future__ import annotations

import warnings
from typing import Any

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cepscope.errors import ParameterError
from cepscope.features import MfccSpec, front_end
from cepscope.features.filterbank import mel_filters
from cepscope.features.mel import hz_triangles

BANKS = ("slaney", "hz", "mel", "htk", "tensorflow")
SOME = settings(max_examples=60, deadline=None)


@pytest.mark.parametrize("htk", [True, False])
def test_slaney_and_hz_are_librosas(htk: bool) -> None:
    for bank, norm in (("slaney", "slaney"), ("hz", None)):
        spec = MfccSpec(fmin=50.0, fmax=7000.0, htk=htk, filterbank=bank)
        expected = librosa.filters.mel(sr=16000, n_fft=512, n_mels=40, fmin=50, fmax=7000, htk=htk, norm=norm)
        np.testing.assert_array_equal(mel_filters(spec).toarray(), expected)


@SOME
@given(
    sr=st.sampled_from([8000, 11025, 16000, 44100]),
    n_fft=st.sampled_from([400, 512, 2048]),
    n_mels=st.integers(1, 60),
    fmin=st.sampled_from([0.0, 20.0, 133.3]),
    fmax=st.sampled_from([3700.0, 3800.0, 4000.0]),  # the second is a bin of many of these, where roundings show
    htk=st.booleans(),
    area=st.booleans(),
)
def test_they_have_librosas_bits_whatever_the_settings(
    sr: int, n_fft: int, n_mels: int, fmin: float, fmax: float, htk: bool, area: bool
) -> None:
    bins = np.fft.rfftfreq(n_fft, 1 / sr)
    found = hz_triangles(n_mels, fmin, fmax, bins, htk=htk, unit_area=area)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Empty filters")
        norm = "slaney" if area else None
        expected = librosa.filters.mel(sr=sr, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax, htk=htk, norm=norm)
    assert found.tobytes() == expected.tobytes()


@SOME
@given(
    n_mels=st.integers(1, 40),
    fmin=st.sampled_from([0.0, 20.0, 111.0, 300.0]),
    fmax=st.sampled_from([3000.0, 3900.0, 4000.0]),
    htk=st.booleans(),
)
def test_triangles_over_mel_add_up_to_one_between_the_outer_centres(
    n_mels: int, fmin: float, fmax: float, htk: bool
) -> None:
    """Neighbours share a bin: what one falls by the next rises. The other two banks only leave bins out."""
    values: dict[str, Any] = {"sr": 8000, "n_fft": 2048, "n_mels": n_mels, "n_mfcc": 1, "fmin": fmin, "fmax": fmax}
    banks = {bank: MfccSpec(**values, htk=htk, filterbank=bank) for bank in ("mel", "htk", "tensorflow")}
    weights = {bank: mel_filters(spec).toarray() for bank, spec in banks.items()}
    hz = np.arange(1025) * 8000 / 2048
    centres = banks["mel"].mel_frequencies()
    inside = (hz >= centres[0]) & (hz <= centres[-1])
    np.testing.assert_allclose(weights["mel"].sum(axis=0)[inside], 1, atol=1e-9)
    assert not weights["mel"][:, (hz < fmin - 1e-6) | (hz > fmax + 1e-6)].any()
    for bank in ("htk", "tensorflow"):
        left_out = ~weights[bank].any(axis=0)
        np.testing.assert_array_equal(weights[bank][:, ~left_out], weights["mel"][:, ~left_out])
        low = round(fmin * 2048 / 8000 + 1e-9) + 1  # the first bin taken: one above the bin next to fmin
        assert left_out[:low].all()
        assert not left_out[low]
    assert not weights["htk"][:, round(fmax * 2048 / 8000 + 1e-9) :].any()


@SOME
@given(
    bank=st.sampled_from(BANKS),
    n_mels=st.integers(1, 128),
    fmin=st.sampled_from([0.0, 20.0, 47.0, 300.0]),
    n_fft=st.sampled_from([256, 400, 512]),
    warp=st.sampled_from([1.0, 0.9, 1.1]),
)
def test_a_filter_without_a_bin_is_refused_where_there_is_one(
    bank: Any, n_mels: int, fmin: float, n_fft: int, warp: float
) -> None:
    if bank not in ("mel", "htk") or fmin > 60:
        warp = 1.0
    try:
        spec = MfccSpec(win=200, n_fft=n_fft, n_mels=n_mels, n_mfcc=1, fmin=fmin, htk=True, filterbank=bank, warp=warp)
    except ParameterError as error:
        assert "hold no FFT bin" in str(error)  # noqa: PT017 (a spec may well be fine)
        assert bank != "hz"
        found = [option.split("=") for option in str(error).split("take ")[1].split(" or ")]
        for name, value in found:  # what is suggested works
            values: dict[str, Any] = {"n_fft": n_fft, "n_mels": n_mels, name: int(value)}
            MfccSpec(win=200, n_mfcc=1, fmin=fmin, htk=True, filterbank=bank, warp=warp, **values)
        return
    if bank != "hz":
        assert mel_filters(spec).toarray().max(axis=1).min() > 0


def test_torchaudios_own_defaults_have_filters_without_a_bin() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # librosa would warn
        filters = mel_filters(front_end("torchaudio")).toarray()
    assert (filters.max(axis=1) == 0).sum() == 4
    with pytest.raises(ParameterError, match="hold no FFT bin"):
        front_end("torchaudio", filterbank="slaney")


@SOME
@given(bank=st.sampled_from(["mel", "htk"]), warp=st.floats(0.9, 1.1), fmin=st.sampled_from([0.0, 20.0, 60.0]))
def test_a_warp_divides_frequencies_and_keeps_the_ends(bank: Any, warp: float, fmin: float) -> None:
    plain = MfccSpec(n_fft=2048, n_mels=60, fmin=fmin, htk=True, filterbank=bank)
    warped = MfccSpec(n_fft=2048, n_mels=60, fmin=fmin, htk=True, filterbank=bank, warp=warp)
    before, after = plain.mel_frequencies(), warped.mel_frequencies()
    assert (np.diff(after) > 0).all()
    middle = (before > 150) & (before < 6000)
    np.testing.assert_allclose(after[middle], before[middle] / warp, rtol=1e-9)
    assert after[0] > fmin
    assert after[-1] < 8000


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"filterbank": "slaney"}, "warp must be 1 with 'slaney' filters. Received: warp=1.1"),
        ({"filterbank": "tensorflow"}, "warp must be 1 with 'tensorflow' filters. Received: warp=1.1"),
        ({"fmin": 110.0}, "warp must keep 100 to 7500 Hz between fmin=110 and fmax=8000. Received: warp=1.1"),
        (
            {"filterbank": "htk", "warp": 3.0},
            "warp must keep 50 to 11250 Hz between fmin=0 and fmax=8000. Received: warp=3",
        ),
        ({"fmax": 550.0, "n_mels": 9}, "warp must keep .* Received: warp=1.1"),
        ({"warp": 0.0}, "warp must be a positive number. Received: warp=0.0"),
        ({"warp": float("inf")}, "warp must be a positive number. Received: warp=inf"),
    ],
)
def test_a_warp_that_has_no_meaning_is_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ParameterError, match=rf"^{says}$"):
        MfccSpec(**{"n_mels": 23, "n_mfcc": 9, "htk": True, "filterbank": "mel", "warp": 1.1, **values})
