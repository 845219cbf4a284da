"""Representations of patches, by name: MFCC, layers of a network, their combinations, and controls.

A name is one of

- ``mfcc``: the patch itself, every coefficient of every frame;
- ``mfcc_pooled``: its mean in each of k stretches of time;
- ``mfcc_statistics``: mean, standard deviation and maximum over time, the summaries with which Lee et al. 2009 (NIPS)
  compare features, of MFCC and of their first and second differences;
- a layer's name: what it gives (of a convolutional RBM the mean field of its pooling units), pooled in each of k
  stretches of time, every place of the coefficient axis by itself;
- ``random:LAYER``: the same of the network with fresh weights (Saxe et al. 2011, ICML, "On random weights and
  unsupervised feature learning": much of what a network does is its architecture's);
- ``shuffled:LAYER``: of the network with the numbers of every array of weights in another order;
- several of these, joined by ``+``: their features side by side.

Stretches divide the patch, or, with `extents`, the part of it that sounds (`sounding`): a slow word and a fast one then
have the same number of stretches, as in the linear time normalisation of early word recognisers (Sakoe and Chiba 1978,
IEEE Trans. ASSP 26, improve on it).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError
from cepscope.models.checks import natural, positive

FloatArray = npt.NDArray[np.float32]

WINDOWS = 4
BATCH = 256
DELTA_WIDTH = 9  # frames, librosa's
CONTROLS = ("random", "shuffled")
REDUCTIONS = ("mean", "max")
MAP_RANK = 4
EDGE = 1e-6  # columns: rounding of edges
QUIET = 25.0  # dB below a clip's loudest frame; see `sounding`


def represent(
    x: npt.ArrayLike,
    names: Sequence[str],
    *,
    model: Any = None,
    windows: int = WINDOWS,
    reduce: str = "mean",
    extents: npt.ArrayLike | None = None,
    batch_size: int = BATCH,
    seed: int = 0,
) -> dict[str, FloatArray]:
    """Return representations of patches by name; see the module's own text for the names.

    Parameters
    ----------
    x : array [shape=(n, n_mfcc, frames, 1)]
        Scaled MFCC.
    names : sequence of str
    model : keras.Model, optional
        For layers and controls.
    windows : int
        Stretches of time, k.
    reduce : {"mean", "max"}
        What is taken of a layer in each stretch.
    extents : array [shape=(n, 2)], optional
        First frame of what is divided into stretches, and the frame after its last; by default all.
    batch_size : int
        Only memory depends on it.
    seed : int
        Of the controls.

    Returns
    -------
    dict of array [shape=(n, features)]

    Raises
    ------
    ParameterError
        If there is no such representation, or a setting is out of range.

    Examples
    --------
    >>> found = represent(np.zeros((3, 20, 48, 1)), ["mfcc", "mfcc_pooled", "mfcc+mfcc_statistics"])
    >>> {name: features.shape for name, features in found.items()}
    {'mfcc': (3, 960), 'mfcc_pooled': (3, 80), 'mfcc+mfcc_statistics': (3, 1140)}
    """
    patches = np.asarray(x, np.float32)
    if patches.ndim != MAP_RANK or patches.shape[3] != 1 or not len(patches):
        raise ParameterError(f"Patches must be (n, n_mfcc, frames, 1), n at least 1. Received: {patches.shape}")
    parts: dict[str, FloatArray] = {}
    wanted: dict[str, list[str]] = {}  # layers by network: "", "random", "shuffled"
    for part in dict.fromkeys(part for name in names for part in name.split("+")):
        if part == "mfcc":
            parts[part] = patches.reshape(len(patches), -1)
        elif part == "mfcc_pooled":
            parts[part] = pooled(patches, windows, extents=extents)
        elif part == "mfcc_statistics":
            parts[part] = statistics(patches)
        else:
            control, colon, layer = part.partition(":")
            known = colon and control in CONTROLS
            wanted.setdefault(control if known else "", []).append(layer if known else part)
    for control, layers in wanted.items():
        if model is None:
            raise ParameterError(f"The representation {layers[0]!r} is of a network; give it as `model`.")
        network = {"": lambda m, _: m, "random": random_filters, "shuffled": _shuffled}[control](model, seed)
        found = layer_features(
            *(network, patches), layers=layers, windows=windows, reduce=reduce, extents=extents, batch_size=batch_size
        )
        parts |= {f"{control}:{layer}" if control else layer: value for layer, value in found.items()}
    return {name: np.concatenate([parts[part] for part in name.split("+")], axis=1) for name in names}


def layer_features(
    model: Any,
    x: npt.ArrayLike,
    *,
    layers: Sequence[str] | None = None,
    windows: int = WINDOWS,
    reduce: str = "mean",
    extents: npt.ArrayLike | None = None,
    batch_size: int = BATCH,
) -> dict[str, FloatArray]:
    """Return what layers give for patches, pooled over time, in one pass.

    Parameters
    ----------
    model : keras.Model
    x : array [shape=(n, n_mfcc, frames, 1)]
    layers : sequence of str, optional
        Names; by default every convolution. Of a dense layer its output is taken as it is.
    windows, reduce, extents, batch_size
        As `represent`.

    Returns
    -------
    dict of array [shape=(n, features)]
        Features in C order of (row, stretch, filter).

    Raises
    ------
    ParameterError
        If there is no such layer, or its map has fewer columns than there are stretches.
    """
    from cepscope.maximize.units import is_convolution, resolve_layer
    from cepscope.models.backend import keras

    natural(1, windows=windows, batch_size=batch_size)
    if layers is None:
        layers = [layer.name for layer in model.layers if is_convolution(layer)]
    if not layers:
        raise ParameterError("The model has no convolution; name the layers to read.")
    part = keras.Model(model.inputs[0], {name: resolve_layer(model, name).output for name in layers})
    patches = np.asarray(x, np.float32)
    places = _extents(extents, len(patches), patches.shape[2])
    found: dict[str, list[FloatArray]] = {name: [] for name in layers}
    for start in range(0, len(patches), batch_size):
        rows = slice(start, start + batch_size)
        for name, value in part(patches[rows], training=False).items():
            array = np.asarray(value, np.float32)
            if array.ndim == MAP_RANK:  # columns lie evenly over the frames
                own = places[rows] * (array.shape[2] / patches.shape[2])
                array = pooled(array, windows, reduce=reduce, extents=own)
            found[name].append(array)
    return {name: np.concatenate(values) for name, values in found.items()}


def pooled(
    maps: npt.ArrayLike, windows: int = WINDOWS, *, reduce: str = "mean", extents: npt.ArrayLike | None = None
) -> FloatArray:
    """Return means or maxima of maps in stretches of time.

    Parameters
    ----------
    maps : array [shape=(n, rows, columns, channels)]
        Time along the columns.
    windows : int
        Stretches, all of one length. A column that lies in two of them counts in both.
    reduce : {"mean", "max"}
    extents : array [shape=(n, 2)], optional
        Where the first stretch begins and the last one ends, in columns, fractions too; by default the whole map.

    Returns
    -------
    array [shape=(n, rows * windows * channels)]

    Raises
    ------
    ParameterError
        If the map has fewer columns than there are stretches, or a setting is out of range.
    """
    values = np.asarray(maps, np.float32)
    natural(1, windows=windows)
    if values.ndim != MAP_RANK or values.shape[2] < windows:
        raise ParameterError(
            f"Maps must be (n, rows, columns, channels), with a column for each of {windows} stretches. "
            f"Received: {values.shape}. Take fewer, or longer patches."
        )
    if reduce not in REDUCTIONS:
        raise ParameterError(f"`reduce` must be one of {', '.join(REDUCTIONS)}. Received: {reduce!r}")
    columns = values.shape[2]
    begin, end = _extents(extents, len(values), columns).T
    edges = begin[:, None] + (end - begin)[:, None] * np.arange(windows + 1) / windows  # (n, windows + 1)
    first = np.minimum(np.floor(edges[:, :-1] + EDGE), columns - 1)
    last = np.maximum(np.ceil(edges[:, 1:] - EDGE), first + 1)
    out = np.empty((len(values), values.shape[1], windows, values.shape[3]), np.float32)
    for k in range(windows):
        inside = (np.arange(columns) >= first[:, k, None]) & (np.arange(columns) < last[:, k, None])
        if reduce == "max":
            out[:, :, k] = np.where(inside[:, None, :, None], values, -np.inf).max(axis=2)
        else:
            out[:, :, k] = np.einsum("nrcf,nc->nrf", values, inside / inside.sum(axis=1, keepdims=True))
    return out.reshape(len(values), -1)


def sounding(levels: npt.ArrayLike, *, quiet: float = QUIET) -> npt.NDArray[np.intp]:
    """Return where clips sound: from the first to the last frame that is not far below the loudest.

    Parameters
    ----------
    levels : array [shape=(n, frames)]
        In dB. The mean log-mel spectrum will do: the first coefficient over the root of the number of bands.
    quiet : float
        dB below the loudest frame.

    Returns
    -------
    array [shape=(n, 2)]
        First frame, and the frame after the last.

    Examples
    --------
    >>> sounding([[-90, -20, -60, -10, -36]]).tolist()
    [[1, 4]]
    """
    positive(quiet=quiet)
    values = np.asarray(levels, np.float64)
    if values.ndim != 2 or not values.size:
        raise ParameterError(f"Levels must be (n, frames), neither of them 0. Received: {values.shape}")
    heard = values >= values.max(axis=1, keepdims=True) - quiet
    return np.stack([heard.argmax(axis=1), values.shape[1] - heard[:, ::-1].argmax(axis=1)], axis=1)


def _extents(extents: npt.ArrayLike | None, rows: int, columns: int) -> npt.NDArray[np.float64]:
    """Return extents (rows, 2), checked; without any, all columns."""
    if extents is None:
        return np.tile([0.0, float(columns)], (rows, 1))
    found = np.asarray(extents, np.float64)
    if (
        found.shape != (rows, 2)
        or not (found[:, 0] < found[:, 1]).all()
        or not (found.min(initial=0) >= 0 and found.max(initial=0) <= columns + EDGE)
    ):
        raise ParameterError(
            f"`extents` must be ({rows}, 2): a first column and the one after the last, from 0 to {columns}. "
            f"Received: {np.shape(extents)}, or numbers out of range"
        )
    return found


def statistics(x: npt.ArrayLike) -> FloatArray:
    """Return mean, standard deviation and maximum over time of patches and their two differences.

    Parameters
    ----------
    x : array [shape=(n, n_mfcc, frames, 1)]
        At least `DELTA_WIDTH` frames; the differences are librosa's.

    Returns
    -------
    array [shape=(n, 9 * n_mfcc)]
    """
    import librosa

    values = np.asarray(x, np.float32)[..., 0]
    if values.shape[2] < DELTA_WIDTH:
        raise ParameterError(f"Differences need patches of {DELTA_WIDTH} frames or more. Received: {values.shape[2]}")
    orders = [values, *(librosa.feature.delta(values, width=DELTA_WIDTH, order=order, axis=2) for order in (1, 2))]
    found = [value for order in orders for value in (order.mean(axis=2), order.std(axis=2), order.max(axis=2))]
    return np.concatenate(found, axis=1).astype(np.float32)


def random_filters(model: Any, seed: int) -> Any:
    """Return a network of the same layers with fresh weights, as if it was built with this seed and never trained."""
    from cepscope.models.backend import keras

    rng = np.random.default_rng(seed)

    def fresh(layer: Any) -> Any:
        return type(layer).from_config(_reseeded(layer.get_config(), rng))

    return keras.models.clone_model(model, clone_function=fresh)


def _reseeded(config: Any, rng: np.random.Generator) -> Any:
    """Return a layer's settings with another seed wherever there is one."""
    if isinstance(config, dict):
        return {
            name: int(rng.integers(2**31)) if name == "seed" else _reseeded(value, rng)
            for name, value in config.items()
        }
    return config


def _shuffled(model: Any, seed: int) -> Any:
    from cepscope.probe.evaluation import shuffled

    return shuffled(model, seed=seed)
