"""Sound files to arrays and back, outside any run: what `extract` and `invert` do for single files."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cepscope.cli import console

if TYPE_CHECKING:
    from cepscope.features import MfccSpec


def extract_files(files: list[Path], features: Any, out: Path | None) -> Path:
    """Write the MFCC of whole sound files, one array a file, and their front end; return the npz's path."""
    import numpy as np

    from cepscope.atomic import save_npz
    from cepscope.audio import read_audio
    from cepscope.errors import ParameterError
    from cepscope.features import mfcc

    target = out or _unused(files[0].with_suffix(".npz"))
    if target.suffix != ".npz":
        raise ParameterError(f"--out must end in .npz for sound files. Received: {target}")
    arrays: dict[str, Any] = {}
    spec = None
    for file in files:
        audio, rate = read_audio(file)
        if spec is None:
            spec = features.spec(rate)
        if rate != spec.sr:
            audio, _ = read_audio(file, sr=spec.sr)
        name = file.stem if file.stem not in arrays else f"{file.stem}-{len(arrays)}"
        arrays[name] = mfcc(audio, spec)
    assert spec is not None  # noqa: S101 (there is at least one file)
    save_npz(target, **arrays, spec=np.array(json.dumps(spec.to_dict())))
    return target


def invert_array(
    source: Path,
    out: Path | None,
    config: Path | None,
    sr: int | None,
    set_: list[str] | None,
    flags: dict[str, Any],
) -> list[Path]:
    """Write the sounds of an npy or npz of unscaled MFCC; return the wavs' paths."""
    from cepscope.audio import write_wav
    from cepscope.config import load_config
    from cepscope.errors import ParameterError
    from cepscope.invert.inversion import invert as invert_mfcc

    arrays, stored = _read_arrays(source)
    settings = load_config(config, overrides=set_ or (), flags={**flags, "features.sr": sr})
    if stored is None and not settings.features.sr:
        raise ParameterError(f"{source} does not say its front end. Give at least --sr, or a --spec file.")
    spec = stored or settings.features.spec(settings.features.sr)
    sounds = {}
    with console.progress() as bars:
        for done, (name, values) in enumerate(arrays.items(), start=1):
            found = invert_mfcc(values, spec, **settings.invert.arguments(), seed=settings.seed)
            for i, audio in enumerate(found.audio):
                sounds[name if len(found) == 1 else f"{name}-{i}"] = audio
            bars.update("invert", done, len(arrays))
    if len(sounds) == 1 and (out is None or out.suffix == ".wav"):
        paths = [out or _unused(source.with_suffix(".wav"))]
    else:
        folder = out or source.with_suffix("")
        if folder.suffix:
            raise ParameterError(f"There are {len(sounds)} sounds: --out must be a folder. Received: {out}")
        paths = [folder / f"{name.replace('/', '-')}.wav" for name in sounds]
    for path, audio in zip(paths, sounds.values(), strict=True):
        write_wav(path, audio, spec.sr)
    return paths


def _read_arrays(source: Path) -> tuple[dict[str, Any], MfccSpec | None]:
    import numpy as np

    from cepscope.errors import DataError
    from cepscope.features import MfccSpec

    try:
        with source.open("rb") as file:  # an own one, because np.load leaves its open on error
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {source.stem: loaded}, None
            arrays = {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{source} can't be read as arrays of numbers: {error}") from error
    spec = MfccSpec.from_dict(json.loads(str(arrays.pop("spec")))) if "spec" in arrays else None
    if "mfcc" in arrays and arrays.keys() & {"units", "problems"}:  # patterns or features of a run
        arrays = {"mfcc": arrays["mfcc"]}
    if not arrays:
        raise DataError(f"{source} holds no arrays.")
    return arrays, spec


def _unused(path: Path) -> Path:
    """Refuse to write over a file that was not named: it may be someone's recording."""
    from cepscope.errors import ParameterError

    if path.exists():
        raise ParameterError(f"{path} exists. Name the file to write with --out.")
    return path
