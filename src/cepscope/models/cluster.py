"""Which worker of how many this process is, by TF_CONFIG; known without TensorFlow."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from cepscope.errors import ParameterError

VARIABLE = "TF_CONFIG"
EXAMPLE = '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Worker:
    """One process of a training.

    Attributes
    ----------
    index, count : int
        From 0, and of how many. Worker 0 is the chief: the only one that writes.
    """

    index: int = 0
    count: int = 1

    @property
    def is_chief(self) -> bool:
        """Tell whether this one writes."""
        return self.index == 0


def this_worker() -> Worker:
    """Return which worker this process is; the only one if TF_CONFIG is not set.

    Raises
    ------
    ParameterError
        TF_CONFIG is something else than a list of workers and the place of this one.

    Examples
    --------
    >>> this_worker()
    Worker(index=0, count=1)
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return Worker()
    try:
        given = json.loads(text)
        if not given.get("cluster"):
            return Worker()
        workers, task = given["cluster"]["worker"], given["task"]
        found = Worker(int(task["index"]), len(workers))
        fits = set(given["cluster"]) == {"worker"} and task["type"] == "worker" and 0 <= found.index < found.count
    except (ValueError, TypeError, KeyError, AttributeError):
        fits = False
    if not fits:
        raise ParameterError(f"{VARIABLE} must name all workers and which one this is, as {EXAMPLE}. Received: {text}")
    return found
