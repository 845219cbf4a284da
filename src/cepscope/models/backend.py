"""TensorFlow and Keras, loaded in one place and without their greetings.

TensorFlow's C++ side writes notes about the machine to stderr while it loads, whatever its log level; they would stand
among a command's own messages. They are held back while it loads and shown only if it fails.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

STDERR = 2


@contextmanager
def _held_back() -> Iterator[None]:
    """Hold back what is written to the process's stderr; show it after an error."""
    sys.stderr.flush()
    kept = os.dup(STDERR)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), STDERR)
        try:
            yield
        except BaseException:
            notes.seek(0)
            os.write(kept, notes.read())
            raise
        finally:
            os.dup2(kept, STDERR)
            os.close(kept)


if "tensorflow" not in sys.modules:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _held_back():
        import tensorflow as tf

        tf.constant(0)  # the first operation has notes of its own
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

__all__ = ["keras", "tf"]
