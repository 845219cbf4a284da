"""`cepscope explain` and `cepscope.explain`: a person's own recordings against a run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import cepscope as cs
from cepscope.audio import read_audio, write_wav
from cepscope.config import load_config
from cepscope.corpora import Patches
from cepscope.errors import CepscopeWarning, DataError, NotFittedError, ParameterError
from cepscope.models.backend import keras
from cepscope.pipeline import run_stages
from cepscope.pipeline.explaining import FILES, RunExplainer, RunExplanation
from cepscope.probe import load_unit_rows

SMALL = (
    "features.sr=8000", "features.frames=48", "model.filters=[3, 4]", "train.pretrain=false", "train.epochs=1",
    "maximize.steps=2", "maximize.mode=classic", "invert.method=fast", "report.exemplars=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(words: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a network that somebody else made: it takes sequences of MFCC, and knows two words."""
    folder = tmp_path_factory.mktemp("runs")
    keras.utils.set_random_seed(0)
    x = keras.Input((48, 20))
    value = keras.layers.Conv1D(4, 5, strides=2, padding="same", activation="relu", name="conv")(x)
    value = keras.layers.GlobalAveragePooling1D()(value)
    keras.Model(x, keras.layers.Dense(2, activation="softmax", name="words")(value)).save(folder / "net.keras")
    (folder / "labels.txt").write_text("two\none\n")
    flags = {"corpus": str(words), "model.file": str(folder / "net.keras"), "model.scaling": "standard"}
    run_stages(folder / "small", load_config(overrides=SMALL, flags=flags, environment={}))
    return folder / "small"


@pytest.fixture(scope="module")
def explainer(run: Path) -> RunExplainer:
    return RunExplainer(run)


@pytest.fixture(scope="module")
def found(explainer: RunExplainer, words: Path) -> RunExplanation:
    return explainer(explainer.read(words / held_out(explainer.folder)[0]))


def held_out(run: Path) -> tuple[str, ...]:
    return Patches.load(run / "features").test.paths


@pytest.mark.slow
def test_the_run_s_table_says_the_same_of_held_out_clips(explainer: RunExplainer, run: Path) -> None:
    rows = load_unit_rows(run / "patterns" / "units.csv")
    reach = explainer.explainer.reach
    for name, column in (("mean", "natural_mean"), ("patch", "natural_max")):
        expected = [row[column] for row in rows]
        np.testing.assert_allclose(np.concatenate([getattr(one, name) for one in reach]), expected, rtol=1e-4)


def test_a_held_out_clip_of_the_run(found: RunExplanation, explainer: RunExplainer, run: Path) -> None:
    patches = Patches.load(run / "features")
    model = cs.load_model(run / "model" / "model.keras")
    measured = cs.maximize.unit_activations(model, patches.test.x[:1])[0]
    start = found.starts[0] if len(found.starts) == 1 else (found.recording.frames - patches.frames) // 2
    (own,) = np.flatnonzero(found.starts == start)
    # float32, and the recording's mean and peak summed in another order
    np.testing.assert_allclose(np.concatenate([track.patches[own] for track in found.tracks]), measured, atol=1e-4)
    np.testing.assert_allclose(found.probabilities[own], model.predict(patches.test.x[:1], verbose=0)[0], atol=1e-4)
    assert found.classes == ("two", "one")  # the network's, not the data's
    # what is drawn of a moment is what the network was given
    centre = found.centres[own]
    np.testing.assert_allclose(found.patch(float(centre)), patches.test.x[0, :, :, 0], atol=1e-4)


