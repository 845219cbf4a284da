"""What a person sees: messages and bars on stderr, results on stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from cepscope.pipeline import Outcome

MINUTE = 60


@dataclass
class Settings:
    """How much to say."""

    quiet: bool = False
    debug: bool = False


settings = Settings()


def plain(text: str) -> str:
    r"""Return a text in which nothing is left that a terminal would obey: names of files may hold its commands.

    Examples
    --------
    >>> print(plain("a\x1b[2J.wav"))
    a\x1b[2J.wav
    """
    return "".join(letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in text)


def say(text: str) -> None:
    """Print a message on stderr, unless told to be quiet."""
    if not settings.quiet:
        print(plain(text), file=sys.stderr)  # noqa: T201


def complain(text: str) -> None:
    """Print a warning or an error on stderr, in one line."""
    print("cepscope: " + plain(" ".join(text.split())), file=sys.stderr)  # noqa: T201


def warn(message: Any, category: type[Warning], *_rest: Any, **_more: Any) -> None:
    """Show a warning of cepscope in one line; those of libraries only when debugging."""
    from cepscope.errors import CepscopeWarning

    if issubclass(category, CepscopeWarning) or settings.debug:
        complain(f"warning: {message}")


def duration(seconds: float) -> str:
    """Return a time for people.

    Examples
    --------
    >>> duration(7.23), duration(245)
    ('7.2 s', '4 min 05 s')
    """
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), MINUTE)
    return f"{minutes} min {rest:02d} s"


def stage_done(outcome: Outcome) -> None:
    """Say what became of a stage."""
    state = "unchanged, skipped" if outcome.skipped else duration(outcome.seconds)
    say(f"  {outcome.stage:<9} {state}")


class Bars:
    """Progress bars, one for each kind of work."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress
        self.tasks: dict[str, TaskID] = {}

    def update(self, what: str, done: int, total: int) -> None:
        """Advance the bar of some work."""
        if self.progress is None:
            return
        if what not in self.tasks:
            self.tasks[what] = self.progress.add_task(what, total=total)
        self.progress.update(self.tasks[what], completed=done, total=total)
        if done >= total:
            self.progress.update(self.tasks.pop(what), visible=False)


@contextmanager
def progress() -> Iterator[Bars]:
    """Show bars while work is done, if stderr is a terminal."""
    if settings.quiet or not sys.stderr.isatty():
        yield Bars(None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield Bars(bars)


def print_summary(summary: dict[str, Any]) -> None:
    """Print medians a layer as a table on stdout."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="medians over the units of each layer", title_justify="left")
    table.add_column("")
    for name in summary["layers"]:
        table.add_column(name, justify="right")
    for score in dict.fromkeys(name for layer in summary["layers"].values() for name in layer):
        table.add_row(score.replace("_", " "), *(_cell(layer.get(score)) for layer in summary["layers"].values()))
    width = None if sys.stdout.isatty() else 120
    console = Console(width=width, no_color="NO_COLOR" in os.environ or None)
    console.print(table)
    console.print(f"test accuracy {_cell(summary['test_accuracy'])}")
    console.print(f"logit sounds classified right: {summary['logit_sounds_right']}")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
