"""The documentation builds without a warning, and its links lead somewhere."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("features", "corpora", "models", "maximize", "invert", "probe", "report")


class Page(HTMLParser):
    """A page's links and what can be linked to in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            if name == "href" and tag == "a" and value:
                self.links.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sphinx")
    out = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(out / "doctrees")]
    built = subprocess.run([*command, str(ROOT / "docs"), str(out / "html")], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return out / "html"


@pytest.mark.slow
def test_every_link_within_the_documentation_leads_somewhere(site: Path) -> None:
    pages = {path.resolve(): Page(path) for path in site.rglob("*.html")}
    lost = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = target in pages and (not parts.fragment or unquote(parts.fragment) in pages[target].ids)
            if not known and not (target.is_file() and target not in pages):
                lost.append(f"{path.relative_to(site)}: {link}")
    assert len(pages) > len(ROOMS)
    assert not lost


@pytest.mark.slow
def test_every_public_name_and_command_has_its_place(site: Path) -> None:
    import importlib

    for room in ROOMS:
        ids = Page(site / "generated" / f"{room}.html").ids
        names = importlib.import_module(f"cepscope.{room}").__all__
        assert [name for name in names if f"cepscope.{room}.{name}" not in ids] == []
    commands = Page(site / "generated" / "commands.html").ids
    assert {"cepscope-run", "cepscope-invert", "cepscope-explain"} <= commands
    assert "--pitch-from" in (site / "generated" / "commands.html").read_text("utf-8")
