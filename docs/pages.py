"""The pages that are made from the package: its commands, its rooms, its notebooks, what it stands on."""

from __future__ import annotations

import importlib
import inspect
import re
import shutil
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 80  # columns of a command's help: what the page shows
# Each room, and what lies in it under its own name: settings that have names, and steps that can be taken alone.
ROOMS = {
    "features": ("filterbank", "presets"),
    "corpora": ("splits", "stretches"),
    "models": ("generation", "presets", "feeding", "adapting", "diagnostics", "snapshots"),
    "maximize": ("objectives", "parametrizations", "priors", "transforms", "context", "views", "viewing"),
    "invert": (),
    "probe": ("representations", "fewlabels", "measures", "evaluation", "matching", "development"),
    "report": ("probe_plots",),
}
CALLED = {"maximize": "engine.maximize", "invert": "inversion.invert"}  # what a room does when it is called


def make(folder: Path) -> None:
    """Write all pages to an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "notebooks").mkdir(parents=True)
    (folder / "commands.md").write_text(commands(), "utf-8")
    (folder / "dependencies.md").write_text(dependencies(), "utf-8")
    for room in ROOMS:
        (folder / f"{room}.rst").write_text(room_page(room), "utf-8")
    names = re.findall(r"^\| `(\w+)`", (ROOT / "notebooks" / "README.md").read_text("utf-8"), re.MULTILINE)
    for name in names:  # in the order of the table
        shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", folder / "notebooks")
    listed = "\n".join(f"/generated/notebooks/{name}" for name in names)
    (folder / "notebooks.md").write_text(f"```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n", "utf-8")


def commands() -> str:
    """Return each command's own help, as it prints it."""
    from cepscope.cli.app import app

    parts = ["# Commands\n"]
    for name, text in _helps(typer.main.get_command(app), "cepscope", None):
        parts.append(f"## {name}\n\n```text\n{text.rstrip()}\n```\n")
    return "\n".join(parts)


def _helps(command: Any, name: str, parent: Any) -> Iterator[tuple[str, str]]:
    context = command.make_context(name, [], parent=parent, resilient_parsing=True, terminal_width=WIDTH)
    yield context.command_path, command.get_help(context)
    for sub, one in getattr(command, "commands", {}).items():
        yield from _helps(one, sub, context)


def dependencies() -> str:
    """Return a table of all that a plain installation brings along: name, version, licence."""
    found: dict[str, Distribution] = {}
    waiting = ["cepscope"]
    while waiting:
        one = distribution(waiting.pop())
        for text in one.requires or ():
            need = Requirement(text)
            if canonicalize_name(need.name) not in found and (not need.marker or need.marker.evaluate({"extra": ""})):
                found[canonicalize_name(need.name)] = distribution(need.name)
                waiting.append(need.name)
    rows = [f"| {one.name} | {one.version} | {licence(one)} |" for _, one in sorted(found.items())]
    return "\n".join(["| package | version | licence |", "|---|---|---|", *rows]) + "\n"


def licence(one: Distribution) -> str:
    """Return a package's licence as its metadata has it, in few words."""
    said = one.metadata
    classified = [text.rpartition(" :: ")[2] for text in said.get_all("Classifier") or () if "License ::" in text]
    plain = next(iter((said.get("License") or "").strip().splitlines()), "")
    return said.get("License-Expression") or ", ".join(classified) or plain or "not said"


def room_page(room: str) -> str:
    """Return the page of a room: its public names in a table, then each in full, then what lies deeper."""
    full = f"cepscope.{room}"
    module = importlib.import_module(full)
    held = [name for name in module.__all__ if _kind(module, name) == "data"]
    done = [name for name in (CALLED.get(room), *module.__all__) if name and name not in held]
    lines = [full, "=" * len(full), "", f".. py:module:: {full}", "", inspect.cleandoc(module.__doc__ or ""), ""]
    lines += [".. autosummary::", "", *(f"   {name}" for name in done), ""]
    for name in done:
        kind = _kind(module, name)
        lines += [f".. auto{kind}:: {full}.{name}", *(["   :members:"] if kind == "class" else []), ""]
    for name in held:  # what it is, is what it holds: names of methods and the like
        value = getattr(module, name)
        text = ", ".join(value) if isinstance(value, tuple | dict) else str(value)
        lines += [f".. py:data:: {name}", f"   :value: {text}", ""]
    for deeper in ROOMS[room]:
        title = f"{full}.{deeper}"
        lines += [title, "-" * len(title), "", f".. automodule:: {title}", "   :members:"]
        lines += [f"   :exclude-members: {', '.join(module.__all__)}", ""]
    return "\n".join(lines)


def _kind(module: Any, name: str) -> str:
    home, _, last = f"{module.__name__}.{name}".rpartition(".")
    value = getattr(importlib.import_module(home), last)
    return "class" if inspect.isclass(value) else "function" if callable(value) else "data"
