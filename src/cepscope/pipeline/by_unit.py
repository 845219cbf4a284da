"""The stages that work unit by unit, in pieces: patterns, sounds, scores.

Each returns nothing in a job that does a share: what it left is for a later run of the stage.
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cepscope.atomic import load_npz, save_npz, write_text
from cepscope.pipeline.parts import HEARD, PROBE, climb_batch, has_sounds, look_at_units, make_sounds, measure_units
from cepscope.pipeline.pieces import Pieces, cut

if TYPE_CHECKING:
    from cepscope.pipeline.stages import Context
    from cepscope.probe.scores import UnitScores

SOUNDS = 16  # in a piece


def run_maximize(context: Context) -> list[Path]:
    """Network to patterns."""
    from cepscope.maximize.search import Found

    path, task = context.folder / "patterns" / "patterns.npz", context.maximization
    pieces = Pieces(context, path.with_name("search"), task.batches, lambda _piece, found: "x" in found)
    workers = context.workers.unless_asked(1)  # TensorFlow uses every core by itself
    pieces.work(climb_batch, "maximize", workers, weigh=lambda _piece: task.steps)
    if context.share:
        return []
    found = task.gather(Found(**part) for part in pieces.read())
    found.save(path)
    pieces.clear()
    del context.maximization  # it holds what was fitted to speech
    context.__dict__["patterns"] = found
    return [path]


def run_invert(context: Context) -> list[Path]:
    """Patterns to sounds, and what can be said of each."""
    from cepscope.invert.scores import save_sound_rows

    folder, names = context.folder / "audio", context.patterns.names
    pieces = Pieces(
        context, folder / "pieces", cut(len(names), SOUNDS), lambda piece, found: has_sounds(piece, found, context)
    )
    quick = context.config.invert.method in ("fast", "librosa")
    workers = context.workers.unless_asked(1 if len(names) < (128 if quick else 32) else 0)  # processes take a while
    pieces.work(make_sounds, "invert", workers, weigh=lambda piece: len(piece.rows))
    if context.share:
        return []
    found = list(pieces.read())
    tables, files = [folder / "sounds.npz", folder / "sounds.csv"], context.sound_names
    columns = {
        name: np.concatenate([part[name] for part in found]) for name in ("gain", "relative_error", "normalised_error")
    }
    save_npz(tables[0], files=np.array(files), **columns)
    scores, values = [str(name) for name in found[0]["scores"]], np.concatenate([part["values"] for part in found])
    rows = [{"name": name, **dict(zip(scores, row, strict=True))} for name, row in zip(names, values, strict=True)]
    save_sound_rows(tables[1], rows)
    for name in files:
        (pieces.folder / name).replace(folder / name)
    pieces.clear()
    return [*(folder / name for name in files), *tables]


def run_probe(context: Context) -> list[Path]:
    """Does it hold up? Scores of every unit's pattern and sound, the exemplars' sounds, other ways to show it."""
    from cepscope.audio import write_wav
    from cepscope.probe import summarise_views
    from cepscope.probe.measures import BLOCK

    folder, audio = context.folder / "patterns", context.folder / "audio" / "exemplars"
    against, patches = context.yardstick, context.heard  # measured before others come to read it
    workers = context.workers.unless_asked(1)  # TensorFlow uses every core by itself
    measured = Pieces(context, folder / PROBE / "scores", cut(len(context.patterns), BLOCK))
    looked_at = Pieces(context, folder / PROBE / "views", context.views.pieces)
    measured.work(measure_units, "probe", workers, weigh=lambda piece: len(piece.rows))
    looked_at.work(look_at_units, "probe: views", workers, weigh=lambda piece: len(piece.rows))
    if context.share:
        return []
    scores, views = _unit_scores(context, list(measured.read())), context.views.gather(looked_at.read())
    paths = [folder / name for name in ("units.csv", "summary.json", "exemplars.npz", "views.npz")]
    scores.save_csv(paths[0])
    save_npz(paths[2], index=scores.exemplars, activation=scores.exemplar_activations)
    views.save(paths[3])
    write_text(paths[1], json.dumps({**scores.summary(), "views": summarise_views(views)}, indent=2) + "\n")
    for index in np.unique(against.exemplars):
        path = audio / f"{index:05d}.wav"  # its place among the held-out clips
        write_wav(path, patches.load_wave(patches.test.paths[index]), patches.spec.sr)
        paths.append(path)
    shutil.rmtree(folder / PROBE, ignore_errors=True)
    for name in ("yardstick", "meter", "views"):
        context.__dict__.pop(name, None)  # they hold what was fitted to speech
    return paths


def _unit_scores(context: Context, parts: list[dict[str, Any]]) -> UnitScores:
    """Put scores together from those of the pieces and what the invert stage tells of sounds."""
    from cepscope.invert.scores import load_sound_rows
    from cepscope.probe.scores import sound_columns, unit_scores

    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    heard = columns.pop(HEARD, None)
    sounds = context.folder / "audio"
    columns |= sound_columns(load_npz(sounds / "sounds.npz")["relative_error"], load_sound_rows(sounds / "sounds.csv"))
    scores = unit_scores(context.model, context.heard, context.patterns, context.yardstick, columns, heard)
    known = float(np.mean(context.heard.test.y >= 0))  # clips of classes that a network does not know: not its mistakes
    return replace(scores, test_accuracy=scores.test_accuracy / known if known else math.nan)
