"""The commands. Everything heavy is imported inside them, so that ``cepscope --help`` is instant."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cepscope.cli import console

if TYPE_CHECKING:
    from cepscope.features import MfccSpec

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

ARRAYS = (".npy", ".npz")

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


class Method(StrEnum):
    """How MFCCs become sound."""

    voiced = "voiced"
    neutral = "neutral"
    librosa = "librosa"


def _version(value: bool) -> None:
    if value:
        import cepscope

        typer.echo(f"cepscope {cepscope.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No messages but warnings and errors.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
    _version_wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    console.settings.quiet = quiet
    console.settings.debug = debug


def _default_folder(corpus: str) -> Path:
    return Path("runs") / (Path(corpus).resolve().name if Path(corpus).is_dir() else corpus)


@app.command()
def run(
    corpus: Corpus = None,
    config: Config = None,
    set_: Set = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the run.", show_default="runs/NAME")] = None,
    seed: Seed = None,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Go the whole way: recordings, network, patterns, sounds, scores, page.

    Stages whose settings and inputs have not changed are skipped.
    """
    from cepscope.config import load_config
    from cepscope.pipeline import run_stages

    flags = {"corpus": corpus, "seed": seed, "strict": strict or None}
    settings = load_config(config, overrides=set_ or (), flags=flags)
    folder = out or _default_folder(settings.corpus)
    console.say(
        f"cepscope trains a network on {settings.corpus}, then finds, sounds out and checks what its units prefer."
    )
    console.say(
        "Training and the search take most of the time: a few minutes on two cores. What is done already is skipped."
    )
    console.say(f"Everything goes to {folder}.")
    started = time.perf_counter()
    with console.progress() as bars:
        run_stages(folder, settings, progress=bars.update, notify=console.stage_done)
    page = folder / "report" / "index.html"
    summary = _summary(folder)
    console.say(f"Done in {console.duration(time.perf_counter() - started)}. Open {page}")
    if as_json:
        typer.echo(json.dumps({"run": str(folder), "page": str(page), **summary}))
    else:
        typer.echo(str(page))


@app.command()
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
) -> None:
    """Extract MFCCs: patches of a corpus into a run, or the whole of some sound files into an .npz."""
    from cepscope.config import load_config
    from cepscope.errors import ParameterError
    from cepscope.pipeline import run_stages

    sources = sources or []
    files = [Path(source) for source in sources if not Path(source).is_dir() and Path(source).suffix]
    if (files and len(files) != len(sources)) or (len(sources) > 1 and not files):
        raise ParameterError(f"extract takes one corpus or some sound files. Received: {', '.join(sources)}")
    corpus = sources[0] if sources and not files else None
    settings = load_config(
        config, overrides=set_ or (), flags={"corpus": corpus, "seed": seed, "strict": strict or None}
    )
    if files:
        typer.echo(str(_extract_files(files, settings.features, out)))
        return
    folder = out or _default_folder(settings.corpus)
    with console.progress() as bars:
        run_stages(folder, settings, only="extract", progress=bars.update, notify=console.stage_done)
    typer.echo(str(folder / "features"))


def _extract_files(files: list[Path], features: Any, out: Path | None) -> Path:
    import numpy as np

    from cepscope.atomic import save_npz
    from cepscope.audio import read_audio
    from cepscope.errors import ParameterError
    from cepscope.features import mfcc

    target = out or files[0].with_suffix(".npz")
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


def _stage(name: str, folder: Path, set_: list[str] | None, flags: dict[str, Any] | None = None) -> Path:
    from cepscope.pipeline import run_stages, stored_config

    settings = stored_config(folder, overrides=tuple(set_ or ()), flags=flags)
    with console.progress() as bars:
        run_stages(folder, settings, only=name, progress=bars.update, notify=console.stage_done)
    return folder


@app.command()
def train(folder: Run, set_: Set = None, seed: Seed = None) -> None:
    """Train the network of a run."""
    typer.echo(str(_stage("train", folder, set_, {"seed": seed}) / "model" / "model.keras"))


@app.command()
def maximize(folder: Run, set_: Set = None, seed: Seed = None) -> None:
    """Find the pattern that each unit prefers."""
    typer.echo(str(_stage("maximize", folder, set_, {"seed": seed}) / "patterns" / "patterns.npz"))


@app.command()
def invert(
    source: Annotated[Path, typer.Argument(help="Folder of a run, or a .npy or .npz of unscaled MFCCs.")],
    out: Annotated[Path | None, typer.Option("--out", help="For arrays: the .wav, or a folder for several.")] = None,
    method: Annotated[Method | None, typer.Option("--method", help="How.", show_default="voiced")] = None,
    pitch: Annotated[float | None, typer.Option("--pitch", help="Of the voice, in Hz.", show_default="120")] = None,
    config: Annotated[Path | None, typer.Option("--spec", help="For arrays: TOML with a [features] section.")] = None,
    sr: Annotated[int | None, typer.Option("--sr", help="For arrays: sampling rate in Hz.")] = None,
    set_: Set = None,
    seed: Seed = None,
) -> None:
    """Turn patterns, or any MFCCs, into sound.

    Settings of the front end are taken from the .npz if cepscope wrote it, else from --spec, --sr and --set features.*.
    """
    flags = {"invert.method": method.value if method else None, "invert.pitch": pitch, "seed": seed}
    if source.suffix in ARRAYS:
        for path in _invert_array(source, out, config, sr, set_, flags):
            typer.echo(str(path))
        return
    typer.echo(str(_stage("invert", source, set_, flags) / "audio"))


def _invert_array(
    source: Path,
    out: Path | None,
    config: Path | None,
    sr: int | None,
    set_: list[str] | None,
    flags: dict[str, Any],
) -> list[Path]:
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
            found = invert_mfcc(values, spec, **settings.invert.model_dump(), seed=settings.seed)
            for i, audio in enumerate(found.audio):
                sounds[name if len(found) == 1 else f"{name}-{i}"] = audio
            bars.update("invert", done, len(arrays))
    if len(sounds) == 1 and (out is None or out.suffix == ".wav"):
        paths = [out or source.with_suffix(".wav")]
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
        loaded = np.load(source, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {source.stem: loaded}, None
        with loaded:
            arrays = {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{source} can't be read as arrays of numbers: {error}") from error
    spec = MfccSpec.from_dict(json.loads(str(arrays.pop("spec")))) if "spec" in arrays else None
    if "mfcc" in arrays and "units" in arrays:  # patterns of a run
        arrays = {"mfcc": arrays["mfcc"]}
    if not arrays:
        raise DataError(f"{source} holds no arrays.")
    return arrays, spec


@app.command()
def probe(folder: Run, as_json: AsJson = False, set_: Set = None) -> None:
    """Measure whether patterns and sounds hold up; medians of each layer."""
    _stage("probe", folder, set_)
    summary = _summary(folder)
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        console.print_summary(summary)


@app.command()
def report(folder: Run, set_: Set = None) -> None:
    """Write the page."""
    typer.echo(str(_stage("report", folder, set_) / "report" / "index.html"))


def _summary(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "patterns" / "summary.json").read_text("utf-8"))
    return loaded
