"""What the networks reach on real corpora, over several seeds.

    python scripts/evaluate.py digits --corpus path/to/fsdd --json

``digits`` trains three networks of one shape on the Free Spoken Digit Dataset (official split: takes 0 to 4 of each
speaker and digit are the test): the CDBN with pretraining, the same from its random first weights, and a plain
convolutional network with ReLU and max pooling. The recordings are not part of the project.
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

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = ("cdbn", "random_initialisation", "cnn")


def digits(corpus: Path, seeds: int, settings: list[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Return the test accuracy of each network and seed, means, and standard deviations."""
    from cepscope.config import load_config
    from cepscope.corpora import extract, load_corpus
    from cepscope.models import build_cdbn, build_cnn, fit_classifier, pretrain

    config = load_config(overrides=settings, environment={})
    patches = extract(load_corpus(str(corpus)), config.features.spec(8000), frames=config.features.frames)
    found: dict[str, list[float]] = {name: [] for name in NETWORKS}
    seconds: dict[str, list[float]] = {name: [] for name in NETWORKS}
    train = config.train
    fine = {"epochs": train.epochs, "batch_size": train.batch_size, "learning_rate": train.learning_rate}
    fine |= {"label_smoothing": train.label_smoothing, "shift": train.shift}
    model_settings = config.model.model_dump()
    plain = {name: model_settings[name] for name in ("filters", "kernel_sizes", "pool_sizes", "dropout")}
    before = {"epochs": train.pretrain_epochs, "learning_rate": train.pretrain_learning_rate, "k": train.k}
    same = ("persistent", "sparsity", "sparsity_cost", "sparsity_kind", "weight_decay", "initial_biases")
    before |= {name: getattr(train, name) for name in same}
    for seed in range(seeds):
        for name in NETWORKS:
            start = time.perf_counter()
            if name == "cnn":
                model = build_cnn(patches.input_shape, patches.classes, **plain, seed=seed)
            else:
                model = build_cdbn(patches.input_shape, patches.classes, **model_settings, seed=seed)
            if name == "cdbn":
                pretrain(model, patches, **before, batch_size=train.batch_size, seed=seed)
            rows = fit_classifier(model, patches, **fine, seed=seed)
            found[name].append(round(rows[-1]["val_accuracy"], 4))
            seconds[name].append(round(time.perf_counter() - start, 1))
            say(f"seed {seed} {name}: {found[name][-1]:.4f} ({seconds[name][-1]} s)")
    return {
        "clips": {"train": len(patches.train.y), "test": len(patches.test.y)},
        "accuracy": found,
        "mean": {name: round(statistics.mean(values), 4) for name, values in found.items()},
        "deviation": {name: round(statistics.pstdev(values), 4) for name, values in found.items()},
        "seconds": seconds,
    }


def main() -> None:
    """Parse the command line and print."""
    shared = Path(os.environ.get("CEPSCOPE_SHARED", ROOT.parent / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["digits"])
    parser.add_argument("--corpus", type=Path, default=shared / "corpora" / "fsdd")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting, as of cepscope run"
    )
    parser.add_argument("--json", action="store_true", help="print JSON to stdout, and what is going on to stderr")
    options = parser.parse_args()
    if not options.corpus.is_dir():
        parser.exit(1, f"There is no corpus at {options.corpus}; name its folder with --corpus.\n")
    stream = sys.stderr if options.json else sys.stdout
    found = digits(options.corpus, options.seeds, options.set, lambda text: print(text, file=stream, flush=True))
    print(json.dumps(found, indent=1) if options.json else f"mean over {options.seeds} seeds: {found['mean']}")


if __name__ == "__main__":
    main()