def test_what_was_written_can_be_read_back(found: RunExplanation, tmp_path: Path) -> None:
    page = found.save(tmp_path / "answer")
    assert sorted(path.name for path in page.parent.iterdir()) == sorted(FILES)
    with np.load(tmp_path / "answer" / "activations.npz") as data:
        assert data["layers"].tolist() == ["conv", "words"]
        assert data["classes"].tolist() == ["two", "one"]
        np.testing.assert_array_equal(data["probabilities"], found.probabilities)
        np.testing.assert_allclose(data["stops"] - data["starts"], 0.47)
        for track in found.tracks:
            assert data[f"{track.layer}_units"].tolist() == list(track.units)
            np.testing.assert_array_equal(data[f"{track.layer}_times"], track.times)
            np.testing.assert_array_equal(data[f"{track.layer}_activations"], track.activation)
            mean, best = data[f"{track.layer}_mean"], data[f"{track.layer}_best_moment"]
            relative = (track.activation - mean) / (best - mean)
            np.testing.assert_allclose(data[f"{track.layer}_relative"], relative, rtol=1e-4, atol=1e-5)
    moments = sorted(found.moments(), key=lambda one: one.start)
    lines = (tmp_path / "answer" / "moments.txt").read_text().splitlines()
    assert len(lines) == len(moments) > 0
    for line, one in zip(lines, moments, strict=True):
        start, stop, text = line.split("\t")
        assert (float(start), float(stop)) == pytest.approx((one.start, one.stop), abs=1e-6)
        assert text.split()[0] == one.unit
        assert float(text.split()[-1]) == pytest.approx(one.activation, abs=0.005)
    classes = [line.split("\t") for line in (tmp_path / "answer" / "classes.txt").read_text().splitlines()]
    assert [cells[2].split()[0] for cells in classes] == [one.label for one in found.stretches()]
    assert page.read_text("utf-8").count('class="heard"') == 1


def test_from_the_command_line(cepscope: Any, run: Path, words: Path) -> None:
    shutil.copytree(run, "small")
    clips = sorted((words / "one").iterdir())[:2]
    Path("mine").mkdir()
    y, sr = read_audio(clips[0])
    soundfile.write("mine/a.wav", np.stack([y, y], axis=1) * 0.1, sr)
    shutil.copy(clips[1], "mine/a.flac")
    write_wav("mine/short.wav", y[: sr // 5] / np.abs(y).max(), sr)
    Path("mine/broken.wav").write_text("hello")
    write_wav("mine/quiet.wav", np.zeros(sr), sr)

    assert cepscope("explain", "mine", "--run", "small", "--json") == 0, cepscope.err
    answers, lines = [json.loads(line) for line in cepscope.lines], cepscope.err.splitlines()
    assert [one["file"] for one in answers] == ["mine/a.flac", "mine/a.wav", "mine/short.wav"]
    assert [one["page"] for one in answers] == [f"small/explain/{name}/index.html" for name in ("a", "a-2", "short")]
    for one in answers:
        assert set(one["probabilities"]) == {"one", "two"}
        assert sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert one["class"] == max(one["probabilities"], key=one["probabilities"].get)
        strongest = [unit["activation"] for unit in one["top_units"]]
        assert strongest == sorted(strongest, reverse=True)
        assert all(0 <= unit["time"] <= one["seconds"] for unit in one["top_units"])
        assert {unit["unit"].split(":")[0] for unit in one["top_units"]} <= {"conv", "words"}
    assert any(
        "short.wav is 0.20 s long, shorter than the network's patch of 0.47 s: it was padded" in x for x in lines
    )
    warnings = [line for line in lines if line.startswith("cepscope: warning: skipped ")]
    assert len(warnings) == 2
    assert "skipped broken.wav: broken.wav is not a readable sound file" in warnings[0]
    assert "skipped quiet.wav: quiet.wav is silent" in warnings[1]
    link = re.search(r'<a class="there" href="([^"#]+)#conv-\d"', Path(answers[0]["page"]).read_text("utf-8"))[1]
    assert (Path(answers[0]["page"]).parent / link).resolve() == Path("small/report/index.html").resolve()

    for _ in range(2):  # again, over it
        assert cepscope("explain", "mine/a.wav", "--run", "small", "--out", "here/it is") == 0, cepscope.err
        assert cepscope.out == "here/it is/index.html\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["a.wav", "--run", "none"], 1, "There is no run in none"),
        (["a.wav", "--run", "words"], 1, "There is no run in words: it has no run.toml"),
        (["a.wav", "--run", "untrained"], 1, "The run untrained has no trained network yet. Run `cepscope train untr"),
        (["a.wav"], 2, "Missing option '--run'"),
        (["none.wav", "--run", "small"], 1, "none.wav does not exist"),
        (["text.wav", "--run", "small"], 1, "text.wav is not a readable sound file"),
        (["silent.wav", "--run", "small"], 1, "silent.wav is silent: there is nothing in it but a constant"),
        (["click.wav", "--run", "small"], 1, "click.wav is 0.010 s long, expected at least 0.05 s"),
        (["empty", "--run", "small"], 1, "There are no sound files (.wav .flac"),
        (["text.wav", "silent.wav", "--run", "small"], 1, "None of the 2 recordings can be used"),
        (["a.wav", "--run", "small", "--out", "words"], 2, "words holds one and no explanation"),
        (["a.wav", "--run", "small", "--out", "a.wav"], 1, "a.wav is a file: name a folder"),
    ],
)
def test_bad_usage_is_one_clear_line(
    arguments: list[str], code: int, message: str, cepscope: Any, run: Path, words: Path
) -> None:
    Path("small").symlink_to(run)
    Path("words").symlink_to(words)
    Path("empty").mkdir()
    Path("untrained").mkdir()
    shutil.copy(run / "run.toml", "untrained")
    shutil.copytree(run / "features", "untrained/features")
    Path("text.wav").write_text("hello")
    shutil.copy(next((words / "one").iterdir()), "a.wav")
    write_wav("silent.wav", np.full(8000, 0.5), 8000)
    write_wav("click.wav", np.ones(80), 8000)
    before = sorted(run.rglob("*"))
    assert (cepscope("explain", *arguments), cepscope.out) == (code, ""), cepscope.err
    lines = cepscope.err.splitlines()
    assert sum(message in line for line in lines) == 1, lines
    assert not any("Traceback" in line for line in lines)
    assert sorted(run.rglob("*")) == before


