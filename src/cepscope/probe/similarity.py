"""Do two networks lay clips out alike? Linear centered kernel alignment of representations.

Kornblith, Norouzi, Lee, Hinton 2019, "Similarity of neural network representations revisited", ICML: with centred
representations X and Y of the same clips,

    CKA = |Y'X|^2 / (|X'X| |Y'Y|),

with Frobenius norms (their equation 5): 1 where X and Y differ by a rotation and a factor, and 0 where they are
uncorrelated. With few clips and many features it is high for any two representations; the debiased one divides unbiased
estimates of the same products (Song et al. 2012, JMLR 13, equation 5), and is around 0 for unrelated ones.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from cepscope.errors import DataError, ParameterError
from cepscope.probe.linear import features

FloatArray = npt.NDArray[np.float64]

FEWEST = 4  # clips from which the unbiased estimate exists
CONSTANT = 1e-9  # deviation over magnitude that is rounding


def linear_cka(x: npt.ArrayLike, y: npt.ArrayLike, *, debiased: bool = False) -> float:
    """Compare two representations of the same clips.

    Parameters
    ----------
    x, y : array [shape=(n, features), (n, other features)]
        Row i of both is of one clip.
    debiased : bool

    Returns
    -------
    float
        0 to 1; debiased also a little below 0, and NaN where the estimate of a representation's own product is not
        positive, as it may be of very few clips.

    Raises
    ------
    ParameterError
        If the rows do not fit each other, or there are too few.
    DataError
        If features are not finite, or a representation is the same for all clips.
    """
    return float(cka_table({"x": x}, {"y": y}, debiased=debiased)[0, 0])


def cka_table(
    one: Mapping[str, npt.ArrayLike], other: Mapping[str, npt.ArrayLike], *, debiased: bool = False
) -> FloatArray:
    """Compare every representation of one network with every one of another: (one, other); see `linear_cka`."""
    rows, columns = ([_centred(name, values) for name, values in given.items()] for given in (one, other))
    lengths = {len(values) for values in (*rows, *columns)}
    if len(lengths) != 1 or min(lengths) < FEWEST:
        raise ParameterError(
            f"Representations must be of the same clips, {FEWEST} or more. Received: {sorted(lengths)} clips"
        )
    product = _unbiased if debiased else _biased
    found = np.array([[product(x, y) for y in columns] for x in rows])
    own = [np.sqrt(np.maximum([product(x, x) for x in values], 0)) for values in (rows, columns)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(np.outer(*own) > 0, found / np.outer(*own), np.nan))


def _centred(name: str, values: npt.ArrayLike) -> FloatArray:
    x = features(name, values)
    centred = x - x.mean(axis=0)
    if np.abs(centred).max() <= CONSTANT * np.abs(x).max():
        raise DataError(f"The representation {name!r} is the same for all clips, so there is nothing to compare.")
    return np.asarray(np.ldexp(centred, -np.frexp(np.abs(centred).max())[1]))  # no scale matters, so no square is lost


def _biased(x: FloatArray, y: FloatArray) -> float:
    """Return sum over i, j of K_ij L_ij, with the Gram matrices K = XX' and L = YY', which is |Y'X|^2."""
    if x.shape[1] * y.shape[1] <= len(x) ** 2:
        return float(np.sum((y.T @ x) ** 2))
    return float(np.sum((x @ x.T) * (y @ y.T)))


def _unbiased(x: FloatArray, y: FloatArray) -> float:
    """Return Song's estimate times n (n - 3): tr KL + 1'K1 1'L1 / ((n-1)(n-2)) - 2 1'KL1 / (n-2), diagonals set to 0.

    Rows are centred, so that each row of K, its diagonal left out, adds up to minus the diagonal.
    """
    n = len(x)
    one, other = np.sum(x**2, axis=1), np.sum(y**2, axis=1)  # the diagonals
    both = one @ other
    return float(_biased(x, y) - both + one.sum() * other.sum() / ((n - 1) * (n - 2)) - 2 * both / (n - 2))
