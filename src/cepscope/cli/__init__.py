"""The command line: one command a stage."""

from __future__ import annotations

import io
import logging
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


ANYWHERE = ("--quiet", "-q", "--debug", "--verbose", "-v")  # options of every command


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 bad usage or settings, 130 interrupted."""
    sys.exit(_main(arguments))


def _main(arguments: list[str] | None) -> int:
    from cepscope.cli import console
    from cepscope.cli.app import app
    from cepscope.errors import CepscopeError, CepscopeWarning, ParameterError

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for the processes of our own, too
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    console.settings = console.Settings(debug=bool(os.environ.get("CEPSCOPE_DEBUG")))
    codes = ((signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED))
    before = {number: signal.signal(number, _stopper(code)) for number, code in codes}
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files come out as the bytes that they are
    words = _common_first(sys.argv[1:] if arguments is None else arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always" if console.settings.debug else "ignore")
            warnings.simplefilter("always", CepscopeWarning)
            warnings.showwarning = console.warn
            app(args=words, prog_name="cepscope")  # exits by itself: 0, or 2 with a line on what was wrong
    except _Stopped as stopped:
        console.complain("interrupted; what was finished is kept, the same command goes on from there")
        return stopped.code
    except (CepscopeError, OSError, MemoryError) as error:
        if console.settings.debug:
            raise
        console.complain(f"error: {error or type(error).__name__}")
        return USAGE if isinstance(error, ParameterError) else FAILED
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _common_first(arguments: list[str]) -> list[str]:
    """Let the options of every command stand behind the command as well."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    common = [word for word in arguments[:end] if word in ANYWHERE]
    return common + [word for word in arguments[:end] if word not in ANYWHERE] + arguments[end:]


def _stopper(code: int) -> Any:
    def stop(_number: int, _frame: Any) -> None:
        raise _Stopped(code)

    return stop
