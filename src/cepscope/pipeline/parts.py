"""What a worker does of a stage: one piece, by the run's folder and settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cepscope.atomic import sha256
from cepscope.audio import read_audio, write_wav
from cepscope.features import Scaling, load_scaling
from cepscope.pipeline.pieces import Piece

if TYPE_CHECKING:
    from cepscope.pipeline.stages import Context

Report = Callable[[int], None]
PROBE = "probe"  # folder of what the probe stage keeps until it is done, beside the patterns
HEARD = "heard"  # class of each sound


def climb_batch(piece: Piece, *, context: Context | None = None, report: Report = lambda _done: None) -> str:
    """Search for the patterns of a batch."""
    context = context or piece.open()
    context.maximization.climb(piece.rows, Path(piece.path), key=piece.key, report=report)
    return sha256(piece.path)


def make_sounds(piece: Piece, *, context: Context | None = None, report: Report = lambda _done: None) -> str:
    """Turn patterns into sounds, a wav each, and tell what can be said of each."""
    from cepscope.invert.inversion import invert
    from cepscope.invert.scores import score_sounds

    context = context or piece.open()
    patterns, mine = context.patterns, slice(piece.first, piece.stop)
    sounds = invert(
        patterns.mfcc[mine],
        patterns.spec,
        **context.config.invert.arguments(),
        names=patterns.names[mine],
        indices=piece.rows,
        seed=context.config.seed,
        progress=lambda done, _total: report(done),
    )
    scaling = load_scaling(context.folder / "features" / "scaler.npz")
    rows = score_sounds(sounds, patterns.mfcc[mine], patterns.spec, sd=_deviations(scaling))
    paths = sound_files(piece, context)
    for path, audio in zip(paths, sounds.audio, strict=True):
        write_wav(path, audio, sounds.sr)
    scores = [name for name in rows[0] if name != "name"]
    return piece.write(
        sha256=np.array([sha256(path) for path in paths]),
        gain=sounds.gain,
        relative_error=sounds.relative_error,
        normalised_error=sounds.normalised_error,
        scores=np.array(scores),
        values=np.array([[row[name] for name in scores] for row in rows]),
    )


def sound_files(piece: Piece, context: Context) -> list[Path]:
    """Return where the sounds of a piece lie until the stage is done."""
    return [Path(piece.path).parent / name for name in context.sound_names[piece.first : piece.stop]]


def has_sounds(piece: Piece, found: dict[str, Any], context: Context) -> bool:
    """Tell whether the sounds of a piece are there, whole."""
    paths, digests = sound_files(piece, context), found["sha256"]
    return all(path.is_file() and sha256(path) == str(one) for path, one in zip(paths, digests, strict=True))


def measure_units(piece: Piece, *, context: Context | None = None, report: Report = lambda _done: None) -> str:
    """Measure some patterns and their sounds against real speech."""
    from cepscope.invert.sounds import stored_files
    from cepscope.probe.yardstick import classes_heard

    context = context or piece.open()
    files = stored_files(context.folder / "audio")[piece.first : piece.stop]
    audio = np.stack([read_audio(path)[0] for path in files])
    columns, x_sound = context.meter.measure(piece.rows, audio, context.patterns.spec.sr)
    heard = classes_heard(context.model, context.heard, x_sound)
    report(len(piece.rows))
    return piece.write(**columns, **({} if heard is None else {HEARD: heard}))


def look_at_units(piece: Piece, *, context: Context | None = None, report: Report = lambda _done: None) -> str:
    """Find the other ways to show some units."""
    context = context or piece.open()
    return piece.write(**context.views.find(piece.rows, report))


def _deviations(scaling: Scaling) -> np.ndarray[Any, Any]:
    """Return the standard deviation of each coefficient in the corpus [shape=(n_mfcc,)], whatever it is scaled by."""
    decoder = scaling.decoder
    shown = scaling.in_deviations(np.eye(decoder.shape[1]))  # the same rows, each divided by its deviation
    return np.asarray(np.linalg.norm(decoder, axis=1) / np.linalg.norm(shown, axis=1))
