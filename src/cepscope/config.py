"""One run's settings: checked, read from TOML, environment and flags, written back as TOML.

What is set nearer to the person wins: flags over environment (``CEPSCOPE_TRAIN_EPOCHS=30``) over file over
defaults. A setting is written ``section.name``, as in ``train.epochs``. The defaults are those of the rooms,
save the front end's floor, which suits recordings that are brought to one level.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from cepscope.corpora.known import KNOWN
from cepscope.errors import CepscopeError, DataError, ParameterError
from cepscope.features import FRONT_ENDS, MfccSpec
from cepscope.features.presets import FrontEnd, front_end_settings
from cepscope.features.spec import Cepstra, Filterbank, Log, Padding, Window

PREFIX = "CEPSCOPE_"
BUILT_IN = "spoken-digits"
PATHS = {  # settings that are paths, and values of them that are none
    "corpus": ("", BUILT_IN),
    "model.file": ("",),
    "model.labels": ("",),
    "model.scaling": ("", "none", "standard"),
}
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
    hidden: Literal["binary", "relu"] = "binary"
    center_hidden: bool = False
    dropout: Share = 0.3

    def network(self) -> dict[str, Any]:
        """Return what decides a network of cepscope's own."""
        return self.model_dump(exclude=set(_OF_A_FILE))


_OF_A_FILE = ("file", "labels", "layout", "input", "scaling", "front_end")


class TrainConfig(_Section):
    """Both trainings; see `cepscope.models.pretrain` and `cepscope.models.fit_classifier`.

    Epochs of 0 are chosen by the size of the corpus.
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
    """The search for patterns; see `cepscope.maximize.engine.maximize`."""

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


def setting_names() -> list[str]:
    """Return every setting as ``section.name``."""
    return [name for name, _ in _flat(RunConfig().model_dump())]


def load_config(
    file: str | os.PathLike[str] | None = None,
    *,
    overrides: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> RunConfig:
    """Gather a run's settings.

    Parameters
    ----------
    file
        TOML; a corpus's folder in it is relative to the file.
    overrides
        ``"train.epochs=30"`` ...: the value is TOML, and text needs no quotes. The last one of a name wins.
    flags
        Settings by name, which win over `overrides`; None is not set.
    environment
        By default the process's. ``CEPSCOPE_TRAIN_EPOCHS`` is ``train.epochs``.

    Returns
    -------
    RunConfig

    Raises
    ------
    ParameterError
        A setting is unknown (the message names the nearest) or out of range, or the file is not TOML.
    DataError
        The file can't be read.

    Examples
    --------
    >>> sets = ["train.epochs=5", "invert.method=neutral"]
    >>> config = load_config(overrides=sets, flags={"seed": 3}, environment={})
    >>> config.train.epochs, config.invert.method, config.seed
    (5, 'neutral', 3)
    """
    values: dict[str, Any] = {}
    if file is not None:
        values |= _read_file(Path(file))
    values = _over(values, _read_environment(os.environ if environment is None else environment))
    values = _over(values, dict(parse_set(text) for text in overrides))
    said = {_known(name, where=""): value for name, value in (flags or {}).items() if value is not None}
    return _checked(_absolute(_over(values, said), Path.cwd()))


def _over(farther: dict[str, Any], nearer: dict[str, Any]) -> dict[str, Any]:
    """Let settings win over those from farther away; another front end also wins over single settings of the last."""
    name = nearer.get("features.front_end")
    if name and name != farther.get("features.front_end"):
        of_it = {f"features.{field.name}" for field in dataclasses.fields(MfccSpec)}
        farther = {setting: value for setting, value in farther.items() if setting not in of_it}
    return {**farther, **nearer}


def parse_set(text: str) -> tuple[str, Any]:
    """Split ``name=value``; the value is TOML, or else plain text.

    Examples
    --------
    >>> parse_set("model.filters=[8, 16]"), parse_set("report.title=My digits")
    (('model.filters', [8, 16]), ('report.title', 'My digits'))
    """
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name:
        raise ParameterError(f"a setting is written name=value, as in train.epochs=30. Received: {text!r}")
    return name, _toml_value(_known(name, where=""), value)


def _toml_value(name: str, text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    value = parsed["value"]
    if len(parsed) > 1 or isinstance(value, dict):  # more than one value was smuggled in, or a table
        return text
    is_text = isinstance(dict(_flat(RunConfig().model_dump()))[name], str)
    return value if not is_text or isinstance(value, str | list) else text


def _read_file(path: Path) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"can't read the settings {path} ({(error.strerror or 'unreadable').lower()})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path} is not TOML: {str(error).splitlines()[0]}") from error
    values = {_known(name, where=f"{path}: "): value for name, value in _flat(tables)}
    return _absolute(values, path.absolute().parent)


def _absolute(values: dict[str, Any], start: Path) -> dict[str, Any]:
    """Return values whose paths are found from anywhere; leave what is no path to the check."""
    return {
        name: os.path.normpath(start / Path(value).expanduser()) if _is_path(name, value, start) else value
        for name, value in values.items()
    }


def _is_path(name: str, value: Any, start: Path) -> bool:
    if name not in PATHS or not isinstance(value, str) or value in PATHS[name]:
        return False
    fetched = name == "corpus" and value in KNOWN  # unless there is such a folder
    return not fetched or (start / value).is_dir()


def _read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Take the variables that name settings; others may begin like ours, but not like one of our sections."""
    names = {PREFIX + name.replace(".", "_").upper(): name for name in setting_names()}
    values = {}
    for variable in sorted(environment):
        if variable in names:
            values[names[variable]] = _toml_value(names[variable], environment[variable].strip())
        elif variable.startswith(tuple(f"{PREFIX}{section.replace('.', '_').upper()}_" for section in _SECTIONS)):
            near = difflib.get_close_matches(variable, names, 1, cutoff=0.0)
            raise ParameterError(f"there is no setting {variable} (environment); nearest: {near[0]}")
    return values


