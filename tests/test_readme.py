"""What the README tells people to type: every command is understood, every line of Python runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from cepscope.cli.app import app
from cepscope.config import load_config

# what the README takes as given: the user's own recordings, and time
GIVEN = """
import numpy as np
import cepscope as cs
from cepscope.audio import read_audio
digits = cs.load_corpus("spoken-digits").clips[:12]
recordings = [(np.tile(audio, 3), rate) for audio, rate in map(read_audio, (clip.path for clip in digits))]
y, sr = recordings[0]
"""
SHORTER = {"epochs=80": "epochs=1"}


@pytest.fixture(scope="module")
def readme(project_root: Path) -> str:
    return (project_root / "README.md").read_text("utf-8")


def _commands(text: str, program: str) -> Iterator[list[str]]:
    """Return the words of each command of a program, whether it is a line of its own or within a sentence."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    lines = [line.strip() for line in prose.splitlines() if line.startswith("    ")]
    lines = [part.strip() for line in lines for part in line.split("&&")]
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    for command in [*lines, *spans]:
        words = shlex.split(command, comments=True)
        if words and words[0].removeprefix(".venv/bin/") == program:
            yield words[1:]


def test_every_command_is_understood(readme: str) -> None:
    group = typer.main.get_command(app)
    names = set()
    for name, *words in _commands(readme, "cepscope"):
        names.add(name)
        context = group.commands[name].make_context(name, list(words))  # what it can't parse is an error
        load_config(None, overrides=context.params.get("set_") or (), flags={}, environment={})
    assert names >= {"run", "describe", "explain", "extract", "maximize", "invert", "probe", "report", "fetch"}


def test_every_setting_that_a_sentence_names_is_one(readme: str) -> None:
    found = re.findall(r"--set ([\w.]+=[\w.-]+)", readme)
    assert len(found) > 5
    for setting in found:
        load_config(None, overrides=[setting], flags={}, environment={})


def test_every_script_knows_what_it_is_asked(readme: str, project_root: Path) -> None:
    """Its ``--help`` names the subcommand and the options; what it then measures takes long."""
    commands = [words for words in _commands(readme, "python") if words[0].startswith("scripts/")]
    assert {words[0] for words in commands} >= {"scripts/bench.py", "scripts/evaluate.py", "scripts/lee2009.py"}
    for script in dict.fromkeys(words[0] for words in commands):
        told = subprocess.run(
            [sys.executable, project_root / script, "--help"], capture_output=True, text=True, check=True
        ).stdout
        for words in commands:
            if words[0] == script:
                plain = [word for word in words[1:] if word.startswith("--")] + words[1:2]
                assert all(re.search(rf"(?<![\w-]){re.escape(word)}\b", told) for word in plain), words


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_line_of_python_runs(
    readme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One block after the other in one namespace, as a reader would go on typing; the network comes first."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    assert len(blocks) >= 5
    blocks.sort(key=lambda block: "build_cdbn" not in block)
    for long, short in SHORTER.items():
        blocks = [block.replace(long, short) for block in blocks]
    space: dict[str, Any] = {}
    for block in [GIVEN, *blocks]:
        exec(compile(block, "README.md", "exec"), space)
    assert Path("runs/digits/report/index.html").is_file()
    for name in ("sounds", "sound", "whisper", "longer"):
        assert np.isfinite(space[name].audio).all(), name
        assert np.abs(space[name].audio).max() > 0.1, name
    assert space["back"].shape == space["patches"].test.x.shape
    assert np.isfinite(space["least"].x).all()
    capsys.readouterr()
