"""Natural exemplars: the real windows that excite each unit most."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError


def best_exemplars(activations: npt.ArrayLike, *, count: int = 3) -> npt.NDArray[np.intp]:
    """Rank real windows for every unit.

    Parameters
    ----------
    activations : array [shape=(windows, units)]
        As `unit_activations` gives them.
    count : int
        Windows kept for each unit; fewer if there are fewer.

    Returns
    -------
    array [shape=(units, count)]
        Indices of the windows, the most exciting first; ties keep the windows' order.

    Examples
    --------
    >>> best_exemplars([[0.1, 5.0], [0.3, 2.0], [0.2, 4.0]], count=2)
    array([[1, 2],
           [0, 2]])
    """
    table = np.asarray(activations)
    if table.ndim != 2 or count < 1:
        raise ParameterError(
            f"`activations` must be (windows, units) and `count` positive. Received: {table.shape}, {count}"
        )
    return np.argsort(-table, axis=0, kind="stable")[:count].T
