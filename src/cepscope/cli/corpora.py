"""Getting corpora and looking at them: `fetch` and `describe`."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cepscope.cli import console

if TYPE_CHECKING:
    from cepscope.corpora.description import Description

MOST_NAMED = 12  # classes or speakers that are listed one by one


class Known(StrEnum):
    """Corpora that can be fetched."""

    fsdd = "fsdd"
    speech_commands = "speech-commands"


def fetch(
    name: Annotated[Known, typer.Argument(help="Which corpus.")],
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Its folder.", show_default="where its name is looked for", file_okay=False),
    ] = None,
) -> None:
    """Download a corpus: resumed where it broke off, verified, unpacked with care.

    Without a connection the message says what to put where by hand.
    """
    from cepscope.corpora.fetch import fetch as fetch_corpus
    from cepscope.corpora.known import KNOWN

    source = KNOWN[name.value]
    console.say(f"{source.title} ({source.licence})")
    with console.progress() as bars:
        folder = fetch_corpus(name.value, to, progress=bars.update)
    typer.echo(str(folder))


def describe(
    corpus: Annotated[
        str,
        typer.Argument(help="A folder of recordings, or a corpus's name.", show_default="spoken-digits"),
    ] = "spoken-digits",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for corpus.png, clips.csv and description.json.", file_okay=False),
    ] = None,
    layout: Annotated[
        str | None, typer.Option("--layout", help="How it lies in its folder.", show_default="seen")
    ] = None,
    label: Annotated[str, typer.Option("--label", help="What is the class: label, speaker, sex, ...")] = "label",
    split: Annotated[str, typer.Option("--split", help="given, random, speakers or speaker:NAME.")] = "given",
    margin: Annotated[float, typer.Option("--margin", help="Seconds around each labelled stretch.")] = 0.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of a drawn split and of the probes.")] = 0,
) -> None:
    """Look at a corpus before training on it: clips, classes, speakers, lengths, levels, and what gives labels away."""
    from cepscope.corpora import load_corpus
    from cepscope.corpora.description import describe as describe_corpus

    found = load_corpus(corpus, layout=layout, label=label, split=split, margin=margin, seed=seed)
    with console.progress() as bars:
        description = describe_corpus(
            found, seed=seed, progress=lambda done, total: bars.update("describe", done, total)
        )
    if out:
        for path in _write(description, out):
            console.say(str(path))
    if as_json:
        typer.echo(json.dumps(description.to_dict(), ensure_ascii=False))
        return
    for line in _lines(description.to_dict()):
        typer.echo(console.plain(" ".join(line.split("\n"))))


def _write(description: Description, folder: Path) -> list[Path]:
    from cepscope.atomic import write_text
    from cepscope.report.corpora import plot_corpus
    from cepscope.report.figures import save_figure

    paths = [folder / name for name in ("description.json", "clips.csv", "corpus.png")]
    write_text(paths[0], json.dumps(description.to_dict(), indent=1, ensure_ascii=False) + "\n")
    write_text(paths[1], description.to_csv())
    save_figure(plot_corpus(description), paths[2], dpi=150)
    return paths


def _lines(found: dict[str, Any]) -> list[str]:
    """Return a description for people."""
    total = sum(side["seconds"] for side in found["splits"].values())
    lines = [
        f"{found['corpus']}: {found['clips']} clips of {len(found['classes'])} classes, "
        f"{len(found['speakers']) or 'unknown'} speakers, {console.duration(total)}; {found['note']}"
    ]
    for name, side in found["splits"].items():
        who = f" by {side['speakers']} speakers" if side["speakers"] else ""
        lines.append(f"  {name:<9} {side['clips']} clips of {side['classes']} classes{who}")
    lines.append(f"  classes   {_few({name: f'{sum(n.values())}' for name, n in found['classes'].items()})}")
    levels = {name: f"{facts['level']:.1f}" for name, facts in found["speakers"].items() if facts["level"] is not None}
    lines += [
        f"  length    {_range(found['seconds'], '.3g', 's')}",
        f"  rate      {', '.join(f'{rate} Hz ({n})' for rate, n in found['rates'].items()) or 'unknown'}",
        f"  channels  {', '.join(f'{count} ({n})' for count, n in found['channels'].items()) or 'unknown'}",
        f"  level     {_range(found['level'], '.1f', 'dB of full scale')}",
    ]
    if levels:
        lines.append(f"            by speaker: {_few(levels)}")
    lines.append(f"  DC        {_range(found['offset'], '+.4f', 'of full scale')}")
    for what, probe in found["level_and_offset_tell"].items():
        if probe:
            lines.append(f"  level and DC tell the {what}: {probe['accuracy']:.3f} right, chance {probe['chance']:.3f}")
    return lines + [f"look at: {line}" for line in found["warnings"]]


def _few(values: dict[str, str]) -> str:
    shown = ", ".join(f"{name} {value}" for name, value in list(values.items())[:MOST_NAMED])
    return shown if len(values) <= MOST_NAMED else f"{shown} and {len(values) - MOST_NAMED} more"


def _range(values: dict[str, float | None], form: str, unit: str) -> str:
    """Return five quantiles in one line."""
    names = {"min": "least", "q05": "5%", "median": "median", "q95": "95%", "max": "most"}
    cells = [
        f"{word} {'silence' if values[name] is None else format(values[name], form)}" for name, word in names.items()
    ]
    return f"{', '.join(cells)} {unit}"
