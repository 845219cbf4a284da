"""Figures of a run, for papers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cepscope.pipeline.ledger import Ledger
from cepscope.pipeline.run import require, stored_config
from cepscope.pipeline.stages import Context, report_content


def write_figures(
    folder: str | Path, out: str | Path, *, suffix: str = ".pdf", dpi: float = 300, units: Sequence[str] = ()
) -> list[Path]:
    """Write what the page of a run shows as figures: training curves, layers, and single units.

    Parameters
    ----------
    folder : path
        Of a run that was probed.
    out : path
        Folder of the figures; those of the same names are replaced.
    suffix : {".pdf", ".svg", ".png"}
    dpi : float
    units : sequence of str
        See `cepscope.report.draw_report`.

    Returns
    -------
    list of Path

    Raises
    ------
    NotFittedError, CorruptArtifactError
        If a stage is missing, or one of its files.
    ParameterError
        If there is no such unit or format.
    """
    from cepscope.report import draw_report, save_figures

    config = stored_config(folder)
    root = Path(folder).resolve()
    ledger = Ledger(root)
    require(ledger, "report", config)
    content = report_content(Context(root, config, ledger))
    return save_figures(draw_report(content, units=units), out, suffix=suffix, dpi=dpi)
