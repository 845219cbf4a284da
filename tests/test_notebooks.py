"""The notebooks run from top to bottom, show what they should, and are what their scripts say."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import jupytext
import nbclient
import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
SCRIPTS = sorted(FOLDER.glob("*.py"))


class Shown(NamedTuple):
    """What a notebook must show: players and pictures, at least, and something that it says."""

    players: int
    pictures: int
    says: str


SHOWN = {
    "first_sounds": Shown(10, 2, "test_accuracy"),
    "what_is_a_crbm": Shown(5, 8, "of clips have less of it forwards"),
    "priors_and_patterns": Shown(4, 4, "patch_likelihood"),
    "from_mfcc_to_sound": Shown(6, 5, "TensorFlow loaded: False"),
    "your_own_keras_model": Shown(10, 3, "time first: 56 frames of 13 MFCC"),
    "few_labels": Shown(1, 3, "voices in both sides: 0"),
}


def test_every_notebook_is_known_and_listed() -> None:
    assert {script.stem for script in SCRIPTS} == set(SHOWN)
    listing = (FOLDER / "README.md").read_text("utf-8")
    assert [name for name in SHOWN if f"| `{name}` |" not in listing] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_both_faces_of_a_notebook_agree(script: Path) -> None:
    notebook = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    expected = jupytext.read(script)
    assert [(c.cell_type, c.source) for c in notebook.cells] == [(c.cell_type, c.source) for c in expected.cells]
    assert not any(cell.get("outputs") for cell in notebook.cells), "kept without outputs"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of jupyter's own event loop and paths
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of the kernel's sockets
@pytest.mark.slow
@pytest.mark.parametrize("name", SHOWN)
def test_a_notebook_runs_and_shows_its_results(name: str, tmp_path: Path) -> None:
    notebook = jupytext.read(FOLDER / f"{name}.py")
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    client = nbclient.NotebookClient(notebook, timeout=200, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    shown = [output.data for output in outputs if "data" in output]
    assert sum(data.get("text/html", "").count("<audio") for data in shown) >= SHOWN[name].players
    assert sum("image/png" in data for data in shown) >= SHOWN[name].pictures
    told = "".join(output.get("text", "") for output in outputs) + "".join(data["text/plain"] for data in shown)
    assert SHOWN[name].says in told
