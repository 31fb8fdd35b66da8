"""Configuration: a schema of checked, immutable values, and a loader that reports every problem."""

from .loading import from_mapping, load
from .problems import ConfigError, Problem
from .schema import (
    Config,
    ConsoleConfig,
    CoordinationConfig,
    GateConfig,
    LockConfig,
    LogConfig,
    QueueConfig,
    ShutdownConfig,
    SupervisionConfig,
    TopicConfig,
    WorkersConfig,
)
from .urls import StoreUrl
from .values import Backoff, Intensity, Overflow

__all__ = [
    "Backoff",
    "Config",
    "ConfigError",
    "ConsoleConfig",
    "CoordinationConfig",
    "GateConfig",
    "Intensity",
    "LockConfig",
    "LogConfig",
    "Overflow",
    "Problem",
    "QueueConfig",
    "ShutdownConfig",
    "StoreUrl",
    "SupervisionConfig",
    "TopicConfig",
    "WorkersConfig",
    "from_mapping",
    "load",
]
