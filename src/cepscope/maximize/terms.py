"""What can be read from a network besides its units, each a kind of term that objectives add up."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cepscope.errors import ParameterError
from cepscope.maximize.units import MAP_RANK, FloatArray, Seen, Term, Unit, map_shape, readable_layer, resolve_layer
from cepscope.models.backend import tf

SHARPNESS = 1.0  # power of the cosine in a caricature


@dataclass(frozen=True)
class Layer(Term):
    """How much a layer is excited as a whole: the mean square of its map (DeepDream; Mordvintsev et al. 2015)."""

    def __str__(self) -> str:
        return f"layer({self.layer})"

    @staticmethod
    def read(terms: Sequence[Layer], seen: Seen) -> Any:
        """Return (batch, len(terms))."""
        squares = seen.map**2
        value = tf.reduce_mean(squares if len(squares.shape) < MAP_RANK else seen.mean_over(squares), axis=1)
        return tf.repeat(value[:, None], len(terms), axis=1)


@dataclass(frozen=True)
class Probability(Term):
    """How probable a pooling unit of an RBM is to be on, averaged over its map."""

    index: int = 0

    def __str__(self) -> str:
        return f"probability({self.layer}:{self.index})"

    @staticmethod
    def read(terms: Sequence[Probability], seen: Seen) -> Any:
        """Return (batch, len(terms))."""
        return tf.gather(seen.mean_over(seen.layer(seen.value)), [t.index for t in terms], axis=1)

    def resolved(self, model: Any, classes: Sequence[str]) -> Probability:  # noqa: ARG002
        """Return the term; ParameterError if there is no such pooling unit."""
        found = Unit(_rbm(model, self.layer).name, self.index).resolved(model, ())
        return replace(self, layer=found.layer)


@dataclass(frozen=True)
class FreeEnergy(Term):
    """Free energy of what an RBM sees: low where its input is likely."""

    def __str__(self) -> str:
        return f"free_energy({self.layer})"

    @staticmethod
    def read(terms: Sequence[FreeEnergy], seen: Seen) -> Any:
        """Return (batch, len(terms)), in nats."""
        return tf.repeat(seen.layer.free_energy(seen.value)[:, None], len(terms), axis=1)

    def resolved(self, model: Any, classes: Sequence[str]) -> FreeEnergy:  # noqa: ARG002
        """Return the term; ParameterError if the layer is no RBM."""
        return replace(self, layer=_rbm(model, self.layer).name)


@dataclass(frozen=True)
class Direction(Term):
    """Activation of a layer along a direction in the space of its units, each averaged over its map.

    Attributes
    ----------
    vector : array [shape=(units,)]
        Of length one.
    tag : str
        What it is called.
    """

    vector: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32), compare=False, repr=False)
    tag: str = ""
    digest: str = field(default="", init=False, repr=False)  # so that other numbers make another term

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", checksum(self.vector))

    def __str__(self) -> str:
        return f"direction({self.layer}, {self.tag})"

    @staticmethod
    def read(terms: Sequence[Direction], seen: Seen) -> Any:
        """Return (batch, len(terms))."""
        return tf.matmul(seen.mean(), np.stack([t.vector for t in terms], axis=1))

    def resolved(self, model: Any, classes: Sequence[str]) -> Direction:  # noqa: ARG002
        """Return the term; ParameterError if the vector does not fit the layer."""
        layer = readable_layer(model, self.layer)
        width = map_shape(layer)[-1]
        if self.vector.shape != (width,):
            raise ParameterError(
                f"A direction in {layer.name} has {width} numbers, one a unit. Received: shape {self.vector.shape}"
            )
        return replace(self, layer=layer.name)


@dataclass(frozen=True)
class Caricature(Term):
    """Likeness to what a clip does to a layer, amplified: (v . u) / |u| times the cosine between v and u.

    v and u are the whole maps of the pattern and of the clip above the mean of real speech (Olah et al. 2017, Distill:
    direction times a power of the cosine).

    Attributes
    ----------
    above : array [shape=map]
        u.
    rest : array [shape=map]
        Mean map of real speech.
    tag : str
        What the clip is called.
    """

    above: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32), compare=False, repr=False)
    rest: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32), compare=False, repr=False)
    tag: str = ""
    digest: str = field(default="", init=False, repr=False)  # so that other numbers make another term

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", checksum(self.above) + checksum(self.rest))

    def __str__(self) -> str:
        return f"caricature({self.layer}, {self.tag})"

    @property
    def together(self) -> Any:
        """Those with one zero are read together."""
        return checksum(self.rest)

    @staticmethod
    def read(terms: Sequence[Caricature], seen: Seen) -> Any:
        """Return (batch, len(terms))."""
        size = int(np.prod(seen.map.shape[1:]))
        v = tf.reshape(seen.map - terms[0].rest, [-1, size])  # one zero for all: see `together`
        u = np.stack([t.above.reshape(-1) / max(float(np.linalg.norm(t.above)), 1e-12) for t in terms], axis=1)
        along = tf.matmul(v, u.astype(np.float32))  # (batch, terms)
        length = tf.sqrt(tf.reduce_sum(v**2, axis=1, keepdims=True) + 1e-12)
        return along * tf.maximum(along / length, 0.1) ** SHARPNESS


def checksum(array: FloatArray) -> str:
    """Return eight letters that tell arrays apart."""
    return f"{zlib.crc32(np.ascontiguousarray(array).tobytes()):08x}"


def _rbm(model: Any, name: str) -> Any:
    layer = resolve_layer(model, name)  # any layer: what is wrong with it is said here
    if not hasattr(layer, "free_energy"):
        raise ParameterError(f"{layer.name} is no RBM, so it has no free energy and no pooling probabilities.")
    return layer
