"""`compare`: runs, layers and the moments of a training, from the command line and from Python."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cepscope.atomic import load_npz, sha256
from cepscope.config import RunConfig, load_config
from cepscope.maximize.patterns import Patterns
from cepscope.models.snapshots import Snapshots, snapshots_in
from cepscope.pipeline import run_stages, stored_config
from cepscope.pipeline.comparing import compare_runs, compare_snapshots
from cepscope.pipeline.ledger import Ledger
from cepscope.probe import load_unit_rows

SMALL = (
    "features.sr=8000", "features.frames=48", "model.filters=[3, 4]", "train.pretrain_epochs=1", "train.epochs=2",
    "maximize.steps=4", "invert.method=fast", "report.exemplars=2",
)  # fmt: skip
pytestmark = pytest.mark.slow  # matching, page and snapshots have quicker tests of their own
TAKEN = ["untrained", "pretrained", "epoch-1"]
MOMENTS = ["untrained", "pretrained", "epoch 1", "trained"]


def settings(corpus: Path, *more: str) -> RunConfig:
    return load_config(overrides=(*SMALL, *more), flags={"corpus": str(corpus)}, environment={})


@pytest.fixture(scope="module")
def run(words: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run whose training was looked at on its way."""
    folder = tmp_path_factory.mktemp("runs") / "watched"
    run_stages(folder, settings(words, "train.snapshots=true"))
    return folder


@pytest.fixture
def watched(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "watched"))


@pytest.fixture
def plain(run: Path, tmp_path: Path) -> Path:
    """Return the same run without snapshots."""
    return _forgotten(Path(shutil.copytree(run, tmp_path / "plain")))


def _forgotten(folder: Path) -> Path:
    """Take the snapshots out of a run, and out of its record."""
    shutil.rmtree(folder / "model" / "snapshots")
    ledger = Ledger(folder)
    for stage in ledger.record["stages"].values():
        for part in ("outputs", "inputs", "settings"):
            stage[part] = {name: value for name, value in stage[part].items() if "snapshots" not in name}
    ledger.record["stages"]["train"]["settings"]["train.snapshots"] = False
    ledger.describe(settings=ledger.record["settings"])
    text = (folder / "run.toml").read_text("utf-8")
    assert "snapshots = true" in text
    (folder / "run.toml").write_text(text.replace("snapshots = true", "snapshots = false"), "utf-8")
    return folder


def test_snapshots_are_outputs_of_the_training(run: Path) -> None:
    outputs = Ledger(run).outputs("train")
    names = [f"model/snapshots/{name}.npz" for name in TAKEN]
    assert {name: sha256(run / name) for name in names} == {name: outputs[name] for name in names}
    assert [path.stem for path in snapshots_in(run / "model" / "snapshots")] == TAKEN
    assert not (run / "model" / "checkpoints").exists()


def test_a_killed_run_goes_on_to_the_same_snapshots_which_go_with_the_setting(
    watched: Path, run: Path, words: Path
) -> None:
    class Killed(Exception):
        pass

    def stop(what: str, done: int, _total: int) -> None:
        if (what, done) == ("train: classifier", 1):
            raise Killed

    config = settings(words, "train.snapshots=true")
    Ledger(watched).begin("train")
    shutil.rmtree(watched / "model")
    with pytest.raises(Killed):
        run_stages(watched, config, only="train", progress=stop)
    assert (watched / "model" / "checkpoints").is_dir()
    run_stages(watched, config, only="train")
    for name in TAKEN:
        place = f"model/snapshots/{name}.npz"
        assert (watched / place).read_bytes() == (run / place).read_bytes()
    one, other = (load_npz(folder / "model" / "filters.npz") for folder in (watched, run))
    assert all(np.array_equal(one[name], other[name]) for name in other)

    run_stages(watched, settings(words), only="train")
    assert sorted(path.name for path in (watched / "model").iterdir()) == ["filters.npz", "history.csv", "model.keras"]
    plain = load_npz(watched / "model" / "filters.npz")
    assert all(np.array_equal(plain[name], other[name]) for name in other)  # the same bits without
    assert not any("snapshots" in name for name in Ledger(watched).outputs("train"))


def test_two_runs_of_other_seeds(cepscope: Any, watched: Path, words: Path, tmp_path: Path) -> None:
    run_stages(tmp_path / "other", settings(words, "seed=1"))
    assert cepscope("compare", "watched", "other", "--json") == 0, cepscope.err
    found = json.loads(cepscope.out)
    assert found["page"] == "watched/report/compare-other.html"
    tables = [_rows(tmp_path / name) for name in ("watched", "other")]
    for unit in found["units"]:
        own, theirs = unit["cells"]
        assert own["unit"] == unit["unit"]
        assert own["unit"].split(":")[0] == theirs["unit"].split(":")[0]
        assert tables[1][theirs["unit"]]["label"] == unit["label"]
        for cell, table in zip(unit["cells"], tables, strict=True):
            assert cell["sound_over_natural"] == pytest.approx(table[cell["unit"]]["sound_over_natural"], abs=1e-4)
    assert len({unit["cells"][1]["unit"] for unit in found["units"]}) == 9  # one to one
    assert Path("watched/report/compare-other.html").read_text("utf-8").count("<audio") == 18


