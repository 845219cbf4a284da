"""TensorFlow and Keras, loaded in one place and without their greetings.

TensorFlow's C++ side writes notes about the machine to stderr while it loads, whatever its log level; they would stand
among a command's own messages. They are held back while it loads and shown only if it fails.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from cepscope.allocation import keep_freed_memory

STDERR = 2


@contextmanager
def held_back() -> Iterator[None]:
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


keep_freed_memory()
if "tensorflow" not in sys.modules:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with held_back():
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            with suppress(RuntimeError):  # somebody has used it already
                tf.config.experimental.set_memory_growth(gpu, True)  # else the first process takes all of its memory
        if not os.environ.get("TF_CONFIG"):  # workers must find each other before the first operation
            tf.constant(0)  # which has notes of its own
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

__all__ = ["forgetting_gradients", "gradients_kept", "held_back", "keras", "tf"]


def gradients_kept() -> dict[str, object]:
    """Return TensorFlow's custom gradients by name; empty where they are kept in another way."""
    try:
        from tensorflow.python.framework import ops

        kept: dict[str, object] = ops.gradient_registry._registry
    except (ImportError, AttributeError):
        return {}
    return kept


@contextmanager
def forgetting_gradients() -> Iterator[None]:
    """Forget the custom gradients of what is traced inside, for what is not used outside.

    TensorFlow keeps each for good, and with it the graph that it belongs to: some 14 MB a compiled search.
    """
    kept = gradients_kept()
    before = set(kept)
    try:
        yield
    finally:
        for name in [name for name in kept if name not in before and name.startswith("CustomGradient")]:
            del kept[name]
        gc.collect()  # graphs refer to themselves
