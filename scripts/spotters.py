"""Keyword spotters that others trained, made to take cepscope's MFCCs.

The networks of Zhang, Suda, Lai, Chandra 2017 ("Hello Edge: keyword spotting on microcontrollers", arXiv:1711.07128)
take 49 frames of 10 MFCCs, time first, from TensorFlow's own front end: mel bands of magnitudes, natural logarithm.
cepscope's are mel bands of power, in dB. The two are tied by a linear map of a frame's coefficients, which is fitted
to real speech in both and stands in front of the network; its error is reported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

NAMES = ("CNN_S", "CNN_L")
RATE, WINDOW, HOP, FRAMES, COEFFICIENTS, MELS = 16_000, 640, 320, 49, 10, 40
LOWEST, HIGHEST = 20.0, 4000.0
LEVEL = 0.3  # peak of what the spotter hears; cepscope's clips have 1, recordings of speech commands less
CLIPS = 400  # for the map
SOUNDING = 1.0  # dB by which a frame's loudest band must be above the floor, to count in the map


def spotter_spec(floor: float) -> Any:
    """Return cepscope's settings that are nearest to the spotters' front end."""
    from cepscope import MfccSpec

    return MfccSpec(
        sr=RATE, n_fft=1024, win=WINDOW, hop=HOP, n_mels=MELS, n_mfcc=COEFFICIENTS, fmin=LOWEST, fmax=HIGHEST, htk=True,
        floor=floor,
    )  # fmt: skip


def tensorflow_mfcc(wave: FloatArray) -> FloatArray:
    """Compute the spotters' own MFCCs of a wave ((FRAMES - 1) * HOP,): (FRAMES, COEFFICIENTS).

    Their windows begin where cepscope's are centred, one hop earlier.
    """
    from cepscope.models.backend import tf

    padded = np.pad(LEVEL * wave, (HOP, WINDOW - HOP))
    power = tf.raw_ops.AudioSpectrogram(
        input=padded[:, None], window_size=WINDOW, stride=HOP, magnitude_squared=True
    )  # (1, FRAMES, bins)
    found = tf.raw_ops.Mfcc(
        spectrogram=power, sample_rate=RATE, upper_frequency_limit=HIGHEST, lower_frequency_limit=LOWEST,
        filterbank_channel_count=MELS, dct_coefficient_count=COEFFICIENTS,
    )  # fmt: skip
    return np.asarray(found[0])


def fit_front_end(patches: Any) -> tuple[FloatArray, FloatArray, list[float]]:
    """Fit spotter's MFCC = x @ weights + bias for scaled frames x of real speech: weights, bias, R^2 a coefficient."""
    from cepscope.features import mfcc_to_log_mel

    order = np.random.default_rng(0).permutation(len(patches.train.paths))[:CLIPS]
    ours, theirs = [], []
    for i in order:
        x = patches.train.x[i, :, :, 0].T  # (FRAMES, COEFFICIENTS)
        bands = mfcc_to_log_mel(patches.decode(patches.train.x[i]), patches.spec).max(axis=0)
        sounds = bands > 10 * np.log10(patches.spec.floor) + SOUNDING
        ours.append(x[sounds])
        theirs.append(tensorflow_mfcc(patches.load_wave(patches.train.paths[i]))[sounds])
    x, y = np.concatenate(ours).astype(np.float64), np.concatenate(theirs).astype(np.float64)
    half = len(x) // 2
    design = np.column_stack([x, np.ones(len(x))])
    fitted = np.linalg.lstsq(design[:half], y[:half], rcond=None)[0]
    rest = y[half:] - design[half:] @ fitted  # clips that the fit has not seen
    r2 = 1 - np.mean(rest**2, axis=0) / y[half:].var(axis=0)
    whole = np.linalg.lstsq(design, y, rcond=None)[0].astype(np.float32)
    return whole[:-1], whole[-1], [round(float(value), 3) for value in r2]


def load_spotter(path: Path, patches: Any, front_end: tuple[FloatArray, FloatArray]) -> Any:
    """Return the spotter behind the map, with the batch normalisation of each convolution folded into it.

    Folded, a convolution's units are what its rectifier sees.
    """
    from cepscope.models.backend import keras

    layers = keras.layers
    original = keras.models.load_model(path)
    inputs = keras.Input(patches.input_shape, name="mfcc")
    value = layers.Permute((2, 1, 3), name="time_first")(inputs)
    value = layers.Reshape((FRAMES, COEFFICIENTS))(value)
    adapter = layers.EinsumDense("btk,kc->btc", (FRAMES, COEFFICIENTS), bias_axes="c", name="front_end")
    value = adapter(value)
    adapter.set_weights(list(front_end))
    value = layers.Reshape((FRAMES, COEFFICIENTS, 1))(value)
    chain = original.layers[1:]
    skip = 0
    for layer, after in zip(chain, [*chain[1:], None], strict=True):
        if skip:
            skip -= 1
            continue
        if isinstance(layer, layers.Conv2D) and isinstance(after, layers.BatchNormalization):
            settings = {**layer.get_config(), "use_bias": True, "activation": "relu"}
            folded = layers.Conv2D.from_config(settings)
            value = folded(value)
            kernel, *bias = (np.asarray(w) for w in layer.get_weights())
            mean, variance = np.asarray(after.moving_mean), np.asarray(after.moving_variance)
            gain = (np.asarray(after.gamma) if after.scale else 1.0) / np.sqrt(variance + after.epsilon)
            shift = np.asarray(after.beta) if after.center else 0.0
            folded.set_weights([kernel * gain, ((bias[0] if bias else 0.0) - mean) * gain + shift])
            skip = 2  # the normalisation, and the rectifier
        else:
            copy = type(layer).from_config(layer.get_config())  # a layer belongs to one graph
            value = copy(value)
            copy.set_weights(layer.get_weights())
    return keras.Model(inputs, value, name=path.stem.lower())


def check_folding(path: Path, model: Any, patches: Any, front_end: tuple[FloatArray, FloatArray]) -> float:
    """Return how far the folded network's probabilities are from the original's, at most, on real speech."""
    from cepscope.models.backend import keras

    original = keras.models.load_model(path)
    x = patches.test.x[:64]
    frames = x[..., 0].transpose(0, 2, 1) @ front_end[0] + front_end[1]
    return float(np.abs(np.asarray(model(x)) - np.asarray(original(frames[..., None]))).max())