def _known(name: str, *, where: str) -> str:
    """Return a setting's name; ParameterError with the nearest valid one when there is none such."""
    names = setting_names()
    if name in names:
        return name
    if name in _SECTIONS:
        raise ParameterError(f"{where}{name!r} is a section; name a setting in it, as in {_first_in(name)}")
    raise ParameterError(f"{where}there is no setting {name!r}; nearest: {_nearest(name, names)}")


def _first_in(section: str) -> str:
    return next(name for name in setting_names() if name.startswith(f"{section}."))


def _nearest(name: str, names: list[str]) -> str:
    """Compare whole names and last parts: both ``train.epoch`` and ``epochs`` find ``train.epochs``."""

    def likeness(other: str) -> float:
        whole = difflib.SequenceMatcher(None, name, other).ratio()
        last = difflib.SequenceMatcher(None, name.rpartition(".")[2], other.rpartition(".")[2]).ratio()
        return whole + last

    return max(names, key=likeness)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


_SECTIONS = tuple(dict.fromkeys(name.rpartition(".")[0] for name in setting_names() if "." in name))


def _checked(values: Mapping[str, Any]) -> RunConfig:
    nested: dict[str, Any] = {}
    for name, value in values.items():
        *sections, last = name.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = _tuples(value)
    try:
        config = RunConfig.model_validate(nested)
    except ValidationError as error:
        raise ParameterError(_one_line(error)) from None
    _check_together(config)
    return config


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


_EXPECTED = {"maximize.layers": "be 'all' or a list of layers"}
_WORDS = {
    "int_type": "be a whole number",
    "int_from_float": "be a whole number",
    "float_type": "be a number",
    "bool_type": "be true or false",
    "string_type": "be text",
    "string_too_short": "not be empty",
    "tuple_type": "be a list",
    "missing": "be a pair of whole numbers",
    "too_long": "be a pair of whole numbers",
}


def _one_line(error: ValidationError) -> str:
    """Say what is wrong with the first setting of all that are."""
    problems = error.errors(include_url=False)
    first = problems[0]
    parts = [str(part) for part in first["loc"]]
    names = setting_names()
    name = next((known for n in (3, 2) if (known := ".".join(parts[:n])) in names), parts[0])
    message = _EXPECTED.get(name) or _WORDS.get(first["type"]) or first["msg"].partition("should ")[2]
    entry = parts[len(name.split(".")) :] if name not in _EXPECTED else []
    where = f" (entry {'.'.join(entry)})" if entry else ""
    more = {str(p["loc"][:2]) for p in problems} - {str(first["loc"][:2])}
    also = f"; {len(more)} more {'setting is' if len(more) == 1 else 'settings are'} wrong" if more else ""
    received = json.dumps(first["input"], default=str)
    return f"{name}{where} must {message or 'be something else'}. Received: {received}{also}"


def _check_together(config: RunConfig) -> None:
    model = config.model
    counts = [len(sizes) for sizes in (model.filters, model.kernel_sizes, model.pool_sizes)]
    if len(set(counts)) > 1:
        raise ParameterError(
            "model.filters, model.kernel_sizes and model.pool_sizes must have one entry a layer. "
            f"Received: {counts[0]}, {counts[1]} and {counts[2]} entries"
        )
    features = config.features
    if features.n_mfcc > features.n_mels:
        raise ParameterError(
            f"features.n_mfcc must be at most features.n_mels={features.n_mels}. Received: {features.n_mfcc}"
        )


def to_toml(config: RunConfig, *, notes: Mapping[str, str] | None = None) -> str:
    """Write settings as TOML that `load_config` reads back.

    Parameters
    ----------
    config
        The settings.
    notes
        Comments behind single settings, by name.
    """
    notes = notes or {}
    lines, section = [], ""
    for name, value in _flat(config.model_dump()):
        head, dot, last = name.rpartition(".")
        if head != section:
            lines += ["", f"[{head}]"]
            section = head
        comment = f"  # {notes[name]}" if name in notes else ""
        lines.append(f"{last if dot else name} = {_as_toml(value)}{comment}")
    return "\n".join(lines) + "\n"


def _as_toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON's escapes are TOML's
    if isinstance(value, tuple):
        return f"[{', '.join(map(_as_toml, value))}]"
    if isinstance(value, int | float):
        return repr(value)  # inf and 1e-05 are TOML as they stand
    raise CepscopeError(f"no TOML for {type(value).__name__}")
