"""Objectives: what a pattern is to excite, as small values that add up.

An objective is a weighted sum of terms. Each term counts from its mean over real speech, in units of how far the best
real clip rises above that mean, so that weights mean the same for every layer and network::

    unit("crbm2:7")                                   # a filter's mean over its map
    unit("crbm2:7@3,10")                              # at one place
    0.5 * unit("crbm2:7") - unit("crbm2:9")           # one, and not the other
    logit("three") - logit("eight")                   # what tells two classes apart
    -free_energy("crbm1") + caricature(model, "crbm2", clip)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from cepscope.errors import ParameterError
from cepscope.maximize.patterns import Patterns
from cepscope.maximize.terms import Caricature, Direction, FreeEnergy, Layer, Probability, checksum
from cepscope.maximize.units import FloatArray, Reader, Seen, Term, Unit, map_shape, readable_layer, reader, watch
from cepscope.models.backend import tf

Numbers = tuple[Any, Any, Any, Any]  # arrays or tensors (n,): indices of units, zeros, scales, weights

SMALL = 1e-6  # least rise of a term above its mean
BLOCK = 1024  # clips measured at a time


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms; add, subtract and scale them.

    Attributes
    ----------
    weights : dict
        Term to weight.
    label : str
        What it is called; by default how it is written.

    Examples
    --------
    >>> one, other = unit("crbm2:7"), unit("crbm2:9")
    >>> print(0.5 * one - other + 2 * (one + other) / 4)
    crbm2:7 - 0.5 * crbm2:9
    """

    weights: Mapping[Term, float]
    label: str = ""

    @property
    def name(self) -> str:
        """What it is called."""
        return self.label or str(self)

    def named(self, label: str) -> Objective:
        """Return the same objective under a name of its own."""
        return replace(self, label=label)

    def __add__(self, other: Objective) -> Objective:
        if not isinstance(other, Objective):
            return NotImplemented
        terms = dict.fromkeys([*self.weights, *other.weights])
        return Objective({t: self.weights.get(t, 0.0) + other.weights.get(t, 0.0) for t in terms})

    def __mul__(self, factor: float) -> Objective:
        if not isinstance(factor, Real):
            return NotImplemented
        return Objective({term: float(factor) * weight for term, weight in self.weights.items()})

    __rmul__ = __mul__

    def __truediv__(self, factor: float) -> Objective:
        if not isinstance(factor, Real):
            return NotImplemented
        if factor == 0:
            raise ParameterError(f"An objective can't be divided by 0: {self}")
        return Objective({term: weight / float(factor) for term, weight in self.weights.items()})

    def __neg__(self) -> Objective:
        return self * -1.0

    def __sub__(self, other: Objective) -> Objective:
        return self + -other

    def __str__(self) -> str:
        text = ""
        for term, weight in self.weights.items():
            sign = ("- " if weight < 0 else "+ ") if text else ("-" if weight < 0 else "")
            size = "" if abs(weight) == 1 else f"{abs(weight):g} * "
            text += f"{' ' if text else ''}{sign}{size}{term}"
        return text or "0"

    def resolved(self, model: Any, classes: Sequence[str] = ()) -> Objective:
        """Return the objective checked against a model, with class labels replaced by indices.

        Raises
        ------
        ParameterError
            If a term does not exist, a weight is not finite, or nothing is left to maximize.
        """
        found = Objective({})
        for term, weight in self.weights.items():
            found = found + Objective({term.resolved(model, classes): weight})
        weights = list(found.weights.values())
        if not any(weights) or not np.isfinite(weights).all():
            raise ParameterError(f"An objective needs finite weights that are not all 0. Received: {self.name}")
        return replace(found, label=self.label)


def unit(name: str) -> Objective:
    """Excite a unit: ``crbm2:7``, at one place ``crbm2:7@3,10``, of a class ``logits:three``."""
    return Objective({Unit.parse(name): 1.0})


def logit(label: str, *, layer: str = "logits") -> Objective:
    """Excite a class."""
    return Objective({Unit(layer, label): 1.0})


def layer(name: str) -> Objective:
    """Excite a whole layer."""
    return Objective({Layer(name): 1.0})


def probability(name: str) -> Objective:
    """Make a pooling unit ``crbm1:3`` of an RBM probable."""
    found = Unit.parse(name)
    if not isinstance(found.index, int) or found.place:
        raise ParameterError(f"A pooling unit is written layer:index. Received: {name!r}")
    return Objective({Probability(found.layer, found.index): 1.0})


