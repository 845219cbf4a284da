"""Few labels on features that were learned without any, in the spirit of Lee, Largman, Pham, Ng 2009 (NIPS).

    python scripts/lee2009.py tables --corpus path/to/fsdd --json
    python scripts/lee2009.py choices --corpus path/to/fsdd --json

``tables``: as there, a network of two layers hears unlabelled speech of strangers (LibriSpeech); linear SVMs then
learn digits and speakers of another corpus, on its official split, and the sex of LibriSpeech's speakers, from a few
labelled clips. MFCC stand beside layer 1, layer 2, and both. What they used and is not at hand: TIMIT, and their
spectrograms of it; the layers here hear MFCC.

``choices``: what every choice of `evaluate fewlabel` is worth. Each row changes one of them; networks are trained on
three quarters of the official training side and asked about the other quarter, so that no test is touched.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluate_probe import BOTH, LAYERS, POOLING, QUICK, Clips, few_label_entry, librispeech, pretrained, scaled

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("CEPSCOPE_SHARED", ROOT.parent / "shared"))
SETTINGS: dict[str, dict[str, Any]] = {"tables": {"sizes": (1, 2, 5, 10)}, "choices": {"sizes": (5, 10, 50)}}
SHOWN = ("mfcc", "mfcc_pooled", *LAYERS, BOTH)
FOLDS = 4

FloatArray = npt.NDArray[np.float32]
Say = Callable[[str], None]

# a change of the network or its training (arguments of `pretrained`), or of the pooling
CHOICES: dict[str, dict[str, Any]] = {
    "as chosen": {},
    "filters of 5 by 5, 24 and 48": {
        "filters": (24, 48),
        "kernel_sizes": ((5, 5), (3, 5)),
        "pool_sizes": ((2, 2), (2, 2)),
    },
    "600 filters": {"filters": (600, 300)},
    "100 filters": {"filters": (100, 100)},
    "visible units of scale 1": {"visible_scale": 1.0},
    "sparsity .05": {"sparsity": 0.05},
    "persistent chains": {"persistent": True},
    "30 epochs": {"epochs": 30},
    "whitened frames": {"whiten": True},
    "means of stretches": {"reduce": "mean"},
    "8 stretches of the whole patch": {"whole": True, "windows": 8},
    "heard LibriSpeech alone": {"strangers": True},
}


def choices(
    patches: Any, corpora: Path, *, seed: int, quick: bool, say: Say, only: list[str] | None = None
) -> dict[str, Any]:
    """Return error, standard error and difference from MFCC by choice, labels a class and representation."""
    clips = Clips.of(patches)
    own = np.flatnonzero(clips.official)
    asked = np.random.default_rng(seed).permutation(own)[: len(own) // 4]
    train = clips.official.copy()
    train[asked] = False
    settings = QUICK if quick else SETTINGS["choices"]
    found: dict[str, Any] = {}
    for name in only or CHOICES:
        start = time.perf_counter()
        seen = _represented(clips, train, CHOICES[name] | ({"epochs": 1} if quick else {}), patches.spec, corpora, seed)
        found[name] = _curves(seen, clips.labels, train, asked, settings, seed)
        errors = {key: [size[key]["error"] for size in found[name].values()] for key in seen}
        say(f"{name} ({time.perf_counter() - start:.0f} s): {errors}")
    return found


def _represented(
    clips: Clips, train: npt.NDArray[np.bool_], change: dict[str, Any], spec: Any, corpora: Path, seed: int
) -> Mapping[str, FloatArray]:
    """Return what MFCC and a network with one change give for all clips."""
    from cepscope.features.whitening import PCAWhitener
    from cepscope.probe.representations import represent

    pooling = {name: change.pop(name, value) for name, value in POOLING.items()}
    extents = None if change.pop("whole", False) else clips.extents
    x, plain = clips.scaled(train), clips.scaled(train)
    if change.pop("whiten", False):
        heard = [clips.mfcc[i][:, slice(*clips.extents[i])] for i in np.flatnonzero(train)]
        whitener = PCAWhitener.fit(heard, components=len(clips.mfcc[0]), center=True)
        x = np.stack([whitener.transform(one) for one in clips.mfcc])[..., None].astype(np.float32)
    if change.pop("strangers", False):
        windows = librispeech(corpora, spec, rate=spec.sr, frames=clips.mfcc.shape[2])[0]
        model = pretrained(scaled(windows, np.ones(len(windows), bool)), seed=seed, **change)
    else:
        model = pretrained(x[train], seed=seed, **change)
    seen = represent(plain, SHOWN[:2], windows=pooling["windows"], extents=extents, seed=seed)
    return {**seen, **represent(x, SHOWN[2:], model=model, **pooling, extents=extents, seed=seed)}


def _curves(
    seen: Mapping[str, FloatArray],
    labels: npt.NDArray[Any],
    train: npt.NDArray[np.bool_],
    asked: npt.NDArray[np.intp],
    settings: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    from cepscope.probe.fewlabels import few_label_errors, gather

    wrong = few_label_errors(seen, labels, train, asked, **settings, seed=seed)
    return few_label_entry(gather([(wrong, asked)], settings["sizes"]))


def tables(patches: Any, corpora: Path, *, seed: int, quick: bool, say: Say) -> dict[str, Any]:
    """Return error, standard error and difference from MFCC by task, labels a class and representation."""
    from cepscope.probe.representations import represent

    clips, spec = Clips.of(patches), patches.spec
    windows, owner, sex, _ = librispeech(corpora, spec, rate=spec.sr, frames=clips.mfcc.shape[2])
    settings, every = QUICK if quick else SETTINGS["tables"], np.ones(len(windows), bool)
    model = pretrained(scaled(windows, every), seed=seed, epochs=int(quick))
    say(f"heard {len(windows)} windows of {len(sex)} speakers, without labels")
    found: dict[str, Any] = {}
    x, asked = clips.scaled(clips.official), np.flatnonzero(~clips.official)
    seen = represent(x, (*SHOWN, "mfcc_statistics"), model=model, **POOLING, extents=clips.extents, seed=seed)
    for task, labels in (("digit", clips.labels), ("speaker", clips.speakers)):
        if len(np.unique(labels)) > 1:
            found[task] = _curves(seen, labels, clips.official, asked, settings, seed)
            say(f"{task}: {_errors(found[task])}")
    found["sex"] = _sexes(model, windows, owner, sex, settings, seed)
    say(f"sex: {_errors(found['sex'])}")
    return found


def _sexes(
    model: Any,
    windows: FloatArray,
    owner: npt.NDArray[np.intp],
    sex: npt.NDArray[Any],
    settings: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """Tell the sex of speakers, one clip each, from means over their windows; folds of speakers are the tests."""
    from cepscope.probe.fewlabels import few_label_errors, gather
    from cepscope.probe.linear import folds_of
    from cepscope.probe.representations import represent

    x = scaled(windows, np.ones(len(windows), bool))
    starts, counts = np.flatnonzero(np.diff(owner, prepend=-1)), np.bincount(owner)[:, None]
    names = ("mfcc_pooled", "mfcc_statistics", *LAYERS, BOTH)
    seen = represent(x, names, model=model, windows=1, seed=seed)
    seen = {name: np.add.reduceat(value, starts) / counts for name, value in seen.items()}
    folds = folds_of(sex, folds=FOLDS, seed=seed)
    parts = []
    for i in range(FOLDS):
        asked = np.flatnonzero(folds == i)
        parts.append((few_label_errors(seen, sex, folds != i, asked, **settings, seed=seed + i), asked))
    return few_label_entry(gather(parts, settings["sizes"]), base="mfcc_pooled")


def _errors(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {size: {name: one["error"] for name, one in row.items()} for size, row in entry.items()}


def main() -> None:
    """Parse the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["tables", "choices"])
    parser.add_argument("--corpus", default=str(SHARED / "corpora" / "fsdd"), help="a folder, or spoken-digits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="one epoch, to see that all works")
    parser.add_argument("--only", action="append", choices=list(CHOICES), help="of choices: this one; may be repeated")
    parser.add_argument("--json", action="store_true", help="print JSON to stdout, and what is going on to stderr")
    options = parser.parse_args()
    strangers = SHARED / "corpora" / "librispeech_sex"
    if options.what == "tables" and not strangers.is_dir():
        parser.exit(1, f"There is no LibriSpeech at {strangers}; set CEPSCOPE_SHARED to the folder with corpora.\n")
    if options.corpus != "spoken-digits" and not Path(options.corpus).is_dir():
        parser.exit(1, f"There is no corpus at {options.corpus}; name its folder with --corpus.\n")
    from evaluate import Trainer

    patches = Trainer(options.corpus, [], None).patches
    settings: dict[str, Any] = {
        "seed": options.seed,
        "quick": options.quick,
        "say": lambda text: print(text, file=sys.stderr, flush=True),
    }
    if options.what == "choices":
        found = choices(patches, SHARED / "corpora", only=options.only, **settings)
    else:
        found = tables(patches, SHARED / "corpora", **settings)
    print(json.dumps(found, indent=1 if options.json else None))


if __name__ == "__main__":
    main()
