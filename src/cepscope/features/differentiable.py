"""The front end once more, in TensorFlow: a gradient can pass through it back to the sound.

Not imported by `cepscope.features`, which stays light; TensorFlow is loaded when a twin is made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import DataError, ParameterError
from cepscope.features.filterbank import mel_filters
from cepscope.features.framing import analysis_window, check_length
from cepscope.features.spec import MfccSpec

FloatArray = npt.NDArray[np.float32]
_LEAST_POWER = 2.0**-80  # at the floor: the gradient of the logarithm, 1 / power, must stay inside float32
_LEAST_BIN = 2.0**-120  # power whose root is taken: so must the gradient of the root; a magnitude far below the floor


@dataclass(frozen=True, eq=False)  # no slots: tf.function holds what it compiles by a weak reference
class DifferentiableMfcc:
    """Computes `cepscope.features.mfcc` of tensors, in float32 throughout, differentiably.

    The numbers are those of `cepscope.features.mfcc` and of librosa up to the rounding of a float32 FFT, 1e-7 of a
    frame's loudest bin. Over speech no coefficient of any frame is off by more than 1e-4 of its standard deviation with
    the pipeline's floor of 1e-5 (2.9e-5 was seen), and 1e-3 with librosa's 1e-10, which leaves values 140 dB below that
    bin (2.8e-4), or HTK's, Kaldi's and torchaudio's front ends (2.6e-4). TensorFlow's floor of 1e-24 shows more where
    only a few samples of a frame are not zero (7e-3). Bands 100 dB below a pure tone can be off by 0.01 dB and more. A
    GPU that multiplies in TF32, TensorFlow's default, rounds mel powers to 11 bits, up to 0.004 dB.

    Values at the floor have no gradient, so digital silence has a gradient of zero.

    Attributes
    ----------
    spec : MfccSpec
    window : array [shape=(win,)]
        The window and the scale of samples, times `gain`.
    filters : array [shape=(n_fft // 2 + 1, n_mels)]
        Mel filters.
    factors : array [shape=(n_mfcc, 1)]
        What each coefficient of the cosine transform of decibels is multiplied by.
    gain : float
        A power of two, 1 unless the floor is so low that gradients above it would overflow.
    """

    spec: MfccSpec
    window: FloatArray = field(repr=False)
    filters: FloatArray = field(repr=False)
    factors: FloatArray = field(repr=False)
    gain: float = 1.0

    def __call__(self, y: Any) -> Any:
        """Compute MFCCs.

        Parameters
        ----------
        y : tensor [shape=(batch, samples)]
            float32 audio at `spec.sr`, finite, at most 1e8 after scaling; for a network, conditioned
            (`cepscope.audio.condition`).

        Returns
        -------
        C : tensor [shape=(batch, n_mfcc, frames)]
            float32, frames = ``spec.frames_of(samples)``. A clip's numbers depend on no other clip.

        Raises
        ------
        ParameterError
            `y` is not float32 or does not have two axes.
        DataError
            `y` is known to have no samples, or too few for a frame.
        """
        import tensorflow as tf

        # by FFT, not as a matrix product: in TF32 a GPU would round 100 dB by 0.05 dB
        cepstra = tf.signal.dct(tf.linalg.matrix_transpose(self.log_mel(y)), type=2, norm="ortho")
        first, last = self.spec.orders[[0, -1]]
        return self.factors * tf.linalg.matrix_transpose(cepstra[..., first : last + 1])

    def log_mel(self, y: Any) -> Any:
        """Compute the log-mel spectrogram under the MFCCs, `cepscope.features.log_mel` of a tensor.

        Parameters
        ----------
        y : tensor [shape=(batch, samples)]
            As for MFCCs; so are the errors.

        Returns
        -------
        decibels : tensor [shape=(batch, n_mels, frames)]
            float32, dB of mel power (reference 1).
        """
        import tensorflow as tf

        spec, y = self.spec, tf.convert_to_tensor(y)
        if y.dtype != tf.float32 or y.shape.rank != 2:
            raise ParameterError(f"audio must be float32 (batch, samples). Received: {y.dtype.name} {y.shape}")
        if y.shape[1] == 0:
            raise DataError(f"audio needs at least one sample. Received: shape {y.shape}")
        if y.shape[1] is not None:
            check_length(y.shape[1], spec)
        # Only what the window sees is framed, and zeros follow it up to n_fft: its place there turns phases alone
        padded = tf.pad(y, [[0, 0], list(spec.overhang)], "REFLECT" if spec.padding == "reflect" else "CONSTANT")
        spectrum = tf.signal.rfft(self._windowed(padded), [spec.n_fft])  # (batch, frames, bins)
        power = tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))
        if spec.power == 1:
            power = tf.sqrt(tf.maximum(power, np.float32(_LEAST_BIN)))
        mel = tf.linalg.matrix_transpose(tf.linalg.matmul(power, self.filters))  # (batch, n_mels, frames)
        mel = tf.maximum(mel, np.float32((spec.floor * self.gain**2) ** (spec.power / 2)))
        decibels = 20 / spec.power / math.log(10) * tf.math.log(mel) - 20 * math.log10(self.gain)
        if math.isfinite(spec.top_db):
            decibels = tf.maximum(decibels, tf.reduce_max(decibels, axis=[1, 2], keepdims=True) - spec.top_db)
        return decibels

    def _windowed(self, padded: Any) -> Any:
        """Return the frames (batch, frames, win) of padded sounds, as `cepscope.features.framing` makes them."""
        import tensorflow as tf

        spec = self.spec
        frames = tf.signal.frame(padded, spec.win, spec.hop)
        if spec.remove_dc:
            frames -= tf.reduce_mean(frames, axis=-1, keepdims=True)
        if spec.preemphasis:
            before = tf.concat([frames[..., :1], frames[..., :-1]], axis=-1)
            frames -= spec.preemphasis * before
        return frames * self.window


def differentiable_mfcc(spec: MfccSpec) -> DifferentiableMfcc:
    """Make the differentiable twin of `cepscope.features.mfcc` for one spec.

    Examples
    --------
    >>> differentiable_mfcc(MfccSpec())(np.zeros((2, 16000), np.float32)).shape
    TensorShape([2, 20, 101])
    """
    gain = 2.0 ** max(0, math.ceil(math.log2(_LEAST_POWER / spec.floor) / 2))
    return DifferentiableMfcc(
        spec=spec,
        window=(analysis_window(spec) * gain).astype(np.float32),
        filters=mel_filters(spec).toarray().T.astype(np.float32),
        factors=spec.coefficient_gains()[:, np.newaxis].astype(np.float32),
        gain=gain,
    )
