"""Networks that others trained: how they are fed is settled before anything is extracted, then they take the place of
training: the run keeps them behind what brings cepscope's patches to them, with where they came from.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cepscope.atomic import load_json, save_npz, sha256, write_text
from cepscope.config import ModelConfig, RunConfig
from cepscope.corpora import Patches
from cepscope.errors import DataError, ParameterError
from cepscope.pipeline.ledger import fingerprint

if TYPE_CHECKING:
    from cepscope.models.feeding import Affine, Feed
    from cepscope.pipeline.stages import Context

# settings that come nearest to the front end of a name, for what a person left open; the rest the network says
FRONT_ENDS: dict[str, dict[str, Any]] = {
    "tf-speech-commands": {
        **{"sr": 16000, "n_fft": 1024, "win": 640, "hop": 320},
        **{"n_mels": 40, "fmin": 20.0, "fmax": 4000.0, "htk": True},
    }
}
LABELS = "labels.txt"  # taken where it lies beside a network and has as many lines as that has outputs
SOURCE = "source.json"
SHOWN = 4  # classes that are told of
# Outputs may be apart by so much, of the largest: half precision, which some networks are kept in, rounds to 1e-3, and
# several layers add up. In float32 it is 1e-6.
SAME = 1e-2
_SIZES = ("n_mfcc", "n_mels", "frames")


def settle(config: RunConfig, rate: int) -> tuple[RunConfig, tuple[str, ...]]:
    """Fill in how the network of ``model.file`` is fed, from what its file says.

    Parameters
    ----------
    config
        Settings; without ``model.file`` they stay as they are.
    rate
        The recordings' sampling rate in Hz.

    Returns
    -------
    config
        With the layout, the kind of frames and their number.
    lines
        What was found out, to be told.

    Raises
    ------
    CorruptArtifactError
        The file can't be used.
    ParameterError
        It takes something else than what the settings say, or it is not clear what.
    """
    if not config.model.file:
        return config, ()
    named = FRONT_ENDS.get(config.model.front_end, {})
    left = {name: value for name, value in named.items() if name not in config.features.model_fields_set}
    config = config.model_copy(update={"features": config.features.model_copy(update=left)})
    feed = _feed(config, rate, config.features.model_fields_set)
    model = config.model.model_copy(update={"layout": feed.layout, "input": feed.kind})
    features = config.features.model_copy(update=feed.settings)
    features.spec(rate)  # a front end that does not fit is known before anything is made
    settled = config.model_copy(update={"model": model, "features": features})
    pairs = [(f"model.{name}", getattr(config.model, name), getattr(model, name)) for name in ("layout", "input")]
    pairs += [(f"features.{name}", getattr(config.features, name), value) for name, value in feed.settings.items()]
    found = ", ".join(f"{name}={value}" for name, before, value in pairs if before != value)
    told = f"{Path(config.model.file).name} takes {feed}."
    return settled, (f"{told} Inferred: {found}.",) if found else ()


def _feed(config: RunConfig, rate: int, said: Iterable[str]) -> Feed:
    from cepscope.models.archives import read_archive
    from cepscope.models.feeding import infer_feed

    spec = config.features.spec(rate)
    sizes = {"n_mfcc": spec.n_mfcc, "n_mels": spec.n_mels, "frames": config.features.frames}
    shapes = read_archive(config.model.file).input_shapes
    kind = config.model.input or ("mfcc" if config.model.front_end else "")
    return infer_feed(shapes, sizes, set(said) & set(_SIZES), layout=config.model.layout, kind=kind)


def outside_sums(model: ModelConfig) -> dict[str, str]:
    """Return the checksum of each file outside of the run that its network is made of."""
    if not model.file:
        return {}
    labels = model.labels or Path(model.file).with_name(LABELS)
    paths = {"model.file": Path(model.file), "model.labels": Path(labels), "model.scaling": Path(model.scaling)}
    found = {name: sha256(path) for name, path in paths.items() if path.is_file()}
    if (folder := paths["model.file"]).is_dir():
        parts = {part.relative_to(folder).as_posix(): sha256(part) for part in folder.rglob("*") if part.is_file()}
        found["model.file"] = fingerprint(**parts)
    return found


def run_import(context: Context) -> list[Path]:
    """A network's file and patches to the network that takes those patches."""
    from cepscope.models.adapting import adapt, difference, first_filters, folded
    from cepscope.models.archives import read_archive
    from cepscope.models.feeding import frame_map
    from cepscope.models.loading import load_model
    from cepscope.models.reference import fit_tie
    from cepscope.models.saving import save_model

    settings, patches, folder = context.config.model, context.patches, context.folder / "model"
    archive = read_archive(settings.file)
    name = archive.path.stem
    feed = _feed(context.config, patches.spec.sr, _SIZES)
    tie: Affine | None = None
    r2: list[float] = []
    if settings.front_end:
        tie, r2 = fit_tie(patches, settings.front_end)
        context.say(f"{settings.front_end}: MFCC tied to those of [features], R^2 {min(r2):.3f} to {max(r2):.3f}.")
    mapped = frame_map(patches, feed, scaling=settings.scaling, tie=tie)
    original = load_model(archive.path, compiled=False)
    try:
        model = adapt(original, feed, mapped, name=name)
        apart = difference(original, model, patches.test.x[:64], feed, mapped)
    except (ValueError, TypeError) as error:  # Keras', of a graph that does not hold together at this length
        if isinstance(error, DataError | ParameterError):
            raise
        raise DataError(f"{archive.path} can't take {feed}: {str(error).strip().splitlines()[0]}") from error
    if not apart < SAME:
        raise DataError(f"{archive.path}, rebuilt, gives other outputs than before, by {apart:.2g} of the largest")
    labels, origin, said = _heard(model, settings, patches)
    for line in _told(labels, origin, said, patches):
        context.say(line)
    source = {
        "file": str(archive.path),
        "sha256": outside_sums(settings)["model.file"],
        "format": archive.kind,
        "keras_version": archive.version,
        "feed": asdict(feed),
        "scaling": settings.scaling,
        "front_end": settings.front_end,
        "front_end_r2": r2,
        "folded_normalisations": folded(original),
        "difference": apart,
        "labels": labels,
        "labels_from": origin,
        "says_of_held_out_clips": said,
    }
    paths = [folder / name for name in ("model.keras", "filters.npz", SOURCE)]
    save_model(model, paths[0])
    save_npz(paths[1], **first_filters(model, feed))
    write_text(paths[2], json.dumps(source, indent=1) + "\n")
    context.__dict__["model"] = model
    return paths


