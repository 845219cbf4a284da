"""The convolutional deep belief network: convolutional RBMs in a stack, logits on top; an ordinary Keras model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any

from cepscope.errors import ParameterError
from cepscope.models.backend import keras
from cepscope.models.checks import natural, share, size
from cepscope.models.crbm import ConvolutionalRBM

RANK = 3
HIDDEN_BIAS = -1.0  # before training


def build_cdbn(
    input_shape: Sequence[int],
    classes: int | Sequence[str] = 10,
    *,
    filters: Sequence[int] = (24, 48),
    kernel_sizes: Sequence[tuple[int, int]] = ((5, 5), (3, 5)),
    pool_sizes: Sequence[tuple[int, int]] = ((2, 2), (2, 2)),
    visible: str = "gaussian",
    visible_scale: float = 1.0,
    hidden: str = "binary",
    center_hidden: bool = False,
    dropout: float = 0.3,
    seed: int = 0,
) -> Any:
    """Build a CDBN that takes MFCC patches and gives class probabilities.

    Parameters
    ----------
    input_shape : (n_mfcc, frames, 1)
    classes : int or sequence of str
        How many, or their names.
    filters, kernel_sizes, pool_sizes : sequences, one entry a layer
        See `ConvolutionalRBM`.
    visible : {"gaussian", "binary"}
        Visible units of the first layer; those above take pooled probabilities as binary units, or what rectified
        units give as Gaussian ones.
    visible_scale : float
        Standard deviation of the first layer's Gaussian visible units. Filters learn finer things the smaller it is.
    hidden : {"binary", "relu"}
        Hidden units of every layer.
    center_hidden : bool
        Hidden units have offsets; see `ConvolutionalRBM`.
    dropout : float
        Between the last layer and the logits, in training only.
    seed : int
        Of the first weights and of the dropout.

    Returns
    -------
    keras.Model
        Layers ``crbm1``, ``crbm2``, ..., ``logits`` (dense, linear), ``probabilities`` (softmax).

    Raises
    ------
    ParameterError
        If the shape is not (n_mfcc, frames, 1), the sequences differ in length, or the input is too small.

    Examples
    --------
    >>> model = build_cdbn((20, 64, 1), 10)
    >>> model.output_shape
    (None, 10)
    """
    shape, count = _checked(input_shape, classes, filters, kernel_sizes, pool_sizes, dropout)
    inputs = keras.Input(shape, name="mfcc")
    value, offset = inputs, 0.0
    for i, (number, kernel, pool) in enumerate(zip(filters, kernel_sizes, pool_sizes, strict=True)):
        value = ConvolutionalRBM(
            number,
            kernel,
            pool_size=pool,
            visible=visible if i == 0 else "binary" if hidden == "binary" else "gaussian",
            visible_scale=visible_scale if i == 0 else 1.0,
            hidden=hidden,
            center_hidden=center_hidden,
            visible_offset=offset,
            hidden_bias=HIDDEN_BIAS,
            seed=seed + i,
            name=f"crbm{i + 1}",
        )(value)
        odds = pool[0] * pool[1] * math.exp(HIDDEN_BIAS)  # mean of a pooling unit with small weights:
        offset = odds / (1 + odds) if hidden == "binary" else math.log1p(math.exp(HIDDEN_BIAS))
    return _classifier(inputs, value, count, dropout=dropout, seed=seed + len(filters), name="cdbn")


def build_cnn(
    input_shape: Sequence[int],
    classes: int | Sequence[str] = 10,
    *,
    filters: Sequence[int] = (24, 48),
    kernel_sizes: Sequence[tuple[int, int]] = ((5, 5), (3, 5)),
    pool_sizes: Sequence[tuple[int, int]] = ((2, 2), (2, 2)),
    dropout: float = 0.3,
    seed: int = 0,
) -> Any:
    """Build a plain convolutional network of a CDBN's shape, to compare it with: ReLU and max pooling.

    Parameters, results and errors are those of `build_cdbn`; its convolutions are ``conv1``, ``conv2``, ...

    Examples
    --------
    >>> build_cnn((20, 64, 1), 10).output_shape
    (None, 10)
    """
    shape, count = _checked(input_shape, classes, filters, kernel_sizes, pool_sizes, dropout)
    inputs = keras.Input(shape, name="mfcc")
    value = inputs
    for i, (number, kernel, pool) in enumerate(zip(filters, kernel_sizes, pool_sizes, strict=True)):
        start = keras.initializers.HeUniform(seed=seed + i)
        value = keras.layers.Conv2D(number, kernel, activation="relu", kernel_initializer=start, name=f"conv{i + 1}")(
            value
        )
        value = keras.layers.MaxPooling2D(pool, name=f"pool{i + 1}")(value)
    return _classifier(inputs, value, count, dropout=dropout, seed=seed + len(filters), name="cnn")


def _checked(
    input_shape: Sequence[int],
    classes: int | Sequence[str],
    filters: Sequence[int],
    kernel_sizes: Sequence[tuple[int, int]],
    pool_sizes: Sequence[tuple[int, int]],
    dropout: float,
) -> tuple[tuple[int, ...], int]:
    """Return the input's shape and the number of classes; refuse what is no network."""
    shape = tuple(input_shape)
    if len(shape) != RANK or not all(isinstance(n, Integral) and n >= 1 for n in shape) or shape[2] != 1:
        raise ParameterError(f"`input_shape` must be (n_mfcc, frames, 1). Received: {tuple(input_shape)}")
    count = len(classes) if isinstance(classes, Sequence) else int(classes)
    if count < 2:
        raise ParameterError(f"There must be at least two classes. Received: {classes}")
    if not len(filters) == len(kernel_sizes) == len(pool_sizes) > 0:
        raise ParameterError(
            "`filters`, `kernel_sizes` and `pool_sizes` must have one entry a layer. "
            f"Received: {len(filters)}, {len(kernel_sizes)} and {len(pool_sizes)} entries"
        )
    share(dropout=dropout)
    height, width = int(shape[0]), int(shape[1])
    for i, (number, kernel, pool) in enumerate(zip(filters, kernel_sizes, pool_sizes, strict=True)):
        natural(1, filters=number)
        (kh, kw), (p, q) = size("kernel_sizes", kernel), size("pool_sizes", pool)
        if height - kh + 1 < p or width - kw + 1 < q:
            raise ParameterError(
                f"Layer {i + 1}: an input of {(height, width)} is too small for kernels of {(kh, kw)} and blocks of "
                f"{(p, q)}. Take smaller ones or longer patches."
            )
        height, width = (height - kh + 1) // p, (width - kw + 1) // q
    return (int(shape[0]), int(shape[1]), 1), count


def _classifier(inputs: Any, value: Any, count: int, *, dropout: float, seed: int, name: str) -> Any:
    """Put the logits and their softmax on the last map."""
    value = keras.layers.Flatten(name="flatten")(value)
    # pooled probabilities are small and alike in size for all clips: without this the logits learn slowly
    value = keras.layers.LayerNormalization(name="normalization")(value)
    if dropout:
        value = keras.layers.Dropout(dropout, seed=seed, name="dropout")(value)
    start = keras.initializers.GlorotUniform(seed=seed)
    value = keras.layers.Dense(count, kernel_initializer=start, name="logits")(value)
    outputs = keras.layers.Softmax(name="probabilities")(value)
    return keras.Model(inputs, outputs, name=name)
