"""Templates to pages that reach for nothing: style and script are inline and allowed by their hash alone."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import jinja2
from markupsafe import Markup

from cepscope.report import wording


def render(template: str, *, style: str, script: str, sources: str = "data:", **values: Any) -> str:
    """Fill a template of this room; every value in it is escaped.

    Parameters
    ----------
    template : str
        Its file name.
    style, script : str
        The page's own, put in as they are.
    sources : str
        Where its content security policy lets pictures and sounds come from.
    **values
        What the template names.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cepscope.report", "template"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=wording.number, plain=wording.plain)
    policy = (
        f"default-src 'none'; img-src {sources}; media-src {sources}; "
        f"style-src {_allowed(style)}; script-src {_allowed(script)}; base-uri 'none'; form-action 'none'"
    )
    own = {"style": Markup(style), "script": Markup(script), "policy": policy}  # noqa: S704
    return environment.get_template(template).render(**own, **values)


def _allowed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
