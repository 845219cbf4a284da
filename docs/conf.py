"""Sphinx' settings. Pages of commands, rooms and notebooks are made from what is there, in ``generated/``."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import pages
from sphinx.util.inspect import stringify_signature

import cepscope

project = "cepscope"
author = "The cepscope developers"
copyright = f"{author}, MIT licence"
release = version = cepscope.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "myst_nb"]
exclude_patterns = ["_build", "jupyter_execute", "README.md", "generated/notebooks.md"]
templates_path: list[str] = []
default_role = "literal"  # names in docstrings stand in single backticks

autodoc_typehints = "none"  # docstrings say what arrays hold, which their types don't
autodoc_member_order = "bysource"
autosummary_generate = False
numpydoc_show_class_members = False

myst_heading_anchors = 3
nb_execution_mode = "off"  # the tests run them; with results: sphinx-build -D nb_execution_mode=force docs docs/_build
nb_execution_timeout = 300

html_theme = "furo"
html_title = "cepscope"
html_copy_source = False
nitpicky = True

pages.make(Path(__file__).parent / "generated")


def own_signature(*event: Any) -> tuple[str, None] | None:
    """Give Keras' layers and models the signature of their constructor; Keras' own hides it."""
    _app, what, _name, value, _options, signature, _returns = event
    if what != "class" or signature != "(*args, **kwargs)":
        return None
    found = inspect.signature(value.__init__)
    found = found.replace(parameters=list(found.parameters.values())[1:])
    return stringify_signature(found, show_annotation=False, show_return_annotation=False), None


def setup(app: Any) -> None:
    """Register it."""
    app.connect("autodoc-process-signature", own_signature)
