"""The CDBN as a scikit-learn transformer, for pipelines, grid searches and everything else that speaks that language.

TensorFlow is loaded when something is fitted or transformed, not before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from cepscope.errors import ParameterError
from cepscope.models.checks import size

Array = npt.NDArray[np.float64]
OUTPUTS = ("last", "all")
AT_ONCE = 256  # patches


class CDBNTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Learn a stack of convolutional RBMs without labels; transform patches to their pooled mean field.

    Parameters
    ----------
    patch_shape : (int, int), optional
        Coefficients and frames of a patch, whose values in C order are a row of X. Default: one coefficient.
    filters, kernel_sizes, pool_sizes : sequences, one entry a layer
        See `cepscope.models.ConvolutionalRBM`. Kernels and blocks that are larger than their input are cut to it.
    visible : {"gaussian", "binary"}
        Of the first layer.
    standardize : bool
        Give each feature zero mean and unit variance first, as Gaussian visible units want it.
    output : {"last", "all"}
        Which layers' units are the features.
    epochs, batch_size, learning_rate, k, persistent, sparsity, sparsity_cost
        See `cepscope.models.pretrain`.
    random_state : int, RandomState instance or None
        Of first weights, order and draws.

    Attributes
    ----------
    n_features_in_ : int
    patch_shape_ : (int, int)
    mean_, scale_ : arrays [shape=(n_features,)]
        Taken from and divided out of X.
    weights_ : list of lists of arrays
        One list a layer: kernel, hidden biases, visible biases, scales and offsets.
    history_ : list of dict
        As `cepscope.models.pretrain` returns it.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.svm import LinearSVC
    >>> model = make_pipeline(CDBNTransformer(patch_shape=(20, 64), random_state=0), LinearSVC())
    """

    def __init__(
        self,
        patch_shape: tuple[int, int] | None = None,
        *,
        filters: Sequence[int] = (24,),
        kernel_sizes: Sequence[tuple[int, int]] = ((5, 5),),
        pool_sizes: Sequence[tuple[int, int]] = ((2, 2),),
        visible: str = "gaussian",
        standardize: bool = True,
        output: str = "last",
        epochs: int = 10,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        k: int = 1,
        persistent: bool = False,
        sparsity: float = 0.05,
        sparsity_cost: float = 1.0,
        random_state: Any = None,
    ) -> None:
        self.patch_shape = patch_shape
        self.filters = filters
        self.kernel_sizes = kernel_sizes
        self.pool_sizes = pool_sizes
        self.visible = visible
        self.standardize = standardize
        self.output = output
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.k = k
        self.persistent = persistent
        self.sparsity = sparsity
        self.sparsity_cost = sparsity_cost
        self.random_state = random_state

    def fit(self, X: npt.ArrayLike, y: Any = None) -> CDBNTransformer:  # noqa: ARG002  scikit-learn's names
        """Learn the layers from X (n_samples, n_features)."""
        x = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        if self.output not in OUTPUTS:
            raise ParameterError(f"`output` must be one of {', '.join(OUTPUTS)}. Received: {self.output!r}")
        shape = (1, x.shape[1]) if self.patch_shape is None else size("patch_shape", self.patch_shape)
        if self.standardize and self.visible == "binary":
            raise ParameterError("Binary visible units take features in 0 to 1: set standardize=False.")
        if math.prod(shape) != x.shape[1]:
            raise ParameterError(
                f"A row of X holds a patch of `patch_shape` {shape}, so {math.prod(shape)} features. "
                f"Received: {x.shape[1]} features"
            )
        self.patch_shape_ = shape
        self.mean_ = x.mean(axis=0) if self.standardize else np.zeros(x.shape[1])
        spread = x.std(axis=0) if self.standardize else np.ones(x.shape[1])
        self.scale_ = np.where(spread > 0, spread, 1.0)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        from cepscope.models.backend import keras
        from cepscope.models.greedy import pretrain

        inputs = keras.Input((*shape, 1))
        value, rbms = inputs, self._new_layers(seed)
        for rbm in rbms:
            value = rbm(value)
        self.history_ = pretrain(
            keras.Model(inputs, value),
            self._patches(x).astype(np.float32),
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            k=self.k,
            persistent=self.persistent,
            sparsity=self.sparsity,
            sparsity_cost=self.sparsity_cost,
            seed=seed,
        )
        self.output_ = self.output
        self.layers_ = [
            {"filters": r.filters, "kernel_size": r.kernel_size, "pool_size": r.pool_size, "visible": r.visible}
            for r in rbms
        ]
        self.weights_ = [rbm.get_weights() for rbm in rbms]
        sizes = [math.prod(rbm.output.shape[1:]) for rbm in rbms]
        self._n_features_out = sizes[-1] if self.output == "last" else sum(sizes)
        self._layers = self._double_layers()
        return self

    def transform(self, X: npt.ArrayLike) -> Array:
        """Return the pooled mean field of X: (n_samples, n_features_out), in C order of (row, column, filter)."""
        found: list[Array] = []
        for value in self._batches(X):
            parts = []
            for rbm in self._layers:
                value = rbm(value)  # noqa: PLW2901
                parts.append(np.asarray(value).reshape(len(value), -1))
            found.append(parts[-1] if self.output_ == "last" else np.concatenate(parts, axis=1))
        return np.concatenate(found)

    def score_samples(self, X: npt.ArrayLike) -> Array:
        """Return minus the free energy of the first layer: the log likelihood up to a constant, (n_samples,).

        `cepscope.models.ais` estimates the constant.
        """
        return np.concatenate([-np.asarray(self._layers[0].free_energy(v)) for v in self._batches(X)])

    def _batches(self, X: npt.ArrayLike) -> list[Array]:
        check_is_fitted(self)
        x = self._patches(validate_data(self, X, dtype=np.float64, reset=False))
        return [x[i : i + AT_ONCE] for i in range(0, len(x), AT_ONCE)]

    def _patches(self, x: Array) -> Array:
        return ((x - self.mean_) / self.scale_).reshape(-1, *self.patch_shape_, 1)

    def _new_layers(self, seed: int) -> list[Any]:
        from cepscope.models.crbm import ConvolutionalRBM

        sizes = [self.filters, self.kernel_sizes, self.pool_sizes]
        same = all(isinstance(entries, Sequence) for entries in sizes) and len(set(map(len, sizes))) == 1
        if not same or not len(self.filters):
            raise ParameterError("`filters`, `kernel_sizes` and `pool_sizes` must have one entry a layer.")
        layers, (height, width) = [], self.patch_shape_
        for i, (number, kernel, pool) in enumerate(zip(*sizes, strict=True)):
            kernel = (min(kernel[0], height), min(kernel[1], width))  # noqa: PLW2901
            height, width = height - kernel[0] + 1, width - kernel[1] + 1
            pool = (min(pool[0], height), min(pool[1], width))  # noqa: PLW2901
            height, width = height // pool[0], width // pool[1]
            visible = self.visible if i == 0 else "binary"
            layers.append(
                ConvolutionalRBM(number, kernel, pool_size=pool, visible=visible, seed=seed + i, dtype="float32")
            )
        return layers

    def _double_layers(self) -> list[Any]:
        """Return the layers in double precision, in which a row's features do not depend on the rows beside it."""
        from cepscope.models.crbm import ConvolutionalRBM

        layers = [ConvolutionalRBM(**settings, dtype="float64") for settings in self.layers_]
        shape: tuple[int | None, ...] = (None, *self.patch_shape_, 1)
        for layer, weights in zip(layers, self.weights_, strict=True):
            layer.build(shape)
            layer.set_weights(weights)
            shape = layer.compute_output_shape(shape)
        return layers

    def __getstate__(self) -> Any:
        """Leave out the layers, which are made anew from their weights."""
        return {name: value for name, value in super().__getstate__().items() if name != "_layers"}

    def __setstate__(self, state: Any) -> None:
        """Make the layers of a fitted one anew."""
        super().__setstate__(state)
        if "weights_" in state:
            self._layers = self._double_layers()
