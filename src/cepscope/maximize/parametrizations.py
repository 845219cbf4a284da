"""Ways to write a pattern down: what the ascent moves, and what patterns it can reach at all.

All are batched and none is square: coordinates ``(n, *shape)`` become patterns (n, rows, frames). `speech` is the
default: principal components of real patches, in a ball. The others are there to compare with and for other questions.

==============  =======================================================================================================
``pixel``       the pattern itself
``speech``      principal components of speech, each of unit variance; all of them: full whitening
``cosine``      cosine transform along time of each coefficient, each coordinate with the deviation of speech there
``log_mel``     log-mel spectrum, in standard deviations of speech; what MFCC drop is averaged out
``modulation``  phases of the modulation spectrum; its magnitudes are those of speech (MaCo, Fel et al. 2023, NeurIPS)
``waveform``    samples, through the differentiable twin of the front end: whatever is found is a sound
``latent``      pooling units of an RBM, taken down by mean field
==============  =======================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from cepscope.corpora import Patches
from cepscope.errors import ParameterError
from cepscope.features import mfcc_to_log_mel
from cepscope.maximize.space import PatchSpace, fit_patch_space
from cepscope.models.backend import tf

FloatArray = npt.NDArray[np.float32]

NAMES = ("pixel", "speech", "cosine", "log_mel", "modulation", "waveform", "latent")
START = 0.3  # root mean square of the first coordinates, in standard deviations of speech
SOUND_START = 0.01  # of the first samples
SMALL = 1e-8


@dataclass(frozen=True)
class Parametrization:
    """A way to write patterns down.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Of one pattern's coordinates.
    decode : callable
        Tensor ``(n, *shape)`` to patterns (n, rows, frames), scaled MFCC; differentiable.
    start : float
        Root mean square of the first coordinates.
    radius : float
        Largest root mean square of the coordinates; infinite where there is no ball.
    is_sound : bool
        Whatever comes out is the MFCC of a conditioned sound.
    speech : PatchSpace, optional
        Principal components of speech, where coordinates are theirs.
    """

    name: str
    shape: tuple[int, ...]
    decode: Callable[[Any], Any] = field(repr=False)
    start: float = START
    radius: float = np.inf
    is_sound: bool = False
    speech: PatchSpace | None = None

    def project(self, z: Any) -> Any:
        """Bring coordinates back into the ball."""
        if not np.isfinite(self.radius):
            return z
        axes = list(range(1, len(self.shape) + 1))
        rms = tf.sqrt(tf.reduce_mean(z**2, axis=axes, keepdims=True))
        return z * tf.minimum(1.0, self.radius / tf.maximum(rms, SMALL))


def parametrization(
    name: str,
    patches: Patches,
    *,
    radius: float = 1.3,
    components: int = 600,
    shrinkage: float = 0.05,
    model: Any = None,
    layer: str | None = None,
) -> Parametrization:
    """Fit a parametrization to real speech.

    Parameters
    ----------
    name : str
        See the module.
    patches : Patches
        Whose train split is fitted to.
    radius : float
        Largest root mean square of coordinates, in standard deviations of speech; of the first four.
    components : int
        Principal components (`speech`).
    shrinkage : float
        See `fit_patch_space` (`speech`).
    model, layer : keras.Model and str
        Whose pooling units are the coordinates (`latent`); by default the first RBM's.

    Raises
    ------
    ParameterError
        If there is no such parametrization, or it needs an RBM and the model has none.
    """
    rows, frames = patches.input_shape[:2]
    x = patches.train.x[..., 0]
    if name == "pixel":
        return Parametrization(name, (rows, frames), lambda z: z, radius=radius)
    if name == "speech":
        space = fit_patch_space(patches.train.x, components=components, shrinkage=shrinkage)
        mean, basis = tf.constant(space.mean), tf.constant(space.basis)

        def principal(z: Any) -> Any:
            return tf.reshape(mean + tf.matmul(z, basis, transpose_b=True), [-1, rows, frames])

        return Parametrization(name, (space.components,), principal, radius=radius, speech=space)
    if name == "cosine":
        return _cosine(x, radius)
    if name == "log_mel":
        return _log_mel(patches, radius)
    if name == "modulation":
        return _modulation(x)
    if name == "waveform":
        return _waveform(patches)
    if name == "latent":
        return _latent(model, layer)
    raise ParameterError(f"`parametrization` must be one of {', '.join(NAMES)}. Received: {name!r}")


def _cosine(x: FloatArray, radius: float) -> Parametrization:
    frames = x.shape[2]
    mean = x.mean(axis=0)
    deviation = scipy.fft.dct(x - mean, axis=2, norm="ortho").std(axis=0).astype(np.float32)  # (rows, frames)
    cosines = scipy.fft.idct(np.eye(frames), axis=0, norm="ortho").T.astype(np.float32)  # (order, frames)

    def decode(z: Any) -> Any:
        return mean + tf.matmul(z * deviation, tf.constant(cosines)[None])

    return Parametrization("cosine", x.shape[1:], decode, radius=radius)


def _log_mel(patches: Patches, radius: float) -> Parametrization:
    spec, scaler = patches.spec, patches.scaler
    from_mfcc = mfcc_to_log_mel(np.eye(spec.n_mfcc, dtype=np.float32), spec).astype(np.float64)  # (n_mels, n_mfcc)
    to_scaled = (scaler.encoder @ np.linalg.pinv(from_mfcc)).astype(np.float32)  # (rows, n_mels)
    spectra = mfcc_to_log_mel(patches.decode(patches.train.x), spec)
    mean, deviation = spectra.mean(axis=0), np.maximum(spectra.std(axis=0), 1e-3)  # (n_mels, frames)
    origin = (scaler.encoder @ scaler.mean[:, None]).astype(np.float32)

    def decode(z: Any) -> Any:
        return tf.einsum("km,nmt->nkt", to_scaled, mean + z * deviation) - origin

    return Parametrization("log_mel", mean.shape, decode, radius=radius)


def _modulation(x: FloatArray) -> Parametrization:
    frames = x.shape[2]
    spectra = np.fft.rfft(x, axis=2)
    magnitude = np.abs(spectra).mean(axis=0).astype(np.float32)  # (rows, bins)
    # the first bin, and the last of an even length, are real: they have a sign, no phase, and keep that of speech
    fixed = np.zeros(magnitude.shape[1], bool)
    fixed[[0, *([-1] if frames % 2 == 0 else [])]] = True
    phases = np.where(spectra.real.mean(axis=0) < 0, np.pi, 0.0).astype(np.float32)

    def decode(phase: Any) -> Any:
        phase = tf.where(fixed, phases, phase)
        spectrum = tf.complex(magnitude * tf.cos(phase), magnitude * tf.sin(phase))
        return tf.signal.irfft(spectrum, fft_length=[frames])

    return Parametrization("modulation", magnitude.shape, decode, start=np.pi)


def _waveform(patches: Patches) -> Parametrization:
    from cepscope.features.differentiable import differentiable_mfcc

    spec, scaler = patches.spec, patches.scaler
    twin = differentiable_mfcc(spec)
    encoder, mean = scaler.encoder.astype(np.float32), scaler.mean.astype(np.float32)[:, None]

    def decode(y: Any) -> Any:
        y -= tf.reduce_mean(y, axis=1, keepdims=True)
        y /= tf.maximum(tf.reduce_max(tf.abs(y), axis=1, keepdims=True), SMALL)  # as every recording is conditioned
        return tf.einsum("kc,nct->nkt", encoder, twin(y) - mean)

    samples = spec.samples_of(patches.frames)
    return Parametrization("waveform", (samples,), decode, start=SOUND_START, is_sound=True)


def _latent(model: Any, layer: str | None) -> Parametrization:
    from cepscope.models.generation import rbm_layers, top_down_function

    if model is None:
        raise ParameterError("The latent parametrization needs the model whose pooling units are its coordinates.")
    name = rbm_layers(model)[0].name if layer is None else layer
    down = top_down_function(model, name)
    shape = tuple(int(size) for size in model.get_layer(name).output.shape[1:])
    binary = model.get_layer(name).hidden == "binary"

    def decode(z: Any) -> Any:
        return down(tf.sigmoid(z - 2.0) if binary else tf.nn.softplus(z))[..., 0]  # at first few are on

    return Parametrization("latent", shape, decode)
