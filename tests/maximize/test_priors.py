"""Priors: real speech scores 1, and each dislikes what it is there to dislike."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from cepscope.corpora import Patches
from cepscope.errors import ParameterError
from cepscope.features import CoefficientScaler
from cepscope.maximize.priors import BUILDERS, build_priors, over_speech, penalty
from cepscope.maximize.reach import fit_reach
from cepscope.models import build_cnn

WORST = {
    "time_curvature": lambda x: x[:, :, np.random.default_rng(0).permutation(x.shape[2])],
    "total_variation": lambda x: x[:, :, np.random.default_rng(0).permutation(x.shape[2])],
    "quefrency": lambda x: x * np.linspace(1, 3, x.shape[1], dtype=np.float32)[:, None],
    "mahalanobis": lambda x: x + np.random.default_rng(0).standard_normal(x.shape).astype(np.float32),
    "quantile_range": lambda x: 2 * x,
    "frame_likelihood": lambda x: x[:, ::-1],
    "patch_likelihood": lambda x: 0.3 * x,  # smoother than speech is no better than rougher
    "free_energy": lambda x: 2 * x,
    "reachability": lambda x: x - np.float32(6),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_speech_scores_one_and_its_opposite_more(name: str, digit_patches: Patches, digit_model: keras.Model) -> None:
    speech = digit_patches.train.x[..., 0]
    reach = fit_reach(digit_patches.decode(digit_patches.train.x), digit_patches.spec, digit_patches.scaler)
    (found,) = build_priors({name: 2.0}, digit_patches, model=digit_model, reach=reach)
    prior = found.prior
    assert found.weight == 2.0
    np.testing.assert_allclose(over_speech(prior, speech).mean(), 1, rtol=1e-3)
    assert over_speech(prior, np.ascontiguousarray(WORST[name](speech))).mean() > 1.3
    with tf.GradientTape() as tape:
        x = tf.constant(WORST[name](speech[:3]))
        tape.watch(x)
        total = tf.reduce_sum(prior(x))
    gradient = tape.gradient(total, x).numpy()
    assert np.isfinite(gradient).all()
    assert gradient.any()


def test_a_prior_of_one_pattern_does_not_see_the_others(digit_patches: Patches, digit_model: keras.Model) -> None:
    reach = fit_reach(digit_patches.decode(digit_patches.train.x), digit_patches.spec, digit_patches.scaler)
    x = digit_patches.test.x[:5, ..., 0]
    for one in build_priors(dict.fromkeys(BUILDERS, 1.0), digit_patches, model=digit_model, reach=reach):
        together = one.prior(tf.constant(x)).numpy()
        alone = [float(one.prior(tf.constant(x[i : i + 1]))[0]) for i in range(5)]
        np.testing.assert_allclose(together, alone, rtol=1e-3)


def test_only_reachability_judges_what_was_there_before_it_was_made_reachable(
    digit_patches: Patches, digit_model: keras.Model
) -> None:
    reach = fit_reach(digit_patches.decode(digit_patches.train.x), digit_patches.spec, digit_patches.scaler)
    x = digit_patches.test.x[:3, ..., 0]
    raw = x - np.float32(6)
    for name in BUILDERS:
        (one,) = build_priors({name: 0.5}, digit_patches, model=digit_model, reach=reach)
        expected = 0.5 * one.prior(tf.constant(raw if name == "reachability" else x)).numpy()
        np.testing.assert_allclose(penalty([one], tf.constant(x), tf.constant(raw)), expected, rtol=1e-5)


def test_a_lifter_does_not_change_what_is_smooth(digit_patches: Patches) -> None:
    spec = digit_patches.spec
    liftered = replace(spec, lifter=22.0)
    gains = liftered.lifter_gains().astype(np.float32)[:, None]
    other = replace(
        digit_patches, spec=liftered, scaler=CoefficientScaler.fit(digit_patches.decode(digit_patches.train.x) * gains)
    )
    ours, theirs = (build_priors({"quefrency": 1.0}, p)[0].prior for p in (digit_patches, other))
    C = digit_patches.decode(digit_patches.test.x[:4])
    x = [p.scaler.transform(c) for p, c in ((digit_patches, C), (other, C * gains))]
    ratio = theirs(tf.constant(x[1])).numpy() / ours(tf.constant(x[0])).numpy()
    # one prior is scaled by the speech of the other patches' train split: here the same spectra, so a constant
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)


@pytest.mark.parametrize("c0", [True, False])
@pytest.mark.parametrize("log", ["db", "ln"])
def test_neither_the_logarithm_nor_c0_changes_what_is_smooth(digit_patches: Patches, log: Any, c0: bool) -> None:
    first = 0 if c0 else 1
    unit = np.float32(1 if log == "db" else math.log(10) / 10)
    scaler, train = digit_patches.scaler, digit_patches.train
    other = replace(
        digit_patches,
        spec=replace(digit_patches.spec, log=log, c0=c0, n_mfcc=20 - first),
        scaler=CoefficientScaler(unit * scaler.mean[first:], unit * scaler.scale[first:]),
        train=replace(train, x=train.x[:, first:]),
    )
    x = digit_patches.test.x[:4, ..., 0]
    ours, theirs = (build_priors({"quefrency": 1.0}, p)[0].prior for p in (digit_patches, other))
    np.testing.assert_allclose(theirs(tf.constant(x[:, first:])), ours(tf.constant(x)), rtol=1e-4)


def test_nothing_is_fitted_for_a_weight_of_zero(digit_patches: Patches) -> None:
    assert build_priors({"free_energy": 0.0}, digit_patches) == []


def test_unknown_names_and_weights_are_refused(digit_patches: Patches) -> None:
    with pytest.raises(ParameterError, match="time_curvature"):
        build_priors({"smoothness": 1.0}, digit_patches)
    with pytest.raises(ParameterError, match="0 or more"):
        build_priors({"quefrency": -1.0}, digit_patches)
    plain = build_cnn(digit_patches.input_shape, digit_patches.classes)
    with pytest.raises(ParameterError, match="is an RBM"):
        build_priors({"free_energy": 1.0}, digit_patches, model=plain)
