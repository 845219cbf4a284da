"""What labels can be read from a CDBN that learned without labels: probes and few-label curves on real corpora.

Networks are pretrained on the training side of each split alone, without its labels, and scaled by it. Beside their
layers stand MFCC and the same network with fresh weights. Called by `evaluate`.
"""

from __future__ import annotations

import csv
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Side = npt.NDArray[np.bool_]
Say = Callable[[str], None]

LAYERS = ("crbm1", "crbm2")
BOTH = "+".join(LAYERS)
RANDOM = "+".join(f"random:{name}" for name in LAYERS)
POOLING: dict[str, Any] = {"windows": 4, "reduce": "max"}  # layers, in stretches of what sounds
FEW_LABELS = ("mfcc", "mfcc_pooled", *LAYERS, BOTH, "mfcc_pooled+crbm1", RANDOM)
PROBED = ("mfcc", "mfcc_statistics", *LAYERS, BOTH, f"mfcc+{BOTH}", *(f"random:{name}" for name in LAYERS), RANDOM)
CONTEXT = 27  # frames around a phone's centre, and of the windows that long clips are cut into
RATE = 16_000  # Hz, of LibriSpeech and TIMIT
FOLDS = 4  # of LibriSpeech's speakers
APART, FEWEST, MOST = 3, 3, 15  # folds of speakers; speakers that they need; pairs of speakers that test few labels
SOME = 600  # rows that a quick probe learns from
QUICK = {"sizes": (1, 5, 20), "draws": 3}

# the 39 classes of Lee and Hon 1989 (IEEE Trans. ASSP 37), and the groups of TIMIT's own documentation
FOLDED = {
    **{"ao": "aa", "ax": "ah", "ax-h": "ah", "axr": "er", "hv": "hh", "ix": "ih", "el": "l", "em": "m", "en": "n"},
    **{"nx": "n", "eng": "ng", "zh": "sh", "ux": "uw", "cl": "sil", "vcl": "sil", "epi": "sil", "pau": "sil"},
}
GROUPS = {
    "stop": "b d g p t k dx q",
    "fricative or affricate": "s sh z f th v dh jh ch",
    "nasal": "m n ng",
    "semivowel or glide": "l r w y hh",
    "silence": "sil",
}
BROAD = {phone: group for group, phones in GROUPS.items() for phone in phones.split()}


def pretrained(x: FloatArray, *, seed: int, epochs: int = 0, **changes: Any) -> Any:
    """Return the network whose layers are probed, pretrained on patches (n, n_mfcc, frames, 1) without labels.

    As in Lee et al. 2009 (NIPS), 300 bases of six frames by all coefficients and blocks of three frames; a second layer
    of 300 sees about half a second. `lee2009` shows what other settings give, on clips that no table tests; `changes`
    are of `build_cdbn`, or else of `pretrain`.
    """
    from cepscope.models import build_cdbn, pretrain

    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # a network a split is meant; it would warn of each
    network = {
        "filters": (300, 300),
        "kernel_sizes": ((x.shape[1], 6), (1, 4)),
        "pool_sizes": ((1, 3), (1, 2)),
        "visible_scale": 0.5,
    }
    training = {"epochs": epochs or 10, "batch_size": 32, "sparsity": 0.02}
    network |= {name: value for name, value in changes.items() if name in network}
    training |= {name: value for name, value in changes.items() if name not in network}
    model = build_cdbn(x.shape[1:], **network, seed=seed)  # its logits are never used
    pretrain(model, x, **training, seed=seed)
    return model


