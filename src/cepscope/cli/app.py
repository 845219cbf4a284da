"""The commands. Everything heavy is imported inside them, so that ``cepscope --help`` is instant."""

from __future__ import annotations

import json
import time
import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cepscope.cli import comparing, console, corpora, explaining, reporting
from cepscope.cli.examples import epilog
from cepscope.cli.stages import crew, run_stage, run_stages, say_share, share_of

if TYPE_CHECKING:
    from cepscope.config import RunConfig
    from cepscope.workers import Workers

app = typer.Typer(
    name="cepscope",
    help="Hear what a speech network listens for: from recordings to a page of sounds.",
    epilog="Start with: cepscope run   (built-in corpus)   or   cepscope run FOLDER   (your recordings)",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

TIED = "tf-speech-commands"  # its digital silence is no place for patterns: the network is fed through a linear map

Corpus = Annotated[
    str | None,
    typer.Argument(
        help="A folder of recordings (class subfolders or metadata.csv), or a built-in corpus.",
        show_default="spoken-digits",
    ),
]
Run = Annotated[Path, typer.Argument(help="Folder of a run, as runs/spoken-digits.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a setting; repeatable.")
]
Config = Annotated[Path | None, typer.Option("--config", help="Settings in TOML.", dir_okay=False)]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Of every random draw.")]
Strict = Annotated[bool, typer.Option("--strict", help="A clip that can't be used is an error.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")]
Count = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Processes on this machine.", show_default="one a core, if it pays"),
]
Cluster = Annotated[
    str | None, typer.Option("--cluster", metavar="tcp://HOST:PORT|dask:N", help="Workers of Dask do the work.")
]
Shard = Annotated[
    str | None, typer.Option("--shard", metavar="I/N", help="Only this share, as one of N jobs (Slurm arrays).")
]
Log = Annotated[
    Path | None,
    typer.Option(
        "--tensorboard", metavar="FOLDER", help="Event files for TensorBoard, epoch by epoch.", file_okay=False
    ),
]


class Fill(StrEnum):
    """How short patterns are made longer."""

    hold = "hold"
    loop = "loop"
    tile = "tile"


class PitchFrom(StrEnum):
    """Whose pitch the voice has."""

    predicted = "predicted"
    original = "original"


def _version(value: bool) -> None:
    if value:
        import cepscope

        typer.echo(f"cepscope {cepscope.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No messages but warnings and errors.")] = False,
    debug: Annotated[
        bool, typer.Option("--verbose", "--debug", "-v", help="Show all warnings, and where an error comes from.")
    ] = False,
    _version_wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    console.settings.quiet |= quiet
    console.settings.debug |= debug
    if debug:
        warnings.simplefilter("always")


def _default_folder(settings: RunConfig) -> Path:
    if settings.model.file:
        return Path("runs") / Path(settings.model.file).stem
    corpus = settings.corpus
    return Path("runs") / (Path(corpus).resolve().name if Path(corpus).is_dir() else corpus)


@app.command(epilog=epilog("run"))
def run(
    corpus: Corpus = None,
    config: Config = None,
    set_: Set = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the run.", show_default="runs/NAME")] = None,
    seed: Seed = None,
    strict: Strict = False,
    as_json: AsJson = False,
    tensorboard: Log = None,
    workers: Count = None,
    cluster: Cluster = None,
) -> None:
    """Go the whole way: recordings, network, patterns, sounds, scores, page.

    Stages whose settings and inputs have not changed are skipped.
    """
    from cepscope.config import load_config

    flags = {"corpus": corpus, "seed": seed, "strict": strict or None}
    settings = load_config(config, overrides=set_ or (), flags=flags)
    _whole_way(settings, out, as_json=as_json, tensorboard=tensorboard, workers=crew(workers, cluster))


def _whole_way(
    settings: RunConfig, out: Path | None, *, as_json: bool, workers: Workers, tensorboard: Path | None = None
) -> None:
    from cepscope.corpora import load_corpus
    from cepscope.pipeline import corpus_rate

    folder = out or _default_folder(settings)
    found = load_corpus(settings.corpus, **settings.reading())
    settings.features.spec(corpus_rate(found))  # a front end that does not fit is known before anything is made
    train, test = len(found.split("train")), len(found.split("test"))
    size, used = f"{found.name}: {train} clips of {len(found.labels)} classes", "A network is trained on them"
    if settings.model.file:
        used = f"{Path(settings.model.file).name} is taken as it is, in the place of training"
    opening = (
        f"{size} to {'learn what speech is from' if settings.model.file else 'train on'}, {test} held out.",
        f"{used}; what each of its units prefers is searched for, made audible and checked.",
        f"That takes a few minutes on two cores; what is done already is skipped. Everything goes to {folder}.",
    )
    started = time.perf_counter()
    run_stages(folder, settings, opening=opening, tensorboard=tensorboard, workers=workers)
    if not _writes():
        return
    page = folder / "report" / "index.html"
    summary = _summary(folder)
    units = sum(layer["units"] for layer in summary["layers"].values())
    console.say(f"Done in {console.duration(time.perf_counter() - started)}: {units} units on one page. Open")
    if as_json:
        typer.echo(json.dumps({"run": str(folder), "page": str(page), **summary}))
    else:
        typer.echo(str(page))


