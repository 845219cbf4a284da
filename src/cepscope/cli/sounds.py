"""Recordings to MFCC and back: what `invert` does for a sound file, or a folder of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cepscope.cli.inverting import Target, Wishes, invert_targets, refuse_early
from cepscope.cli.places import INVERTED, places_for, refuse_corpus, refuse_sources, sounds_in

if TYPE_CHECKING:
    from cepscope.config import RunConfig
    from cepscope.features import MfccSpec


@dataclass(frozen=True)
class _Recording:
    path: Path
    spec: MfccSpec
    samples: int  # at the front end's rate


def invert_recordings(source: Path, settings: RunConfig, wishes: Wishes) -> list[str]:
    """Invert the MFCC of a sound file, or of those in a folder; return the lines for stdout.

    Recordings are brought to full scale first (`cepscope.audio.condition`), as before every extraction of a run.
    """
    from cepscope.errors import ParameterError

    if wishes.seconds is not None:
        raise ParameterError(f"--length is for MFCC in a .npy or .npz. Received: {source}")
    several = source.is_dir()
    files = sounds_in(source) if several else [source]
    home = source if several else source.parent
    if wishes.out is None:
        refuse_corpus(home)
    recordings = _readable(files, settings, strict=settings.strict or not several)
    places = places_for(
        _names(recordings),
        wishes.out,
        single=home / f"{recordings[0].path.stem}{INVERTED}.wav",
        folder=home,
    )
    refuse_sources(places, files)
    specs = [one.spec for one in recordings]
    refuse_early([one.samples for one in recordings], specs, settings, wishes)
    return invert_targets(
        _targets(recordings, wishes),
        places,
        settings,
        wishes,
        spec=specs[0],
        seconds=sum(one.samples / one.spec.sr for one in recordings),
        title=f"{source.name}, from MFCC to sound",
    )


def _readable(files: Sequence[Path], settings: RunConfig, *, strict: bool) -> list[_Recording]:
    """Read all once, so that what can't be used is known before anything is made."""
    from cepscope.audio import read_audio
    from cepscope.errors import CepscopeWarning, DataError
    from cepscope.features.framing import check_length

    found = []
    for path in files:
        try:
            audio, rate = read_audio(path)
            sr = settings.features.sr or rate
            spec = settings.features.model_copy(update={"sr": sr}).spec(sr)
            check_length(round(len(audio) * sr / rate), spec)
        except DataError as error:
            if strict:
                raise
            warnings.warn(f"skipped {path.name}: {str(error).replace(str(path), path.name)}", CepscopeWarning, 2)
            continue
        found.append(_Recording(path, spec, round(len(audio) * sr / rate)))
    if not found:
        raise DataError(f"None of the {len(files)} sounds in {files[0].parent} can be read.")
    return found


def _names(recordings: Sequence[_Recording]) -> list[str]:
    """Return the wavs' stems: of files that differ in nothing but the suffix, with it."""
    stems = [one.path.stem for one in recordings]
    return [f"{one.path.stem if stems.count(one.path.stem) == 1 else one.path.name}{INVERTED}" for one in recordings]


def _targets(recordings: Sequence[_Recording], wishes: Wishes) -> Iterator[Target]:
    from cepscope.audio import condition, read_audio
    from cepscope.features import mfcc

    for one in recordings:
        audio = condition(read_audio(one.path, sr=one.spec.sr)[0])
        f0 = _pitch(audio, one.spec) if wishes.original_pitch else None
        yield Target(one.path.name, one.path, mfcc(audio, one.spec), one.spec, recording=audio, f0=f0)


def _pitch(audio: Any, spec: MfccSpec) -> Any:
    from cepscope.invert.pitch import track_pitch

    return track_pitch(audio, spec)
