"""What a CDBN imagines: Gibbs chains, samples with one unit held on, and the way down from any layer to the input.

A unit that is held on while all others follow the model gives samples of what the unit stands for (Erhan, Bengio,
Courville, Vincent 2009, "Visualizing higher-layer features of a deep network", Technical Report 1341, section 2.2).
Results are patches in the space of the network's input; the scaler's inverse makes MFCC of them and `cepscope.invert`
sound.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import DataError, ParameterError
from cepscope.models.backend import tf
from cepscope.models.checks import natural
from cepscope.models.crbm import ConvolutionalRBM

FloatArray = npt.NDArray[np.float32]
CERTAIN = 50.0  # input that leaves "all off" a chance of e^-50
ROUNDS = 5
BATCH = 256  # patches worked on at once
SLACK = 1e-5  # by which probabilities may leave [0, 1]: float32 sums

# what was traced for an RBM, as long as that lives: tracing again at each call costs more than most calls
_TRACED: weakref.WeakKeyDictionary[ConvolutionalRBM, dict[Any, Any]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class UnitSamples:
    """Samples of the input, given that a unit is on.

    Attributes
    ----------
    mean : array [shape=(n_mfcc, frames, 1)]
        Their mean, E[x | unit on].
    samples : array [shape=(chains, n_mfcc, frames, 1)]
        Each is the mean of the input given the units of its chain above.
    """

    mean: FloatArray
    samples: FloatArray


def rbm_layers(model: Any) -> list[ConvolutionalRBM]:
    """Return a model's RBMs from the bottom up; ParameterError if it has none."""
    found = [layer for layer in model.layers if isinstance(layer, ConvolutionalRBM)]
    if not found:
        raise ParameterError("The model has no ConvolutionalRBM layer, so it generates nothing.")
    return found


