"""Nothing that comes from a file is ever unpickled: not in the sources, and not when it runs."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any, Never

import joblib
import keras
import numpy as np
import pytest

from cepscope.atomic import load_npy, load_npz
from cepscope.audio import read_audio, resample
from cepscope.config import load_config
from cepscope.corpora import Patches, extract, load_corpus
from cepscope.errors import CepscopeError, CorruptArtifactError
from cepscope.features import CoefficientScaler, MfccSpec, load_scaling
from cepscope.maximize.patterns import Patterns
from cepscope.models.loading import load_model

DANGEROUS = re.compile(
    r"\b(?:import\s+|from\s+)(?:pickle|cPickle|_pickle|dill|cloudpickle|marshal|shelve|jsonpickle)\b"
    r"|\bpickle\.\w|\bmarshal\.\w|joblib\.load\b|torch\.load\b|read_pickle|allow_pickle\s*=\s*True|safe_mode\s*=\s*False"
    r"|enable_unsafe_deserialization|yaml\.(?:unsafe_|full_)?load\b|np\.load\(|(?<![\w.])(?:eval|exec|__import__)\("
    r"|os\.system\(|shell\s*=\s*True|mktemp\("
)


@pytest.mark.parametrize(
    "line",
    [
        *("import pickle", "from dill import load", "x = joblib.load(path)", "np.load(f, allow_pickle=True)"),
        *("load_model(path, safe_mode=False)", "yaml.load(text)", "eval(text)", "torch.load(path)", "np.load(path)"),
    ],
)
def test_what_is_looked_for_is_found(line: str) -> None:
    assert DANGEROUS.search(line)


def test_no_source_unpickles_or_runs_what_it_reads(project_root: Path) -> None:
    found = [
        f"{path.relative_to(project_root)}:{number}: {line.strip()}"
        for path in sorted((project_root / "src").rglob("*.py"))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if DANGEROUS.search(line)
    ]
    assert found == []


class Touch:
    """What a stranger's pickle does when it is opened."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("opened"),)


@pytest.fixture
def no_pickle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> Never:
        raise AssertionError("something was unpickled")

    resample(np.ones(100), 16000, 8000)  # numba keeps librosa's compiled code as pickles, beside librosa's own files
    monkeypatch.chdir(tmp_path)
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(joblib, "load", refuse)


@pytest.mark.usefixtures("no_pickle")
def test_every_reader_does_without(words: Path, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="unpickled"):
        pickle.loads(b"")  # the fixture does what it should
    patches = extract(load_corpus(words), MfccSpec(sr=8000, floor=1e-5), frames=16, out=tmp_path / "features")
    np.testing.assert_array_equal(Patches.load(tmp_path / "features").train.x, patches.train.x)
    assert isinstance(load_scaling(tmp_path / "features" / "scaler.npz"), CoefficientScaler)
    C = patches.decode(patches.test.x[:2])
    Patterns(("crbm1:0", "crbm1:1"), patches.test.x[:2], C, patches.spec, C[:, 0, 0], C[:, 0]).save(tmp_path / "p.npz")
    assert len(Patterns.load(tmp_path / "p.npz")) == 2
    model = keras.Sequential([keras.Input(patches.input_shape), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.save(tmp_path / "a.keras")
    assert load_model(tmp_path / "a.keras").count_params() == model.count_params()
    (tmp_path / "run.toml").write_text("seed = 3")
    assert load_config(tmp_path / "run.toml", environment={}).seed == 3
    assert read_audio(next((words / "one").iterdir()))[0].size


def hostile(path: Path) -> Path:
    """Write a file that holds a pickle where arrays, or a network, are expected."""
    match path.suffix:
        case ".npy":
            np.save(path, np.array([Touch()], dtype=object), allow_pickle=True)
        case ".npz":
            array = io.BytesIO()
            np.lib.format.write_array(array, np.array([Touch()], dtype=object), allow_pickle=True)
            with zipfile.ZipFile(path, "w") as archive:
                for name in ("mean", "scale", "mfcc", "problems", "units"):
                    archive.writestr(f"{name}.npy", array.getvalue())
        case ".pt":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("model/data.pkl", pickle.dumps(Touch()))
        case _:
            path.write_bytes(pickle.dumps(Touch()))
    return path


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.pkl", "a.pt", "a.keras", "a.h5", "a.wav", "a.toml"])
def test_a_pickle_in_any_place_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = hostile(tmp_path / name)
    for read in (load_npy, load_npz, load_scaling, Patterns.load, load_model, read_audio, load_config):
        with pytest.raises(CepscopeError) as caught:
            read(path)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "opened").exists()
    if name in ("a.npy", "a.npz"):
        with pytest.raises(CorruptArtifactError, match="Python objects, which are never unpickled"):
            (load_npy if name == "a.npy" else load_npz)(path)
        np.load(path, allow_pickle=True)[{".npz": "mean", ".npy": 0}[path.suffix]]
        assert (tmp_path / "opened").exists()  # it would have done it
