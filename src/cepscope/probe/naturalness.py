"""How much does a pattern look like speech? Its likelihood under a mixture fitted to patches of real speech.

The score is the mean log-likelihood of a pattern's patches, standardised by that of real held-out clips: 0 is an
average clip, negative is less likely than speech, positive is smoother than speech.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cepscope.corpora import Patches
from cepscope.errors import DataError
from cepscope.maximize.mixture import PatchMixture, fit_patch_mixture, halves

FloatArray = npt.NDArray[np.float64]
MIN_CLIPS = 2


@dataclass(frozen=True)
class Naturalness:
    """A fitted judge of patterns.

    Attributes
    ----------
    mixture : PatchMixture
    mean, deviation : float
        Of the log-likelihood of real held-out clips.
    """

    mixture: PatchMixture
    mean: float
    deviation: float

    def score(self, x: npt.ArrayLike) -> FloatArray:
        """Return the standardised score of patterns (n, n_mfcc, frames[, 1]): (n,)."""
        return (self.mixture.log_likelihood(x) - self.mean) / self.deviation


def fit_judge(patches: Patches, *, seed: int = 0) -> Naturalness:
    """Fit the judge to those training clips that no prior was fitted to, and its scale to held-out clips."""
    silence = patches.scaler.transform(patches.spec.silence[:, None])[:, 0]
    return fit_naturalness(halves(patches.train.x)[1], patches.test.x, silence=silence, seed=seed)


def fit_naturalness(
    train: npt.ArrayLike, held_out: npt.ArrayLike, *, silence: npt.ArrayLike, seed: int = 0
) -> Naturalness:
    """Fit the judge to real speech.

    Parameters
    ----------
    train : array [shape=(n, n_mfcc, frames, 1)]
        Scaled patches to which the mixture is fitted.
    held_out : array [shape=(m, n_mfcc, frames, 1)]
        Scaled patches that set the zero and the unit of the score.
    silence : array [shape=(n_mfcc,)]
        Scaled MFCC of digital silence.
    seed : int
        Of the choice of patches and the start of the mixture.

    Raises
    ------
    DataError
        If there is too little speech to fit.
    """
    held_out = np.asarray(held_out, np.float32)
    if len(held_out) < MIN_CLIPS:
        raise DataError(
            f"Naturalness needs at least {MIN_CLIPS} held-out clips. Received: {len(held_out)}. Add recordings."
        )
    mixture = fit_patch_mixture(train, silence=silence, seed=seed)
    real = mixture.log_likelihood(held_out)
    return Naturalness(mixture, float(real.mean()), max(float(real.std()), 1e-9))
