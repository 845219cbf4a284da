"""Everything to one page, and figures for papers: from arrays, without a network."""

from __future__ import annotations

from cepscope.report.assemble import write_report as write_report
from cepscope.report.comparison import render_comparison as render_comparison
from cepscope.report.comparison import write_comparison as write_comparison
from cepscope.report.comparison_rows import ComparisonItem as ComparisonItem
from cepscope.report.content import Exemplar as Exemplar
from cepscope.report.content import ReportContent as ReportContent
from cepscope.report.content import UnitCard as UnitCard
from cepscope.report.figures import save_figure as save_figure
from cepscope.report.page import render_page as render_page
from cepscope.report.page import write_page as write_page
from cepscope.report.paper import draw_clip as draw_clip
from cepscope.report.paper import draw_corpus as draw_corpus
from cepscope.report.paper import draw_methods as draw_methods
from cepscope.report.paper import draw_report as draw_report
from cepscope.report.paper import draw_training as draw_training
from cepscope.report.paper import save_figures as save_figures
from cepscope.report.plots import plot_filters as plot_filters
from cepscope.report.plots import plot_history as plot_history
from cepscope.report.plots import plot_layer as plot_layer
from cepscope.report.plots import plot_log_mel as plot_log_mel
from cepscope.report.plots import plot_mfcc as plot_mfcc
from cepscope.report.plots import plot_spectrogram as plot_spectrogram
from cepscope.report.plots import plot_unit as plot_unit
from cepscope.report.recipe import visualize_activation_maximization as visualize_activation_maximization
from cepscope.report.recipe import visualize_feature_maps as visualize_feature_maps
from cepscope.report.recipe import visualize_filters as visualize_filters
from cepscope.report.recorded import Recorded as Recorded
from cepscope.report.recorded import read_recorded as read_recorded
from cepscope.report.sheets import render_clip_page as render_clip_page
from cepscope.report.sheets import render_corpus_page as render_corpus_page
from cepscope.report.sheets import render_training_page as render_training_page
from cepscope.report.sheets import write_clip_page as write_clip_page
from cepscope.report.sheets import write_corpus_page as write_corpus_page
from cepscope.report.sheets import write_training_page as write_training_page
from cepscope.report.side_by_side_content import Column as Column
from cepscope.report.side_by_side_content import SideBySide as SideBySide
from cepscope.report.side_by_side_matching import side_by_side as side_by_side
from cepscope.report.side_by_side_page import render_side_by_side as render_side_by_side
from cepscope.report.side_by_side_page import write_side_by_side as write_side_by_side
from cepscope.report.tensorboard import TensorBoardLog as TensorBoardLog
from cepscope.report.tensorboard import write_tensorboard as write_tensorboard

__all__ = [
    "Column",
    "ComparisonItem",
    "Exemplar",
    "Recorded",
    "ReportContent",
    "SideBySide",
    "TensorBoardLog",
    "UnitCard",
    "draw_clip",
    "draw_corpus",
    "draw_methods",
    "draw_report",
    "draw_training",
    "plot_filters",
    "plot_history",
    "plot_layer",
    "plot_log_mel",
    "plot_mfcc",
    "plot_spectrogram",
    "plot_unit",
    "read_recorded",
    "render_clip_page",
    "render_comparison",
    "render_corpus_page",
    "render_page",
    "render_side_by_side",
    "render_training_page",
    "save_figure",
    "save_figures",
    "side_by_side",
    "visualize_activation_maximization",
    "visualize_feature_maps",
    "visualize_filters",
    "write_clip_page",
    "write_comparison",
    "write_corpus_page",
    "write_page",
    "write_report",
    "write_side_by_side",
    "write_tensorboard",
    "write_training_page",
]
