"""Layers of published papers, ready to be trained.

Lee, Largman, Pham, Ng 2009 (NIPS) train a layer of 300 bases, six frames long and over all principal components at
once, with blocks of three in time. Their energy has all of its terms over sigma^2, so that in ours (see
`cepscope.models.crbm`) hidden biases are theirs over sigma^2. Their steps, of equal rate for weights and biases, become
a rate of rate * sigma^2 for our weights, and one 1 / sigma^4 times higher for our hidden biases; their weight decay
becomes decay / sigma^2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cepscope.audio import condition
from cepscope.errors import DataError, ParameterError
from cepscope.features import MfccSpec, mfcc
from cepscope.features.lee2009 import COMPONENTS, DAMPING, lee2009_spectrogram
from cepscope.features.whitening import PCAWhitener

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Preset:
    """A front end, a layer and how it is trained.

    Attributes
    ----------
    front_end : {"spectrogram", "mfcc"}
    components : int
        Rows of a patch.
    damping : float
        Of the whitening.
    center : bool
        Whether whitening takes the mean off.
    sigma : float
        Standard deviation of visible units.
    frames : int
        Of a patch.
    filters, width, pool : int
        Bases, their length in frames, units of a block.
    rate, decay, bias, sparsity, sparsity_cost : float
        Of the code posted with the paper, in its own parametrisation.
    rate_decay : float
        In epoch t, counted from 1, the rate is rate / (1 + rate_decay t).
    momentum : (float, float, int)
        At first, later, and after how many epochs: the code changes it in its fifth.
    """

    front_end: Literal["spectrogram", "mfcc"]
    components: int
    damping: float
    center: bool
    sigma: float
    frames: int = 68
    filters: int = 300
    width: int = 6
    pool: int = 3
    rate: float = 0.01
    decay: float = 0.01
    bias: float = -0.1
    sparsity: float = 0.05
    sparsity_cost: float = 5.0
    rate_decay: float = 0.01
    momentum: tuple[float, float, int] = field(default=(0.5, 0.9, 4))

    def features(self, audio: npt.ArrayLike, sr: int) -> FloatArray:
        """Return the front end's frames of one recording, before whitening: (n_in, frames)."""
        if self.front_end == "spectrogram":
            return lee2009_spectrogram(audio, sr)
        spec = MfccSpec(sr=sr, n_mfcc=self.components, floor=1e-5)
        return mfcc(condition(np.asarray(audio, np.float32)), spec)  # as `cepscope.corpora.extract` does

    def whitener(self, features: Iterable[npt.ArrayLike]) -> PCAWhitener:
        """Fit the whitening to the features of training recordings."""
        return PCAWhitener.fit(list(features), components=self.components, damping=self.damping, center=self.center)

    def patches(self, features: Sequence[npt.ArrayLike], whitener: PCAWhitener) -> FloatArray:
        """Whiten features and cut them, without overlap: (n, components, frames, 1). Shorter rests are left out."""
        found = []
        for one in features:
            white = whitener.transform(one)
            for start in range(0, white.shape[1] - self.frames + 1, self.frames):
                found.append(white[:, start : start + self.frames, None])
        if not found:
            raise DataError(f"No recording is as long as a patch of {self.frames} frames.")
        return np.stack(found)

    def layer(self, *, seed: int = 0) -> Any:
        """Return the layer, to be trained."""
        from cepscope.models.crbm import ConvolutionalRBM

        return ConvolutionalRBM(
            self.filters,
            (self.components, self.width),
            pool_size=(1, self.pool),
            weight_scale=0.01,
            hidden_bias=self.bias / self.sigma**2,
            visible_scale=self.sigma,
            seed=seed,
            name="crbm1",
        )

    def build(self, *, seed: int = 0) -> Any:
        """Return a model of the layer alone, for `cepscope.models.pretrain`."""
        from cepscope.models.backend import keras

        inputs = keras.Input((self.components, self.frames, 1))
        return keras.Model(inputs, self.layer(seed=seed)(inputs))

    def training(self, count: int, *, batch_size: int = 1) -> dict[str, Any]:
        """Return the arguments of `cepscope.models.pretrain` for `count` patches; the paper takes one at a time."""
        from cepscope.models.backend import keras

        first = 1 + self.rate_decay  # Keras counts epochs from 0
        rate = keras.optimizers.schedules.InverseTimeDecay(
            self.rate * self.sigma**2 / first,
            decay_steps=max(1, count // batch_size),  # an epoch
            decay_rate=self.rate_decay / first,
            staircase=True,
        )
        return {
            "batch_size": batch_size,
            "learning_rate": rate,
            "momentum": self.momentum,
            "visible_noise": False,
            "sparsity": self.sparsity,
            "sparsity_cost": self.sparsity_cost,
            "weight_decay": self.decay / self.sigma**2,
            "bias_rate": self.sigma**-4,
            "initial_biases": "constant",
            "center": False,
        }


PRESETS = {
    "lee2009-audio": Preset("spectrogram", COMPONENTS, DAMPING, center=False, sigma=0.2),
    # whitened MFCC have variance 1, not about .15 as the damped spectra have: sigma is as large in proportion
    "lee2009-mfcc": Preset("mfcc", 20, 0.0, center=True, sigma=0.5),
}


def preset(name: str) -> Preset:
    """Return a preset by name; ParameterError if there is none such.

    Examples
    --------
    >>> lee = preset("lee2009-audio")
    >>> lee.filters, lee.components, lee.width, lee.pool
    (300, 80, 6, 3)
    """
    if name not in PRESETS:
        raise ParameterError(f"There is no preset {name!r}; there are {', '.join(PRESETS)}.")
    return PRESETS[name]
