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
    from mmnar_lightning.saved.model import Predictions as Predictions
    from mmnar_lightning.saved.model import SavedModel as SavedModel
    from mmnar_lightning.saved.read import load as load

_WHERE = {
    "CohortDataModule": "data_modules.datamodule",
    "ConfigError": "mmnar_lightning.config.experiment",
    "CustomDataModule": "data_modules.datamodule",
    "EICUDataModule": "data_modules.datamodule",
    "ExperimentConfig": "mmnar_lightning.config.experiment",
    "MIMICDataModule": "data_modules.datamodule",
    "MMNARModel": "mmnar_lightning.model",
    "MMNARModule": "mmnar_lightning.module",
    "Results": "mmnar_lightning.evaluation.results",
    "UserError": "data_modules.errors",
    "check_baseline": "mmnar_lightning.baselines.testing",
    "evaluate": "mmnar_lightning.runs.protocols",
    "Predictions": "mmnar_lightning.saved.model",
    "SavedModel": "mmnar_lightning.saved.model",
    "load": "mmnar_lightning.saved.read",
    "load_config": "mmnar_lightning.config.compose",
    "train": "mmnar_lightning.runs.protocols",
}
"""Public name -> module that defines it."""

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
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name == "__version__":
        return import_module("importlib.metadata").version("mmnar-lightning")
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *__all__})
