"""Clinical prediction from multiple modalities that are missing not at random.

Importing the package loads nothing heavy: the names below are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_modules.datamodule import CohortDataModule as CohortDataModule
    from data_modules.datamodule import CustomDataModule as CustomDataModule
    from data_modules.datamodule import EICUDataModule as EICUDataModule
    from data_modules.datamodule import MIMICDataModule as MIMICDataModule
    from data_modules.errors import UserError as UserError
    from mmnar_lightning.baselines.testing import check_baseline as check_baseline
    from mmnar_lightning.config.compose import load as load_config
    from mmnar_lightning.config.experiment import ConfigError as ConfigError
    from mmnar_lightning.config.experiment import ExperimentConfig as ExperimentConfig
    from mmnar_lightning.evaluation.results import Results as Results
    from mmnar_lightning.model import MMNARModel as MMNARModel
    from mmnar_lightning.module import MMNARModule as MMNARModule
    from mmnar_lightning.runs.protocols import evaluate as evaluate
    from mmnar_lightning.runs.protocols import train as train
    from mmnar_lightning.runs.results import read as read_results
    from mmnar_lightning.saved.model import Predictions as Predictions
    from mmnar_lightning.saved.model import SavedModel as SavedModel
    from mmnar_lightning.saved.read import load as load

_WHERE = {
    "CohortDataModule": ("data_modules.datamodule", "CohortDataModule"),
    "ConfigError": ("mmnar_lightning.config.experiment", "ConfigError"),
    "CustomDataModule": ("data_modules.datamodule", "CustomDataModule"),
    "EICUDataModule": ("data_modules.datamodule", "EICUDataModule"),
    "ExperimentConfig": ("mmnar_lightning.config.experiment", "ExperimentConfig"),
    "MIMICDataModule": ("data_modules.datamodule", "MIMICDataModule"),
    "MMNARModel": ("mmnar_lightning.model", "MMNARModel"),
    "MMNARModule": ("mmnar_lightning.module", "MMNARModule"),
    "Predictions": ("mmnar_lightning.saved.model", "Predictions"),
    "Results": ("mmnar_lightning.evaluation.results", "Results"),
    "SavedModel": ("mmnar_lightning.saved.model", "SavedModel"),
    "UserError": ("data_modules.errors", "UserError"),
    "check_baseline": ("mmnar_lightning.baselines.testing", "check_baseline"),
    "evaluate": ("mmnar_lightning.runs.protocols", "evaluate"),
    "load": ("mmnar_lightning.saved.read", "load"),
    "load_config": ("mmnar_lightning.config.compose", "load"),
    "read_results": ("mmnar_lightning.runs.results", "read"),
    "train": ("mmnar_lightning.runs.protocols", "train"),
}
"""Public name -> the module that defines it, and its name there."""

__all__ = [
    "CohortDataModule",
    "ConfigError",
    "CustomDataModule",
    "EICUDataModule",
    "ExperimentConfig",
    "MIMICDataModule",
    "MMNARModel",
    "MMNARModule",
    "Predictions",
    "Results",
    "SavedModel",
    "UserError",
    "check_baseline",
    "evaluate",
    "load",
    "load_config",
    "read_results",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name == "__version__":
        return import_module("importlib.metadata").version("mmnar-lightning")
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, own_name = _WHERE[name]
    return getattr(import_module(module), own_name)


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *__all__})