def _rows(folder: Path) -> dict[str, Any]:
    return {row["unit"]: row for row in load_unit_rows(folder / "patterns" / "units.csv")}


def test_two_runs(cepscope: Any, watched: Path, plain: Path) -> None:
    """A run and its copy: every unit answers to itself."""
    assert cepscope("compare", watched, plain, "--json") == 0, cepscope.err
    found = json.loads(cepscope.out)
    page = watched / "report" / "compare-plain.html"
    assert found["page"] == str(page)
    assert found["columns"] == ["watched", "plain"]
    assert page.read_text("utf-8").count("<audio") == 18
    table = _rows(watched)
    for unit in found["units"]:
        own, theirs = unit["cells"]
        assert own["unit"] == theirs["unit"] == unit["unit"]
        assert theirs["likeness"] == 1
        assert own["sound_over_natural"] == theirs["sound_over_natural"]
        assert own["sound_over_natural"] == pytest.approx(table[own["unit"]]["sound_over_natural"], abs=1e-4)
        assert unit["label"] == table[own["unit"]]["label"]
    lines = cepscope.err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["crbm1", "crbm2", "logits"]
    assert all("median likeness to watched: plain 1.00 (chance" in line for line in lines)

    assert cepscope("compare", watched, plain, "--match", "label", "--out", "page.html") == 0, cepscope.err
    assert cepscope.lines == ["page.html"]
    assert Path("page.html").read_text("utf-8").count("<audio") == 4
    again = compare_runs([watched, plain], units=["crbm2:3"])
    assert [again.rows.names[row] for row in again.shown] == ["crbm2:3"]


def test_runs_of_one_name_are_told_apart(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "b" / "watched"))
    found = compare_runs([run, copy])
    assert [column.name for column in found.columns] == [f"{run.parent.name}/watched", "b/watched"]


def test_two_layers(cepscope: Any, watched: Path) -> None:
    assert cepscope("compare", watched, "--layers", "crbm1, crbm2", "--json") == 0, cepscope.err
    found = json.loads(cepscope.out)
    assert found["page"].endswith("watched/report/compare-crbm1-crbm2.html")
    assert [unit["unit"] for unit in found["units"]] == ["crbm1:0", "crbm1:1", "crbm1:2"]
    assert {unit["cells"][1]["unit"] for unit in found["units"]} < {f"crbm2:{i}" for i in range(4)}


def test_how_units_came_to_be(cepscope: Any, watched: Path) -> None:
    assert cepscope("compare", watched, "--json", "--unit", "crbm2:1", "--unit", "logits:0") == 0, cepscope.err
    found = json.loads(cepscope.out)
    page = watched / "report" / "compare-snapshots.html"
    assert found["page"] == str(page)
    assert found["columns"] == MOMENTS
    assert found["reference"] == "trained"
    assert [unit["unit"] for unit in found["units"]] == ["crbm2:1", "logits:0"]
    for unit in found["units"]:
        assert {cell["unit"] for cell in unit["cells"]} == {unit["unit"]}
        assert unit["itself_from"] in MOMENTS
        assert unit["cells"][-1]["likeness"] == 1
        assert unit["cells"][-1]["final_over_natural"] == unit["cells"][-1]["sound_over_natural"]
        assert 1 > unit["cells"][1]["likeness"] != unit["cells"][0]["likeness"] < 1
    assert "How the units of watched came to be" in page.read_text("utf-8")
    kept = watched / "compare"
    assert sorted(path.stem for path in kept.iterdir()) == sorted(TAKEN)

    before = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    text = page.read_text("utf-8")
    assert cepscope("compare", watched, "--unit", "crbm2:1", "--unit", "logits:0") == 0, cepscope.err
    assert page.read_text("utf-8") == text
    assert {path: path.stat().st_mtime_ns for path in kept.iterdir()} == before  # what is kept is not searched again


def test_what_is_kept_grows_and_is_replaced_when_damaged(watched: Path) -> None:
    kept = watched / "compare"
    compare_snapshots(watched, units=["crbm2:1"])
    alone = load_npz(kept / "untrained.npz")
    (kept / "untrained.npz").write_bytes(b"damaged")
    more = compare_snapshots(watched, units=["crbm1:0", "crbm2:1"])
    assert more.rows.names == ("crbm1:0", "crbm2:1")
    together = load_npz(kept / "untrained.npz")
    np.testing.assert_allclose(together["mfcc"][1], alone["mfcc"][0], atol=1e-3)  # whoever is searched for beside it
    assert np.corrcoef(together["audio"][1], alone["audio"][0])[0, 1] > 0.999
    assert list(load_npz(kept / "epoch-1.npz")["units"]) == ["crbm2:1", "crbm1:0"]


