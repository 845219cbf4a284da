"""Representations of patches, by name: MFCC, layers of a network, their combinations, and controls.

A name is one of

- ``mfcc``: the patch itself, every coefficient of every frame;
- ``mfcc_pooled``: its mean in each of k stretches of time, as layers are pooled;
- ``mfcc_statistics``: mean, standard deviation and maximum over time, the summaries with which Lee et al. 2009 (NIPS)
  compare features, of MFCC and of their first and second differences;
- a layer's name: what it gives (of a convolutional RBM the mean field of its pooling units), averaged in each of k
  stretches of time, every place of the coefficient axis by itself;
- ``random:LAYER``: the same of the network with fresh weights (Saxe et al. 2011, ICML, "On random weights and
  unsupervised feature learning": much of what a network does is its architecture's);
- ``shuffled:LAYER``: of the network with the numbers of every array of weights in another order;
- several of these, joined by ``+``: their features side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError
from cepscope.models.checks import natural

FloatArray = npt.NDArray[np.float32]

WINDOWS = 4
BATCH = 256
DELTA_WIDTH = 9  # frames, librosa's
CONTROLS = ("random", "shuffled")
MAP_RANK = 4


def represent(
    x: npt.ArrayLike,
    names: Sequence[str],
    *,
    model: Any = None,
    windows: int = WINDOWS,
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
        If there is no such representation.

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
            parts[part] = pooled(patches, windows)
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
        found = layer_features(network, patches, layers=layers, windows=windows, batch_size=batch_size)
        parts |= {f"{control}:{layer}" if control else layer: value for layer, value in found.items()}
    return {name: np.concatenate([parts[part] for part in name.split("+")], axis=1) for name in names}


def layer_features(
    model: Any,
    x: npt.ArrayLike,
    *,
    layers: Sequence[str] | None = None,
    windows: int = WINDOWS,
    batch_size: int = BATCH,
) -> dict[str, FloatArray]:
    """Return what layers give for patches, pooled over time, in one pass.

    Parameters
    ----------
    model : keras.Model
    x : array [shape=(n, n_mfcc, frames, 1)]
    layers : sequence of str, optional
        Names; by default every convolution. Of a dense layer its output is taken as it is.
    windows, batch_size
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
    found: dict[str, list[FloatArray]] = {name: [] for name in layers}
    for start in range(0, len(patches), batch_size):
        for name, value in part(patches[start : start + batch_size], training=False).items():
            array = np.asarray(value, np.float32)
            found[name].append(array if array.ndim == 2 else pooled(array, windows))
    return {name: np.concatenate(values) for name, values in found.items()}


def pooled(maps: npt.ArrayLike, windows: int = WINDOWS) -> FloatArray:
    """Return means of maps in stretches of time.

    Parameters
    ----------
    maps : array [shape=(n, rows, columns, channels)]
        Time along the columns.
    windows : int
        Stretches, as long as each other up to one column.

    Returns
    -------
    array [shape=(n, rows * windows * channels)]
    """
    values = np.asarray(maps, np.float32)
    natural(1, windows=windows)
    if values.ndim != MAP_RANK or values.shape[2] < windows:
        raise ParameterError(
            f"Maps must be (n, rows, columns, channels), with a column for each of {windows} stretches. "
            f"Received: {values.shape}. Take fewer, or longer patches."
        )
    means = [part.mean(axis=2) for part in np.array_split(values, windows, axis=2)]
    return np.stack(means, axis=2).reshape(len(values), -1)


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
