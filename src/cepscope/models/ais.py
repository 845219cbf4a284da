"""Annealed importance sampling: the normaliser of an RBM, and with it the likelihood of data.

Salakhutdinov and Murray 2008, "On the quantitative analysis of deep belief networks", ICML. Between a base model whose
units do not interact and the RBM lie RBMs of the same family, with kernels scaled by beta and biases on the straight
line between the two; samples are led from one end to the other. From the base to the RBM, the estimate of log Z is low
on average; from samples of the RBM to the base it is high. The two bracket the truth.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import CepscopeWarning, NotFittedError, ParameterError
from cepscope.models.backend import tf
from cepscope.models.crbm import ConvolutionalRBM

Array = npt.NDArray[np.float64]
FEWEST = 2  # effective samples below which an error estimate says nothing


@dataclass(frozen=True)
class LogPartition:
    """An estimate of log Z.

    Attributes
    ----------
    value : float
        Nats.
    standard_error : float
        Of `value`, from the spread of the weights, to first order. It can't grow beyond 1: where a single weight rules
        it says nothing, however far off `value` is. Look at `effective_samples` first.
    effective_samples : float
        (sum w)^2 / sum w^2: of as many equal weights the estimate would be as good.
    log_weights : array [shape=(chains,)]
    """

    value: float
    standard_error: float
    effective_samples: float
    log_weights: Array


@dataclass(frozen=True)
class Base:
    """Biases of the model without interactions that sampling starts from.

    Attributes
    ----------
    visible : array [shape=(channels,)]
    hidden : array [shape=(filters,)]
    """

    visible: Array
    hidden: Array


def base_rates(rbm: ConvolutionalRBM, v: npt.ArrayLike) -> Base:
    """Fit the base model's visible biases to data (n, height, width, channels); hidden ones are the RBM's."""
    mean = np.asarray(rbm.crop(np.asarray(v)), np.float64).mean(axis=(0, 1, 2))
    if rbm.visible == "binary":
        mean = np.clip(mean, 1e-3, 1 - 1e-3)
        mean = np.log(mean / (1 - mean))
    return Base(mean, rbm.hidden_biases.numpy().astype(np.float64))


def log_partition(
    rbm: ConvolutionalRBM,
    input_shape: tuple[int, int, int],
    *,
    chains: int = 100,
    steps: int = 1000,
    base: Base | None = None,
    samples: npt.ArrayLike | None = None,
    seed: int = 0,
) -> LogPartition:
    """Estimate log Z of an RBM on inputs of a shape.

    Visible units that no whole block of hidden units sees (see `ConvolutionalRBM.crop`) are no part of the model.

    Parameters
    ----------
    rbm : ConvolutionalRBM
        With binary hidden units.
    input_shape : (height, width, channels)
    chains : int
    steps : int
        Intermediate distributions, equally spaced.
    base : Base, optional
        Default: the RBM's own biases. `base_rates` of the data is better.
    samples : array [shape=(any, height, width, channels)], optional
        Samples of the RBM, exact or from long chains, one chain each; with them it goes from the RBM to the base, and
        the estimate is high rather than low on average.
    seed : int

    Returns
    -------
    LogPartition

    Raises
    ------
    ParameterError
        If a setting is out of range, or base or samples do not fit the RBM.
    NotFittedError
        If the RBM has no weights yet.

    Warns
    -----
    CepscopeWarning
        If a single chain has nearly all the weight: more steps or a better base are needed.
    """
    shape = _checked(rbm, input_shape, chains, steps, samples)
    twin, ends = _twin(rbm, shape, base)
    forward = samples is None
    if forward:
        v = twin.sample_visibles(tf.zeros((chains, *shape), tf.float64) + _base_mean(rbm, ends), (seed, -1))
    else:
        v = tf.convert_to_tensor(np.asarray(rbm.crop(np.asarray(samples)), np.float64))
    log_weights = _anneal(twin, ends, v, steps, seed, forward=forward)
    known = _log_partition_of_base(twin, shape, *[end[0] for end in ends[1:]])
    return _estimate(log_weights, known, forward=forward)


def bracket(
    rbm: ConvolutionalRBM,
    input_shape: tuple[int, int, int],
    *,
    chains: int = 100,
    steps: int = 1000,
    base: Base | None = None,
    samples: npt.ArrayLike | None = None,
    burn_in: int = 1000,
    seed: int = 0,
) -> tuple[LogPartition, LogPartition]:
    """Estimate log Z from both sides: low on average, and high on average (Burda, Grosse, Salakhutdinov 2015, AISTATS).

    Parameters
    ----------
    rbm, input_shape, chains, steps, base, seed
        As `log_partition`.
    samples : array [shape=(any, height, width, channels)], optional
        Samples of the RBM. Without, chains of the RBM itself start at the base: the second estimate is high on average
        only as far as these have reached the RBM's distribution.
    burn_in : int
        Gibbs steps of those chains.

    Returns
    -------
    (LogPartition, LogPartition)
        Where they are far apart at least one of them is wrong, whatever its standard error.
    """
    if burn_in < 1:
        raise ParameterError(f"`burn_in` must be at least 1. Received: {burn_in}")
    below = log_partition(rbm, input_shape, chains=chains, steps=steps, base=base, seed=seed)
    if samples is None:
        samples = _long_chains(rbm, input_shape, chains, burn_in, base, seed)
    above = log_partition(rbm, input_shape, chains=chains, steps=steps, base=base, samples=samples, seed=seed)
    return below, above


def log_likelihood(rbm: ConvolutionalRBM, v: npt.ArrayLike, partition: LogPartition) -> float:
    """Return the mean log likelihood of data (n, height, width, channels), in nats a patch."""
    energies = np.asarray(rbm.free_energy(np.asarray(v)), np.float64)
    return float(-energies.mean() - partition.value)


def _checked(
    rbm: ConvolutionalRBM, input_shape: tuple[int, int, int], chains: int, steps: int, samples: npt.ArrayLike | None
) -> tuple[int, ...]:
    """Refuse what would not work, or would give a wrong number in silence; return the shape of what the RBM sees."""
    if rbm.hidden != "binary":
        raise ParameterError(f"The normaliser is known for binary hidden units only. Received: hidden={rbm.hidden!r}")
    if chains < 2 or steps < 1:
        raise ParameterError(f"At least 2 `chains` and 1 of `steps` are needed. Received: {chains} and {steps}")
    if not rbm.built:
        raise NotFittedError(f"Layer {rbm.name!r} has no weights yet; build or train it first.")
    channels = rbm.kernel.shape[2]
    if len(input_shape) != 3 or input_shape[2] != channels:
        raise ParameterError(f"`input_shape` must be (height, width, {channels}). Received: {input_shape}")
    if samples is not None:
        given = np.asarray(samples)
        if given.ndim != 4 or given.shape[1:] != tuple(input_shape) or len(given) < 2:
            raise ParameterError(f"`samples` must be (2 or more, *{tuple(input_shape)}). Received: {given.shape}")
        if not np.isfinite(given).all():
            raise ParameterError("`samples` must be finite. Received: NaN or infinity among them")
    return tuple(rbm.crop(np.zeros((1, *input_shape), np.float32)).shape[1:])


Ends = tuple[tuple[Any, Any], tuple[Any, Any], tuple[Any, Any]]  # kernel, visible and hidden biases: base, RBM


def _twin(rbm: ConvolutionalRBM, shape: tuple[int, ...], base: Base | None) -> tuple[ConvolutionalRBM, Ends]:
    """Copy an RBM in double precision, to be moved along the path; return where that begins and ends."""
    twin = ConvolutionalRBM.from_config({**rbm.get_config(), "dtype": "float64", "name": f"{rbm.name}_annealed"})
    twin.build((None, *shape))
    for own, other in zip(twin.weights, rbm.weights, strict=True):
        own.assign(other.numpy().astype(np.float64))
    kernel, visible, hidden = (
        tf.identity(tf.convert_to_tensor(w)) for w in (twin.kernel, twin.visible_biases, twin.hidden_biases)
    )
    base = base or Base(visible.numpy(), hidden.numpy())
    for name, given, own in (("visible", base.visible, visible), ("hidden", base.hidden, hidden)):
        # anything else would be broadcast over the weights but counted once in the normaliser
        if np.shape(given) != tuple(own.shape) or not np.isfinite(given).all():
            raise ParameterError(
                f"`base.{name}` must be finite, of shape {tuple(own.shape)}. Received: {np.asarray(given)}"
            )
    first = [tf.constant(np.asarray(bias, np.float64)) for bias in (base.visible, base.hidden)]
    return twin, ((tf.zeros_like(kernel), kernel), (first[0], visible), (first[1], hidden))


def _base_mean(rbm: ConvolutionalRBM, ends: Ends) -> Any:
    visible = ends[1][0]
    return visible if rbm.visible == "gaussian" else tf.sigmoid(visible)


def _anneal(twin: ConvolutionalRBM, ends: Ends, v: Any, steps: int, seed: int, *, forward: bool) -> Array:
    """Lead samples along the path; return the log weight of each (chains,)."""
    moved = (twin.kernel, twin.visible_biases, twin.hidden_biases)

    def go_to(beta: Any) -> None:
        for weight, (start, end) in zip(moved, ends, strict=True):
            weight.assign(start + beta * (end - start))

    @tf.function  # type: ignore[untyped-decorator]
    def run(v: Any) -> Any:
        total = tf.zeros(tf.shape(v)[:1], tf.float64)
        go_to(tf.constant(0.0 if forward else 1.0, tf.float64))
        for t in tf.range(1, steps + 1):
            before = twin.free_energy(v)
            done = tf.cast(t, tf.float64) / steps
            go_to(done if forward else 1.0 - done)
            total += before - twin.free_energy(v)
            seeds = [tf.stack([tf.cast(seed, tf.int64), 2 * tf.cast(t, tf.int64) + i]) for i in range(2)]
            v, _ = twin.gibbs(v, seeds)
        return total

    # an own trace a model is meant; called by itself, TensorFlow would warn of too many
    found: Array = run.get_concrete_function(v)(v).numpy()
    return found


def _long_chains(
    rbm: ConvolutionalRBM, shape: tuple[int, ...], chains: int, steps: int, base: Base | None, seed: int
) -> Array:
    """Return where chains of the RBM are that started at the base (chains, height, width, channels)."""
    twin, ends = _twin(rbm, shape, base)

    @tf.function  # type: ignore[untyped-decorator]
    def run(v: Any) -> Any:
        for t in tf.range(steps):  # negative numbers: draws that no estimate uses
            seeds = [tf.stack([tf.cast(seed, tf.int64), -2 - 2 * tf.cast(t, tf.int64) - i]) for i in range(2)]
            v, _ = twin.gibbs(v, seeds)
        return v

    v = twin.sample_visibles(tf.zeros((chains, *shape), tf.float64) + _base_mean(rbm, ends), (seed, -1))
    found: Array = run.get_concrete_function(v)(v).numpy()
    return found


def _log_partition_of_base(twin: ConvolutionalRBM, shape: tuple[int, ...], visible: Any, hidden: Any) -> float:
    """Return log Z of the model without interactions, in closed form."""
    c, b = visible.numpy(), hidden.numpy()
    (rows, columns), (p, q) = twin.map_shape((None, *shape)), twin.pool_size
    if twin.visible == "gaussian":
        each = 0.5 * np.log(2 * math.pi) + np.log(twin.visible_scales.numpy())
    else:
        each = np.logaddexp(0, c)
    blocks = rows * columns / (p * q)
    total = shape[0] * shape[1] * each.sum() + blocks * np.logaddexp(0, math.log(p * q) + b).sum()
    if twin.center_hidden:
        total -= rows * columns * (twin.hidden_offsets.numpy() * b).sum()
    return float(total)


def _estimate(log_weights: Array, known: float, *, forward: bool) -> LogPartition:
    top = log_weights.max()
    weights = np.exp(log_weights - top)
    mean = weights.mean()
    error = float(weights.std(ddof=1) / mean / math.sqrt(len(weights)))  # of log mean w, to first order
    ratio = top + math.log(mean)
    effective = float(weights.sum() ** 2 / (weights**2).sum())
    if effective < FEWEST:
        warnings.warn(
            f"One of {len(weights)} chains has nearly all the weight ({effective:.1f} effective samples): log Z and "
            "its error say little. Take more steps, or base rates of the data.",
            CepscopeWarning,
            stacklevel=3,
        )
    return LogPartition(float(known + ratio if forward else known - ratio), error, effective, log_weights)
