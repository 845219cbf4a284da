"""What a page shows, as plain arrays and words: no network, no corpus, nothing that must be loaded first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError
from cepscope.features import MfccSpec

FloatArray = npt.NDArray[np.float32]

TRUSTED_RATIO = 0.5  # below this share of the pattern's, or of real speech's, activation a sound is not believed
PATCH_RANK, KERNEL_RANK, AUDIO_RANK = 2, 2, 1


def _finite(name: str, value: Any, rank: int) -> FloatArray:
    array = np.asarray(value, np.float32)
    if array.ndim != rank or not array.size or not np.isfinite(array).all():
        raise ParameterError(
            f"`{name}` must be a finite array of {rank} axes. Received: shape {array.shape}"
            + (" with NaN or Inf in it" if array.size and not np.isfinite(array).all() else "")
        )
    return array


@dataclass(frozen=True, eq=False)
class Exemplar:
    """A real clip that excites a unit.

    Attributes
    ----------
    clip : str
        Name of the clip; clips of one name and one sound are stored once on a page.
    label, speaker : str
        Empty if unknown.
    activation : float
        Of the unit, above its mean over real clips, in units of the best clip.
    pattern : array [shape=(n_mfcc, frames)]
        Scaled MFCC, in standard deviations.
    audio : array [shape=(samples,)]
        Full scale is 1.
    """

    clip: str
    label: str
    speaker: str
    activation: float
    pattern: FloatArray
    audio: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "pattern", _finite(f"pattern of {self.clip}", self.pattern, PATCH_RANK))
        object.__setattr__(self, "audio", _finite(f"audio of {self.clip}", self.audio, AUDIO_RANK))


@dataclass(frozen=True, eq=False)
class View:
    """Another way to show a unit, where the unit sees it.

    Attributes
    ----------
    name : str
        One of `cepscope.maximize.views.VIEWS`.
    picture : array [shape=(rows, frames)]
        What the unit sees of it, in standard deviations from what it would be for no unit in particular.
    agreement : float
        Cosine with the pattern's part that the unit sees.
    activation : float
        Of the unit by it, scaled to the length of the exemplar, over that of the exemplar.
    """

    name: str
    picture: FloatArray
    agreement: float
    activation: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "picture", _finite(f"view {self.name}", self.picture, PATCH_RANK))


@dataclass(frozen=True, eq=False)
class UnitCard:
    """One unit: what it prefers, how that sounds, how far to believe it.

    Attributes
    ----------
    unit : str
        ``layer:index``.
    layer : str
    index : int
    label : str
        Class name of a logit, else empty.
    filter : array [shape=(kernel_height, kernel_width)], optional
        Kernel in the plane of MFCC coefficients and frames; of deeper layers its projection on that plane.
    pattern : array [shape=(n_mfcc, frames)]
        Scaled MFCC, in standard deviations of each coefficient.
    mfcc : array [shape=(n_mfcc, frames)]
        The same in the front end's own scale.
    audio : array [shape=(samples,)]
        The sound; full scale is 1.
    sr : int
        Its sampling rate in Hz.
    scores : mapping
        ``natural_max, pattern_over_natural, sound_over_natural, retention, naturalness_z, mfcc_relative_error, mcd_db,
        hnr_db, voiced_share, log_mel_range_db, gain, sound_class, sound_right``; what is missing, None or NaN was not
        measured.
    exemplars : tuple of Exemplar
        The most exciting first.
    views : tuple of View
        Other ways to show the unit.
    """

    unit: str
    layer: str
    index: int
    label: str
    filter: FloatArray | None
    pattern: FloatArray
    mfcc: FloatArray
    audio: FloatArray
    sr: int
    scores: Mapping[str, Any] = field(default_factory=dict)
    exemplars: tuple[Exemplar, ...] = ()
    views: tuple[View, ...] = ()

    def __post_init__(self) -> None:
        if self.filter is not None:
            object.__setattr__(self, "filter", _finite(f"filter of {self.unit}", self.filter, KERNEL_RANK))
        object.__setattr__(self, "pattern", _finite(f"pattern of {self.unit}", self.pattern, PATCH_RANK))
        object.__setattr__(self, "mfcc", _finite(f"mfcc of {self.unit}", self.mfcc, PATCH_RANK))
        object.__setattr__(self, "audio", _finite(f"audio of {self.unit}", self.audio, AUDIO_RANK))
        object.__setattr__(self, "exemplars", tuple(self.exemplars))
        object.__setattr__(self, "views", tuple(self.views))
        if self.sr <= 0:
            raise ParameterError(f"`sr` of {self.unit} must be positive, in Hz. Received: {self.sr}")

    def score(self, name: str) -> float:
        """Return a numeric score; NaN if it was not measured."""
        value = self.scores.get(name)
        return math.nan if value is None or isinstance(value, str) else float(value)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why this unit's sound should not be believed, in words; empty if there is no reason."""
        found = []
        natural, kept = self.score("sound_over_natural"), self.score("retention")
        if natural < TRUSTED_RATIO:
            found.append(f"the sound excites the unit at {natural:.2f} of the best real clip")
        if kept < TRUSTED_RATIO:
            found.append(f"the sound keeps {kept:.2f} of the pattern's activation")
        if math.isnan(natural) or math.isnan(kept):
            found.append("its activation can't be compared: no ratio to real speech was measured")
        if self.scores.get("sound_right") is False:
            found.append(f"the network hears the sound as {self.scores.get('sound_class') or 'another class'}")
        return tuple(found)


@dataclass(frozen=True, eq=False)
class ReportContent:
    """Everything on one page.

    Attributes
    ----------
    title : str
    run : mapping
        Settings, versions, seeds, timings ...: mappings become tables, what is nested is written ``a.b``.
    corpus : mapping
        ``name, clips, classes, speakers, synthetic, note, skipped``; all optional but the name.
    spec : MfccSpec
        The front end of all patterns.
    frames : int
        Length of a patch.
    units : tuple of UnitCard
    history : list of dict
        Rows with a ``layer`` are of pretraining, the others of fine-tuning; both have an ``epoch``.
    summary : mapping
        As printed by ``cepscope probe --json``.
    """

    title: str
    run: Mapping[str, Any]
    corpus: Mapping[str, Any]
    spec: MfccSpec
    frames: int
    units: tuple[UnitCard, ...]
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", tuple(self.units))
        if not self.units:
            raise ParameterError("A page needs at least one unit. Received: none")
        names = [card.unit for card in self.units]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ParameterError(f"Every unit must appear once. Received: {twice} more than once")
        expected = (self.spec.n_mfcc, self.frames)
        for card in self.units:
            shapes = {card.pattern.shape, card.mfcc.shape, *(e.pattern.shape for e in card.exemplars)}
            if shapes != {expected}:
                raise ParameterError(
                    f"All patterns of {card.unit} must be (n_mfcc, frames) = {expected}. Received: {sorted(shapes)}"
                )

    @property
    def layers(self) -> dict[str, tuple[UnitCard, ...]]:
        """The cards of each layer, in order of appearance."""
        names = dict.fromkeys(card.layer for card in self.units)
        return {name: tuple(card for card in self.units if card.layer == name) for name in names}
