"""Other people's Keras models, the whole way: recordings, network, patterns, sounds, scores, page."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from cepscope.atomic import sha256
from cepscope.config import RunConfig, load_config
from cepscope.corpora import Patches
from cepscope.errors import DataError, ParameterError
from cepscope.maximize.patterns import Patterns
from cepscope.models import load_model
from cepscope.models.reference import tensorflow_mfcc
from cepscope.pipeline import NAMES, run_stages, stored_config
from cepscope.pipeline.foreign import read_source, relabelled, settle

SMALL = (
    "maximize.steps=4", "maximize.transforms.noise=0", "maximize.priors.patch_likelihood=0", "report.exemplars=2",
    "invert.method=fast",
)  # fmt: skip
RATE = "features.sr=16000"
PLAIN = "maximize.mode=classic"  # its loop is compiled faster
layers = keras.layers


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks of others: over sequences of MFCC, and over pictures of log-mel bands."""
    folder = tmp_path_factory.mktemp("models")
    keras.utils.set_random_seed(0)
    x = keras.Input((40, 12), name="mfcc")
    value = layers.Conv1D(3, 5, activation="relu", name="conv")(x)
    value = layers.Dense(4, activation="relu", name="hidden")(layers.GlobalAveragePooling1D()(value))
    keras.Model(x, layers.Dense(3, activation="softmax", name="classes")(value)).save(folder / "sequences.keras")
    chain: list[Any] = [
        layers.DepthwiseConv2D((3, 3), depth_multiplier=2, name="depthwise"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Flatten(),
        layers.Dense(2, name="logits"),
    ]
    keras.Sequential([keras.Input((24, 40, 1)), *chain]).save(folder / "bands.h5")
    (folder / "three.txt").write_text("two\nthree\nsilence\n\n")
    return folder


def settings(words: Path, model: Path, *more: str) -> RunConfig:
    return load_config(
        overrides=(*SMALL, RATE, *more), flags={"corpus": str(words), "model.file": str(model)}, environment={}
    )


def test_from_a_file_to_a_page_by_one_command(cepscope: Any, words: Path, models: Path) -> None:
    small = [word for setting in (*SMALL, RATE, "features.n_mfcc=12") for word in ("--set", setting)]
    command = ("maximize", "--model", models / "sequences.keras", "--data", words, "--layers", "conv,hidden")
    command = (*command, "--layers", "classes", "--labels", models / "three.txt", *small)
    assert cepscope(*command) == 0, cepscope.err
    lines = cepscope.err.splitlines()
    run = Path("runs/sequences")
    assert cepscope.out == "runs/sequences/report/index.html\n"
    assert lines[1] == (
        "sequences.keras is taken as it is, in the place of training; what each of its units prefers is searched for, "
        "made audible and checked."
    )
    assert lines[3] == (
        "sequences.keras takes (40, 12), time first: 40 frames of 12 MFCC. Inferred: model.layout=time-first, "
        "model.input=mfcc, features.frames=40."
    )
    assert "Its 3 classes are from three.txt; 1 of the data's 2 are among them." in lines
    assert any(line.startswith("Of 4 held-out clips it says: ") for line in lines)

    with (run / "patterns" / "units.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["unit"] for row in rows] == [*(f"conv:{i}" for i in range(3)), *(f"hidden:{i}" for i in range(4)),
                                             *(f"classes:{i}" for i in range(3))]  # fmt: skip
    assert [row["label"] for row in rows[-3:]] == ["two", "three", "silence"]
    assert all(row["sound_class"] in ("two", "three", "silence") for row in rows)
    assert len(list((run / "audio").glob("*.wav"))) == 10
    page = (run / "report" / "index.html").read_text("utf-8")
    assert page.count("<audio") == 10
    assert "<title>What sequences listens for</title>" in page
    assert "How it was trained" not in page
    assert "train.epochs" not in page

    source = read_source(run)
    assert source["sha256"] == sha256(models / "sequences.keras")
    assert source["feed"] == {"shape": [40, 12], "layout": "time-first", "kind": "mfcc", "rows": 12, "frames": 40}
    assert source["difference"] < 1e-4
    patches, patterns = Patches.load(run / "features"), Patterns.load(run / "patterns" / "patterns.npz")
    original = keras.models.load_model(models / "sequences.keras")
    unscaled = patches.decode(patches.test.x).transpose(0, 2, 1)
    heard = original(unscaled).numpy().argmax(axis=1)
    known = np.array([path.startswith("two/") for path in patches.test.paths])
    summary = json.loads((run / "patterns" / "summary.json").read_text())
    assert 0 < known.sum() < len(known)
    assert summary["test_accuracy"] == pytest.approx(np.mean(heard[known] == 0), abs=1e-4)
    said = [("two", "three", "silence")[i] for i in heard]
    assert source["says_of_held_out_clips"] == {name: said.count(name) for name in said}
    # patterns are in front of the same network: class units, by the original's own arithmetic
    below = keras.Model(original.input, original.get_layer("hidden").output)(patterns.mfcc.transpose(0, 2, 1)).numpy()
    kernel, bias = original.get_layer("classes").get_weights()
    np.testing.assert_allclose(np.diag((below @ kernel + bias)[-3:]), patterns.activation[-3:], rtol=1e-3, atol=1e-3)

    assert cepscope(*command) == 0
    assert cepscope.err.count("unchanged, skipped") == 6
    assert cepscope("maximize", run, "--layers", "classes", "--set", PLAIN) == 0, cepscope.err
    assert cepscope.out == "runs/sequences/patterns/patterns.npz\n"
    assert Patterns.load(run / "patterns" / "patterns.npz").units == ("classes:0", "classes:1", "classes:2")


@pytest.mark.slow
def test_bands_of_a_file_of_keras_2_and_what_is_noticed_later(words: Path, models: Path, tmp_path: Path) -> None:
    file = Path(shutil.copy(models / "bands.h5", tmp_path))
    config, folder = settings(words, file, "features.n_mels=24", "model.scaling=standard", PLAIN), tmp_path / "run"
    told: list[str] = []
    outcomes = run_stages(folder, config, say=told.append)
    assert [outcome.stage for outcome in outcomes if not outcome.skipped] == list(NAMES)
    assert told[0].startswith(
        "bands.h5 takes (24, 40, 1), coefficients first: 40 frames of 24 log-mel bands. Inferred: "
    )
    assert "features.n_mfcc=24" in told[0]
    assert told[1].startswith("Of 4 held-out clips it says: output ")  # two outputs, but not the data's classes
    units = Patterns.load(folder / "patterns" / "patterns.npz").units
    assert units == ("depthwise:0", "depthwise:1", "logits:0", "logits:1")
    with (folder / "patterns" / "units.csv").open() as handle:
        assert {row["label"] for row in csv.DictReader(handle)} == {""}
    assert json.loads((folder / "patterns" / "summary.json").read_text())["test_accuracy"] is None
    assert stored_config(folder) == settle(config, 16000)[0]

    kept = stored_config(folder)
    file.unlink()
    run_stages(folder, kept, only="report")  # the run has all that it needs
    with pytest.raises(Exception, match="there is no such file"):
        run_stages(folder, kept)
    keras.utils.set_random_seed(1)
    model = keras.models.load_model(models / "bands.h5", compile=False)
    model.get_layer("logits").set_weights([w + 1 for w in model.get_layer("logits").get_weights()])
    model.save(file)
    assert [outcome.stage for outcome in run_stages(folder, kept, only="train") if not outcome.skipped] == ["train"]
    with pytest.raises(ParameterError, match="`maximize` was run before its inputs changed"):
        run_stages(folder, kept, only="invert")
    with pytest.raises(ParameterError, match=r"Expected features.n_mfcc=24, features.n_mels=24, features.frames=41"):
        run_stages(folder, kept.model_copy(update={"features": kept.features.model_copy(update={"frames": 41})}))


@pytest.mark.slow
def test_the_same_settings_in_toml(words: Path, models: Path, tmp_path: Path) -> None:
    shutil.copy(models / "sequences.keras", tmp_path / "net.keras")
    np.savez(tmp_path / "scale.npz", mean=0.0, scale=2.0)
    (tmp_path / "run.toml").write_text(
        '[features]\nn_mfcc = 12\n[model]\nfile = "net.keras"\nlayout = "time-first"\nlabels = "names.txt"\n'
        'scaling = "scale.npz"\n[maximize]\nlayers = ["conv"]\n'
    )
    config = load_config(tmp_path / "run.toml", environment={})
    paths = {"file": "net.keras", "labels": "names.txt", "scaling": "scale.npz"}
    assert {name: getattr(config.model, name) for name in paths} == {n: str(tmp_path / p) for n, p in paths.items()}
    settled, lines = settle(config, 16000)
    assert (settled.features.frames, settled.model.input, settled.maximize.layers) == (40, "mfcc", ("conv",))
    assert settle(settled, 16000) == (settled, ())
    assert lines == (
        "net.keras takes (40, 12), time first: 40 frames of 12 MFCC. Inferred: model.input=mfcc, features.frames=40.",
    )
    assert settle(RunConfig(), 16000) == (RunConfig(), ())


def test_a_front_end_by_name_leaves_what_was_said(tmp_path: Path) -> None:
    keras.Sequential([keras.Input((98, 40, 1)), layers.Flatten(), layers.Dense(2)]).save(tmp_path / "net.keras")
    more = ("model.front_end=tf-speech-commands", "features.win=480", "features.hop=160")
    flags = {"model.file": str(tmp_path / "net.keras")}
    features = settle(load_config(overrides=more, flags=flags, environment={}), 8000)[0].features
    assert (features.sr, features.win, features.hop, features.n_mels) == (16000, 480, 160, 40)
    assert (features.n_mfcc, features.frames, features.fmax) == (40, 98, 4000)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["maximize"], 2, "takes the folder of a run, or a Keras model with --model. Received: neither"),
        (["maximize", "somewhere", "--data", "words"], 2, "--data goes with --model"),
        (["maximize", "--model", "none.keras", "--data", "words"], 1, "there is no such file"),
        (["maximize", "--model", "text.keras", "--data", "words"], 1, "neither a .keras archive nor HDF5"),
        (["maximize", "--model", "net.keras", "--data", "words"], 2, "Set model.input=mfcc or log-mel"),
        (["maximize", "--model", "net.keras", "--data", "words", "--set", "features.n_mfcc=13"], 2, "n_mfcc=13"),
        (
            ["maximize", "--model", "net.keras", "--front-end", "sphinx"],
            2,
            "features.front_end must be '', 'librosa', 'htk'",
        ),
        (["run", "words", "--set", "model.layout=sideways"], 2, "model.layout must be '', 'time-first'"),
    ],
)
def test_bad_usage_is_one_clear_line(
    arguments: list[str], code: int, message: str, cepscope: Any, words: Path, models: Path, tmp_path: Path
) -> None:
    (tmp_path / "words").symlink_to(words)
    shutil.copy(models / "sequences.keras", tmp_path / "net.keras")
    (tmp_path / "text.keras").write_text("hello")
    assert (cepscope(*arguments), cepscope.out) == (code, ""), cepscope.err
    errors = [line for line in cepscope.err.splitlines() if line.startswith("cepscope: ")]
    assert len(errors) == 1, cepscope.err
    assert message in errors[0]
    assert not (tmp_path / "runs").exists()


