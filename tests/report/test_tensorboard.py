"""A run's files as event files, read back by TensorBoard itself."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from cepscope.atomic import save_npz, write_text
from cepscope.audio import read_audio, write_wav
from cepscope.errors import CorruptArtifactError, DataError, MissingExtraError, NotFittedError, ParameterError
from cepscope.features import CoefficientScaler, MfccSpec
from cepscope.maximize.patterns import Patterns
from cepscope.report import TensorBoardLog, write_tensorboard

NAMES = ("crbm1:0", "crbm1:1", "logits:0")
LABELS = ("", "", "a|b <i>")
HISTORY = """stage,epoch,layer,reconstruction_error,dead_filters,loss
pretraining,1,crbm1,0.75,0,
pretraining,2,crbm1,0.5,nan,
fine-tuning,1,,,,1.25
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a finished run of three units, as small as can be."""
    folder, rng, spec = tmp_path / "run", np.random.default_rng(0), MfccSpec(sr=8000, n_mfcc=13)
    mfcc = rng.normal(size=(3, 13, 12)).astype(np.float32)
    write_text(folder / "model" / "history.csv", HISTORY)
    save_npz(folder / "model" / "filters.npz", crbm1=rng.normal(size=(4, 3, 3)))
    CoefficientScaler.fit(mfcc).save(folder / "features" / "scaler.npz")
    none = np.zeros((0, 3), np.float32)
    Patterns(NAMES, mfcc[..., None], mfcc, spec, none.sum(0), none).save(folder / "patterns" / "patterns.npz")
    files = [f"{name.replace(':', '-')}.wav" for name in NAMES]
    for name in files:
        write_wav(folder / "audio" / name, rng.uniform(-0.9, 0.9, 800), 8000)
    save_npz(folder / "audio" / "sounds.npz", files=np.array(files))
    write_text(folder / "audio" / "sounds.csv", "name,mcd_db\n" + "".join(f"{name},1.5\n" for name in NAMES))
    rows = zip(NAMES, LABELS, ("0.750000", "0.5", "nan"), strict=True)
    lines = "".join(f"{name},{name.split(':')[0]},{label},{kept},x.flac\n" for name, label, kept in rows)
    write_text(folder / "patterns" / "units.csv", "unit,layer,label,retention,exemplars\n" + lines)
    return folder


@pytest.fixture
def tensorboard() -> Any:
    """TensorBoard's reader of events."""
    return pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard")


def _events(tensorboard: Any, folder: Path) -> dict[str, dict[str, list[tuple[int, Any]]]]:
    """Return run -> tag -> (step, numbers or bytes) of each event."""
    from tensorboard.util.tensor_util import make_ndarray

    found = {}
    for run in sorted(folder.iterdir()):
        reader = tensorboard.EventAccumulator(str(run), size_guidance={tensorboard.TENSORS: 0}).Reload()
        tags = reader.Tags()["tensors"]
        found[run.name] = {tag: [(e.step, make_ndarray(e.tensor_proto)) for e in reader.Tensors(tag)] for tag in tags}
    return found


def test_every_number_of_the_history_is_a_scalar_at_its_epoch(tensorboard: Any, run: Path) -> None:
    place = write_tensorboard(run)
    assert place == run / "tensorboard"
    found = _events(tensorboard, place)
    curves = {
        (name, tag): [(step, float(value)) for step, value in events]
        for name, tags in found.items()
        for tag, events in tags.items()
        if tag.startswith(("pretraining/", "fine-tuning/"))
    }
    assert curves.pop(("crbm1", "pretraining/dead_filters")) == [(1, 0.0), (2, pytest.approx(np.nan, nan_ok=True))]
    assert curves == {
        ("crbm1", "pretraining/reconstruction_error"): [(1, 0.75), (2, 0.5)],
        ("fine-tuning", "fine-tuning/loss"): [(1, 1.25)],
    }


def test_a_training_is_seen_epoch_by_epoch_and_the_rest_at_its_end(tensorboard: Any, run: Path, tmp_path: Path) -> None:
    rows = [dict(row) for row in csv.DictReader(io.StringIO(HISTORY))]
    with TensorBoardLog(tmp_path / "live") as log:
        for steps, row in enumerate(rows[:2], 1):
            log.epoch(
                {"stage": row["stage"], "epoch": int(row["epoch"]), "layer": "crbm1", "reconstruction_error": 0.25}
            )
            seen = _events(tensorboard, tmp_path / "live")["crbm1"]["pretraining/reconstruction_error"]
            assert [(step, float(value)) for step, value in seen] == [(n, 0.25) for n in range(1, steps + 1)]
        log.finish(run)
    live, whole = _events(tensorboard, tmp_path / "live"), _events(tensorboard, write_tensorboard(run))
    assert {name: set(tags) for name, tags in live.items()} == {name: set(tags) for name, tags in whole.items()}
    for name, tags in whole.items():
        for tag, events in tags.items():
            steps = [step for step, _ in events]
            assert [step for step, _ in live[name][tag]] == steps  # an epoch that was seen is not told twice
    with TensorBoardLog(tmp_path / "live") as log:  # of an earlier run nothing is left
        log.finish(run, training_only=True)
    assert set(_events(tensorboard, tmp_path / "live")["crbm1"]) == {"filters", *live["crbm1"]} - {
        tag for tag in live["crbm1"] if tag.startswith(("patterns", "sounds", "scores"))
    }


