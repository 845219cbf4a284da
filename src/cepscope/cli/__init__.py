"""The command line: one command a stage."""

from __future__ import annotations

import os
import sys
import warnings

FAILED, USAGE, INTERRUPTED = 1, 2, 130


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 bad usage or settings, 130 interrupted."""
    sys.exit(_main(sys.argv[1:] if arguments is None else arguments))


def _main(arguments: list[str]) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow greets on stderr otherwise
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    import click

    from cepscope.cli import console
    from cepscope.cli.app import app
    from cepscope.errors import CepscopeError, ParameterError

    warnings.showwarning = console.warn
    try:
        code = app(args=arguments, standalone_mode=False)
        return int(code or 0)
    except click.exceptions.Exit as stop:
        return int(stop.exit_code)
    except (click.exceptions.Abort, KeyboardInterrupt):
        console.complain("interrupted; what was finished is kept")
        return INTERRUPTED
    except click.ClickException as error:
        error.show(sys.stderr)
        return USAGE
    except CepscopeError as error:
        if console.settings.debug:
            raise
        console.complain(f"error: {error}")
        return USAGE if isinstance(error, ParameterError) else FAILED
    except OSError as error:
        if console.settings.debug:
            raise
        console.complain(f"error: {error}")
        return FAILED