def read_source(folder: Path) -> dict[str, Any]:
    """Return where a run's network came from; empty if it was trained there."""
    path = folder / "model" / SOURCE
    return load_json(path) if path.is_file() else {}


def relabelled(patches: Patches, labels: Iterable[str]) -> Patches:
    """Return patches that count the network's classes: -1 for clips of which it knows none."""
    known = tuple(labels)
    to_known = np.array([known.index(name) if name in known else -1 for name in patches.classes], np.int32)
    train, test = (replace(split, y=to_known[split.y]) for split in (patches.train, patches.test))
    return replace(patches, classes=known, train=train, test=test)


def _heard(model: Any, settings: ModelConfig, patches: Patches) -> tuple[tuple[str, ...], str, dict[str, int]]:
    """Return the network's classes, where their names are from, and how many held-out clips it says each of."""
    shape = model.output_shape
    outputs = int(shape[1]) if len(shape) == 2 else 1
    labels, origin = _labels(settings, outputs)
    if outputs == 1:
        return labels, origin, {}
    best = model.predict(patches.test.x, batch_size=128, verbose=0).argmax(axis=1)
    if not labels and outputs == len(patches.classes):
        right, chance = float(np.mean(best == patches.test.y)), 1 / outputs
        if right > (1 + chance) / 2:  # nearer to all than to chance: no other order of classes gives that
            labels, origin = patches.classes, f"the data's classes, of which {right:.0%} of clips are heard right"
    names = labels or tuple(f"output {i}" for i in range(outputs))
    return labels, origin, {names[i]: count for i, count in Counter(best.tolist()).most_common()}


def _labels(settings: ModelConfig, outputs: int) -> tuple[tuple[str, ...], str]:
    """Return the classes of the file that is named, or lies beside the network, and the file's name."""
    path = Path(settings.labels or Path(settings.file).with_name(LABELS))
    if not settings.labels and not path.is_file():
        return (), ""
    try:
        labels = tuple(line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The labels {path} can't be read as text in UTF-8 ({error})") from error
    if len(labels) == outputs and len(set(labels)) == outputs:
        return labels, path.name
    if not settings.labels:
        return (), ""
    twice = f", {len(labels) - len(set(labels))} of them twice" if len(set(labels)) < len(labels) else ""
    raise DataError(f"{path} must name {outputs} classes, one a line. Received: {len(labels)}{twice}")


def _told(labels: tuple[str, ...], origin: str, said: dict[str, int], patches: Patches) -> list[str]:
    lines = []
    if labels:
        shared = len(set(labels) & set(patches.classes))
        among = f"{shared} of the data's {len(patches.classes)} are among them"
        lines.append(f"Its {len(labels)} classes are from {origin}; {among}.")
    if said:
        total = sum(said.values())
        shares = ", ".join(f"{name} {count / total:.0%}" for name, count in list(said.items())[:SHOWN])
        lines.append(f"Of {total} held-out clips it says: {shares}{', ...' if len(said) > SHOWN else ''}.")
    return lines
