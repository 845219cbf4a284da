"""Settings from TOML, environment and flags, checked, and back to TOML.

What is set nearer to the person wins: flags over environment (``CEPSCOPE_TRAIN_EPOCHS=30``) over file over
defaults. A setting is written ``section.name``, as in ``train.epochs``.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cepscope.config.schema import BUILT_IN, RunConfig
from cepscope.corpora.known import KNOWN, expanded
from cepscope.errors import CepscopeError, DataError, ParameterError
from cepscope.features import MfccSpec

PREFIX = "CEPSCOPE_"
MOST_BYTES = 1 << 15  # of a file of settings: a run's own has some 5 kB
MOST_DEEP = 8  # tables in one another
_SHOWN = 80  # characters of a wrong value
PATHS = {  # settings that are paths, and values of them that are none
    "corpus": ("", BUILT_IN),
    "model.file": ("",),
    "model.labels": ("",),
    "model.scaling": ("", "none", "standard"),
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
    except (ValueError, RecursionError):  # not TOML, or a number of thousands of digits, or lists in lists in ...
        return text
    value = parsed["value"]
    if len(parsed) > 1 or isinstance(value, dict):  # more than one value was smuggled in, or a table
        return text
    is_text = isinstance(dict(_flat(RunConfig().model_dump()))[name], str)
    return value if not is_text or isinstance(value, str | list) else text


def _read_file(path: Path) -> dict[str, Any]:
    try:
        size, text = path.stat().st_size, ""
        if size <= MOST_BYTES:
            text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"can't read the settings {path} ({(error.strerror or 'unreadable').lower()})") from error
    except UnicodeDecodeError as error:
        raise ParameterError(f"{path} is not TOML: {error}") from error
    if size > MOST_BYTES:
        raise ParameterError(f"{path} must be settings of at most {MOST_BYTES} bytes. Received: {size} bytes")
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise ParameterError(f"{path} nests deeper than any setting does; write a setting as section.name") from None
    except ValueError as error:  # of TOML, or a number of thousands of digits
        raise ParameterError(f"{path} is not TOML: {str(error).splitlines()[0]}") from error
    values = {_known(name, where=f"{path}: "): value for name, value in _flat(tables)}
    return _absolute(values, path.absolute().parent)


def _absolute(values: dict[str, Any], start: Path) -> dict[str, Any]:
    """Return values whose paths are found from anywhere; leave what is no path to the check."""
    return {
        name: os.path.normpath(start / expanded(value)) if _is_path(name, value, start) else value
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
    name = _short(name)
    if name in _SECTIONS:
        raise ParameterError(f"{where}{name!r} is a section; name a setting in it, as in {_first_in(name)}")
    raise ParameterError(f"{where}there is no setting {name!r}; nearest: {_nearest(name, names)}")


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


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
        if isinstance(value, Mapping) and prefix.count(".") < MOST_DEEP:  # what lies deeper is no setting anyway
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
    received = _short(json.dumps(first["input"], default=str))
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