def test_from_python(run: Path, words: Path, tmp_path: Path) -> None:
    clip = words / held_out(run)[0]
    found = cs.explain(run, clip)
    y, sr = read_audio(clip)
    again = cs.explain(run, 0.3 * y.astype(np.float64), sr)
    assert (found.name, again.name) == (clip.name, "recording")
    np.testing.assert_allclose(again.overall, found.overall, atol=1e-3)
    shown = found._repr_html_()
    assert shown.count("<audio") == 1
    assert 'src="data:image/png;base64,' in shown
    assert f"{clip.name}: <b>{found.said}</b>" in shown
    shutil.copy(clip, tmp_path / "<b>.flac")
    (tmp_path / "c.wav").write_text("hello")
    with pytest.warns(CepscopeWarning, match=r"skipped c\.wav"):
        (one,) = cs.explain(run, tmp_path)
    assert "<b>.flac" not in one._repr_html_()
    assert "&lt;b&gt;.flac" in one._repr_html_()
    with pytest.raises(ParameterError, match="says its own rate"):
        cs.explain(run, clip, 8000)
    with pytest.raises(ParameterError, match="one sound"):
        cs.explain(run, np.zeros((2, 8000)))
    with pytest.raises(DataError, match="does not exist"):
        cs.explain(run, tmp_path / "none.wav")
    with pytest.raises(NotFittedError, match="no run in"):
        cs.explain(words, clip)


def test_a_run_that_was_only_trained_will_do(words: Path, tmp_path: Path) -> None:
    config = load_config(overrides=SMALL, flags={"corpus": str(words)}, environment={})
    for stage in ("extract", "train"):
        run_stages(tmp_path / "run", config, only=stage)
    found = cs.explain(tmp_path / "run", words / held_out(tmp_path / "run")[0])
    assert found.classes == ("one", "two")
    assert [len(track.units) for track in found.tracks] == [3, 4, 2]
    page = found.save(tmp_path / "answer").read_text("utf-8")
    assert 'data-side="a"' in page
    assert 'data-side="b"' not in page
    assert "its page" not in page


def test_nothing_is_loaded_before_it_is_needed() -> None:
    program = (
        "import sys; import cepscope; from cepscope.pipeline import explaining; import cepscope.report.explanation\n"
        "cepscope.explain; print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