@dataclass(frozen=True)
class Clips:
    """Patches of all clips of a corpus, not scaled: mfcc (n, n_mfcc, frames), and what is known of each clip."""

    mfcc: FloatArray
    labels: npt.NDArray[Any]
    speakers: npt.NDArray[Any]
    official: Side  # the corpus's own training side
    extents: npt.NDArray[np.intp]  # (n, 2): where clips sound

    @classmethod
    def of(cls, patches: Any) -> Clips:
        """Take both sides of `Patches`, of a front end like that of `cepscope run`."""
        from cepscope.probe.representations import sounding

        sides = (patches.train, patches.test)
        labels = np.array(patches.classes)[np.concatenate([side.y for side in sides])]
        speakers = np.array([name for side in sides for name in side.speakers])
        official = np.arange(len(labels)) < len(patches.train)
        mfcc = patches.decode(np.concatenate([side.x for side in sides]))
        levels = mfcc[:, 0] / np.sqrt(patches.spec.n_mels)  # dB: the mean log-mel spectrum
        return cls(mfcc, labels, speakers, official, sounding(levels))

    def scaled(self, train: Side) -> FloatArray:
        """Return patches (n, n_mfcc, frames, 1) scaled by one side."""
        return scaled(self.mfcc, train)

    @property
    def names(self) -> list[str]:
        """Return the speakers, if there are enough to set some apart."""
        found = [str(name) for name in np.unique(self.speakers) if name]
        return found if len(found) >= FEWEST else []

    @property
    def alike(self) -> bool:
        """Tell whether the corpus's own sides share speakers, or know none."""
        return bool(np.isin(self.speakers[~self.official], self.speakers[self.official]).any())

    def normalised(self) -> Clips:
        """Return the clips with each speaker's sounding frames at mean 0 and variance 1, by coefficient."""
        mfcc = self.mfcc.copy()
        for name in np.unique(self.speakers):
            own = np.flatnonzero(self.speakers == name)
            frames = np.concatenate([self.mfcc[i][:, slice(*self.extents[i])] for i in own], axis=1)
            mfcc[own] = (mfcc[own] - frames.mean(axis=1)[:, None]) / frames.std(axis=1)[:, None]
        return replace(self, mfcc=mfcc)

    def without(self, speakers: Iterable[str]) -> Side:
        """Return which clips are of other speakers."""
        return ~np.isin(self.speakers, list(speakers))


def scaled(mfcc: FloatArray, train: Side) -> FloatArray:
    """Scale MFCC (n, n_mfcc, frames) by those of one side: (n, n_mfcc, frames, 1)."""
    from cepscope.features import CoefficientScaler

    return CoefficientScaler.fit(mfcc[train]).transform(mfcc)[..., None]


# -- few labels


