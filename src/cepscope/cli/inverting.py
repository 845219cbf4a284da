"""What `invert` does with any MFCC outside a run: sounds to files, their scores, the page of all methods."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cepscope.cli import console
from cepscope.cli.places import unused

if TYPE_CHECKING:
    from cepscope.config import RunConfig
    from cepscope.features import MfccSpec
    from cepscope.invert import Sounds
    from cepscope.invert.lengthening import Way
    from cepscope.report import ComparisonItem

LONG = 20.0  # seconds of sound from which on it is said how long they take
AHEAD = 4  # targets a process that are read at once
_PROBE = 100  # frames by which that is measured
AGAINST_RECORDING = ("stoi", "pesq", "spectral_convergence")
OWN = ("relative_error", "normalised_error", "gain")
TOLD = (*OWN, "peak", "loudness_lufs", *AGAINST_RECORDING)

LONGEST = 600.0  # seconds that a pattern is lengthened to


@dataclass(frozen=True)
class Wishes:
    """What was asked for besides settings.

    Attributes
    ----------
    out : Path, optional
        The wav, or a folder.
    loudness : float, optional
        Of the wavs, LUFS.
    pitch : float, optional
        Of the voice, Hz.
    original_pitch : bool
        Whether the voice follows the recording's pitch instead.
    compare : bool
        Whether a page compares all methods.
    as_json : bool
        Whether scores are told, not only paths.
    seconds : float, optional
        Length that shorter patterns are brought to.
    fill : {"hold", "loop", "tile"}
        How, see `cepscope.invert.lengthen`.
    workers : int
        Processes that make sounds.

    Raises
    ------
    ParameterError
        Two pitches are wished for.
    """

    out: Path | None = None
    loudness: float | None = None
    pitch: float | None = None
    original_pitch: bool = False
    compare: bool = False
    as_json: bool = False
    seconds: float | None = None
    fill: Way = "loop"
    workers: int = 1

    def __post_init__(self) -> None:
        from cepscope.errors import ParameterError

        if self.original_pitch and self.pitch is not None:
            raise ParameterError("--pitch and --pitch-from original are two pitches; give one of them.")
        if self.seconds is not None and not 0 < self.seconds <= LONGEST:
            raise ParameterError(f"--length must be above 0 and at most {LONGEST:g} s. Received: {self.seconds:g}")


@dataclass(frozen=True, eq=False)
class Target:
    """What one sound is made from.

    Attributes
    ----------
    name : str
    source : Path
        The file that it comes from.
    mfcc : array [shape=(n_mfcc, frames)]
    spec : MfccSpec
    number : int
        Of its random draws.
    recording : array [shape=(samples,)], optional
        At ``spec.sr``.
    f0 : array [shape=(frames,)], optional
        Pitch that the voice follows, Hz; 0 where unvoiced.
    """

    name: str
    source: Path
    mfcc: Any
    spec: MfccSpec
    number: int = 0
    recording: Any = None
    f0: Any = None


def page_place(places: Sequence[Path]) -> Path:
    """Return where the page of methods goes: beside the sounds."""
    page = places[0].with_suffix(".html") if len(places) == 1 else places[0].parent / "comparison.html"
    return unused(page)


def methods_for(settings: RunConfig, wishes: Wishes, spec: MfccSpec) -> tuple[str, ...]:
    """Return the methods to run: the one that was chosen, or for a comparison all that know the front end."""
    from cepscope.invert.inversion import METHODS
    from cepscope.invert.starting import librosa_refuses

    if not wishes.compare:
        return (settings.invert.method,)
    return tuple(method for method in METHODS if method != "librosa" or not librosa_refuses(spec))


def refuse_early(samples: Sequence[int], specs: Sequence[MfccSpec], settings: RunConfig, wishes: Wishes) -> None:
    """Raise what can't end well before any sound is made: a loudness out of range, a page too large."""
    from cepscope.audio import at_loudness

    wanted = [] if wishes.loudness is None else [wishes.loudness]
    if wishes.compare:
        from cepscope.report.comparison import check_size
        from cepscope.report.media import LUFS

        check_size([each * (1 + len(methods_for(settings, wishes, specs[0]))) for each in samples])
        wanted.append(LUFS)
    for rate in {spec.sr for spec in specs}:
        for lufs in wanted:
            at_loudness([1.0], rate, lufs=lufs)  # what is refused of this is refused of any sound


def invert_targets(
    targets: Iterable[Target],
    places: Sequence[Path],
    settings: RunConfig,
    wishes: Wishes,
    *,
    spec: MfccSpec,
    seconds: float,
    title: str,
) -> list[str]:
    """Write a sound for each target, and the page if it is wished for.

    Parameters
    ----------
    targets : iterable of Target
        Read one at a time.
    places : sequence of Path
        The wavs, one a target.
    settings : RunConfig
    wishes : Wishes
    spec : MfccSpec
        Front end of the first one; the others differ in nothing but the rate.
    seconds : float
        Length of all sounds.
    title : str
        Of the page.

    Returns
    -------
    list of str
        Lines for stdout: paths, or JSON objects.
    """
    from cepscope.audio import write_wav

    methods = methods_for(settings, wishes, spec)
    page = page_place(places) if wishes.compare else None
    lines, items, errors = [], [], []
    with console.progress() as bars:
        many: dict[str, Any] = {"seconds": seconds, "count": len(places), "workers": wishes.workers}
        made = make_sounds(targets, methods, settings, **many, bars=bars)
        for (target, sounds_of), place in zip(made, places, strict=True):
            sounds = sounds_of[settings.invert.method]
            if wishes.loudness is not None:
                sounds = _at_loudness(sounds, wishes.loudness)
            write_wav(place, sounds.audio[0], sounds.sr)
            errors.append(float(sounds.relative_error[0]))
            if wishes.as_json:
                scores = {name: getattr(sounds, name)[0] for name in OWN}
                told = record(target, place, sounds.audio[0], method=sounds.method, scores=scores)
            lines.append(json.dumps(told) if wishes.as_json else str(place))
            if page:
                items.append((target, sounds_of))
        if page:
            lines.append(write_page(page, items, title=title, as_json=wishes.as_json))
    _say_errors(errors)
    return lines


