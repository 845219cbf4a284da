"""How far are sounds from real speech, as a network sees both? The Frechet distance of its activations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError

MIN_ROWS = 2
SHRINKAGE = 0.1  # weight of the diagonal in a covariance: there are fewer patterns than activations


def frechet_distance(a: npt.ArrayLike, b: npt.ArrayLike, *, shrinkage: float = SHRINKAGE) -> float:
    """Return the squared Frechet distance of two sets, each taken as a Gaussian (Heusel et al. 2017, NeurIPS, eq. 6).

    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)).

    Parameters
    ----------
    a, b : array [shape=(n, dimensions), shape=(m, dimensions)]
        Rows of activations.
    shrinkage : float in [0, 1]
        Weight of the diagonal in both covariances.

    Raises
    ------
    ParameterError
        If the sets do not fit together or have fewer than two rows.
    """
    first, second = (np.asarray(rows, np.float64) for rows in (a, b))
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1] or min(map(len, (first, second))) < 2:
        raise ParameterError(
            f"Frechet distance needs two sets of at least {MIN_ROWS} rows of one length. "
            f"Received: {first.shape} and {second.shape}"
        )
    moved = np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2)
    one, other = _covariance(first, shrinkage), _covariance(second, shrinkage)
    # tr (C_a C_b)^(1/2): square roots of the eigenvalues of C_a^(1/2) C_b C_a^(1/2), which is symmetric
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other @ root), 0)).sum()
    return float(max(moved + np.trace(one) + np.trace(other) - 2 * shared, 0.0))


def _covariance(rows: npt.NDArray[np.float64], shrinkage: float) -> npt.NDArray[np.float64]:
    covariance = np.atleast_2d(np.cov(rows.T))
    return (1 - shrinkage) * covariance + shrinkage * np.diag(np.diag(covariance))