def test_a_moment_is_searched_as_the_run_searches(watched: Path) -> None:
    """A snapshot of the trained network itself gives the patterns, sounds and scores that are stored."""
    from cepscope.models import load_model

    _forgotten(watched)
    Snapshots(load_model(watched / "model" / "model.keras"), watched / "model" / "snapshots").keep("epoch-64")
    found = compare_snapshots(watched, units=["crbm1:2", "crbm2:0", "logits:1"])
    assert [column.name for column in found.columns] == ["epoch 64", "trained"]
    again, stored = found.columns
    np.testing.assert_allclose(again.units.patterns, stored.units.patterns, atol=1e-4)  # sums in another order
    assert all(np.corrcoef(*both)[0, 1] > 0.999 for both in zip(again.audio, stored.audio, strict=True))
    for one, other in zip(again.scores, stored.scores, strict=True):
        assert one == pytest.approx(other, rel=1e-2, nan_ok=True)
    stored_mfcc = Patterns.load(watched / "patterns" / "patterns.npz").mfcc[[2, 3, 8]]
    np.testing.assert_allclose(load_npz(watched / "compare" / "epoch-64.npz")["mfcc"], stored_mfcc, atol=1e-3)


def test_without_snapshots_one_line_says_how_to_get_them(cepscope: Any, plain: Path) -> None:
    assert cepscope("compare", plain) == 1
    assert len(cepscope.err.splitlines()) == 1
    assert "has no snapshots of its training" in cepscope.err
    command = shlex.split(cepscope.err.split("`")[1])
    assert command == ["cepscope", "run", "--config", f"{plain}/run.toml", "--out", str(plain), *command[-2:]]
    config = load_config(Path(command[3]), overrides=(command[-1],), environment={})
    assert config == stored_config(plain, overrides=("train.snapshots=true",))
    assert config.train.snapshots


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("none",), 1, "no run in none"),
        (("watched", "none"), 1, "no run in none"),
        (("watched", "other", "watched"), 2, "Received twice:"),
        (("watched", "other", "--layers", "crbm1,crbm2"), 2, "--layers compares layers of one run. Received: 2 runs"),
        (("watched", "--layers", "crbm1"), 2, "Two or more different layers are compared. Received: crbm1"),
        (("watched", "--layers", ""), 2, "Two or more different layers"),
        (("watched", "--layers", "crbm1,conv7"), 2, "has the layers crbm1, crbm2, logits. Received: conv7"),
        (("watched", "--layers", "crbm1,crbm2", "--match", "label"), 2, "stands for a class"),
        (("watched", "other", "--unit", "crbm1:77"), 2, "There is no unit 'crbm1:77' among 9; nearest: crbm1:"),
        (("watched", "--unit", "conv:0"), 2, "There is no unit 'conv:0' among 9"),
        (("watched", "other", "--out", "folder"), 2, "folder"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_line(
    cepscope: Any, run: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    (tmp_path / "watched").symlink_to(run)
    if "other" in arguments:
        shutil.copytree(run, tmp_path / "other")
    (tmp_path / "folder").mkdir()
    before = sorted(run.rglob("*"))
    assert cepscope("compare", *arguments) == code, cepscope.err
    assert message in " ".join(cepscope.err.split())
    assert "Traceback" not in cepscope.err
    assert cepscope.out == ""
    assert sorted(run.rglob("*")) == before


def test_an_unfinished_run_says_what_is_missing(cepscope: Any, watched: Path, run: Path) -> None:
    (watched / "audio" / "crbm1-0.wav").unlink()
    assert cepscope("compare", run, watched) == 1
    assert "A file of `invert`" in cepscope.err
    shutil.copy(run / "audio" / "crbm1-0.wav", watched / "audio")
    Ledger(watched).begin("probe")
    assert cepscope("compare", watched) == 1
    assert "Run `cepscope probe` first" in cepscope.err


def test_runs_and_layers_need_no_tensorflow(watched: Path, plain: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from cepscope.cli import main\n"
        "for words in (sys.argv[1:3], [sys.argv[1], '--layers', 'crbm1,crbm2'], sys.argv[2:3]):\n"
        "    try: main(['compare', *words, '--out', sys.argv[3]])\n"
        "    except SystemExit as stop: print(stop.code)\n"
        "print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    arguments = [str(watched), str(plain), str(tmp_path / "page.html")]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.stdout.split() == [arguments[2], "0", arguments[2], "0", "1", "[]"], done.stderr
