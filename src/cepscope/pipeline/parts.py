"""What a worker does of a stage: one piece, by the run's folder and settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cepscope.atomic import sha256
from cepscope.pipeline.pieces import Piece

if TYPE_CHECKING:
    from cepscope.pipeline.stages import Context

Report = Callable[[int], None]


def climb_batch(piece: Piece, *, context: Context | None = None, report: Report = lambda _done: None) -> str:
    """Search for the patterns of a batch."""
    context = context or piece.open()
    context.maximization.climb(piece.rows, Path(piece.path), key=piece.key, report=report)
    return sha256(piece.path)