def free_energy(name: str) -> Objective:
    """Raise the free energy of an RBM's input; ``-free_energy("crbm1")`` makes the input likely."""
    return Objective({FreeEnergy(name): 1.0})


def direction(name: str, vector: npt.ArrayLike, *, tag: str = "") -> Objective:
    """Excite a direction in the space of a layer's units.

    Parameters
    ----------
    name : str
        Of the layer.
    vector : array [shape=(units,)]
    tag : str, optional
        Name of the direction; by default a checksum of it.
    """
    array = np.asarray(vector, np.float32)
    length = float(np.linalg.norm(array))
    if array.ndim != 1 or not (np.isfinite(length) and length > 0):
        raise ParameterError(f"A direction is a finite vector that is not 0. Received: shape {array.shape}, {length}")
    array = array / np.float32(length)
    return Objective({Direction(name, array, tag or checksum(array)): 1.0})


def concept(model: Any, name: str, positive: npt.ArrayLike, negative: npt.ArrayLike, *, tag: str = "") -> Objective:
    """Excite the direction that tells two sets of clips apart in a layer (Kim et al. 2018, ICML).

    Parameters
    ----------
    model : keras.Model
    name : str
        Of the layer.
    positive, negative : array [shape=(n, n_mfcc, frames, 1)]
        Clips that have the concept, and clips that do not.
    tag : str, optional
        Name of the concept.

    Returns
    -------
    Objective
        Normal of a linear classifier of the layer's mean activations.

    Raises
    ------
    ParameterError
        If a set is empty or the layer does not exist.
    """
    from sklearn.linear_model import LogisticRegression

    sides = [np.asarray(positive, np.float32), np.asarray(negative, np.float32)]
    if not all(len(side) for side in sides):
        raise ParameterError(f"A concept needs clips on both sides. Received: {len(sides[0])} and {len(sides[1])}")
    chosen = readable_layer(model, name)
    read = reader(model, [Unit(chosen.name, i) for i in range(map_shape(chosen)[-1])])
    values = read.measure(np.concatenate(sides)).astype(np.float64)
    spread = np.maximum(values.std(axis=0), 1e-9)
    labels = np.repeat([1, 0], [len(side) for side in sides])
    normal = LogisticRegression(max_iter=1000).fit(values / spread, labels).coef_[0] / spread
    return direction(chosen.name, normal, tag=tag)


def caricature(model: Any, name: str, clip: npt.ArrayLike, speech: npt.ArrayLike, *, tag: str = "") -> Objective:
    """Match and amplify what a clip does to a layer.

    Parameters
    ----------
    model : keras.Model
    name : str
        Of the layer.
    clip : array [shape=(n_mfcc, frames, 1)]
    speech : array [shape=(n, n_mfcc, frames, 1)]
        Real clips whose mean map is the zero.
    tag : str, optional
        Name of the clip; by default a checksum.
    """
    from cepscope.models.backend import keras

    chosen = readable_layer(model, name)
    below = keras.Model(model.inputs[0], chosen.input)
    batch = np.asarray(speech, np.float32)
    one = np.asarray(clip, np.float32)
    if one.shape != batch.shape[1:] or not len(batch):
        raise ParameterError(f"A clip must be of shape {batch.shape[1:]}. Received: {one.shape}")

    def mapped(x: FloatArray) -> FloatArray:
        return np.asarray(Seen(chosen, below(x, training=False)).map)

    parts = [mapped(batch[i : i + 128]) for i in range(0, len(batch), 128)]
    rest = sum(part.sum(axis=0) for part in parts) / len(batch)
    above = mapped(one[None])[0] - rest
    return Objective({Caricature(chosen.name, above, np.asarray(rest, np.float32), tag or checksum(one)): 1.0})


def parse(text: str) -> Objective:
    """Read an objective as it is written: terms with weights, added up, spaces around every sign.

    Terms are units, ``layer(NAME)``, ``probability(NAME:INDEX)`` and ``free_energy(NAME)``; what holds arrays can not
    be written.

    Examples
    --------
    >>> print(parse("0.5 * crbm2:7 - crbm2:9@1,2"))
    0.5 * crbm2:7 - crbm2:9@1,2
    >>> print(parse("layer(crbm2) - 0.2 * free_energy(crbm1)"))
    layer(crbm2) - 0.2 * free_energy(crbm1)
    """
    kinds = {"layer": layer, "probability": probability, "free_energy": free_energy}
    found = Objective({})
    pieces = re.split(r"\s+([+-])\s+", text.strip())
    for sign, piece in zip(["+", *pieces[1::2]], pieces[::2], strict=True):
        weight, star, name = piece.rpartition("*")
        name = name.strip()
        minus = name.startswith("-")
        try:
            factor = float(weight) if star else 1.0
        except ValueError:
            raise ParameterError(
                f"An objective is written as in '0.5 * crbm2:7 - crbm2:9'. Received: {text!r}"
            ) from None
        called = re.fullmatch(r"(\w+)\((.+)\)", name[minus:])
        term = kinds[called[1]](called[2]) if called and called[1] in kinds else unit(name[minus:])
        found = found + term * (factor * (-1 if minus else 1) * (-1 if sign == "-" else 1))
    return found


