from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cepscope.atomic import sha256
from cepscope.audio import read_audio
from cepscope.config import RunConfig, load_config
from cepscope.errors import CorruptArtifactError, DataError, NotFittedError, ParameterError
from cepscope.features import CoefficientScaler, PCAWhitener, mfcc
from cepscope.invert.scores import load_sound_rows
from cepscope.maximize import Patterns
from cepscope.pipeline import NAMES, parts, run_stages, stored_config
from cepscope.pipeline.ledger import Ledger, code_version, run_folder
from cepscope.probe import load_unit_rows
from cepscope.probe.scores import MEDIANS, SOUND_COLUMNS

SMALL = (
    "features.sr=8000", "features.frames=48", "model.filters=[3, 4]", "train.pretrain_epochs=1", "train.epochs=2",
    "maximize.steps=4", "invert.method=fast", "report.exemplars=2",
)  # fmt: skip
UNITS = [f"crbm1-{i}" for i in range(3)] + [f"crbm2-{i}" for i in range(4)] + [f"logits-{i}" for i in range(2)]


def settings(corpus: Path, *more: str) -> RunConfig:
    return load_config(overrides=(*SMALL, *more), flags={"corpus": str(corpus)}, environment={})


@pytest.fixture(scope="module")
def finished(words: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "deep" / "run"
    outcomes = run_stages(folder, settings(words))
    assert [outcome.stage for outcome in outcomes if not outcome.skipped] == list(NAMES)
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def redone(folder: Path, config: RunConfig, only: str | None = None) -> list[str]:
    return [outcome.stage for outcome in run_stages(folder, config, only=only) if not outcome.skipped]


def test_a_run_leaves_exactly_its_artifacts(finished: Path) -> None:
    files = {path.relative_to(finished).as_posix() for path in finished.rglob("*") if path.is_file()}
    exemplars = {name for name in files if name.startswith("audio/exemplars/")}
    shards = {name for name in files if name.startswith("features/mfcc-")}
    assert exemplars
    assert shards
    assert files - exemplars - shards == {
        "run.toml", "run.json", "features/manifest.json", "features/scaler.npz", "features/clips.csv",
        "features/train.npy", "features/test.npy", "model/model.keras",
        "model/history.csv", "model/filters.npz", "patterns/patterns.npz", "patterns/units.csv",
        "patterns/summary.json", "patterns/exemplars.npz", "patterns/views.npz", "audio/sounds.npz",
        "audio/sounds.csv", "report/index.html",
        *(f"audio/{unit}.wav" for unit in UNITS),
    }  # fmt: skip
    with wave.open(str(finished / "audio" / "crbm1-2.wav")) as file:
        assert (file.getframerate(), file.getnframes()) == (8000, 47 * 80)


def test_the_record_holds_what_was_read_and_written(finished: Path, words: Path) -> None:
    record = json.loads((finished / "run.json").read_text())
    assert record["settings"]["train"]["epochs"] == 2
    assert {"cepscope", "python", "tensorflow", "keras", "librosa", "numpy", "scipy"} <= record["versions"].keys()
    assert list(record["stages"]) == list(NAMES)
    for entry in record["stages"].values():
        assert entry["seconds"] >= 0
        assert all(sha256(finished / name) == digest for name, digest in entry["outputs"].items())
    outputs = {name: record["stages"][name]["outputs"] for name in ("extract", "maximize")}
    assert record["stages"]["invert"]["inputs"] == {**outputs["extract"], **outputs["maximize"]}
    assert stored_config(finished) == settings(words)


def test_sounds_have_a_row_of_scores_each(finished: Path) -> None:
    rows = load_sound_rows(finished / "audio" / "sounds.csv")
    assert [row["name"].replace(":", "-") for row in rows] == UNITS
    with np.load(finished / "audio" / "sounds.npz") as data:
        for name in ("gain", "relative_error", "normalised_error"):
            np.testing.assert_allclose([row[name] for row in rows], data[name], rtol=1e-4)
    units = load_unit_rows(finished / "patterns" / "units.csv")
    for name in SOUND_COLUMNS:
        assert [unit[name] for unit in units] == pytest.approx([row[name] for row in rows], rel=1e-5, nan_ok=True)
    patterns = Patterns.load(finished / "patterns" / "patterns.npz")
    sd = CoefficientScaler.load(finished / "features" / "scaler.npz").scale
    y = read_audio(finished / "audio" / "crbm1-2.wav")[0] / rows[2]["gain"]
    error = np.sqrt(np.mean((mfcc(y, patterns.spec) - patterns.mfcc[2]) ** 2, axis=1)) / sd
    assert rows[2]["rmse_sd"] == pytest.approx(error.mean(), rel=1e-2)  # a wav holds 16 bits


def test_deviations_are_the_corpus_s_whatever_it_is_scaled_by() -> None:
    C = np.random.default_rng(0).normal(0, [[9.0], [4.0], [1.0]], (40, 3, 25)).astype(np.float32)
    C[:, 1] += 0.5 * C[:, 0]
    for scaling in (CoefficientScaler.fit(C), PCAWhitener.fit(C)):
        np.testing.assert_allclose(parts._deviations(scaling), C.std(axis=(0, 2)), rtol=1e-5)


def test_the_page_shows_every_unit(finished: Path) -> None:
    page = (finished / "report" / "index.html").read_text("utf-8")
    assert page.count("<audio") == len(UNITS)


def test_figures_for_papers(cepscope: Any, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "paper"
    assert cepscope("report", str(finished), "--figures", str(out), "--format", "svg", "--unit", "crbm1:1") == 0, (
        cepscope.err
    )
    names = ["training.svg", "layer-crbm1.svg", "layer-crbm2.svg", "layer-logits.svg", "unit-crbm1-1.svg"]
    assert cepscope.lines == [str(out / name) for name in names]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    assert all(path.read_text().startswith("<?xml") for path in out.iterdir())
    assert cepscope("report", str(finished), "--figures", str(out), "--unit", "crbm1:77") == 2
    assert "There is no unit 'crbm1:77' among" in cepscope.err
    assert cepscope("report", str(finished), "--unit", "crbm1:1") == 2
    assert "--figures" in cepscope.err


def test_what_is_unchanged_is_skipped(finished: Path, words: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    assert redone(finished, settings(words)) == []
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()} == before


def test_the_command_makes_the_same_bits_then_skips_then_probes(cepscope: Any, finished: Path, words: Path) -> None:
    """Another run with the same seed, of the same recordings in another folder."""
    shutil.copytree(words, "words")
    command = ("run", "words", *(word for setting in SMALL for word in ("--set", setting)))
    assert cepscope(*command, "--tensorboard", "events") == 0, cepscope.err
    folder = Path("runs/words")
    page = folder / "report" / "index.html"
    assert cepscope.out == f"{page}\n"
    assert page.is_file()
    lines = cepscope.err.splitlines()
    assert "2 classes" in lines[0]
    assert "runs/words" in lines[2]
    assert "warning" not in cepscope.err
    assert "9 units" in lines[-1]
    for name in ("patterns/patterns.npz", "patterns/units.csv", *(f"audio/{unit}.wav" for unit in UNITS)):
        assert (folder / name).read_bytes() == (finished / name).read_bytes(), name

    assert sorted(path.name for path in Path("events").iterdir()) == ["crbm1", "crbm2", "fine-tuning", "logits"]

    assert cepscope(*command, "--json") == 0
    result = json.loads(cepscope.out)
    assert cepscope.err.count("unchanged, skipped") == 6
    assert result["page"] == str(page)

    assert cepscope("probe", folder, "--json") == 0
    summary = json.loads(cepscope.out)
    assert summary == json.loads((folder / "patterns" / "summary.json").read_text())
    assert list(summary) == ["test_accuracy", "layers", "logit_sounds_right", "views"]
    assert list(summary["layers"]) == ["crbm1", "crbm2", "logits"]
    assert list(summary["layers"]["crbm1"]) == ["units", *MEDIANS]
    assert summary["logit_sounds_right"].endswith("/2")

    assert cepscope("probe", folder) == 0
    assert "crbm2" in cepscope.out
    assert "test accuracy" in cepscope.out


@pytest.mark.slow
def test_another_seed_gives_other_patterns(copy: Path, words: Path) -> None:
    before = Patterns.load(copy / "patterns" / "patterns.npz")
    config = settings(words, "seed=1", "maximize.layers=['logits']")
    assert [stage for name in NAMES[:3] for stage in redone(copy, config, name)] == ["extract", "train", "maximize"]
    after = Patterns.load(copy / "patterns" / "patterns.npz")
    assert after.units == before.units[-2:]
    assert not np.array_equal(after.x, before.x[-2:])


def test_a_damaged_file_is_made_again_and_nothing_else(copy: Path, words: Path) -> None:
    sound = copy / "audio" / "crbm2-1.wav"
    good = sound.read_bytes()
    sound.write_bytes(good[:-2] + b"\x7f\x7f")
    assert redone(copy, settings(words)) == ["invert"]
    assert sound.read_bytes() == good


def test_a_tampered_shard_is_computed_again(copy: Path, words: Path) -> None:
    shard = next((copy / "features").glob("mfcc-*.npz"))
    digest = sha256(shard)
    with np.load(shard) as data:
        arrays = {name: data[name] for name in data.files}
    np.savez_compressed(shard, **{**arrays, "mfcc": 0 * arrays["mfcc"]})
    assert redone(copy, settings(words)) == ["extract"]
    assert sha256(shard) == digest


def test_a_changed_setting_is_followed_from_its_stage_on(copy: Path, words: Path) -> None:
    layers = "maximize.layers=['logits']"
    assert redone(copy, settings(words, layers)) == ["maximize", "invert", "probe", "report"]
    sounds = {path.name for path in (copy / "audio").glob("*.wav")}
    assert sounds == {"logits-0.wav", "logits-1.wav"}  # those of other units are gone


@pytest.mark.slow
def test_a_file_of_someone_else_in_the_run_stays(copy: Path, words: Path) -> None:
    mine = copy / "audio" / "mine.wav"
    mine.write_bytes(b"my own recording")
    redone(copy, settings(words, "invert.pitch=100"))
    assert mine.read_bytes() == b"my own recording"


def test_a_changed_recording_is_noticed(copy: Path, words: Path, tmp_path: Path) -> None:
    corpus = Path(shutil.copytree(words, tmp_path / "corpus" / "words"))
    config = settings(corpus)
    run_stages(copy, config, only="extract")
    first, second = sorted((corpus / "one").iterdir())[:2]
    shutil.copy2(first, second)
    assert redone(copy, config, only="extract") == ["extract"]
    with pytest.raises(ParameterError, match="`train` was run before its inputs changed"):
        run_stages(copy, config, only="maximize")


def test_a_killed_stage_goes_on(copy: Path, words: Path) -> None:
    Ledger(copy).begin("maximize")
    (copy / "patterns" / "patterns.npz").unlink()
    (copy / ".lock").write_text(str(os.getpid()))  # of a process that is no more; another has its number by now
    for half in (copy / ".part-0123456789ab.toml", copy / "patterns" / ".part-ba9876543210.npz"):
        half.write_bytes(b"half")
    mine = copy / ".part-of-mine"
    mine.write_text("whole")
    assert redone(copy, settings(words)) == ["maximize"]  # the same bits again: the rest is current
    assert [path for path in copy.rglob(".*") if path != mine] == []


@pytest.mark.parametrize(
    "record",
    [
        "[]", "{", '{"stages": []}', '{"stages": {"train": 3}}', '{"stages": {"train": {"outputs": {"x": 5}}}}',
        '{"stages": {"train": {"outputs": {"../other": "0"}}}}', '{"stages": {"train": {"outputs": {"/other": "0"}}}}',
        '{"stages": {"train": {"inputs": []}}}', '{"a":' * 100_000,
    ],
)  # fmt: skip
def test_a_record_from_elsewhere_is_checked_before_it_is_followed(tmp_path: Path, record: str) -> None:
    folder, other = tmp_path / "run", tmp_path / "other"
    folder.mkdir()
    other.write_text("mine")
    (folder / "run.json").write_text(record)
    with pytest.raises(CorruptArtifactError, match=r"run\.json is damaged \(.+\)\. Delete it") as caught:
        Ledger(folder)
    assert len(str(caught.value).splitlines()) == 1
    assert other.read_text() == "mine"


def test_what_a_link_leads_to_is_not_removed(tmp_path: Path) -> None:
    folder, other = tmp_path / "run", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    (folder / "features").symlink_to(other)
    (folder / "run.json").write_text('{"stages": {"train": {"outputs": {"features/thesis.txt": "0"}}}}')
    Ledger(folder).begin("train")
    assert (other / "thesis.txt").read_text() == "mine"


def test_two_runs_do_not_share_a_folder(copy: Path, words: Path) -> None:
    for _ in range(2):  # the one that was refused does not open the door for the next
        with run_folder(copy), pytest.raises(DataError, match=f"Process {os.getpid()} is working in"):
            run_stages(copy, settings(words))
        assert not (copy / ".lock").exists()


def test_a_single_stage_wants_those_before_it(finished: Path, copy: Path, words: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="`train` needs `extract`"):
        run_stages(tmp_path / "new", settings(words), only="train")
    assert not (tmp_path / "new").exists()
    with pytest.raises(ParameterError, match=r"`extract` was run with features.n_mfcc=20. Received: 13"):
        run_stages(copy, settings(words, "features.n_mfcc=13"), only="train")
    (copy / "patterns" / "patterns.npz").write_bytes(b"")
    with pytest.raises(CorruptArtifactError, match=r"`maximize` .* changed"):
        run_stages(copy, settings(words), only="invert")
    with pytest.raises(NotFittedError, match="no run in"):
        stored_config(tmp_path)


def test_a_run_from_before_a_setting_was_there_is_taken_as_it_is(copy: Path, words: Path) -> None:
    record = json.loads((copy / "run.json").read_text())
    del record["stages"]["maximize"]["settings"]["maximize.memory"]
    (copy / "run.json").write_text(json.dumps(record))
    assert redone(copy, settings(words, "report.title=another"), only="report") == ["report"]
    with pytest.raises(ParameterError, match=r"`maximize` was run with maximize\.memory=256\. Received: 64"):
        run_stages(copy, settings(words, "maximize.memory=64"), only="report")


def test_a_folder_with_something_else_in_it_is_refused(words: Path) -> None:
    before = sorted(words.rglob("*"))
    with pytest.raises(ParameterError, match="holds one and no run"):
        run_stages(words, settings(words))
    assert sorted(words.rglob("*")) == before


def test_nothing_is_left_of_a_run_that_failed_at_once(words: Path, tmp_path: Path) -> None:
    corpus = Path(shutil.copytree(words, tmp_path / "corpus"))
    (corpus / "one" / "a.wav").write_text("hello")
    with pytest.raises(DataError, match=r"a\.wav"):
        run_stages(tmp_path / "runs" / "new", settings(corpus, "strict=true"))
    assert not (tmp_path / "runs").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"a\.wav"):
        run_stages(tmp_path / "empty", settings(corpus, "strict=true"))
    assert list((tmp_path / "empty").iterdir()) == []


def test_changed_code_is_noticed() -> None:
    assert code_version("invert") != code_version("models")
    assert code_version("invert") == code_version.__wrapped__("invert")


def test_sounds_and_page_need_no_tensorflow(copy: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from cepscope.pipeline import stored_config; from cepscope.pipeline.ledger import Ledger\n"
        "from cepscope.pipeline.by_unit import run_invert\n"
        "from cepscope.pipeline.stages import Context, run_report\n"
        "folder = Path(sys.argv[1]); context = Context(folder, stored_config(folder), Ledger(folder))\n"
        "run_invert(context); run_report(context)\n"
        "print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    page = copy / "report" / "index.html"
    page.unlink()
    done = subprocess.run([sys.executable, "-c", program, str(copy)], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
    assert page.is_file()
