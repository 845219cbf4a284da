"""Sound files to arrays and back, outside any run: what `extract` and `invert` do for single files."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cepscope.cli.inverting import Target, Wishes, invert_targets, refuse_early
from cepscope.cli.places import places_for, unused

if TYPE_CHECKING:
    from cepscope.config import RunConfig
    from cepscope.features import MfccSpec
    from cepscope.invert.lengthening import Way

RESERVED = ("spec", "path", "file")  # names that an npz's arrays can't have


def extract_files(files: list[Path], features: Any, out: Path | None) -> Path:
    """Write the MFCC of whole sound files, one array a file, and their front end; return the npz's path."""
    import numpy as np

    from cepscope.atomic import save_npz
    from cepscope.corpora.recordings import file_mfcc
    from cepscope.corpora.stretches import sound_rate
    from cepscope.errors import ParameterError

    target = out or unused(files[0].with_suffix(".npz"))
    if target.suffix != ".npz":
        raise ParameterError(f"--out must end in .npz for sound files. Received: {target}")
    arrays: dict[str, Any] = {}
    spec = None
    for file in files:
        spec = spec or features.spec(sound_rate(file))
        stem = file.stem.encode("utf-8", "replace").decode()  # Linux takes any bytes for a name, an npz does not
        name, count = stem, 1
        while name in arrays or name in RESERVED:
            count += 1
            name = f"{stem}-{count}"
        arrays[name] = file_mfcc(file, spec)
    assert spec is not None  # noqa: S101 (there is at least one file)
    save_npz(target, **arrays, spec=np.array(json.dumps(spec.to_dict())))
    return target


def invert_array(source: Path, settings: RunConfig, wishes: Wishes) -> list[str]:
    """Invert an npy or npz of unscaled MFCC; return the lines for stdout."""
    from cepscope.errors import ParameterError

    if wishes.original_pitch:
        raise ParameterError(f"--pitch-from original is for sound files: there is no recording in {source}.")
    arrays, stored = _read_arrays(source)
    if stored is None and not settings.features.sr:
        raise ParameterError(f"{source} does not say its front end. Give at least --sr, or a --spec file.")
    spec = stored or settings.features.spec(settings.features.sr)
    named = [pair for name, values in arrays.items() for pair in _named(name, values, source=source, spec=spec)]
    if wishes.seconds is not None:
        named = [(stem, _lengthened(target, wishes.seconds, wishes.fill)) for stem, target in named]
    targets = [target for _, target in named]
    places = places_for(
        [stem for stem, _ in named], wishes.out, single=source.with_suffix(".wav"), folder=source.with_suffix("")
    )
    samples = [spec.samples_of(target.mfcc.shape[-1]) for target in targets]
    refuse_early(samples, [spec], settings, wishes)
    return invert_targets(
        targets,
        places,
        settings,
        wishes,
        spec=spec,
        seconds=sum(samples) / spec.sr,
        title=f"{source.name}, from MFCC to sound",
    )


def _named(name: str, values: Any, *, source: Path, spec: MfccSpec) -> list[tuple[str, Target]]:
    """Return the patterns in an array, each with the stem of its wav."""
    from cepscope.errors import DataError, ParameterError

    if values.dtype.kind not in "fiu":
        raise DataError(f"MFCC must be real numbers. Received: {name} of {source}, {values.dtype}")
    if values.ndim < 2 or values.shape[-2] != spec.n_mfcc or not values.size:
        raise ParameterError(
            f"MFCC must be (..., {spec.n_mfcc}, frames), none empty. Received: {name} of {source}, {values.shape}"
        )
    flat = values.reshape(-1, *values.shape[-2:])
    stems = [name] if len(flat) == 1 else [f"{name}-{i}" for i in range(len(flat))]
    pairs = enumerate(zip(stems, flat, strict=True))
    return [(stem, Target(stem, source, one, spec, number=i)) for i, (stem, one) in pairs]


def _lengthened(target: Target, seconds: float, fill: Way) -> Target:
    """Return a pattern that lasts as long, or as it is if it does."""
    from cepscope.invert.lengthening import lengthen

    frames = target.spec.frames_of(round(seconds * target.spec.sr))
    if frames <= target.mfcc.shape[-1]:
        return target
    return replace(target, mfcc=lengthen(target.mfcc, frames, way=fill, crossfade=min(4, target.mfcc.shape[-1])).mfcc)


def _read_arrays(source: Path) -> tuple[dict[str, Any], MfccSpec | None]:
    from cepscope.atomic import load_npy, load_npz
    from cepscope.errors import CorruptArtifactError, DataError
    from cepscope.features import MfccSpec

    try:
        if not zipfile.is_zipfile(source):
            return {source.stem: load_npy(source)}, None
        arrays = load_npz(source)
    except CorruptArtifactError as error:
        raise DataError(f"{source} can't be read as arrays of numbers: {error.__cause__}") from error
    spec = None
    if "spec" in arrays:
        try:
            spec = MfccSpec.from_dict(json.loads(str(arrays.pop("spec"))))
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"spec in {source} is no front end that cepscope wrote: {error}") from error
    if "mfcc" in arrays and arrays.keys() & {"units", "problems"}:  # patterns or features of a run
        arrays = {"mfcc": arrays["mfcc"]}
    if not arrays:
        raise DataError(f"{source} holds no arrays.")
    return arrays, spec
