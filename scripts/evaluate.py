"""What the networks and their patterns reach on real corpora, over several seeds.

    python scripts/evaluate.py digits --corpus path/to/fsdd --json
    python scripts/evaluate.py units --corpus path/to/fsdd --seeds 1 2 --json
    python scripts/evaluate.py probe --corpus path/to/fsdd --json
    python scripts/evaluate.py fewlabel --corpus path/to/fsdd --json

``digits`` trains three networks of one shape on the Free Spoken Digit Dataset (official split: takes 0 to 4 of each
speaker and digit are the test): the CDBN with pretraining, the same from its random first weights, and a plain
convolutional network with ReLU and max pooling. The recordings are not part of the project.

``units`` trains a CDBN for each seed, finds all patterns and sounds with the settings of ``cepscope run``, and measures
them (`cepscope.probe.evaluation`), beside two kinds of chance: patterns in random directions, and patterns found for
the network with its weights shuffled. Sounds are also played to two other networks: a CDBN of another seed and a plain
convolutional network. ``--cache`` keeps features and networks between calls.

``spotters`` does the same with the same settings to keyword spotters that others trained (see `spotters`).

``probe`` and ``fewlabel`` read labels from layers that were pretrained without labels (see `evaluate_probe`): with all
labels, and with a few of each class. ``--out`` keeps their tables and figures.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evaluate_probe import PROBES
from spotters import FRAMES, NAMES, check_folding, fit_front_end, load_spotter, spotter_spec

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("CEPSCOPE_SHARED", ROOT.parent / "shared"))
NETWORKS = ("cdbn", "random_initialisation", "cnn")


class Trainer:
    """Trains the networks of a corpus with the settings of `cepscope run`."""

    def __init__(self, corpus: str, settings: list[str], cache: Path | None) -> None:
        from cepscope.config import load_config
        from cepscope.corpora import Patches, extract, load_corpus

        self.config = load_config(overrides=settings, environment={})
        self.cache = cache
        features = self.config.features
        kept = cache / "features" if cache else None
        if kept and (kept / "manifest.json").is_file():
            self.patches = Patches.load(kept)
        else:
            found = load_corpus(corpus)
            rate = min(8000, features.sr or 8000)
            self.patches = extract(found, features.spec(rate), frames=features.frames, out=kept)

    def network(self, kind: str, seed: int) -> tuple[Any, float]:
        """Return a network and its test accuracy; `kind` is one of `NETWORKS`."""
        from cepscope.models import build_cdbn, build_cnn, fit_classifier, load_model, pretrain

        patches, train = self.patches, self.config.train
        path = self.cache / f"{kind}{seed}.keras" if self.cache else None
        if path and path.is_file():
            model = load_model(path)
            return model, float((model(patches.test.x).numpy().argmax(axis=1) == patches.test.y).mean())
        settings = self.config.model.network()
        plain = {name: settings[name] for name in ("filters", "kernel_sizes", "pool_sizes", "dropout")}
        if kind == "cnn":
            model = build_cnn(patches.input_shape, patches.classes, **plain, seed=seed)
        else:
            model = build_cdbn(patches.input_shape, patches.classes, **settings, seed=seed)
        if kind == "cdbn":
            before = {"epochs": train.pretrain_epochs, "learning_rate": train.pretrain_learning_rate, "k": train.k}
            same = ("persistent", "sparsity", "sparsity_cost", "sparsity_kind", "weight_decay", "initial_biases")
            before |= {name: getattr(train, name) for name in same}
            pretrain(model, patches, **before, batch_size=train.batch_size, seed=seed)
        fine = {"epochs": train.epochs, "batch_size": train.batch_size, "learning_rate": train.learning_rate}
        fine |= {"label_smoothing": train.label_smoothing, "shift": train.shift}
        rows = fit_classifier(model, patches, **fine, seed=seed)
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            model.save(path)
        return model, float(rows[-1]["val_accuracy"])


def digits(trainer: Trainer, seeds: list[int], say: Callable[[str], None]) -> dict[str, Any]:
    """Return the test accuracy of each network and seed, means, and standard deviations."""
    found: dict[str, list[float]] = {name: [] for name in NETWORKS}
    seconds: dict[str, list[float]] = {name: [] for name in NETWORKS}
    for seed in seeds:
        for name in NETWORKS:
            start = time.perf_counter()
            found[name].append(round(trainer.network(name, seed)[1], 4))
            seconds[name].append(round(time.perf_counter() - start, 1))
            say(f"seed {seed} {name}: {found[name][-1]:.4f} ({seconds[name][-1]} s)")
    return {
        "clips": {"train": len(trainer.patches.train.y), "test": len(trainer.patches.test.y)},
        "accuracy": found,
        "mean": {name: round(statistics.mean(values), 4) for name, values in found.items()},
        "deviation": {name: round(statistics.pstdev(values), 4) for name, values in found.items()},
        "seconds": seconds,
    }


def units(trainer: Trainer, seeds: list[int], say: Callable[[str], None]) -> dict[str, Any]:
    """Return what `summarise` says of each seed's patterns and of chance."""
    found: dict[str, Any] = {}
    for seed in seeds:
        model, accuracy = trainer.network("cdbn", seed)
        strangers = (("cdbn", seed + 10), ("cnn", seed))
        others = {f"{kind}{other}": trainer.network(kind, other)[0] for kind, other in strangers}
        say(f"seed {seed}: accuracy {accuracy:.4f}")
        entry = judged(
            model, trainer.patches, trainer.config, others, seed, lambda text, s=seed: say(f"seed {s}: {text}")
        )
        found[f"seed{seed}"] = {"accuracy": round(accuracy, 4), **entry}
    return found