KINDS: dict[str, type[Term]] = {
    kind.__name__: kind for kind in (Unit, Layer, Probability, FreeEnergy, Direction, Caricature)
}


def to_plain(objectives: Sequence[Objective]) -> tuple[list[dict[str, Any]], dict[str, FloatArray]]:
    """Turn objectives into what JSON can hold, and the arrays that it can't."""
    arrays: dict[str, FloatArray] = {}
    plain = []
    for objective in objectives:
        terms = []
        for term, weight in objective.weights.items():
            entry: dict[str, Any] = {"kind": type(term).__name__, "weight": weight}
            for each in (each for each in fields(term) if each.init):
                value = getattr(term, each.name)
                if isinstance(value, np.ndarray):
                    entry[each.name] = {"array": checksum(value)}
                    arrays[checksum(value)] = value
                else:
                    entry[each.name] = value
            terms.append(entry)
        plain.append({"label": objective.label, "terms": terms})
    return plain, arrays


def from_plain(plain: Sequence[Mapping[str, Any]], arrays: Mapping[str, FloatArray]) -> list[Objective]:
    """Undo `to_plain`."""
    found = []
    for entry in plain:
        weights = {}
        for term in entry["terms"]:
            values = {name: value for name, value in term.items() if name not in ("kind", "weight")}
            for name, value in values.items():
                if isinstance(value, Mapping):
                    values[name] = arrays[value["array"]]
                elif isinstance(value, list):
                    values[name] = tuple(value)
            weights[KINDS[term["kind"]](**values)] = float(term["weight"])
        found.append(Objective(weights, entry["label"]))
    return found


def objectives_of(patterns: Patterns) -> list[Objective]:
    """Return what each pattern maximizes."""
    if patterns.objectives:
        return from_plain(patterns.objectives, patterns.vectors)
    return [parse(name) for name in patterns.units]