def test_labels_are_as_many_as_outputs(words: Path, models: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("yes\nno\nno\n")
    config = settings(words, models / "sequences.keras", "features.n_mfcc=12", f"model.labels={tmp_path / 'names.txt'}")
    run_stages(tmp_path / "run", config, only="extract")
    with pytest.raises(DataError, match=r"names.txt must name 3 classes, one a line. Received: 3, 1 of them twice"):
        run_stages(tmp_path / "run", config, only="train")
    (tmp_path / "names.txt").write_text("yes\nno\n")
    with pytest.raises(DataError, match=r"Received: 2$"):
        run_stages(tmp_path / "run", config, only="train")
    wrong = settings(words, models / "sequences.keras", "features.n_mfcc=12", f"model.labels={tmp_path / 'none.txt'}")
    with pytest.raises(DataError, match="can't be read as text"):
        run_stages(tmp_path / "run", wrong, only="train")


def test_classes_are_counted_as_the_network_knows_them(digit_patches: Patches) -> None:
    known = relabelled(digit_patches, ["yes", "two", "one"])
    names = np.array(digit_patches.classes)[digit_patches.test.y]
    assert known.classes == ("yes", "two", "one")
    assert set(known.test.y[names == "two"]) == {1}
    assert set(known.test.y[(names != "one") & (names != "two")]) == {-1}
    assert relabelled(digit_patches, digit_patches.classes).test.y.tolist() == digit_patches.test.y.tolist()


def test_a_keyword_spotter_hears_unknown_words_in_digits(shared_dir: Path, tmp_path: Path) -> None:
    """Of Zhang et al. 2017; and it hears in cepscope's patches what it hears in its own front end's MFCC."""
    file = shared_dir / "models" / "ml_kws" / "CNN_S.keras"
    if not file.is_file():
        pytest.skip(f"no keyword spotter at {file}")
    folder = tmp_path / "digits"
    for digit in range(10):
        (folder / str(digit)).mkdir(parents=True)
        for clip in sorted((shared_dir / "corpora" / "fsdd" / "audio").glob(f"{digit}_*_[01].*"))[:8]:
            shutil.copy(clip, folder / str(digit))
    more = ("model.front_end=tf-speech-commands", "maximize.layers=['logits']", PLAIN)
    config = load_config(
        overrides=(*SMALL, *more), flags={"corpus": str(folder), "model.file": str(file)}, environment={}
    )
    run_stages(tmp_path / "run", config)
    source = read_source(tmp_path / "run")
    assert source["labels"][:4] == ["_silence_", "_unknown_", "yes", "no"]  # of labels.txt beside it
    assert min(source["front_end_r2"]) > 0.9  # .97 and more on the whole corpus
    assert source["folded_normalisations"] == 3
    said = source["says_of_held_out_clips"]
    assert said["_unknown_"] / sum(said.values()) > 0.6  # .82 on the whole corpus
    patches = Patches.load(tmp_path / "run" / "features")
    spec = patches.spec
    # its own front end tells digital silence from what is below cepscope's floor: so noise at the floor is added
    power = 0.375 * spec.win * spec.n_fft / spec.sr  # mel power of white noise of power 1: the window's, times a band's
    noise = np.sqrt(spec.floor / power) * np.random.default_rng(0).standard_normal((20, spec.samples_of(49)))
    waves = [patches.load_wave(path) + hiss for path, hiss in zip(patches.test.paths, noise, strict=False)]
    own = keras.models.load_model(file)(np.stack([tensorflow_mfcc(wave, spec) for wave in waves])[..., None])
    ours = load_model(tmp_path / "run" / "model" / "model.keras")(patches.test.x[: len(waves)])
    # total variation: on 300 clips .05, and .20 without the tie
    assert np.mean(np.abs(own - ours).sum(axis=1)) / 2 < 0.1
    summary = json.loads((tmp_path / "run" / "patterns" / "summary.json").read_text())
    assert {name: layer["units"] for name, layer in summary["layers"].items()} == {"logits": 12}
    assert summary["logit_sounds_right"].endswith("/12")