def gibbs_chains(
    rbm: ConvolutionalRBM,
    start: npt.ArrayLike,
    *,
    steps: int = 100,
    burn_in: int = 0,
    thin: int = 1,
    clamp: npt.ArrayLike | None = None,
    means: bool = False,
    seed: int = 0,
) -> FloatArray:
    """Run block Gibbs chains of one RBM: all hidden units at once, then all visible units.

    Parameters
    ----------
    rbm : ConvolutionalRBM
        With binary hidden units.
    start : array [shape=(chains, height, width, channels)]
        Visible units that the chains start from.
    steps : int
        Steps, of which every `thin`-th is returned, after `burn_in` more.
    burn_in, thin : int
    clamp : array [shape=(h, w, filters)], optional
        Pooling units that are held on: just one unit of each such block is on at any time.
    means : bool
        Return the means of the visible units given the hidden ones, not samples.
    seed : int

    Returns
    -------
    array [shape=(steps // thin, chains, height, width, channels)]

    Raises
    ------
    ParameterError
        If a number is out of range, or an array not of the layer's shape.
    """
    natural(1, steps=steps, thin=thin)
    natural(burn_in=burn_in, seed=seed)
    if rbm.hidden != "binary":
        raise ParameterError(f"Gibbs chains need binary hidden units. Received: hidden={rbm.hidden!r}")
    v = tf.convert_to_tensor(np.asarray(start), rbm.compute_dtype)
    if v.shape.rank != 4 or not len(v) or (rbm.built and v.shape[3] != rbm.kernel.shape[2]):
        raise ParameterError(f"`start` must be (chains, height, width, channels). Received: {tuple(v.shape)}")
    _finite("`start`", v)
    if thin > steps:
        raise ParameterError(f"`thin` must be at most `steps`, {steps}, or nothing is kept. Received: {thin}")
    if not rbm.built:
        rbm.build(v.shape)
    held = _held(rbm, v.shape, clamp)  # refuses starts that are too small for the kernels
    advance = _traced(_advance, rbm, tuple(v.shape[1:]), clamp is not None)
    done, kept, key = 0, [], tf.constant(seed, tf.int64)
    for count in [burn_in, *[thin] * (steps // thin)]:
        v, mean = advance(v, held, key, tf.constant(done, tf.int64), tf.constant(count, tf.int64))
        done += count
        kept.append((mean if means else v).numpy())
    return np.stack(kept[1:])


def _advance(rbm: ConvolutionalRBM, shape: tuple[int, ...], clamped: bool) -> Any:
    """Trace `count` steps of the chains that have taken `first` steps."""
    number = tf.TensorSpec((), tf.int64)
    states = tf.TensorSpec((None, *shape), rbm.compute_dtype)
    mask = tf.TensorSpec((1, *rbm.compute_output_shape((None, *shape))[1:]), tf.bool)

    @tf.function(input_signature=[states, mask, number, number, number])  # type: ignore[untyped-decorator]
    def advance(v: Any, held: Any, seed: Any, first: Any, count: Any) -> tuple[Any, Any]:
        mean = v
        for i in tf.range(count):
            conv = rbm.convolution(v.shape)
            blocks = conv.up(rbm.columns(v, conv))
            if clamped:
                lifted = blocks - tf.reduce_max(blocks, axis=0) + CERTAIN
                blocks = tf.where(conv.unpooled(held), lifted, blocks)
            seeds = [tf.stack([seed, 2 * (first + i) + j]) for j in range(2)]
            v, mean = rbm.gibbs(v, seeds, blocks=blocks, conv=conv)
            v, mean = (tf.ensure_shape(value, (None, *shape)) for value in (v, mean))
        return v, mean

    return advance


def _traced(build: Callable[..., Any], rbm: ConvolutionalRBM, *settings: Any) -> Any:
    """Return what `build` traces for an RBM and settings, traced once; it must not keep the RBM alive."""
    known = _TRACED.setdefault(rbm, {})
    key = (build.__name__, *settings)
    if key not in known:
        known[key] = build(weakref.proxy(rbm), *settings)
    return known[key]


def _finite(name: str, values: Any) -> None:
    if not np.isfinite(values).all():
        raise DataError(f"{name} must be finite. Received: NaN or Inf")


def _held(rbm: ConvolutionalRBM, shape: Any, clamp: npt.ArrayLike | None) -> Any:
    expected = rbm.compute_output_shape(shape)[1:]
    mask = np.zeros(expected, bool) if clamp is None else np.asarray(clamp, bool)
    if mask.shape != expected:
        raise ParameterError(f"`clamp` must be of the pooled map's shape {expected}. Received: {mask.shape}")
    return tf.constant(mask[None])


def sample_unit(
    model: Any,
    layer: str,
    filter_index: int,
    *,
    place: tuple[int, int] | None = None,
    everywhere: bool = False,
    chains: int = 64,
    steps: int = 100,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> UnitSamples:
    """Draw inputs from a CDBN in which one pooling unit is held on.

    The RBM of the unit's layer is sampled with the unit held; what its chains have found goes down once to the input.

    Parameters
    ----------
    model : keras.Model
        From `build_cdbn`.
    layer : str
    filter_index : int
    place : (int, int), optional
        Row and column of the pooling unit; default: the middle of the map.
    everywhere : bool
        Hold all pooling units of the filter on instead.
    chains : int
        Each gives one sample.
    steps : int
        Gibbs steps of each chain, from random visible units.
    rounds : int
        See `top_down`.
    seed : int

    Returns
    -------
    UnitSamples

    Raises
    ------
    ParameterError
        If there is no such layer, filter or place.
    """
    natural(1, chains=chains)
    natural(seed=seed)
    rbms = rbm_layers(model)
    depth = _depth(rbms, layer)
    rbm = rbms[depth]
    shape = (chains, *rbm.input.shape[1:])
    height, width, filters = rbm.map_shape(shape)[0] // rbm.pool_size[0], rbm.output.shape[2], rbm.filters
    natural(filter_index=filter_index)
    where = (height // 2, width // 2) if place is None else tuple(place)
    if not 0 <= filter_index < filters:
        raise ParameterError(f"{layer} has filters 0 to {filters - 1}. Received: {filter_index}")
    if len(where) != 2 or not (0 <= where[0] < height and 0 <= where[1] < width):
        raise ParameterError(f"The map of {layer} is {height} x {width}. Received: place {place}")
    clamp = np.zeros((height, width, filters), bool)
    clamp[(..., filter_index) if everywhere else (*where, filter_index)] = True
    samples = _imagine(model, depth, chains, clamp, steps=steps, rounds=rounds, seed=seed)
    return UnitSamples(samples.mean(axis=0), samples)


def sample_layer(
    model: Any, layer: str, *, chains: int = 64, steps: int = 100, rounds: int = ROUNDS, seed: int = 0
) -> FloatArray:
    """Draw inputs from a CDBN with nothing held on: what `sample_unit` is to be compared with.

    Parameters
    ----------
    model, layer, chains, steps, rounds, seed
        As of `sample_unit`.

    Returns
    -------
    array [shape=(chains, n_mfcc, frames, 1)]
    """
    natural(1, chains=chains)
    natural(seed=seed)
    depth = _depth(rbm_layers(model), layer)
    return _imagine(model, depth, chains, None, steps=steps, rounds=rounds, seed=seed)


def _imagine(
    model: Any,
    depth: int,
    chains: int,
    clamp: npt.NDArray[np.bool_] | None,
    *,
    steps: int,
    rounds: int,
    seed: int,
) -> FloatArray:
    """Run the chains of one RBM from random visible units, and take what they have found down to the input.

    Chains of one seed draw the same numbers whatever is held on, so that what differs between them differs for that.
    """
    rbms = rbm_layers(model)
    rbm = rbms[depth]
    shape = (chains, *rbm.input.shape[1:])
    rng = np.random.default_rng([seed, depth])
    visible = rng.standard_normal(shape) if rbm.visible == "gaussian" else rng.integers(0, 2, shape)
    found = gibbs_chains(rbm, visible, steps=steps, thin=steps, clamp=clamp, means=True, seed=seed)[0]
    return found if depth == 0 else top_down(model, rbms[depth - 1].name, found, rounds=rounds)


def top_down(model: Any, layer: str, pooled: npt.ArrayLike, *, rounds: int = ROUNDS) -> FloatArray:
    """Project pooling units of a layer down to the network's input, by mean field.

    A pooling unit that is on with probability p has one unit of its block on, but does not say which. That is settled
    layer by layer: the units of a block share p, at first alike, then as likely as the input that they would cause
    makes them, a few rounds long. Rectified units share what their block shows, its largest, in proportion to their
    means: less than there was, so what comes down is weak.

    Parameters
    ----------
    model : keras.Model
        From `build_cdbn`.
    layer : str
    pooled : array [shape=(n, h, w, filters)]
        Probabilities (of rectified units: means) of that layer's pooling units.
    rounds : int

    Returns
    -------
    array [shape=(n, n_mfcc, frames, 1)]
        E[x], in the network's input space.

    Raises
    ------
    ParameterError
        If there is no such layer, or the array is not of its map.
    """
    rbms = rbm_layers(model)
    depth = _depth(rbms, layer)
    value = checked_units(model, layer, pooled)
    natural(rounds=rounds)
    most = 1.0 if rbms[depth].hidden == "binary" else np.inf
    if value.size and not -SLACK <= value.min() <= value.max() <= most + SLACK:
        expected = "in 0 to 1" if np.isfinite(most) else "0 or more"
        raise ParameterError(f"Units of {layer} must be {expected}. Received: {value.min():g} to {value.max():g}")
    for rbm in reversed(rbms[: depth + 1]):
        value = _down_one(rbm, value, rounds)
    return value


def checked_units(model: Any, layer: str, values: npt.ArrayLike) -> FloatArray:
    """Return numbers for the pooling units of an RBM, (n, h, w, filters); refuse what is not of its map or finite."""
    rbms = rbm_layers(model)
    value = np.asarray(values, np.float32)
    expected = tuple(rbms[_depth(rbms, layer)].output.shape[1:])
    if value.ndim != 4 or value.shape[1:] != expected:
        raise ParameterError(f"Units of {layer} must be (n, {', '.join(map(str, expected))}). Received: {value.shape}")
    _finite(f"Units of {layer}", value)
    return value


def _down_one(rbm: ConvolutionalRBM, pooled: FloatArray, rounds: int) -> FloatArray:
    """Take pooling units (n, h, w, filters) of one RBM down to the mean of its visible units."""
    settle = _traced(_settle, rbm, tuple(rbm.input.shape[1:]))
    starts = range(0, max(len(pooled), 1), BATCH)
    turns = tf.constant(rounds)
    parts = [settle(tf.constant(pooled[i : i + BATCH], rbm.compute_dtype), turns).numpy() for i in starts]
    return np.concatenate(parts)


def _settle(rbm: ConvolutionalRBM, shape: tuple[int, ...]) -> Any:
    """Trace the rounds in which the units of each block share what it has."""
    blocks = tf.TensorSpec((None, *rbm.compute_output_shape((None, *shape))[1:]), rbm.compute_dtype)

    @tf.function(input_signature=[blocks, tf.TensorSpec((), tf.int32)])  # type: ignore[untyped-decorator]
    def settle(pooled: Any, rounds: Any) -> Any:
        visible = (None, *shape)
        conv = rbm.convolution(visible)
        on = conv.unpooled(pooled)
        units = rbm.pool_size[0] * rbm.pool_size[1]
        v = rbm.visibles_from_blocks(tf.repeat(on[None] / units, units, axis=0), visible, conv)
        v = tf.ensure_shape(v, visible)
        for _ in tf.range(rounds):
            shares = rbm.family.shares(conv.up(rbm.columns(v, conv)))
            v = tf.ensure_shape(rbm.visibles_from_blocks(shares * on, visible, conv), visible)
        return v

    return settle


def top_down_function(model: Any, layer: str, *, rounds: int = ROUNDS) -> Callable[[Any], Any]:
    """Return `top_down` of a layer for tensors (n, h, w, filters), differentiable and unchecked."""
    rbms = rbm_layers(model)
    ways = [_settle(rbm, tuple(rbm.input.shape[1:])) for rbm in reversed(rbms[: _depth(rbms, layer) + 1])]

    def down(pooled: Any) -> Any:
        for settle in ways:
            pooled = settle(pooled, tf.constant(rounds))
        return pooled

    return down


def reconstruct(model: Any, x: npt.ArrayLike, *, layers: int | None = None, rounds: int = ROUNDS) -> FloatArray:
    """Send patches up through the first layers and down again.

    Parameters
    ----------
    model : keras.Model
        From `build_cdbn`.
    x : array [shape=(n, n_mfcc, frames, 1)]
    layers : int, optional
        How many; default: all RBMs.
    rounds : int
        See `top_down`.

    Returns
    -------
    array [shape=(n, n_mfcc, frames, 1)]

    Raises
    ------
    ParameterError
        If there are not so many layers, or the patches are not the network's.
    """
    rbms = rbm_layers(model)
    natural(1, layers=1 if layers is None else layers)
    count = len(rbms) if layers is None else layers
    if not 1 <= count <= len(rbms):
        raise ParameterError(f"`layers` must be from 1 to {len(rbms)}. Received: {layers}")
    value = np.asarray(x, np.float32)
    if value.shape[1:] != tuple(rbms[0].input.shape[1:]):
        shape = ", ".join(map(str, rbms[0].input.shape[1:]))
        raise ParameterError(f"Patches must be (n, {shape}). Received: {value.shape}")
    if not len(value):
        raise ParameterError("There must be at least one patch. Received: none")
    _finite("Patches", value)
    for rbm in rbms[:count]:
        value = np.concatenate([rbm(value[i : i + BATCH]).numpy() for i in range(0, len(value), BATCH)])
    return top_down(model, rbms[count - 1].name, value, rounds=rounds)


def reconstruction_errors(
    model: Any, x: npt.ArrayLike, *, baseline: npt.ArrayLike | None = None, rounds: int = ROUNDS
) -> dict[str, float]:
    """Return how much of patches is lost through one, two, ... layers.

    Parameters
    ----------
    model : keras.Model
        From `build_cdbn`.
    x : array [shape=(n, n_mfcc, frames, 1)]
    baseline : array [shape=(n_mfcc, frames, 1)], optional
        Patch to compare with, such as the mean of those trained on; default: the mean of `x`. One clip needs it.
    rounds : int
        See `top_down`.

    Returns
    -------
    dict
        Layer name to squared error over that of the baseline: 0 is perfect, 1 no better than it.

    Raises
    ------
    ParameterError
        As `reconstruct`; and if the patches are all equal to the baseline.
    """
    patches = np.asarray(x, np.float32)
    if patches.ndim != 4 or not len(patches):
        raise ParameterError(f"Patches must be (n, n_mfcc, frames, 1), n at least 1. Received: {patches.shape}")
    mean = patches.mean(axis=0) if baseline is None else np.asarray(baseline, np.float32)
    if mean.shape != patches.shape[1:]:
        raise ParameterError(f"`baseline` must be of shape {patches.shape[1:]}. Received: {mean.shape}")
    scale = float(np.sum((patches - mean) ** 2))
    if scale == 0:
        raise ParameterError("The patches equal the patch they are compared with; give more of them, or a `baseline`.")
    found = {}
    for depth, rbm in enumerate(rbm_layers(model)):
        back = reconstruct(model, patches, layers=depth + 1, rounds=rounds)
        found[rbm.name] = float(np.sum((back - patches) ** 2)) / scale
    return found


def _depth(rbms: list[ConvolutionalRBM], layer: str) -> int:
    names = [rbm.name for rbm in rbms]
    if layer not in names:
        raise ParameterError(f"There is no RBM layer {layer!r}; there are {', '.join(names)}.")
    return names.index(layer)
