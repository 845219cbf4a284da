"""`report` of anything: which page a source gives, where it goes, what is refused, and figures."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from cepscope.config import load_config
from cepscope.pipeline import run_stages

SMALL = ("features.sr=8000", "features.frames=48", "model.filters=[3, 4]", "train.pretrain_epochs=1", "train.epochs=2")
SIGNATURES = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}


@pytest.fixture(scope="module")
def trained(words: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which no more is done than these pages need."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    settings = load_config(overrides=SMALL, flags={"corpus": str(words)}, environment={})
    for stage in ("extract", "train"):
        run_stages(folder, settings, only=stage)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "runs" / "mine"))


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    sf.write(tmp_path / "<b>tone&.wav", 0.3 * np.sin(np.arange(8000) / 9), 8000)
    return tmp_path / "<b>tone&.wav"


def test_the_kind_is_seen_from_the_source(cepscope: Any, words: Path, tone: Path) -> None:
    assert cepscope("report", words, "--set", "features.sr=8000") == 0, cepscope.err
    assert cepscope.lines[-1] == "reports/words-corpus.html"
    assert Path("reports/words-corpus.html").read_text("utf-8").count("<article") == 4
    assert cepscope("report", tone.name) == 0, cepscope.err
    assert cepscope.lines[-1] == "reports/<b>tone&-clip.html"
    page = Path(cepscope.lines[-1]).read_text("utf-8")
    assert "<h1>&lt;b&gt;tone&amp;.wav</h1>" in page
    assert sorted(path.name for path in Path("reports").iterdir()) == ["<b>tone&-clip.html", "words-corpus.html"]


@pytest.mark.slow
def test_pages_of_a_run_lie_in_it(cepscope: Any, run: Path) -> None:
    record = (run / "run.json").read_bytes()
    for kind, options in (("corpus", ["--clips", "1"]), ("training", []), ("methods", ["--clips", "1"])):
        assert cepscope("report", "runs/mine", "--kind", kind, *options) == 0, cepscope.err
        assert cepscope.lines[-1] == f"runs/mine/report/{kind}.html"
    pages = {path.stem: path.read_text("utf-8") for path in (run / "report").iterdir()}
    assert set(pages) == {"corpus", "training", "methods"}
    assert pages["corpus"].count("<article") == 2
    assert "<h1>How mine was trained</h1>" in pages["training"]
    assert "<td>[3, 4]</td>" not in pages["training"]
    assert "<td>3, 4</td>" in pages["training"]
    assert "of 3 coefficients" not in pages["training"]
    assert pages["training"].count('alt="Filter') == 7
    assert pages["methods"].count("<article") == 1
    assert "<h1>Held-out recordings of mine, from MFCC to sound</h1>" in pages["methods"]
    assert pages["methods"].count("<audio") == 5  # the original and four methods
    assert (run / "run.json").read_bytes() == record  # they are no stage


def test_a_page_goes_where_it_is_told_and_settings_count(cepscope: Any, tone: Path) -> None:
    Path("front.toml").write_text("[features]\nn_mfcc = 13\n")
    options = ("--out", "there/page.html", "--config", "front.toml", "--set", "features.n_mels=30")
    assert cepscope("report", tone.name, *options) == 0, cepscope.err
    assert cepscope.lines == ["there/page.html"]
    page = Path("there/page.html").read_text("utf-8")
    assert "13 coefficients by" in page
    assert "30 bands" in page
    assert not Path("reports").exists()


def test_settings_say_how_a_corpus_is_read(cepscope: Any, words: Path) -> None:
    common = ("report", words, "--set", "features.sr=8000", "--clips", 1)
    assert cepscope(*common) == 0, cepscope.err
    drawn = Path("reports/words-corpus.html").read_text("utf-8")
    assert cepscope(*common, "--set", "split=random", "--set", "seed=3") == 0, cepscope.err
    other = Path("reports/words-corpus.html").read_text("utf-8")
    assert other != drawn
    assert cepscope(*common, "--set", "split=speakers") == 1  # of this folder no speaker is known
    assert Path("reports/words-corpus.html").read_text("utf-8") == other


@pytest.mark.parametrize(
    "form", [pytest.param(form, marks=[pytest.mark.slow] if form != "pdf" else []) for form in SIGNATURES]
)
def test_figures_of_a_recording(cepscope: Any, tone: Path, form: str) -> None:
    assert cepscope("report", tone.name, "--figures", "paper", "--format", form, "--dpi", 50) == 0, cepscope.err
    assert cepscope.lines == [f"paper/clip--b-tone-.{form}"]
    assert Path(cepscope.lines[0]).read_bytes().startswith(SIGNATURES[form])
    first = Path(cepscope.lines[0]).read_bytes()
    assert cepscope("report", tone.name, "--figures", "paper", "--format", form, "--dpi", 50) == 0
    assert Path(cepscope.lines[0]).read_bytes() == first
    assert not Path("reports").exists()


@pytest.mark.slow
def test_figures_of_a_run(cepscope: Any, run: Path) -> None:
    common = ("--figures", "paper", "--format", "png", "--dpi", 40)
    names: dict[str, list[str]] = {}
    for kind, options in (("corpus", ["--clips", 1]), ("training", []), ("methods", ["--clips", 2])):
        assert cepscope("report", run, "--kind", kind, *options, *common) == 0, cepscope.err
        names[kind] = [Path(line).stem for line in cepscope.lines]
    assert names["training"] == ["training", "filters-crbm1", "filters-crbm2"]
    assert names["corpus"][:2] == ["corpus", "spectra"]
    assert [name.rsplit("_")[0] for name in names["corpus"][2:]] == ["clip-one-one-one", "clip-two-two-two"]
    assert [name.rsplit("_")[0] for name in names["methods"]] == ["methods-one-one", "methods-two-two"]
    assert len(list(Path("paper").iterdir())) == sum(map(len, names.values()))
    assert not (run / "report").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["words", "--kind", "training"], 2, "--kind training is not for a corpus; kinds for words are: corpus"),
        (["one.wav", "--kind", "corpus"], 2, "--kind corpus is not for a sound file; kinds for one.wav are: clip"),
        (["runs/mine", "--kind", "clip"], 2, "kinds for runs/mine are: units, corpus, training, methods"),
        (["nothing"], 1, "nothing does not exist: report takes the folder of a run, a folder of recordings, a known"),
        (["notes.txt"], 1, "notes.txt is another kind of file"),
        (["runs/mine", "--kind", "training", "--set", "train.k=2"], 2, "--set does not go with the page of training"),
        (["runs/mine", "--kind", "training", "--clips", "3"], 2, "--clips does not go with the page of training"),
        (["runs/mine", "--kind", "corpus", "--config", "notes.txt"], 2, "--config does not go with"),
        (["runs/mine", "--out", "a.html"], 2, "--out does not go with the page of units of a run"),
        (["one.wav", "--tensorboard", "logs"], 2, "--tensorboard does not go with the page of clip"),
        (["one.wav", "--figures", "paper", "--unit", "crbm1:0"], 2, "--unit does not go with"),
        (["one.wav", "--unit", "crbm1:0"], 2, "--unit is of figures"),
        (["one.wav", "--figures", "paper", "--out", "a.html"], 2, "--figures are written instead"),
        (["one.wav", "--out", "one.wav"], 2, "--out must end in .html. Received: one.wav"),
        (["one.wav", "--set", "features.n_mfc=3"], 2, "nearest: features.n_mfcc"),
        (["text.wav"], 1, "text.wav is not a readable sound file"),
        (["empty"], 1, "holds no recordings"),
        (["runs/mine"], 1, "`report` needs `maximize`, which was not run"),
        (["runs/bare", "--kind", "training"], 1, "runs/bare was not trained yet. Run `cepscope train runs/bare` first"),
        (["runs/changed", "--kind", "training"], 1, "A file of `train` in runs/changed is missing or was changed"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(
    arguments: list[str], code: int, message: str, cepscope: Any, run: Path, words: Path, tmp_path: Path
) -> None:
    shutil.copytree(words, "words")
    sf.write("one.wav", 0.3 * np.sin(np.arange(4000) / 9), 8000)
    Path("text.wav").write_text("no sound")
    Path("notes.txt").write_text("no sound either")
    Path("empty").mkdir()
    Path("runs/bare").mkdir()
    shutil.copy(run / "run.toml", "runs/bare")
    shutil.copytree(run, "runs/changed")
    (tmp_path / "runs" / "changed" / "model" / "history.csv").write_text("epoch\n1\n")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert cepscope("report", *arguments) == code, cepscope.err
    assert cepscope.err.startswith("cepscope: error: ")
    assert message in cepscope.err
    assert len(cepscope.err.splitlines()) == 1
    assert cepscope.out == ""
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_misspelt_kind_is_answered_with_all_of_them(cepscope: Any, words: Path) -> None:
    assert cepscope("report", words, "--kind", "corpsu") == 2
    assert "Traceback" not in cepscope.err
    assert all(kind in cepscope.err for kind in ("units", "corpus", "training", "methods", "clip"))


def test_a_network_of_others_has_no_training_to_show(cepscope: Any, run: Path) -> None:
    settings = (run / "run.toml").read_text()
    (run / "run.toml").write_text(settings.replace('file = ""', 'file = "nets/theirs.keras"'))
    assert cepscope("report", "runs/mine", "--kind", "training") == 2
    assert cepscope.err == (
        "cepscope: error: The network of runs/mine was trained by others (theirs.keras): there is no training to show. "
        "Kinds of page that go with this run: units, corpus, methods.\n"
    )


def test_no_page_loads_tensorflow(run: Path, tone: Path, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom cepscope.cli import main\n"
        "for words in (['runs/mine', '--kind', 'corpus', '--clips', '1'], ['runs/mine', '--kind', 'training'],\n"
        "              ['runs/mine', '--kind', 'methods', '--clips', '1'], [sys.argv[1]]):\n"
        "    try:\n        main(['report', *words])\n"
        "    except SystemExit as stop:\n        assert stop.code == 0, words\n"
        "print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, tone.name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert len(done.stdout.splitlines()) == 5
