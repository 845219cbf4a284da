"""A recording against a network, by brute force and against what the probe measures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cepscope.audio import read_audio
from cepscope.corpora import Patches
from cepscope.corpora.recordings import as_recording
from cepscope.errors import DataError, ParameterError
from cepscope.features import MfccSpec, fit_length
from cepscope.maximize.units import Seen, unit_activations
from cepscope.models.backend import keras
from cepscope.probe.explain import Explainer, explain, together
from cepscope.probe.explanation import HEIGHT, Explanation
from cepscope.probe.windows import hop_for, window_starts, windows

# The recording's mean and peak are summed in another order than the clip's, and windows are computed in other batches:
# both are roundings of float32, of activations of about 1.
ROUNDING = 1e-4


@pytest.fixture(scope="module")
def explainer(digit_model: Any, digit_patches: Patches) -> Explainer:
    return Explainer(digit_model, digit_patches, [digit_patches.test.x[:20], digit_patches.test.x[20:]])


def sound(patches: Patches, clip: int) -> tuple[np.ndarray, int]:
    return read_audio(f"{patches.root}/{patches.test.paths[clip]}")


def explained(explainer: Explainer, y: np.ndarray, sr: int) -> Explanation:
    return explainer(as_recording(y, sr, explainer.front_end.spec))


def test_a_held_out_clip_gives_what_the_probe_measures(
    explainer: Explainer, digit_model: Any, digit_patches: Patches
) -> None:
    measured = unit_activations(digit_model, digit_patches.test.x)
    said = digit_model.predict(digit_patches.test.x, verbose=0)
    lengths = set()
    for clip in range(0, len(digit_patches.test), 13):
        found = explained(explainer, *sound(digit_patches, clip))
        recorded = found.recording.frames
        lengths.add(np.sign(recorded - digit_patches.frames))
        start = (recorded - digit_patches.frames) // 2 if recorded > digit_patches.frames else found.starts[0]
        (own,) = np.flatnonzero(found.starts == start)  # the window that extraction takes
        patches = np.concatenate([track.patches[own] for track in found.tracks])
        np.testing.assert_allclose(patches, measured[clip], rtol=ROUNDING, atol=ROUNDING)
        np.testing.assert_allclose(found.probabilities[own], said[clip], atol=ROUNDING)
        if len(found.starts) == 1:  # nothing overlaps: the mean of a track is the activation itself
            tracks = np.concatenate([track.activation.mean(axis=0) for track in found.tracks])
            np.testing.assert_allclose(tracks, measured[clip], rtol=ROUNDING, atol=ROUNDING)
            np.testing.assert_allclose(found.overall, said[clip], atol=ROUNDING)
    assert {-1, 1} <= lengths  # shorter and longer than a patch


def test_activations_count_from_what_held_out_clips_reach(
    explainer: Explainer, digit_model: Any, digit_patches: Patches
) -> None:
    measured = unit_activations(digit_model, digit_patches.test.x)
    np.testing.assert_allclose(
        np.concatenate([reach.mean for reach in explainer.reach]), measured.mean(axis=0), rtol=ROUNDING
    )
    np.testing.assert_allclose(
        np.concatenate([reach.patch for reach in explainer.reach]), measured.max(axis=0), rtol=ROUNDING
    )
    best = int(measured[:, -1].argmax())
    found = explained(explainer, *sound(digit_patches, best))
    assert found.tracks[-1].relative_patches[:, -1].max() >= 1 - 1e-3
    # the strongest moment of each unit is in one of the clips: over all of them tracks reach it, and only just
    layer = digit_model.get_layer("crbm1")
    columns = np.concatenate([Seen(layer, part).map.numpy().mean(axis=1) for part in np.split(digit_patches.test.x, 2)])
    np.testing.assert_allclose(explainer.reach[0].moment, columns.max(axis=(0, 1)), rtol=ROUNDING)


def test_overlapping_windows_are_averaged_at_their_time(
    explainer: Explainer, digit_model: Any, digit_patches: Patches
) -> None:
    y = np.concatenate([sound(digit_patches, clip)[0] for clip in (0, 40)])
    sr = sound(digit_patches, 0)[1]
    found = explained(explainer, y, sr)
    assert found.hop == 12
    x = windows(found.recording, digit_patches.scaler, found.starts, digit_patches.frames)
    for name, track in (("crbm1", found.tracks[0]), ("crbm2", found.tracks[1])):
        value = keras.Model(digit_model.inputs[0], digit_model.get_layer(name).input)(x)
        maps = Seen(digit_model.get_layer(name), value).map.numpy()  # (windows, rows, columns, units)
        sums: dict[float, list[np.ndarray]] = {}
        first, step = (2.5, 2) if name == "crbm1" else (5.5, 4)  # frames; the middle of what the first block sees
        for start, window in zip(found.starts, maps, strict=True):
            for column in range(window.shape[1]):
                sums.setdefault(start + first + step * column, []).append(window[:, column].mean(axis=0))
        times = np.array(sorted(sums))
        np.testing.assert_allclose(track.times, times * 0.01, atol=1e-9)
        expected = np.stack([np.mean(sums[time], axis=0) for time in times])
        np.testing.assert_allclose(track.activation, expected, rtol=ROUNDING, atol=ROUNDING)


def test_two_digits_one_after_the_other_are_heard_where_they_are(
    explainer: Explainer, digit_model: Any, digit_patches: Patches
) -> None:
    test = digit_patches.test
    sure = digit_model.predict(test.x, verbose=0)[np.arange(len(test)), test.y]
    first, second = (int(np.flatnonzero(test.y == y)[sure[test.y == y].argmax()]) for y in sure_classes(sure, test.y))
    (a, sr), (b, _) = sound(digit_patches, first), sound(digit_patches, second)
    gap = np.zeros(round(0.5 * sr), np.float32)
    found = explained(explainer, np.concatenate([a / abs(a).max(), gap, b / abs(b).max()]), sr)
    middles = [len(a) / 2 / sr, (len(a) + len(gap) + len(b) / 2) / sr]
    for middle, clip in zip(middles, (first, second), strict=True):
        label = digit_patches.classes[test.y[clip]]
        assert found.classes[found.probabilities[abs(found.centres - middle).argmin()].argmax()] == label
        here = [one.label for one in found.stretches() if one.start <= middle <= one.stop]
        assert here == [label]
        logits = found.tracks[-1]
        when = found.centres[logits.activation[:, test.y[clip]].argmax()]
        assert abs(when - middle) < 0.25  # of a word of about half a second


def sure_classes(sure: np.ndarray, y: np.ndarray) -> list[int]:
    """The two classes with the surest clips."""
    return sorted(set(y.tolist()), key=lambda one: -sure[y == one].max())[:2]


def test_moments_are_peaks_of_their_unit(explainer: Explainer, digit_patches: Patches) -> None:
    y = np.concatenate([sound(digit_patches, clip)[0] for clip in (3, 23, 43)])
    found = explained(explainer, y, sound(digit_patches, 3)[1])
    moments = found.moments(5)
    assert moments
    assert [one.activation for one in moments] == sorted((one.activation for one in moments), reverse=True)
    for track in found.tracks:
        own = [one for one in moments if one.layer == track.layer]
        assert len(own) <= 5
        for one in own:
            values = track.relative[:, track.units.index(one.unit)]
            place = int(abs(track.times - one.time).argmin())
            assert values[place] == pytest.approx(one.activation, abs=1e-6)
            assert one.activation >= HEIGHT
            beside = values[
                [i for i in (place - 1, place + 1) if 0 <= i < len(values) and 0 <= track.times[i] <= found.seconds]
            ]
            assert (beside <= one.activation).all()
            assert 0 <= one.start <= one.time <= one.stop <= found.seconds
    for one in found.top(2):
        track = next(track for track in found.tracks if track.layer == one.layer)
        inside = (track.times >= 0) & (track.times <= found.seconds)
        assert one.activation == pytest.approx(track.relative[inside][:, track.units.index(one.unit)].max())


def test_quiet_around_a_word_does_not_decide_on_its_class(explainer: Explainer, digit_patches: Patches) -> None:
    right = []
    for clip in range(0, len(digit_patches.test), 3):
        y, sr = sound(digit_patches, clip)
        noise = 1e-3 * np.abs(y).max() * np.random.default_rng(clip).standard_normal(2 * sr).astype(np.float32)
        found = explained(explainer, np.concatenate([noise, y, noise]), sr)
        assert len(found.starts) > 30
        assert 0 < found.counted.sum() <= found.audible.sum() < 15
        said = [found.overall.argmax(), together(found.probabilities).argmax()]
        right.append(np.array(said) == digit_patches.test.y[clip])
    counted, all_of_them = np.mean(right, axis=0)
    assert counted > 0.4 > 0.2 > all_of_them  # of ten classes; the network was trained for some seconds


def test_a_short_recording_is_padded_and_says_so(explainer: Explainer, digit_patches: Patches) -> None:
    y, sr = sound(digit_patches, 0)
    found = explained(explainer, y[: sr // 5], sr)
    assert len(found.starts) == 1
    assert "0.20 s long, shorter than the network's patch of 0.47 s: it was padded" in found.notes[0]
    assert "as a rate of 4000 Hz" in explained(explainer, y[::4].copy(), 4000).notes[-1]


def test_one_call_from_python(digit_model: Any, digit_patches: Patches) -> None:
    y, sr = sound(digit_patches, 0)
    steps: list[tuple[int, int]] = []
    found = explain(digit_model, digit_patches, y, sr, progress=lambda *step: steps.append(step))
    assert steps[-1] == (len(found.starts), len(found.starts))
    assert [len(track.units) for track in found.tracks] == [6, 8, 10]
    assert found.tracks[-1].labels == digit_patches.classes
    with pytest.raises(DataError, match="is silent"):
        explain(digit_model, digit_patches, np.zeros(8000))
    other = keras.Sequential([keras.Input((20, 40, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.raises(ParameterError, match="takes patches of"):
        explain(other, digit_patches, y, sr)


def test_outputs_become_probabilities(digit_patches: Patches) -> None:
    """A softmax is left as it is; logits go through one; sigmoids are divided by their sum."""
    x = keras.Input(digit_patches.input_shape)
    keras.utils.set_random_seed(0)
    logits = keras.layers.Dense(10, kernel_initializer=keras.initializers.RandomNormal(0.02))
    value = logits(keras.layers.Flatten()(x))
    y, sr = sound(digit_patches, 0)
    found = []
    for activation in ("softmax", "linear", "sigmoid"):
        model = keras.Model(x, keras.layers.Activation(activation)(value))
        found.append((explain(model, digit_patches, y, sr), model))
    softmax, linear, sigmoid = (one.probabilities for one, _ in found)
    np.testing.assert_allclose(softmax, linear, atol=1e-6)
    raw = found[2][1](windows(found[2][0].recording, digit_patches.scaler, found[2][0].starts, 48)).numpy()
    np.testing.assert_allclose(sigmoid, raw / raw.sum(axis=1, keepdims=True), atol=1e-6)


def test_the_whole_is_a_geometric_mean() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(4), 7)
    expected = np.prod(p, axis=0) ** (1 / 7)
    np.testing.assert_allclose(together(p), expected / expected.sum(), rtol=1e-6)
    np.testing.assert_allclose(together([[1.0, 0.0]]), [1, 1e-6], rtol=1e-5)
    assert together(np.zeros((3, 0))).shape == (0,)


@given(st.integers(1, 400), st.integers(8, 80), st.integers(1, 40))
def test_windows_cover_a_recording_and_one_is_that_of_extraction(recorded: int, frames: int, hop: int) -> None:
    hop = min(hop, frames)
    starts = window_starts(recorded, frames, hop)
    spec = MfccSpec(n_mfcc=1, n_mels=1, n_fft=512, floor=1e-5)
    C = np.arange(1, recorded + 1, dtype=np.float32)[np.newaxis]
    taken = fit_length(C, frames, spec)[0]
    padded = np.full(recorded + 2 * frames, spec.silence[0], np.float32)
    padded[frames : frames + recorded] = C
    cut = np.stack([padded[frames + start : frames + start + frames] for start in starts])
    assert (cut == taken).all(axis=1).any()
    assert set(C[0]) <= set(cut.ravel())
    assert (np.diff(starts) == hop).all()
    assert starts[0] > -max(hop, frames - recorded)


@given(st.integers(8, 200), st.lists(st.integers(1, 12), max_size=3))
def test_the_hop_is_about_a_quarter(frames: int, steps: list[int]) -> None:
    hop = hop_for(frames, steps)
    assert 1 <= hop <= frames / 2
    step = np.lcm.reduce(np.array([1, *steps]))
    if step <= frames / 2:
        assert hop % step == 0
    if step <= frames // 4:
        assert frames // 4 - step < hop <= frames // 4
