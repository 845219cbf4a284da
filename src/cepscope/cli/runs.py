"""What `invert` tells of a run besides where its sounds are: scores, and the page of all methods."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cepscope.cli import console
from cepscope.cli.inverting import OWN, Target, Wishes, make_sounds, methods_for, record, refuse_early, write_page

if TYPE_CHECKING:
    from cepscope.config import RunConfig


def refuse_for_run(folder: Path, settings: RunConfig, wishes: Wishes, *, front_end: bool) -> None:
    """Raise ParameterError for what does not go with a run, and for a page of more units than it can hold."""
    from cepscope.errors import ParameterError

    unfit = {
        "--out": wishes.out is not None,
        "--loudness": wishes.loudness is not None,
        "--length": wishes.seconds is not None,
        "--pitch-from original": wishes.original_pitch,
        "--spec or --sr": front_end,
    }
    if given := [name for name, said in unfit.items() if said]:
        raise ParameterError(
            f"{given[0]} is not for runs, whose sounds lie and are measured in the run. Received: {folder}"
        )
    if wishes.compare and (folder / "patterns" / "patterns.npz").is_file():
        targets = _targets(folder)
        samples = [one.spec.samples_of(one.mfcc.shape[-1]) for one in targets]
        refuse_early(samples, [one.spec for one in targets], settings, wishes)


def lines_of_run(folder: Path, settings: RunConfig, wishes: Wishes) -> list[str]:
    """Return the lines for stdout of a run whose sounds are there; write the page if it is wished for."""
    audio = folder / "audio"
    lines = _records(folder, settings) if wishes.as_json else [str(audio)]
    if wishes.compare:
        targets = _targets(folder)
        seconds = sum(one.spec.samples_of(one.mfcc.shape[-1]) / one.spec.sr for one in targets)
        methods = methods_for(settings, wishes, targets[0].spec)
        with console.progress() as bars:
            many: dict[str, Any] = {"seconds": seconds, "count": len(targets), "workers": wishes.workers}
            made = list(make_sounds(targets, methods, settings, **many, bars=bars))
        title = f"Patterns of {folder.resolve().name}, from MFCC to sound"
        lines.append(write_page(audio / "comparison.html", made, title=title, as_json=wishes.as_json))
    return lines


def _targets(folder: Path) -> list[Target]:
    from cepscope.maximize.patterns import Patterns

    path = folder / "patterns" / "patterns.npz"
    found = Patterns.load(path)
    return [
        Target(name, path, one, found.spec, number=i)
        for i, (name, one) in enumerate(zip(found.names, found.mfcc, strict=True))
    ]


def _records(folder: Path, settings: RunConfig) -> list[str]:
    from cepscope.atomic import load_npz
    from cepscope.audio import read_audio
    from cepscope.invert.sounds import stored_files

    table = load_npz(folder / "audio" / "sounds.npz")
    rows = []
    for i, (target, path) in enumerate(zip(_targets(folder), stored_files(folder / "audio"), strict=True)):
        scores = {name: table[name][i] for name in OWN}
        rows.append(record(target, path, read_audio(path)[0], method=settings.invert.method, scores=scores))
    return [json.dumps(row) for row in rows]