@dataclass(frozen=True)
class ObjectiveReader:
    """Objectives of a network, read in one forward pass.

    Attributes
    ----------
    model : keras.Model
    names : tuple of str
    weights : scipy.sparse.csr_array [shape=(objectives, terms)]
    terms : Reader
    rest, scale : array [shape=(terms,)]
        Each term's mean over real speech, and how far the best real clip rises above it.
    """

    model: Any
    names: tuple[str, ...]
    weights: Any
    terms: Reader
    rest: FloatArray
    scale: FloatArray

    def own(self, x: Any, owner: npt.NDArray[np.intp], numbers: Numbers | None = None) -> Any:
        """Return one objective of each input, every term in units of real speech; differentiable.

        Parameters
        ----------
        x : tensor [shape=(n, n_mfcc, frames, 1)]
        owner : array of int [shape=(n,)]
            Which objective. Inputs go up the network only as far as theirs needs.
        numbers : tuple of tensor, optional
            Those of other objectives read in the same `ways`: a graph made for `owner` then serves these too.

        Returns
        -------
        tensor [shape=(n,)]
        """
        numbers = self.numbers(owner) if numbers is None else numbers
        kinds: dict[tuple[Any, ...], list[int]] = {}
        for row, i in enumerate(owner):
            kinds.setdefault(self._way(i), []).append(row)
        if len(kinds) == 1:
            return self._read(x, owner, numbers)
        order = np.concatenate(list(kinds.values()))
        sorts = bool(np.any(np.diff(order) != 1))
        if sorts:
            x = tf.gather(tf.reshape(x, tf.shape(x)), order)  # a reshape's gradient is dense, a gather's is not
        parts = tf.split(x, [len(rows) for rows in kinds.values()])
        found = [
            self._read(part, owner[rows], tuple(tf.gather(one, rows) for one in numbers))
            for part, rows in zip(parts, kinds.values(), strict=True)
        ]
        together = tf.concat(found, axis=0)
        return tf.gather(together, np.argsort(order)) if sorts else together

    def ways(self, owner: npt.NDArray[np.intp]) -> tuple[Any, ...]:
        """Return what decides how each objective is read, besides its `numbers`: of a unit's mean, the layer."""
        return tuple(way if (way := self._way(i))[-1] is not None else int(i) for i in owner)

    def numbers(self, owner: npt.NDArray[np.intp]) -> Numbers:
        """Return units' indices, zeros, scales and weights (n,), for objectives that are the mean of one unit."""
        index, (rest, scale, weight) = np.zeros(len(owner), np.int32), np.ones((3, len(owner)), np.float32)
        for row, i in enumerate(owner):
            if self._way(i)[-1] is not None:
                term, weight[row] = (
                    self.weights.indices[self.weights.indptr[i]],
                    self.weights.data[self.weights.indptr[i]],
                )
                index[row], rest[row], scale[row] = self.terms.terms[term].index, self.rest[term], self.scale[term]
        return index, rest, scale, weight

    def _way(self, i: int) -> tuple[Any, ...]:
        """Return what objectives must share to be read together: layers, and what single means have in common."""
        used = [self.terms.terms[j] for j in self.weights.indices[slice(*self.weights.indptr[i : i + 2])]]
        single = len(used) == 1 and isinstance(used[0], Unit) and used[0].place is None
        return (*dict.fromkeys(term.layer for term in used), used[0].together if single else None)

    def _read(self, x: Any, owner: npt.NDArray[np.intp], numbers: Numbers) -> Any:
        """Do what `own` does, for inputs that go up together."""
        layer, *_, single = self._way(owner[0])
        if single is not None:
            index, rest, scale, weight = numbers
            return (watch(self.model, {layer})(x)[layer].mean_of(index) - rest) / scale * weight
        used = np.unique(self.weights[owner].indices)
        values = reader(self.model, [self.terms.terms[j] for j in used]).read(x)
        weights = self.weights[owner][:, used].toarray().astype(np.float32)  # (n, used)
        return tf.reduce_sum((values - self.rest[used]) / self.scale[used] * weights, axis=1)

    def measure(self, x: npt.ArrayLike) -> FloatArray:
        """Return every objective of every input (n, n_mfcc, frames, 1), in the network's own units: (n, objectives)."""
        return np.asarray(self.terms.measure(x) @ self.weights.T, np.float32)

    def measure_own(self, x: npt.ArrayLike, owner: npt.NDArray[np.intp], *, batch_size: int = 128) -> FloatArray:
        """Return one objective of each input, in the network's own units: (n,); memory grows with `batch_size` only."""
        x = np.asarray(x, np.float32)
        found = np.zeros(len(x), np.float32)
        for i in range(0, len(x), batch_size):
            here = slice(i, i + batch_size)
            found[here] = (self.weights[owner[here]] * self.terms.measure(x[here])).sum(axis=1)
        return found


def _mean_and_most(read: Reader, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the mean and the largest of each term over clips, in the memory of some of them."""
    total, most = np.zeros(len(read.terms)), np.full(len(read.terms), -np.inf, np.float32)
    for i in range(0, len(x), BLOCK):
        real = read.measure(x[i : i + BLOCK])
        total += real.sum(axis=0, dtype=np.float64)
        most = np.maximum(most, real.max(axis=0))
    return (total / len(x)).astype(np.float32), most


def objective_reader(
    model: Any, objectives: Sequence[Objective], *, speech: npt.ArrayLike | None = None
) -> ObjectiveReader:
    """Build the reader of resolved objectives.

    Parameters
    ----------
    model : keras.Model
    objectives : sequence of Objective
    speech : array [shape=(n, n_mfcc, frames, 1)], optional
        Real clips that set the zero and the unit of each term; without, these are 0 and 1.
    """
    terms = list(dict.fromkeys(term for objective in objectives for term in objective.weights))
    place = {term: i for i, term in enumerate(terms)}
    entries = [(weight, i, place[term]) for i, one in enumerate(objectives) for term, weight in one.weights.items()]
    values, rows, columns = (np.array(column) for column in zip(*entries, strict=True))
    full = values != 0
    weights: Any = scipy.sparse.coo_array((values[full], (rows[full], columns[full])), (len(objectives), len(terms)))
    read = reader(model, terms)
    rest, scale = np.zeros(len(terms), np.float32), np.ones(len(terms), np.float32)
    if speech is not None:
        rest, highest = _mean_and_most(read, np.asarray(speech, np.float32))
        scale = np.maximum(highest - rest, SMALL)
    return ObjectiveReader(model, tuple(one.name for one in objectives), weights.tocsr(), read, rest, scale)
