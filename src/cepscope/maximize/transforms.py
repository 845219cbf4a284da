"""Small random changes of a pattern at every step, as a speaker would make them; all inside the graph.

A pattern that must excite its unit through all of them can't rest on one exact place or level. Every pattern draws its
own, from its own seed: neighbours in a batch never share a draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.corpora import Patches
from cepscope.errors import ParameterError
from cepscope.features import mfcc_to_log_mel
from cepscope.maximize.space import PatchSpace, fit_patch_space
from cepscope.models.backend import tf

FloatArray = npt.NDArray[np.float32]
Transform = Callable[[Any, Any], Any]

DRAWS = 6  # uniform numbers a pattern and step: shift, stretch, gain, warp, mask start, mask width
COMPONENTS = 100  # of the covariance noise


@dataclass(frozen=True, kw_only=True)
class Transforms:
    """How much of each change; 0 is none.

    Attributes
    ----------
    shift : float
        Frames, at most, to either side; the edges are repeated.
    stretch : float
        Share, at most, by which time is stretched or squeezed about the middle.
    gain : float
        dB, at most, up or down.
    warp : float
        Share, at most, by which the mel axis is stretched: vocal tracts of another length (Lee and Rose 1996, ICASSP).
    mask : int
        Frames, at most, that are replaced by the mean of speech (SpecAugment, Park et al. 2019, Interspeech).
    noise : float
        Standard deviations of noise with the covariance of speech.
    """

    shift: float = 0.0
    stretch: float = 0.0
    gain: float = 0.0
    warp: float = 0.0
    mask: int = 0
    noise: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value >= 0):
                raise ParameterError(f"The transform {field.name!r} must be 0 or more. Received: {value}")
        if max(self.stretch, self.warp) >= 1:
            raise ParameterError(f"`stretch` and `warp` must be below 1. Received: {self.stretch}, {self.warp}")

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))

    @property
    def normals(self) -> int:
        """Normal numbers that a pattern draws a step, after the `DRAWS` uniform ones."""
        return COMPONENTS if self.noise else 0


DEFAULT_TRANSFORMS = Transforms(noise=0.5)


def build_transform(settings: Transforms, patches: Patches, *, speech: PatchSpace | None = None) -> Transform:
    """Return the transform of patterns (n, rows, frames) by draws (n, DRAWS + normals); differentiable in the patterns.

    Uniform draws are in -1 to 1; draws of 0 change nothing but the mask's place, which a width of 0 makes void.
    `speech` is the space of the patches, if it is known already.
    """
    spec, scaler = patches.spec, patches.scaler
    frames = patches.frames
    from_mfcc = mfcc_to_log_mel(np.eye(spec.n_mfcc, dtype=np.float32), spec).astype(np.float64)  # (n_mels, n_mfcc)
    to_mel = (from_mfcc @ scaler.decoder).astype(np.float32)  # (n_mels, rows)
    from_mel = (scaler.encoder @ np.linalg.pinv(from_mfcc)).astype(np.float32)
    origin = (from_mfcc @ scaler.mean[:, None]).astype(np.float32)  # a scaled frame of zeros, in dB
    louder = from_mel.sum(axis=1)  # what 1 dB more does to a scaled frame: (rows,)
    basis = None
    if settings.noise:
        if speech is None or speech.components < COMPONENTS:
            speech = fit_patch_space(patches.train.x, components=COMPONENTS)
        basis = speech.basis[:, :COMPONENTS]

    def transform(x: Any, draws: Any) -> Any:
        if settings.shift or settings.stretch:
            centre = (frames - 1) / 2
            places = (tf.range(frames, dtype=tf.float32) - centre)[None] * (1 + settings.stretch * draws[:, 1:2])
            x = tf.matmul(x, _interpolation(places + centre + settings.shift * draws[:, :1], frames))
        if settings.warp:
            mel = tf.range(spec.n_mels, dtype=tf.float32)[None] * (1 + settings.warp * draws[:, 3:4])
            spectra = tf.einsum("mk,nkt->nmt", to_mel, x) + origin
            warped = tf.matmul(_interpolation(mel, spec.n_mels), spectra, transpose_a=True)
            # only the difference goes back: the way to the spectrum and back loses nothing of the pattern itself
            x += tf.einsum("km,nmt->nkt", from_mel, warped - spectra)
        if settings.gain:
            x += settings.gain * draws[:, 2, None, None] * louder[:, None]
        if basis is not None:
            noise = tf.matmul(draws[:, DRAWS : DRAWS + basis.shape[1]], basis, transpose_b=True)
            x += settings.noise * tf.reshape(noise, tf.shape(x))
        if settings.mask:
            width = settings.mask * tf.abs(draws[:, 5:6])
            start = (draws[:, 4:5] + 1) / 2 * (frames - width)
            time = tf.range(frames, dtype=tf.float32)[None]
            inside = tf.cast((time >= start) & (time < start + width), tf.float32)
            x *= 1 - inside[:, None]
        return x

    return transform


def _interpolation(places: Any, size: int) -> Any:
    """Return matrices (n, size, size) whose column j reads linearly at ``places[:, j]``, clipped to the edges."""
    places = tf.clip_by_value(places, 0.0, size - 1.0)
    rows = tf.range(size, dtype=tf.float32)[None, :, None]
    return tf.nn.relu(1 - tf.abs(rows - places[:, None, :]))
