"""Presets: that the translation of the paper's step is right, and what it reaches on real speech."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from cepscope.audio import read_audio
from cepscope.errors import DataError, ParameterError
from cepscope.models import ConvolutionalRBM, CRBMTrainer, pretrain
from cepscope.models.presets import PRESETS, preset


def test_one_step_is_the_papers_own() -> None:
    """Energy over sigma^2, equal rates, means for visible units; written out in NumPy from the paper's equations."""
    small = dataclasses.replace(preset("lee2009-audio"), components=4, frames=8, filters=3, width=3)
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.4, (1, 4, 8, 1)).astype(np.float32)
    rbm = small.layer()
    rbm.build((None, 4, 8, 1))
    rbm.kernel.assign(rng.normal(0, 0.05, rbm.kernel.shape))
    W, b = rbm.kernel.numpy()[:, :, 0].astype(np.float64), np.full(3, small.bias)
    settings = small.training(1)
    trainer = CRBMTrainer(rbm, **{k: v for k, v in settings.items() if k in ("visible_noise", "sparsity",
                          "sparsity_cost", "weight_decay", "bias_rate")})  # fmt: skip
    trainer.prepare(x.shape)
    trainer.compile(keras.optimizers.SGD(settings["learning_rate"]))
    drawn: list[Any] = []
    gibbs = ConvolutionalRBM.gibbs

    def spy(v: Any, *args: Any, **kwargs: Any) -> Any:
        drawn.append(gibbs(rbm, v, *args, **kwargs))
        return drawn[-1]

    rbm.gibbs = spy
    before = [w.numpy() for w in (rbm.kernel, rbm.hidden_biases)]
    gradients = trainer.gradients(x)[0]
    trainer.optimizer.apply(gradients, trainer.learned)
    steps = [w.numpy() - old for w, old in zip((rbm.kernel, rbm.hidden_biases), before, strict=True)]

    def hidden(v: Any) -> Any:  # P(h | v) (6, 3): blocks of three in time, inputs over sigma^2
        inputs = np.array([[(v[:, t : t + 3] * W[:, :, k]).sum() + b[k] for k in range(3)] for t in range(6)]) / 0.04
        e = np.exp(inputs).reshape(2, 3, 3)
        return (e / (1 + e.sum(1, keepdims=True))).reshape(6, 3)

    v0, v1 = x[0, :, :, 0].astype(np.float64), np.asarray(drawn[0][0])[0, :, :, 0].astype(np.float64)
    p0, p1 = hidden(v0), hidden(v1)
    change, rate = np.zeros_like(W), 0.01 / 1.01  # of the first epoch
    for t in range(6):
        change += v0[:, t : t + 3, None] * p0[t] - v1[:, t : t + 3, None] * p1[t]
    np.testing.assert_allclose(steps[0][:, :, 0], rate * (change / 6 - 0.01 * W), rtol=1e-3, atol=1e-7)  # float32
    bias = rate * ((p0.sum(0) - p1.sum(0)) / 6 - 5 * (p0.mean(0) - 0.05))
    np.testing.assert_allclose(steps[1] * 0.04, bias, rtol=1e-3, atol=1e-7)


def test_the_rate_falls_by_the_epoch_and_the_momentum_rises_in_the_fifth() -> None:
    """rate / (1 + .01 t) in epoch t, counted from 1, here 5 steps long."""
    settings = preset("lee2009-audio").training(10, batch_size=2)
    rates = [float(settings["learning_rate"](step)) for step in range(15)]
    expected = [0.04 * 0.01 / (1 + 0.01 * (1 + step // 5)) for step in range(15)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)  # float32
    early, late, change = settings["momentum"]
    assert [early if epoch < change else late for epoch in range(6)] == [0.5, 0.5, 0.5, 0.5, 0.9, 0.9]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "lee2009-mfcc")) for name in PRESETS]
)
def test_presets_learn_real_speech(name: str, shared_dir: Path) -> None:
    """The activity comes to its target of .05, the reconstruction error far below the variance of the input."""
    files = sorted((shared_dir / "corpora" / "librispeech_sex").rglob("*.flac"))[:24]
    files = files or sorted((shared_dir / "corpora" / "librispeech_sex").rglob("*.wav"))[:24]
    lee = dataclasses.replace(preset(name), filters=60)  # fewer, to be quick
    features = [lee.features(*read_audio(file)) for file in files]
    whitener = lee.whitener(features)
    x = lee.patches(features, whitener)
    assert x.shape[1:] == (lee.components, 68, 1)
    model = lee.build()
    rows = pretrain(model, x, epochs=8, **lee.training(len(x), batch_size=2))
    assert rows[-1]["hidden_activity"] == pytest.approx(0.05, abs=0.03)
    assert rows[-1]["reconstruction_error"] < 0.75 * x.var()
    assert rows[-1]["dead_filters"] < 30


def test_unknown_presets_and_short_recordings_are_refused() -> None:
    with pytest.raises(ParameterError, match="there are lee2009-audio, lee2009-mfcc"):
        preset("lee2010")
    lee = preset("lee2009-mfcc")
    features = [np.random.default_rng(0).standard_normal((20, 60)).astype(np.float32)]
    with pytest.raises(DataError, match="as long as a patch of 68 frames"):
        lee.patches(features, lee.whitener(features))