def spotters(corpus: str, settings: list[str], seeds: list[int], say: Callable[[str], None]) -> dict[str, Any]:
    """Return the same of keyword spotters that others trained."""
    from cepscope.config import load_config
    from cepscope.corpora import extract, load_corpus

    config = load_config(overrides=settings, environment={})
    patches = extract(load_corpus(corpus), spotter_spec(config.features.floor), frames=FRAMES)
    *front_end, fit = fit_front_end(patches)
    say(f"front end: R^2 {fit}")
    folder = SHARED / "models" / "ml_kws"
    networks = {name: load_spotter(folder / f"{name}.keras", front_end) for name in NAMES}
    found: dict[str, Any] = {"front_end_r2": fit}
    for name, model in networks.items():
        others = {other: network for other, network in networks.items() if other != name}
        found[name] = {"folding_error": check_folding(folder / f"{name}.keras", model, patches, front_end)}
        for seed in seeds:
            found[name][f"seed{seed}"] = judged(
                model, patches, config, others, seed, lambda text, n=name: say(f"{n}: {text}")
            )
    return found


def judged(
    model: Any, patches: Any, config: Any, others: dict[str, Any], seed: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Find the patterns of a network with the settings of a run, and of chance; take all to sound and measure them."""
    from cepscope.invert.inversion import invert
    from cepscope.maximize.engine import maximize
    from cepscope.maximize.objectives import unit
    from cepscope.maximize.transforms import Transforms
    from cepscope.maximize.viewing import find_views
    from cepscope.probe import summarise_views
    from cepscope.probe.evaluation import random_patterns, shuffled, summarise

    settings = config.maximize.model_dump()
    settings["transforms"] = Transforms(**settings["transforms"])
    start = time.perf_counter()

    def measured(patterns: Any, opposites: Any) -> dict[str, Any]:
        sounds = invert(patterns, **config.invert.arguments())
        return summarise(model, patches, patterns, sounds, opposites=opposites, others=others)

    def shown(patterns: Any) -> dict[str, Any]:
        return summarise_views(find_views(model, patches, patterns, seed=seed))

    def both(network: Any) -> tuple[Any, Any]:
        most = maximize(network, patches, **settings, seed=seed)
        away = [-unit(name) for name in most.units]
        return most, maximize(network, patches, **{**settings, "objectives": away}, seed=seed)

    patterns, opposites = both(model)
    entry = {"patterns": {**measured(patterns, opposites), "views": shown(patterns)}}
    say(f"patterns ({time.perf_counter() - start:.0f} s) {entry['patterns']['layers']}")
    chance = (random_patterns(model, patterns, patches, seed=which) for which in (1, 2))
    entry["random_directions"] = measured(*chance)
    entry["shuffled_weights"] = measured(*both(shuffled(model, seed=seed)))
    say(f"done ({time.perf_counter() - start:.0f} s)")
    return entry


def main() -> None:
    """Parse the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["digits", "units", "spotters", *PROBES])
    parser.add_argument("--corpus", default=str(SHARED / "corpora" / "fsdd"), help="a folder, or spoken-digits")
    parser.add_argument(
        "--seeds", type=int, nargs="+", help="default: 0 1 2; of units: 1 2; of spotters: 1; of probes: 0, the first"
    )
    parser.add_argument("--cache", type=Path, help="keep features and networks there")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting, as of cepscope run"
    )
    parser.add_argument("--quick", action="store_true", help="of probes: a part, to see that all works")
    parser.add_argument("--out", type=Path, help="of probes: a folder for tables and figures")
    parser.add_argument("--json", action="store_true", help="print JSON to stdout, and what is going on to stderr")
    options = parser.parse_args()
    if options.corpus != "spoken-digits" and not Path(options.corpus).is_dir():
        parser.exit(1, f"There is no corpus at {options.corpus}; name its folder with --corpus.\n")
    stream = sys.stderr if options.json else sys.stdout

    def say(text: str) -> None:
        print(text, file=stream, flush=True)

    if options.what == "spotters":
        print(json.dumps(spotters(options.corpus, options.set, options.seeds or [1], say), indent=1))
        return
    trainer = Trainer(options.corpus, options.set, options.cache)
    if options.what in PROBES:
        more = {"seed": (options.seeds or [0])[0], "quick": options.quick, "out": options.out, "say": say}
        print(json.dumps(PROBES[options.what](trainer.patches, SHARED / "corpora", **more), indent=1))
        return
    if options.what == "digits":
        found = digits(trainer, options.seeds or [0, 1, 2], say)
        print(json.dumps(found, indent=1) if options.json else f"mean: {found['mean']}")
    else:
        found = units(trainer, options.seeds or [1, 2], say)
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
