"""Patches of one length."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError
from cepscope.features.spec import MfccSpec


def fit_length(C: npt.ArrayLike, frames: int, spec: MfccSpec) -> npt.NDArray[np.float32]:
    """Crop at the centre, or pad both sides with silence; never repeat or wrap the sound.

    An odd frame falls on the right: one more is cropped or padded there.

    Parameters
    ----------
    C : array [shape=(..., n_mfcc, any number of frames)]
        MFCC.
    frames
        Frames wanted.
    spec
        How `C` was computed; its `silence` fills the padding.

    Returns
    -------
    C : array [shape=(..., n_mfcc, frames)]
        A float32 copy.

    Raises
    ------
    ParameterError
        `frames` is below 1, or `C` does not have `spec.n_mfcc` rows.
    """
    if frames < 1:
        raise ParameterError(f"frames must be at least 1. Received: {frames!r}")
    given = np.asarray(C, dtype=np.float32)
    if given.ndim < 2 or given.shape[-2] != spec.n_mfcc:
        raise ParameterError(f"MFCCs have the shape (..., {spec.n_mfcc}, frames). Received: {given.shape}")
    surplus = given.shape[-1] - frames
    if surplus >= 0:
        start = surplus // 2
        return given[..., start : start + frames].copy()
    fitted = np.empty((*given.shape[:-1], frames), dtype=np.float32)
    fitted[:] = spec.silence[:, np.newaxis]  # (n_mfcc, 1)
    start = -surplus // 2
    fitted[..., start : start + given.shape[-1]] = given
    return fitted