def fewlabel(patches: Any, corpora: Path, *, seed: int, quick: bool, out: Path | None, say: Say) -> dict[str, Any]:  # noqa: ARG001
    """Return error, standard error and paired difference from MFCC by split, labels a class and representation.

    The official split is the corpus's own; where it has all speakers on both sides, clips are its sample. Of the other,
    two speakers test and all others train, in every way (of six speakers: fifteen), and speakers are its sample. Of the
    third, the same with each speaker's frames normalised by all clips of that speaker, which needs no label: MFCC too.
    """
    from cepscope.probe.fewlabels import DRAWS, SIZES, few_label_errors, gather
    from cepscope.probe.representations import represent

    clips = Clips.of(patches)
    pairs = list(itertools.combinations(clips.names, 2))
    pairs = pairs[:: max(1, len(pairs) // (2 if quick else MOST))]
    apart = [clips.without(pair) for pair in pairs]
    splits = {"official": (clips, [clips.official]), "speaker-disjoint": (clips, apart)}
    if apart:
        splits["speaker-disjoint, normalised by speaker"] = (clips.normalised(), apart)
    fewest = min(np.unique(clips.labels[side], return_counts=True)[1].min() for side in (clips.official, *apart))
    settings: dict[str, Any] = dict(QUICK) if quick else {"sizes": SIZES, "draws": DRAWS}
    settings["sizes"] = tuple(size for size in settings["sizes"] if size <= fewest)
    found: dict[str, Any] = {}
    for split, (own, sides) in splits.items():
        parts = []
        by_clip = split == "official" and clips.alike
        for i, train in enumerate(sides):
            x = own.scaled(train)
            model = pretrained(x[train], seed=seed, epochs=int(quick))
            seen = represent(x, FEW_LABELS, model=model, **POOLING, extents=clips.extents, seed=seed)
            wrong = few_label_errors(seen, clips.labels, train, ~train, **settings, seed=seed + i)
            tested = np.flatnonzero(~train)
            parts.append((wrong, tested if by_clip else clips.speakers[tested]))
            means = {name: round(float(w.mean()), 4) for name, w in wrong.items()}
            say(f"{split} {i + 1} of {len(sides)}: {means}")
        if not parts:
            say(f"left out: {split}, for want of known speakers")
            continue
        curves = gather(parts, settings["sizes"])
        found[split] = few_label_entry(curves)
        if out:
            _write_few_labels(out, split, curves, 1 - 1 / len(patches.classes))
    return found


def few_label_entry(curves: Any, base: str = "mfcc") -> dict[str, Any]:
    """Return error, standard error and paired difference from a base by labels a class and representation."""
    entry: dict[str, Any] = {str(size): {} for size in curves.sizes}
    for name in curves.wrong:
        numbers = {"error": curves.error(name), "se": curves.standard_error(name)}
        if name != base:
            numbers[f"minus_{base}"], numbers[f"minus_{base}_se"] = curves.difference(name, base)
        for i, size in enumerate(curves.sizes):
            entry[str(size)][name] = {key: round(float(values[i]), 4) for key, values in numbers.items()}
    return entry


def _write_few_labels(out: Path, split: str, curves: Any, chance: float) -> None:
    from cepscope.probe.tables import Estimate
    from cepscope.report.probe_plots import plot_few_labels

    both = {name: (curves.error(name), curves.standard_error(name)) for name in curves.wrong}
    rows = [
        {"labels a class": size, **{name: Estimate(float(e[i]), float(s[i])) for name, (e, s) in both.items()}}
        for i, size in enumerate(curves.sizes)
    ]
    title = f"Few labels, {split} split"
    _write(out, f"fewlabel_{split}", rows, plot_few_labels(curves.sizes, both, chance=chance, title=title))


# -- all labels


@dataclass(frozen=True)
class Task:
    """Labels to be read, and the splits they are read in.

    `features` gives representations (n, features) by name for one side that trains; `groups` are speakers, `alike` says
    that the same ones are on both sides: folds should then mix them too.
    """

    labels: npt.NDArray[Any]
    groups: npt.NDArray[Any]
    sides: Sequence[Side]
    features: Callable[[Side], Mapping[str, FloatArray]]
    alike: bool = False


def probe(patches: Any, corpora: Path, *, seed: int, quick: bool, out: Path | None, say: Say) -> dict[str, Any]:
    """Return how well each representation tells digits, speakers, sex and phones, with chance, by task.

    Beside it: what single units tell of digits and speakers, and how alike layers of two networks are.
    """
    epochs = int(quick)
    clips = Clips.of(patches)
    found: dict[str, Any] = {"tasks": {}}
    tasks = digit_tasks(clips, seed, epochs)
    for name, more in (("librispeech_sex", speech_tasks), ("timit_phones_sample", phone_tasks)):
        if (corpora / name).is_dir() and (corpora / "librispeech_sex").is_dir():
            tasks |= more(corpora, patches.spec, seed, epochs)
        else:
            say(f"left out: there is no {name} in {corpora}")
    for name, task in tasks.items():
        results = probed(task, seed=seed, quick=quick)
        found["tasks"][name] = {key: _entry(result) for key, result in results.items()}
        if out:
            _write_probe(out, name, results)
        accuracies = {key: round(result.accuracy, 3) for key, result in results.items()}
        say(f"{name}: {accuracies}")
    found |= units_and_likeness(clips, seed, epochs, out)
    return found


def probed(task: Task, *, seed: int, quick: bool) -> dict[str, Any]:
    """Return a `ProbeResult` of each representation over all splits of a task."""
    from cepscope.probe.linear import linear_probe
    from cepscope.probe.result import merged

    results: dict[str, list[Any]] = {}
    for train in task.sides[:1] if quick else task.sides:
        own = np.flatnonzero(train)
        if quick:
            own = np.sort(np.random.default_rng(seed).permutation(own)[:SOME])
        for name, x in task.features(train).items():
            result = linear_probe(
                *(x[own], task.labels[own], x[~train], task.labels[~train]),
                groups=None if task.alike else task.groups[own],
                test_groups=None if task.alike else task.groups[~train],
                classifier="logistic",
                seed=seed,
            )
            results.setdefault(name, []).append(result)
    return {name: merged(each) for name, each in results.items()}


def digit_tasks(clips: Clips, seed: int, epochs: int) -> dict[str, Task]:
    """Return the tasks of the corpus of digits; one network a split serves all of them."""
    from cepscope.probe.representations import represent

    kept: dict[bytes, Mapping[str, FloatArray]] = {}

    def features(train: Side) -> Mapping[str, FloatArray]:
        key = train.tobytes()
        if key not in kept:
            x = clips.scaled(train)
            model = pretrained(x[train], seed=seed, epochs=epochs)
            kept.clear()
            kept[key] = represent(x, PROBED, model=model, **POOLING, extents=clips.extents, seed=seed)
        return kept[key]

    official = [clips.official]
    tasks = {"digit, official split": Task(clips.labels, clips.speakers, official, features, alike=clips.alike)}
    if clips.names and clips.alike:
        tasks["speaker, official split"] = Task(clips.speakers, clips.speakers, official, features, alike=True)
    if clips.names:
        apart = [clips.without(names) for names in np.array_split(clips.names, APART)]
        tasks["digit, speakers apart"] = Task(clips.labels, clips.speakers, apart, features)
    return tasks


def speech_tasks(corpora: Path, spec: Any, seed: int, epochs: int) -> dict[str, Task]:
    """Return the task of telling the sex of LibriSpeech's speakers: features averaged over the windows of a clip."""
    from cepscope.probe.linear import folds_of
    from cepscope.probe.representations import represent

    windows, owner, sex, speakers = librispeech(corpora, spec)
    names = ["mfcc_pooled", "mfcc_statistics", *PROBED[2:5], *PROBED[6:]]

    def features(train: Side) -> Mapping[str, FloatArray]:
        heard = train[owner]
        x = scaled(windows, heard)
        model = pretrained(x[heard], seed=seed, epochs=epochs)
        starts = np.flatnonzero(np.diff(owner, prepend=-1))
        counts = np.bincount(owner)[:, None]
        seen = represent(x, names, model=model, windows=1, seed=seed)
        return {name: np.add.reduceat(value, starts) / counts for name, value in seen.items()}

    folds = folds_of(sex, folds=FOLDS, seed=seed)  # one clip a speaker
    sides = [folds != i for i in range(FOLDS)]
    return {"sex, speakers apart": Task(sex, speakers, sides, features)}


def phone_tasks(corpora: Path, spec: Any, seed: int, epochs: int) -> dict[str, Task]:
    """Return the tasks of telling the phone, or its group, around the frame in its middle.

    One of the sample's two speakers trains the probe, the other tests it; the network has heard LibriSpeech. The
    sample's phone ends do not follow its sound, so that nothing tells phones beyond chance there, MFCC included.
    """
    from cepscope.probe.representations import represent

    windows, phones, speakers, sentences = timit(corpora, spec)
    others = librispeech(corpora, spec)[0]
    kept: dict[str, FloatArray] = {}

    def features(_train: Side) -> Mapping[str, FloatArray]:
        if not kept:
            heard = np.arange(len(others) + len(windows)) < len(others)
            x = scaled(np.concatenate([others, windows]), heard)
            model = pretrained(x[heard], seed=seed, epochs=epochs)
            kept.update(represent(x[~heard], PROBED, model=model, windows=2, seed=seed))
        return kept

    sides = [speakers != name for name in np.unique(speakers)]
    broad = np.array([BROAD.get(phone, "vowel") for phone in phones])
    return {
        "phone, speakers apart": Task(phones, sentences, sides, features),
        "group of phones, speakers apart": Task(broad, sentences, sides, features),
    }


def librispeech(
    corpora: Path, spec: Any, *, rate: int = RATE, frames: int = CONTEXT
) -> tuple[FloatArray, npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Return windows side by side (n, n_mfcc, frames), the clip of each, and the sex and the speaker of each clip."""
    from cepscope.corpora import load_corpus

    clips = load_corpus(corpora / "librispeech_sex").clips
    windows, owner = [], []
    for i, clip in enumerate(clips):
        mfcc = whole_mfcc(clip.path, spec, rate=rate)
        count = mfcc.shape[1] // frames
        windows.append(mfcc[:, : count * frames].reshape(-1, count, frames).transpose(1, 0, 2))
        owner += [i] * count
    sex, speakers = (np.array([getattr(clip, name) for clip in clips]) for name in ("label", "speaker"))
    return np.concatenate(windows), np.array(owner), sex, speakers


def timit(corpora: Path, spec: Any) -> tuple[FloatArray, npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Return a window around each phone's middle (n, n_mfcc, CONTEXT), the phones, their speakers and sentences."""
    folder = corpora / "timit_phones_sample"
    with (folder / "phones.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    windows, seconds = [], _at(spec).hop / RATE
    for name, group in itertools.groupby(rows, key=lambda row: row["file_name"]):
        middles = [(float(row["start_s"]) + float(row["end_s"])) / 2 for row in group]
        centres = np.round(np.array(middles) / seconds).astype(int)
        windows.append(windows_at(whole_mfcc(folder / name, spec), centres, spec))
    phones = np.array([FOLDED.get(row["phone"], row["phone"]) for row in rows])
    speakers, sentences = (np.array([row[name] for row in rows]) for name in ("speaker", "file_name"))
    return np.concatenate(windows), phones, speakers, sentences


def whole_mfcc(path: Path, spec: Any, *, rate: int = RATE) -> FloatArray:
    """Return the MFCC of a whole recording (n_mfcc, frames)."""
    from cepscope.audio import read_audio
    from cepscope.corpora.patches import sound_to_mfcc

    audio, sr = read_audio(path)
    own = _at(spec, rate)
    return sound_to_mfcc(audio, sr, own, own.frames_of(round(len(audio) * rate / sr)))


def windows_at(mfcc: FloatArray, centres: npt.NDArray[np.intp], spec: Any) -> FloatArray:
    """Cut windows around frames, with silence beyond either end: (n_mfcc, frames) to (n, n_mfcc, CONTEXT)."""
    side = np.repeat(_at(spec).silence[:, None], CONTEXT // 2, axis=1)
    padded = np.concatenate([side, mfcc, side], axis=1)
    places = np.clip(centres, 0, mfcc.shape[1] - 1)[:, None] + np.arange(CONTEXT)
    return padded[:, places].transpose(1, 0, 2)


def _at(spec: Any, rate: int = RATE) -> Any:
    """Return a corpus's front end at another rate, by default that of the longer recordings."""
    from cepscope.features import MfccSpec

    return MfccSpec(sr=rate, n_mfcc=spec.n_mfcc, n_mels=spec.n_mels, floor=spec.floor)


def units_and_likeness(clips: Clips, seed: int, epochs: int, out: Path | None) -> dict[str, Any]:
    """Return what single units tell of digits and speakers, and the debiased CKA of two networks and of fresh weights.

    Clips are all of the corpus: no label was used to train.
    """
    from cepscope.maximize.units import unit_activations
    from cepscope.probe.representations import represent
    from cepscope.probe.selectivity import label_selectivity
    from cepscope.probe.similarity import cka_table

    x = clips.scaled(clips.official)
    model, other = (pretrained(x[clips.official], seed=each, epochs=epochs) for each in (seed, seed + 1))
    selectivity: dict[str, Any] = {}
    for layer in LAYERS:
        activation = unit_activations(model, x, layers=[layer])
        columns = {"digit": (clips.labels, clips.speakers if clips.names else None)}
        columns |= {"speaker": (clips.speakers, None)} if clips.names else {}
        for label, (values, groups) in columns.items():
            one = label_selectivity(activation, values, groups=groups, seed=seed)
            names, counts = np.unique(one.preferred, return_counts=True)
            selectivity.setdefault(label, {})[layer] = {
                "units": len(one.information),
                "median_bits": round(float(np.median(one.information)), 4),
                "chance_bits": round(float(np.median(one.chance)), 4),
                "share_beyond_chance": round(float(np.mean(one.p_value <= 0.01)), 4),
                "median_largest_dprime": round(float(np.median(one.dprime.max(axis=1))), 3),
                "preferred": dict(zip(names.tolist(), counts.tolist(), strict=True)),
            }
    held_out, settings = x[~clips.official], {**POOLING, "extents": clips.extents[~clips.official], "seed": seed}
    rows = represent(held_out, ("mfcc", *LAYERS), model=model, **settings)
    sides = {
        "another seed": represent(held_out, LAYERS, model=other, **settings),
        "fresh weights": represent(held_out, [f"random:{name}" for name in LAYERS], model=model, **settings),
    }
    likeness: dict[str, Any] = {}
    for name, columns in sides.items():
        table = cka_table(rows, columns, debiased=True)
        likeness[name] = {
            row: dict(zip(columns, np.round(values, 4).tolist(), strict=True))
            for row, values in zip(rows, table, strict=True)
        }
        if out:
            _write_likeness(out, name, table, list(rows), list(columns))
    return {"units": selectivity, "cka": likeness}


def _entry(result: Any) -> dict[str, Any]:
    recall = {str(name): round(float(value), 4) for name, value in zip(result.classes, result.recall, strict=True)}
    numbers = {"accuracy": result.accuracy, "se": result.standard_error, "chance": result.chance}
    known = {name: value for name, value in recall.items() if value == value}  # NaN of classes that no test has
    return {**{key: round(value, 4) for key, value in numbers.items()}, "C": list(result.C), "recall": known}


def _write_probe(out: Path, task: str, results: Mapping[str, Any]) -> None:
    from cepscope.probe.tables import Estimate
    from cepscope.report.probe_plots import plot_confusion

    rows = [
        {"representation": name, "accuracy": Estimate(one.accuracy, one.standard_error), "chance": one.chance}
        for name, one in results.items()
    ]
    best = max(results, key=lambda name: results[name].accuracy)
    figure = plot_confusion(results[best].confusion, results[best].classes, title=f"{task}: {best}")
    _write(out, f"probe_{task}", rows, figure)


def _write_likeness(out: Path, other: str, table: Any, rows: list[str], columns: list[str]) -> None:
    from cepscope.report.probe_plots import plot_cka

    lines = [{"layer": row, **dict(zip(columns, values, strict=True))} for row, values in zip(rows, table, strict=True)]
    title = "Linear CKA, debiased"
    _write(out, f"cka_{other}", lines, plot_cka(table, rows, columns, title=title, column_network=other))


def _write(out: Path, name: str, rows: list[dict[str, Any]], figure: Any) -> None:
    from cepscope.probe.tables import WRITERS, write_table
    from cepscope.report import save_figure

    stem = name.replace(",", "").replace(" ", "_")
    for suffix in WRITERS:
        write_table(out / f"{stem}{suffix}", rows)
    save_figure(figure, out / f"{stem}.png", dpi=150)


PROBES = {"probe": probe, "fewlabel": fewlabel}
