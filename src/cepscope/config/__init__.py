"""One run's settings <-> TOML, checked."""

from cepscope.config.reading import load_config, parse_set, setting_names, to_toml
from cepscope.config.schema import (
    FeaturesConfig,
    InvertConfig,
    MaximizeConfig,
    ModelConfig,
    PriorsConfig,
    ReportConfig,
    RunConfig,
    TrainConfig,
    TransformsConfig,
)

__all__ = [
    "FeaturesConfig",
    "InvertConfig",
    "MaximizeConfig",
    "ModelConfig",
    "PriorsConfig",
    "ReportConfig",
    "RunConfig",
    "TrainConfig",
    "TransformsConfig",
    "load_config",
    "parse_set",
    "setting_names",
    "to_toml",
]