def make_sounds(
    targets: Iterable[Target],
    methods: Sequence[str],
    settings: RunConfig,
    *,
    seconds: float,
    count: int,
    bars: console.Bars,
    workers: int = 1,
) -> Iterator[tuple[Target, dict[str, Sounds]]]:
    """Yield `count` targets, `seconds` long in all, with their sound by each method; say how long that may take."""
    from cepscope.workers import Workers

    crew, waiting, done = Workers(count=workers), iter(targets), 0
    together = crew.processes(count)

    def finished(_sounds: Sounds) -> None:
        nonlocal done
        done += 1
        bars.update("invert", done, count * len(methods))

    while some := list(islice(waiting, 1 if together == 1 else AHEAD * together)):
        if done == 0 and seconds * len(methods) > LONG:
            expected = console.duration(_expected(some[0], methods, settings) * seconds * len(methods) / together)
            many = f" by {len(methods)} methods" if len(methods) > 1 else ""
            console.say(f"The inversion of {console.duration(seconds)} of sound{many} takes about {expected}.")
        pieces = [(target, method, settings) for target in some for method in methods]
        made = iter(crew.map(_invert_piece, pieces, done=finished))
        for target in some:
            yield target, dict(zip(methods, islice(made, len(methods)), strict=True))


def write_page(page: Path, items: Iterable[tuple[Target, Mapping[str, Sounds]]], *, title: str, as_json: bool) -> str:
    """Write the page of all methods; return its line for stdout."""
    from cepscope.report import write_comparison

    write_comparison(page, comparison_items(items), title=title)
    return json.dumps({"comparison": str(page)}) if as_json else str(page)


def comparison_items(items: Iterable[tuple[Target, Mapping[str, Sounds]]]) -> list[ComparisonItem]:
    """Return what the page of all methods, and its figures, are made of."""
    from cepscope.report import ComparisonItem

    return [ComparisonItem(one.name, one.mfcc, one.spec, made, one.recording) for one, made in items]


def record(target: Target, place: Path, audio: Any, *, method: str, scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of a sound as JSON; null for what is not defined, not installed or has no recording."""
    import numpy as np

    from cepscope.audio import loudness
    from cepscope.errors import ParameterError
    from cepscope.invert.scores import score_sound

    told = {**scores, "peak": np.abs(audio).max()}
    try:
        told["loudness_lufs"] = loudness(audio, target.spec.sr)
    except ParameterError:  # of a rate below that of the standard's filters
        told["loudness_lufs"] = math.nan
    if target.recording is not None:
        found = score_sound(audio, target.mfcc, target.spec, gain=float(scores["gain"]), reference=target.recording)
        told |= {name: found[name] for name in AGAINST_RECORDING}
    words = {"source": str(target.source), "name": target.name, "file": str(place), "method": method}
    return words | {name: _number(told.get(name, math.nan)) for name in TOLD}


def _at_loudness(sounds: Sounds, lufs: float) -> Sounds:
    from cepscope.audio import loudness
    from cepscope.errors import CepscopeWarning

    made = sounds.at_loudness(lufs)
    level = loudness(made.audio[0], made.sr)
    if level < lufs - 0.1 and math.isfinite(level):
        warnings.warn(f"{made.names[0]} has {level:.1f} LUFS; any louder, and its peaks would clip", CepscopeWarning, 2)
    return made


def _invert_piece(piece: tuple[Target, str, RunConfig]) -> Sounds:
    return _invert(*piece)


def _invert(target: Target, method: str, settings: RunConfig) -> Sounds:
    from cepscope.invert.inversion import invert

    chosen: dict[str, Any] = {**settings.invert.arguments(), "method": method}
    if target.f0 is not None:
        chosen["f0"] = target.f0
    return invert(target.mfcc, target.spec, **chosen, names=[target.name], indices=[target.number], seed=settings.seed)


def _expected(target: Target, methods: Sequence[str], settings: RunConfig) -> float:
    """Measure how many seconds a second of sound takes, on some frames from the middle of a target."""
    frames = target.mfcc.shape[-1]
    start = max(0, (frames - _PROBE) // 2)
    part = slice(start, start + _PROBE)
    piece = Target(
        target.name,
        target.source,
        target.mfcc[:, part],
        target.spec,
        f0=None if target.f0 is None else target.f0[part],
    )
    taken = math.inf
    for _ in range(2):  # the first time, libraries are loaded
        started = time.perf_counter()
        for method in methods:
            _invert(piece, method, settings)
        taken = min(taken, time.perf_counter() - started)
    probed: float = piece.mfcc.shape[-1] * target.spec.hop / target.spec.sr
    return taken / len(methods) / probed


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _say_errors(errors: Sequence[float]) -> None:
    """Say how far to trust the sounds."""
    import numpy as np

    if len(errors) == 1:
        console.say(f"Relative error of its MFCC: {errors[0]:.3f}")
    else:
        console.say(f"Relative error of their MFCC: median {np.median(errors):.3f}, largest {max(errors):.3f}")