@app.command(epilog=epilog("extract"))
def extract(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="A corpus (a folder or a name), or sound files.", show_default="spoken-digits"),
    ] = None,
    config: Config = None,
    set_: Set = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the run; for sound files the .npz to write.")
    ] = None,
    seed: Seed = None,
    strict: Strict = False,
    workers: Count = None,
    cluster: Cluster = None,
    shard: Shard = None,
) -> None:
    """Extract MFCCs: patches of a corpus into a run, or the whole of some sound files into an .npz."""
    from cepscope.config import load_config
    from cepscope.errors import ParameterError

    sources = sources or []
    files = [Path(source) for source in sources if not Path(source).is_dir() and Path(source).suffix]
    if (files and len(files) != len(sources)) or (len(sources) > 1 and not files):
        raise ParameterError(f"extract takes one corpus or some sound files. Received: {', '.join(sources)}")
    corpus = sources[0] if sources and not files else None
    settings = load_config(
        config, overrides=set_ or (), flags={"corpus": corpus, "seed": seed, "strict": strict or None}
    )
    if files:
        from cepscope.cli.arrays import extract_files

        typer.echo(str(extract_files(files, settings.features, out)))
        return
    folder, share = out or _default_folder(settings), share_of(shard)
    run_stages(folder, settings, only="extract", workers=crew(workers, cluster), share=share)
    if share:
        say_share(share)
    typer.echo(str(folder / "features"))


@app.command(epilog=epilog("train"))
def train(folder: Run, set_: Set = None, seed: Seed = None, tensorboard: Log = None) -> None:
    """Train the network of a run."""
    run_stage("train", folder, set_, {"seed": seed}, tensorboard=tensorboard)
    if _writes():
        typer.echo(str(folder / "model" / "model.keras"))


@app.command(epilog=epilog("maximize"))
def maximize(
    folder: Annotated[Path | None, typer.Argument(help="Folder of a run; not with --model.")] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="A Keras model of others (.keras, .h5): goes the whole way.")
    ] = None,
    data: Annotated[str | None, typer.Option("--data", help="Of --model: recordings, as of run.")] = None,
    front_end: Annotated[
        str | None,
        typer.Option(
            "--front-end",
            help="Of --model: what it was trained with.",
            metavar="librosa|htk|kaldi|torchaudio|tf-speech-commands",
        ),
    ] = None,
    labels: Annotated[Path | None, typer.Option("--labels", help="Of --model: its classes, one a line.")] = None,
    layers: Annotated[
        list[str] | None, typer.Option("--layers", help="Whose units, repeatable or by commas.", show_default="all")
    ] = None,
    config: Config = None,
    set_: Set = None,
    out: Annotated[Path | None, typer.Option("--out", help="Of --model: folder of the run.")] = None,
    seed: Seed = None,
    as_json: AsJson = False,
    workers: Count = None,
    cluster: Cluster = None,
    shard: Shard = None,
) -> None:
    """Find the pattern that each unit prefers, in a run; or the whole way to sounds and a page for any Keras model."""
    from cepscope.config import load_config
    from cepscope.errors import ParameterError

    names = tuple(name.strip() for text in layers or () for name in text.split(",")) or None
    flags: dict[str, Any] = {"seed": seed, "maximize.layers": "all" if names == ("all",) else names}
    if folder is not None:
        given = {"--model": model, "--data": data, "--front-end": front_end, "--labels": labels, "--out": out}
        if extra := [name for name, value in {**given, "--config": config}.items() if value is not None]:
            raise ParameterError(f"{extra[0]} goes with --model, not with the folder of a run. Received: {folder}")
        share = share_of(shard, json=as_json)
        run_stage("maximize", folder, set_, flags, workers=crew(workers, cluster), share=share)
        if share:
            say_share(share)
        else:
            typer.echo(str(folder / "patterns" / "patterns.npz"))
        return
    if shard is not None:
        raise ParameterError(f"--shard goes with the folder of a run, not with --model. Received: {shard}")
    flags |= {"corpus": data, "model.file": model and str(model), "model.labels": labels and str(labels)}
    flags[f"{'model' if front_end == TIED else 'features'}.front_end"] = front_end
    settings = load_config(config, overrides=set_ or (), flags=flags)
    if not settings.model.file:
        raise ParameterError("maximize takes the folder of a run, or a Keras model with --model. Received: neither")
    _whole_way(settings, out, as_json=as_json, workers=crew(workers, cluster))


