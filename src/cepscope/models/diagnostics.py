"""What shows whether an RBM learns well; plain measures of weights and of activations, for every epoch.

Free energies are compared between patches trained on and held out (Hinton 2010, "A practical guide to training
restricted Boltzmann machines", section 6): both fall together while the model learns what is common to them, and their
gap opens when it learns the training patches by heart. The reconstruction error alone does not show that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

DEAD, SATURATED = 0.01, 0.95  # highest, and mean, activation of a pooling unit
SOME = 256  # patches that are measured


def layer_diagnostics(rbm: Any, train: FloatArray, held_out: FloatArray | None = None) -> dict[str, float]:
    """Measure an RBM on patches.

    Parameters
    ----------
    rbm : ConvolutionalRBM
    train : array [shape=(n, height, width, channels)]
        Visible units that it was trained on. A few hundred will do.
    held_out : array [shape=(m, height, width, channels)], optional
        Visible units that it was not.

    Returns
    -------
    dict
        ``free_energy_gap`` (nats a patch; mean F held out less mean F trained on), ``sparseness`` (of pooling units
        over places and patches, see `treves_rolls`), ``weight_norm``, ``dead_filters`` and ``saturated_filters``
        (how many), ``redundancy`` (see `redundancy`).
    """
    pooled = np.asarray(rbm(train[:SOME]))
    found = {
        "sparseness": float(np.mean(treves_rolls(pooled.reshape(-1, pooled.shape[-1])))),
        "weight_norm": float(np.linalg.norm(rbm.kernel.numpy())),
        "dead_filters": float((pooled.max(axis=(0, 1, 2)) < DEAD).sum()),
        "saturated_filters": float((pooled.mean(axis=(0, 1, 2)) > SATURATED).sum()),
        "redundancy": float(redundancy(rbm.kernel.numpy()).mean()),
    }
    if held_out is not None and len(held_out):
        energies = [np.asarray(rbm.free_energy(x[:SOME]), np.float64).mean() for x in (held_out, train)]
        found = {"free_energy_gap": float(energies[0] - energies[1]), **found}
    return found


def treves_rolls(activations: npt.ArrayLike) -> FloatArray:
    """Return the sparseness of each unit over samples: 0 if it is always equally active, near 1 if rarely.

    1 - (mean a)^2 / mean a^2 (Treves, Rolls 1991, Network 2; as 1 minus their measure).

    Parameters
    ----------
    activations : array [shape=(samples, units)]
        Not negative.

    Examples
    --------
    >>> treves_rolls([[1, 0], [1, 0], [1, 0], [1, 4]])
    array([0.  , 0.75], dtype=float32)
    """
    a = np.asarray(activations, np.float64)
    power = np.mean(a**2, axis=0)
    quiet = power == 0
    return np.where(quiet, 1.0, 1 - np.mean(a, axis=0) ** 2 / np.where(quiet, 1.0, power)).astype(np.float32)


def redundancy(kernel: npt.ArrayLike) -> FloatArray:
    """Return for each filter its largest correlation with any other filter, at any shift of one against the other.

    Parameters
    ----------
    kernel : array [shape=(kh, kw, channels, filters)]

    Returns
    -------
    array [shape=(filters,)]
        1: a copy of another filter, perhaps moved; 0: nothing in common.

    Examples
    --------
    >>> kernel = np.zeros((1, 3, 1, 3))
    >>> kernel[0, 0, 0, 0] = kernel[0, 2, 0, 1] = 1  # the same impulse, moved
    >>> kernel[0, :, 0, 2] = [1, -2, 1]
    >>> redundancy(kernel).round(2)
    array([1.  , 1.  , 0.41], dtype=float32)
    """
    w = np.asarray(kernel, np.float64)
    kh, kw, _, filters = w.shape
    if filters < 2:
        return np.zeros(filters, np.float32)
    spectra = np.fft.rfft2(w, s=(2 * kh - 1, 2 * kw - 1), axes=(0, 1))
    norms = np.sqrt(np.sum(w**2, axis=(0, 1, 2)))
    norms = np.where(norms > 0, norms, 1.0)
    best = np.zeros(filters)
    for i in range(filters):  # one row of pairs at a time: all at once would not fit for many filters
        cross = np.einsum("xyc,xycj->xyj", spectra[..., i].conj(), spectra)
        shifts = np.fft.irfft2(cross, s=(2 * kh - 1, 2 * kw - 1), axes=(0, 1)).max(axis=(0, 1))
        shifts /= norms * norms[i]
        shifts[i] = 0
        best[i] = shifts.max()
    return np.clip(best, 0, 1).astype(np.float32)