def test_a_picture_and_a_sound_a_unit_and_a_table_a_layer(tensorboard: Any, run: Path, tmp_path: Path) -> None:
    from matplotlib.image import imread

    found = _events(tensorboard, write_tensorboard(run, tmp_path / "logs" / "one"))
    assert [tag for tag in found["crbm1"] if tag.startswith("patterns/")] == ["patterns/crbm1:0", "patterns/crbm1:1"]
    assert sorted(found["logits"]) == ["patterns/logits:0", "scores", "sounds/logits:0"]
    for tag in ("filters", "patterns/crbm1:0", "patterns/crbm1:1"):
        [(step, (width, height, png))] = found["crbm1"][tag]
        picture = imread(io.BytesIO(png))
        assert (step, int(width), int(height)) == (0, picture.shape[1], picture.shape[0])
        assert picture[..., :3].std() > 0.05  # something is drawn
    for name in NAMES:
        [(_, sounds)] = found[name.split(":")[0]][f"sounds/{name}"]
        assert sounds.shape == (1, 2)
        heard, sr = soundfile.read(io.BytesIO(sounds[0, 0]), dtype="float32")
        assert soundfile.info(io.BytesIO(sounds[0, 0])).subtype == "PCM_16"
        assert sr == 8000
        np.testing.assert_array_equal(heard, read_audio(run / "audio" / f"{name.replace(':', '-')}.wav")[0])
    [(_, table)] = found["crbm1"]["scores"]
    rows = list(csv.reader(table.item().decode().splitlines(), delimiter="|"))
    cells = [[cell.strip() for cell in row[1:-1]] for row in rows]
    assert cells[0] == ["unit", "retention"]  # no label, no other score
    assert cells[2:] == [["crbm1:0", "0.75"], ["crbm1:1", "0.5"]]


@pytest.mark.filterwarnings("ignore:html5lib's sanitizer is deprecated:DeprecationWarning")  # TensorBoard's own
def test_the_table_shows_a_label_as_it_is(tensorboard: Any, run: Path) -> None:
    from tensorboard.plugin_util import markdown_to_safe_html

    [(_, table)] = _events(tensorboard, write_tensorboard(run))["logits"]["scores"]
    assert "<td>a|b &lt;i&gt;</td>" in markdown_to_safe_html(table.item())


def test_an_unfinished_run_is_shown_as_far_as_it_is(tensorboard: Any, run: Path) -> None:
    (run / "patterns" / "units.csv").unlink()
    assert b"mcd db" in _events(tensorboard, write_tensorboard(run))["logits"]["scores"][0][1].item()
    for path in (*run.glob("audio/*"), *run.glob("patterns/*")):
        path.unlink()
    found = _events(tensorboard, write_tensorboard(run))  # what was there before is gone
    assert sorted(found) == ["crbm1", "fine-tuning"]
    assert "filters" in found["crbm1"]
    assert not any(tag.startswith(("patterns", "sounds", "scores")) for tag in found["crbm1"])


def test_the_same_files_give_the_same_bytes_and_nothing_else_is_left(
    tensorboard: Any, run: Path, tmp_path: Path
) -> None:
    def content(place: Path) -> dict[Path, bytes]:
        return {path.relative_to(place): path.read_bytes() for path in place.rglob("*") if path.is_file()}

    first = content(write_tensorboard(run, tmp_path / "logs"))
    assert content(write_tensorboard(run, tmp_path / "logs")) == first
    assert len(first) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "run"]


def test_other_files_are_neither_mixed_in_nor_removed(tensorboard: Any, run: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"holds .*, which is no event file of cepscope"):
        write_tensorboard(run, run)
    with pytest.raises(ParameterError, match="Event files need a folder"):
        write_tensorboard(run, run / "model" / "history.csv")
    with pytest.raises(DataError, match="can't write"):
        write_tensorboard(run, run / "model" / "history.csv" / "logs")
    assert (run / "model" / "history.csv").read_text() == HISTORY


def test_a_damaged_file_is_named_and_the_old_events_stay(tensorboard: Any, run: Path) -> None:
    place = write_tensorboard(run)
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    (run / "audio" / "crbm1-1.wav").unlink()
    with pytest.raises(CorruptArtifactError, match=r"crbm1-1\.wav is missing"):
        write_tensorboard(run)
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    write_text(run / "model" / "history.csv", HISTORY.replace("0.75", "high"))
    with pytest.raises(CorruptArtifactError, match="training curves"):
        write_tensorboard(run)


def test_a_run_without_anything_is_one_line(tensorboard: Any, cepscope: Any, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="nothing to show"):
        write_tensorboard(tmp_path / "none")
    assert cepscope("report", "none", "--tensorboard", "logs") == 1
    assert len(cepscope.err.splitlines()) == 1
    assert not (tmp_path / "logs").exists()
    assert not (tmp_path / "none").exists()


def test_without_tensorboard_the_extra_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cepscope\[tensorboard\]'"):
        write_tensorboard(run)
    assert not (run / "tensorboard").exists()


def test_the_command_writes_where_it_is_told(tensorboard: Any, cepscope: Any, run: Path, tmp_path: Path) -> None:
    assert cepscope("report", run, "--tensorboard", tmp_path / "logs") == 0
    assert cepscope.lines == [str(tmp_path / "logs")]
    assert sorted(_events(tensorboard, tmp_path / "logs")) == ["crbm1", "fine-tuning", "logits"]
    assert cepscope("report", run, "--tensorboard", tmp_path / "logs", "--set", "report.title=x") != 0
    assert "--set goes with the page" in cepscope.err
