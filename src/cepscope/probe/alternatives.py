"""Do patterns tell which clips a unit likes? A two-alternative test, taken by a machine.

People are shown what a unit likes most and least and then two real clips, and say which of the two excites the unit
more (Borowski et al. 2021, ICLR); Zimmermann et al. 2024 (NeurIPS) let a machine compare instead. Here it compares
short stretches. The network has no part in it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError

FloatArray = npt.NDArray[np.float64]

WIDTH, STRIDE = 8, 2  # frames of a stretch, and between two
FIT_STRIDE = 4  # frames between the stretches of real speech that are measured
SHRINKAGE = 0.05  # weight of the diagonal in their covariance
POWER = 0.25  # of the covariance that is divided out: half way between the stretches as they are and white ones
SHARE = 0.1  # of the clips that count as those that excite a unit most, and least


def similarity(patterns: npt.ArrayLike, clips: npt.ArrayLike, speech: npt.ArrayLike) -> FloatArray:
    """Compare patterns with clips.

    Parameters
    ----------
    patterns : array [shape=(n, rows, frames, 1)]
        Scaled MFCC.
    clips : array [shape=(m, rows, frames, 1)]
    speech : array [shape=(any, rows, frames, 1)]
        Real clips whose stretches set the mean and the metric.

    Returns
    -------
    array [shape=(n, m)]
        Mean over the clip's stretches of the largest product with one of the pattern, whose length is one.
    """
    real = _stretches(np.asarray(speech, np.float32), FIT_STRIDE)
    flat = real.reshape(-1, real.shape[-1]).astype(np.float64)
    mean = flat.mean(axis=0)
    covariance = np.cov(flat.T)
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.diag(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance)
    metric = vectors / np.maximum(values, 1e-9 * values[-1]) ** POWER
    a, b = ((_stretches(np.asarray(x, np.float32), STRIDE) - mean) @ metric for x in (patterns, clips))
    a /= np.maximum(np.linalg.norm(a, axis=-1, keepdims=True), 1e-9)
    every = b.reshape(-1, b.shape[-1]).astype(np.float32)
    found = [(every @ one.T).max(axis=1).reshape(b.shape[:2]).mean(axis=1) for one in a.astype(np.float32)]
    return np.array(found, np.float64)


def alternatives(like: npt.ArrayLike, activation: npt.ArrayLike, *, share: float = SHARE) -> FloatArray:
    """Return how often likeness picks the right one of two clips.

    Parameters
    ----------
    like : array [shape=(units, clips)]
        `similarity` to what each unit likes most, less that to what it likes least. (With the first alone, the answer
        also depends on how much there is to hear in a clip: patterns in random directions then score far from .5.)
    activation : array [shape=(clips, units)]
        Of each unit by each clip.
    share : float
        One clip is of this share of those that excite the unit most, the other of those that excite it least; .5 takes
        all clips.

    Returns
    -------
    array [shape=(units,)]
        Share of such pairs in which the first clip is the more like; chance is .5, which ties also count.
    """
    table, values = np.asarray(like, np.float64), np.asarray(activation, np.float64)
    if table.shape != values.T.shape or not 0 < share <= 0.5:
        raise ParameterError(
            f"Likeness must be (units, clips), activations (clips, units), the share above 0 and at most .5. "
            f"Received: {table.shape}, {values.shape}, {share}"
        )
    count = max(1, int(share * len(values)))
    right = []
    for row, own in zip(table, values.T, strict=True):
        order = np.argsort(own, kind="stable")
        most, least = row[order[-count:], None], row[order[:count]]
        right.append(np.mean((most > least) + 0.5 * (most == least)))
    return np.array(right)


def _stretches(x: npt.NDArray[np.float32], stride: int) -> npt.NDArray[np.float32]:
    """Cut (n, rows, frames, 1) into (n, count, rows * width)."""
    x = x.reshape(x.shape[0], x.shape[1], x.shape[2])
    width = min(WIDTH, x.shape[2])
    starts = range(0, x.shape[2] - width + 1, stride)
    return np.stack([x[:, :, s : s + width].reshape(len(x), -1) for s in starts], axis=1)
