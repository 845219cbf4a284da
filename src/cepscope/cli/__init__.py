"""The command line: one command a stage."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from typing import Any

FAILED, USAGE, INTERRUPTED, TERMINATED = 1, 2, 130, 143


class _Stopped(BaseException):
    """Ctrl-C or a polite kill; no library takes it for one of its own errors."""

    def __init__(self, code: int) -> None:
        self.code = code


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 bad usage or settings, 130 interrupted."""
    sys.exit(_main(arguments))


def _main(arguments: list[str] | None) -> int:
    from cepscope.cli import console
    from cepscope.cli.app import app
    from cepscope.errors import CepscopeError, ParameterError

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for the processes of our own, too
    warnings.showwarning = console.warn
    for number, code in ((signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)):
        signal.signal(number, _stopper(code))
    try:
        app(args=arguments)  # exits by itself: 0, or 2 with a line on what was wrong with the command
    except _Stopped as stopped:
        console.complain("interrupted; what was finished is kept, the same command goes on from there")
        return stopped.code
    except (CepscopeError, OSError, MemoryError) as error:
        if console.settings.debug:
            raise
        console.complain(f"error: {error or type(error).__name__}")
        return USAGE if isinstance(error, ParameterError) else FAILED
    return 0


def _stopper(code: int) -> Any:
    def stop(_number: int, _frame: Any) -> None:
        raise _Stopped(code)

    return stop