@app.command(epilog=epilog("invert"))
def invert(
    source: Annotated[
        Path, typer.Argument(help="A sound file or a folder of them, a .npy or .npz of unscaled MFCCs, or a run.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Not for runs: the .wav, or a folder.", show_default="beside SOURCE")
    ] = None,
    method: Annotated[
        str | None, typer.Option("--method", help="accurate, fast, neutral or librosa.", show_default="accurate")
    ] = None,
    pitch: Annotated[
        float | None, typer.Option("--pitch", help="Of the voice, in Hz.", show_default="predicted from the MFCCs")
    ] = None,
    pitch_from: Annotated[
        PitchFrom, typer.Option("--pitch-from", help="Of sound files: follow the original's own pitch.")
    ] = PitchFrom.predicted,
    loudness: Annotated[
        float | None, typer.Option("--loudness", help="Of the .wav, in LUFS (BS.1770).", show_default="peak at -1 dB")
    ] = None,
    length: Annotated[
        float | None, typer.Option("--length", help="Of arrays: seconds that shorter patterns are brought to.")
    ] = None,
    fill: Annotated[
        Fill, typer.Option("--fill", help="How: hold the ends, to and fro, or again and again.")
    ] = Fill.loop,
    compare: Annotated[bool, typer.Option("--compare", help="Write a page to compare all methods on.")] = False,
    as_json: AsJson = False,
    config: Annotated[Path | None, typer.Option("--spec", help="Not for runs: TOML with a [features] section.")] = None,
    sr: Annotated[
        int | None, typer.Option("--sr", help="Not for runs: sampling rate in Hz.", show_default="the file's own")
    ] = None,
    set_: Set = None,
    seed: Seed = None,
    strict: Strict = False,
    workers: Count = None,
    cluster: Cluster = None,
    shard: Shard = None,
) -> None:
    """Turn recordings, MFCCs or the patterns of a run into sound, with the MFCCs they had.

    A recording's sound is NAME.inverted.wav. Settings of the front end are taken from the .npz if cepscope wrote it,
    else from --spec, --sr and --set features.*.
    """
    from cepscope.cli.inverting import Wishes
    from cepscope.cli.places import kind_of
    from cepscope.errors import ParameterError

    places = {"--cluster": cluster, "--shard": shard}
    original = pitch_from is PitchFrom.original
    wishes = Wishes(
        out=out, pitch=pitch, original_pitch=original, loudness=loudness, compare=compare, as_json=as_json,
        seconds=length, fill=fill.value, workers=workers or 1,
    )  # fmt: skip
    kind = kind_of(source)
    flags: dict[str, Any] = {"invert.method": method, "invert.pitch": pitch, "seed": seed}
    if kind == "run":
        from cepscope.cli.runs import lines_of_run, refuse_for_run
        from cepscope.pipeline import stored_config

        settings = stored_config(source, overrides=tuple(set_ or ()), flags=flags)
        refuse_for_run(source, settings, wishes, front_end=config is not None or sr is not None)
        share = share_of(shard, json=as_json, compare=compare)
        run_stages(source, settings, only="invert", workers=crew(workers, cluster), share=share)
        if share:
            say_share(share)
            return
        lines = lines_of_run(source, settings, wishes)
    elif given := [name for name, value in places.items() if value is not None]:
        raise ParameterError(f"{given[0]} is for runs. Received: {source}")
    else:
        from cepscope.cli.arrays import invert_array
        from cepscope.cli.sounds import invert_recordings
        from cepscope.config import load_config

        flags |= {"features.sr": sr, "strict": strict or None}
        settings = load_config(config, overrides=set_ or (), flags=flags)
        lines = (invert_recordings if kind == "sounds" else invert_array)(source, settings, wishes)
    for line in lines:
        typer.echo(line)


@app.command(epilog=epilog("probe"))
def probe(
    folder: Run,
    as_json: AsJson = False,
    set_: Set = None,
    workers: Count = None,
    cluster: Cluster = None,
    shard: Shard = None,
) -> None:
    """Measure whether patterns and sounds hold up; medians of each layer."""
    share = share_of(shard, json=as_json)
    run_stage("probe", folder, set_, workers=crew(workers, cluster), share=share)
    if share:
        say_share(share)
        return
    summary = _summary(folder)
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        console.print_summary(summary)


app.command(epilog=epilog("fetch"))(corpora.fetch)
app.command(epilog=epilog("describe"))(corpora.describe)
app.command(epilog=epilog("explain"))(explaining.explain)
app.command(epilog=epilog("report"))(reporting.report)
app.command(epilog=epilog("compare"))(comparing.compare)


def _writes() -> bool:
    """Tell whether this process is the one of several workers that writes."""
    from cepscope.models.cluster import this_worker

    return this_worker().is_chief


def _summary(folder: Path) -> dict[str, Any]:
    from cepscope.atomic import load_json

    return load_json(folder / "patterns" / "summary.json")
