"""Fixtures shared by all rooms."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import keras

    from cepscope.corpora import Patches

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("MPLBACKEND", "Agg")
if "PYTEST_XDIST_WORKER" in os.environ:  # processes share the cores: threads of one would only wait for the other's
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # processes that tests start find the functions of tests
# few tests that take long: they go first, so that no process is left with one of them while the others are done
LONG = (
    *("test_pipeline.py", "test_engine.py", "test_options.py", "test_notebooks.py", "test_inversion.py"),
    *("test_context.py", "test_train.py", "test_trainer.py", "test_transformer.py", "test_ais.py"),
    *("test_resume.py", "test_generation.py", "test_exact_training.py", "test_browser.py", "test_differentiable.py"),
    *("test_comparison_browser.py", "test_foreign.py", "test_explain.py", "test_objectives.py", "test_cli.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take long first, the longest before the others; the order within a file stays."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(scope="session")
def project_root() -> Path:
    """Return the checkout's folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Return the folder of corpora, models and oracles that are not part of the project."""
    folder = Path(os.environ.get("CEPSCOPE_SHARED", ROOT.parent / "shared"))
    if not (folder / "corpora").is_dir():
        pytest.skip(f"real corpora not found at {folder}; set CEPSCOPE_SHARED to their folder")
    return folder


@pytest.fixture(scope="session")
def words(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of real clips, by class: two digits by ten voices. Who changes it takes a copy."""
    folder = tmp_path_factory.mktemp("corpus") / "words"
    for digit in ("one", "two"):
        (folder / digit).mkdir(parents=True)
        for clip in sorted((project_root / "data" / "spoken-digits" / "audio").glob(f"{digit}_*_0.flac"))[:10]:
            shutil.copy(clip, folder / digit)
    return folder


@pytest.fixture(scope="session")
def digit_patches() -> Patches:
    """Real MFCC patches of some voices of the built-in corpus, ten digits, small enough for tests."""
    from cepscope.corpora import Corpus, extract, load_corpus
    from cepscope.features import MfccSpec

    whole = load_corpus("spoken-digits")
    train = sorted({clip.speaker for clip in whole.split("train")})[:10]
    test = sorted({clip.speaker for clip in whole.split("test")})[:3]
    clips = tuple(clip for clip in whole.clips if clip.speaker in {*train, *test})
    corpus = Corpus("some-digits", whole.root, clips, synthetic=True)
    return extract(corpus, MfccSpec(sr=8000, n_mfcc=20, floor=1e-5), frames=48)


@pytest.fixture(scope="session")
def digit_model(digit_patches: Patches) -> keras.Model:
    """Return a small CDBN, briefly trained on those patches."""
    import cepscope as cs

    model = cs.build_cdbn(
        digit_patches.input_shape,
        digit_patches.classes,
        filters=(6, 8),
        kernel_sizes=((5, 5), (3, 3)),
        seed=0,
    )
    cs.pretrain(model, digit_patches, epochs=2, seed=0)
    cs.fit_classifier(model, digit_patches, epochs=6, seed=0)
    return model


class Cepscope:
    """The command line in this process: the last call's output and messages."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: object) -> int:
        """Run a command; return its exit code."""
        from cepscope.cli import main

        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        self.out, self.err = self._capsys.readouterr()
        return stop.value.code  # type: ignore[return-value]

    @property
    def lines(self) -> list[str]:
        """Lines of the output."""
        return self.out.splitlines()


@pytest.fixture
def cepscope(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cepscope:
    """Return the command line, working in an empty folder and with no corpora fetched."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CEPSCOPE_DATA", str(tmp_path / "data"))
    return Cepscope(capsys)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A Dask scheduler on loopback with two workers of one thread, as `dask scheduler` and `dask worker` start them."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as found:
        yield found.scheduler
