"""One run's settings: sections, ranges and defaults.

The defaults are those of the rooms, save the front end's floor, which suits recordings that are brought to one level.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from cepscope.features import FRONT_ENDS, MfccSpec
from cepscope.features.presets import FrontEnd, front_end_settings
from cepscope.features.spec import Cepstra, Filterbank, Log, Padding, Window

BUILT_IN = "spoken-digits"
HIGHEST_RATE = 16_000  # Hz, of a front end whose rate is not set: speech has little above 8 kHz

Count = Annotated[int, Field(ge=1, le=1_000_000)]
NaturalNumber = Annotated[int, Field(ge=0, le=1_000_000)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Pair = tuple[Count, Count]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FeaturesConfig(_Section):
    """The front end; see `cepscope.features.MfccSpec`. Zeros are taken from the sampling rate.

    `front_end` names one of `cepscope.features.FRONT_ENDS`, whose settings, rate and floor included, stand for all that
    are not set. `sr` 0 is the front end's own rate, or without one the corpus's, at most 16000; `frames` is the length
    of a patch; `whiten` makes its rows principal components, which suits kernels as high as `n_mfcc`.
    """

    front_end: Literal["", FrontEnd] = ""
    sr: NaturalNumber = 0
    n_fft: NaturalNumber = 0
    win: NaturalNumber = 0
    hop: NaturalNumber = 0
    n_mels: Count = 40
    n_mfcc: Count = 20
    fmin: NotNegative = 0.0
    fmax: NotNegative = 0.0
    lifter: NotNegative = 0.0
    htk: bool = False
    floor: Positive = 1e-5
    top_db: Annotated[float, Field(ge=0)] = math.inf
    log: Log = "db"
    c0: bool = True
    window: Window = "hann"
    periodic: bool = True
    padding: Padding = "zeros"
    scale: Positive = 1.0
    remove_dc: bool = False
    preemphasis: Share = 0.0
    power: Literal[1, 2] = 2
    filterbank: Filterbank = "slaney"
    cepstra: Cepstra = "librosa"
    warp: Positive = 1.0
    frames: Annotated[int, Field(ge=8, le=100_000)] = 64
    whiten: bool = False

    @model_validator(mode="before")
    @classmethod
    def _start_from_the_front_end(cls, given: Any) -> Any:
        """Fill in the settings of a named front end, so that what is kept of a run says them all."""
        if not isinstance(given, dict) or given.get("front_end") not in FRONT_ENDS:
            return given
        given = {name: value for name, value in given.items() if name != "sr" or value != 0}
        sizes = {name: given[name] for name in ("sr", "n_fft", "win") if type(given.get(name)) is int}
        return {**front_end_settings(given["front_end"], sizes), **given}

    @field_validator("c0")
    @classmethod
    def _leaves_an_order(cls, c0: bool, info: ValidationInfo) -> bool:
        n_mels = info.data.get("n_mels")
        if not c0 and n_mels is not None and info.data.get("n_mfcc") == n_mels:
            raise ValueError(f"should be true where n_mfcc is n_mels={n_mels}: one order fewer is left")
        return c0

    def spec(self, rate: int) -> MfccSpec:
        """Return the front end for recordings of `rate` Hz; ParameterError if its settings do not fit."""
        values = self.model_dump(exclude={"front_end", "frames", "whiten"})
        return MfccSpec(**{**values, "sr": self.sr or min(rate, HIGHEST_RATE)})


class ModelConfig(_Section):
    """The network; see `cepscope.models.build_cdbn`, or a file that somebody else trained, if `file` names one.

    Of a file: `labels` is a file with its classes, one a line; `layout` and `input` say which axis is time and what a
    frame holds, and are found out where that is clear; `scaling` is what its frames went through after extraction:
    "none", "standard" (as the data's), or an npz with mean and scale; `front_end` is the one that it was trained with,
    where `features` only come near it.
    """

    file: str = ""
    labels: str = ""
    layout: Literal["", "time-first", "coefficients-first"] = ""
    input: Literal["", "mfcc", "log-mel"] = ""
    scaling: Annotated[str, Field(min_length=1)] = "none"
    front_end: Literal["", "tf-speech-commands"] = ""

    filters: Annotated[tuple[Count, ...], Field(min_length=1)] = (24, 48)
    kernel_sizes: tuple[Pair, ...] = ((5, 5), (3, 5))
    pool_sizes: tuple[Pair, ...] = ((2, 2), (2, 2))
    visible: Literal["gaussian", "binary"] = "gaussian"
    visible_scale: Positive = 1.0
    hidden: Literal["binary", "relu"] = "binary"
    center_hidden: bool = False
    dropout: Share = 0.3

    def network(self) -> dict[str, Any]:
        """Return what decides a network of cepscope's own."""
        return self.model_dump(exclude=set(_OF_A_FILE))


_OF_A_FILE = ("file", "labels", "layout", "input", "scaling", "front_end")


class TrainConfig(_Section):
    """Both trainings; see `cepscope.models.pretrain` and `cepscope.models.fit_classifier`.

    Epochs of 0 are chosen by the size of the corpus. `mixed_precision` fine-tunes in half precision. `snapshots` keeps
    the network on its way, so that one can hear how its units came to be (`cepscope compare`).
    """

    pretrain: bool = True
    pretrain_epochs: NaturalNumber = 0
    pretrain_learning_rate: Positive = 1e-3
    k: Count = 1
    persistent: bool = False
    fast_learning_rate: NotNegative = 0.0
    sparsity: Share = 0.05
    sparsity_cost: NotNegative = 1.0
    sparsity_kind: Literal["bias", "cross_entropy"] = "bias"
    weight_decay: NotNegative = 1e-4
    learn_scales: bool = False
    initial_biases: Literal["data", "constant"] = "data"
    patience: NaturalNumber = 0
    frozen: tuple[str, ...] = ()
    epochs: NaturalNumber = 0
    batch_size: Count = 64
    learning_rate: Positive = 8e-3
    label_smoothing: Share = 0.1
    shift: NaturalNumber = 8
    mixed_precision: bool = False
    snapshots: bool = False


class PriorsConfig(_Section):
    """Weights of priors, each of which scores 1 on real speech; see `cepscope.maximize.priors`."""

    time_curvature: NotNegative = 0.03
    total_variation: NotNegative = 0.0
    quefrency: NotNegative = 0.1
    mahalanobis: NotNegative = 0.0
    quantile_range: NotNegative = 0.0
    frame_likelihood: NotNegative = 0.0
    patch_likelihood: NotNegative = 0.1
    free_energy: NotNegative = 0.0
    reachability: NotNegative = 0.0


class TransformsConfig(_Section):
    """Random changes at each step; see `cepscope.maximize.transforms`."""

    shift: NotNegative = 0.0
    stretch: Share = 0.0
    gain: NotNegative = 0.0
    warp: Share = 0.0
    mask: NaturalNumber = 0
    noise: NotNegative = 0.5


class MaximizeConfig(_Section):
    """The search for patterns; see `cepscope.maximize.engine.maximize`.

    `memory` is how many megabytes the patterns of one batch may take, 0 what the device allows; `batch` is how many
    patterns it holds at most, 0 as many as `memory` allows. Batches are the pieces that processes share.
    """

    layers: Literal["all"] | Annotated[tuple[str, ...], Field(min_length=1)] = "all"
    objectives: tuple[str, ...] = ()
    mode: Literal["speech", "classic"] = "speech"
    space: Literal["pixel", "speech", "cosine", "log_mel", "modulation", "waveform", "latent"] = "speech"
    steps: Count = 64
    learning_rate: Positive = 0.1
    radius: Positive = 1.3
    components: Count = 600
    shrinkage: Share = 0.05
    headroom: Annotated[float, Field(allow_inf_nan=False)] = 3.0
    context: Literal["", "silence", "donor"] = ""
    restarts: Count = 1
    variants: Count = 1
    diversity: NotNegative = 0.3
    patience: NaturalNumber = 0
    step: Positive = 1.0
    memory: NaturalNumber = 256
    batch: NaturalNumber = 128
    priors: PriorsConfig = PriorsConfig()
    transforms: TransformsConfig = TransformsConfig()


class InvertConfig(_Section):
    """The way to sound; see `cepscope.invert.inversion.invert`."""

    method: Literal["accurate", "fast", "neutral", "librosa"] = "accurate"
    level: Literal["full_scale", "free"] = "full_scale"
    excitation: Literal["predicted", "voiced", "whispered"] = "predicted"
    pitch: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0  # Hz; 0: predicted

    def arguments(self) -> dict[str, Any]:
        """Return them as `invert` takes them."""
        return self.model_dump() | {"pitch": self.pitch or None}


class ReportConfig(_Section):
    """The page: its title (by default the corpus's name) and how many real clips a unit shows."""

    title: str = ""
    exemplars: Count = 3


class RunConfig(_Section):
    """Everything that decides what a run produces.

    Attributes
    ----------
    corpus
        ``"spoken-digits"`` or a folder.
    seed
        Of everything random.
    strict
        A clip that can't be used is an error.
    layout, label, split, margin
        How the corpus is read, see `cepscope.corpora.load_corpus`; no layout: the one that is seen.
    features, model, train, maximize, invert, report
        One section a stage.
    """

    corpus: Annotated[str, Field(min_length=1)] = BUILT_IN
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    strict: bool = False
    layout: str = ""
    label: Annotated[str, Field(min_length=1)] = "label"
    split: Annotated[str, Field(min_length=1)] = "given"
    margin: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    features: FeaturesConfig = FeaturesConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    maximize: MaximizeConfig = MaximizeConfig()
    invert: InvertConfig = InvertConfig()
    report: ReportConfig = ReportConfig()

    def reading(self) -> dict[str, Any]:
        """Return how the corpus is read, as `load_corpus` takes it."""
        return {
            "seed": self.seed,
            "layout": self.layout or None,
            "label": self.label,
            "split": self.split,
            "margin": self.margin,
        }
