"""Clinical prediction from multiple modalities that are missing not at random.

Importing the package loads nothing heavy: the names below are imported when they are first used.

>>> import torch
>>> import mmnar_lightning
>>> probability, label = torch.tensor([0.2, 0.6, 0.5, 0.9]), torch.tensor([0.0, 0.0, 1.0, 1.0])
>>> mmnar_lightning.auroc(probability, label)
0.75
>>> found = mmnar_lightning.metric_intervals(probability, label, subject=torch.arange(4))
>>> found["auroc"].value, sorted(found)[:3]
(0.75, ['auroc', 'average_precision', 'brier'])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_modules.batch import Batch as Batch
    from data_modules.batch import Items as Items
    from data_modules.datamodule import CohortDataModule as CohortDataModule
    from data_modules.datamodule import CustomDataModule as CustomDataModule
    from data_modules.datamodule import EICUDataModule as EICUDataModule
    from data_modules.datamodule import MIMICDataModule as MIMICDataModule
    from data_modules.errors import UserError as UserError
    from mmnar_lightning.baselines.inputs import BaselineInputs as BaselineInputs
    from mmnar_lightning.baselines.registry import EstimatorBaseline as EstimatorBaseline
    from mmnar_lightning.baselines.registry import NetworkBaseline as NetworkBaseline
    from mmnar_lightning.baselines.registry import find as find_baseline
    from mmnar_lightning.baselines.testing import check_baseline as check_baseline
    from mmnar_lightning.config.compose import load as load_config
    from mmnar_lightning.config.experiment import ConfigError as ConfigError
    from mmnar_lightning.config.experiment import ExperimentConfig as ExperimentConfig
    from mmnar_lightning.evaluation.results import Results as Results
    from mmnar_lightning.losses.assignment import assignment as assignment_loss
    from mmnar_lightning.losses.contrastive import symmetric_infonce as symmetric_infonce
    from mmnar_lightning.losses.multitask import masked_cross_entropy as masked_cross_entropy
    from mmnar_lightning.losses.reconstruction import reconstruction as reconstruction_loss
    from mmnar_lightning.metrics.cells import metric_intervals as metric_intervals
    from mmnar_lightning.metrics.delong import delong as delong
    from mmnar_lightning.metrics.functional import auroc as auroc
    from mmnar_lightning.metrics.functional import average_precision as average_precision
    from mmnar_lightning.metrics.functional import brier_score as brier_score
    from mmnar_lightning.metrics.functional import calibration_error as calibration_error
    from mmnar_lightning.metrics.functional import log_loss as log_loss
    from mmnar_lightning.metrics.functional import reliability_curve as reliability_curve
    from mmnar_lightning.metrics.intervals import bootstrap_intervals as bootstrap_intervals
    from mmnar_lightning.metrics.paired import paired_difference as paired_difference
    from mmnar_lightning.metrics.pattern import PatternMetric as PatternMetric
    from mmnar_lightning.metrics.pattern import PatternScore as PatternScore
    from mmnar_lightning.model import MMNARModel as MMNARModel
    from mmnar_lightning.module import MMNARModule as MMNARModule
    from mmnar_lightning.objective import Objective as Objective
    from mmnar_lightning.outputs import ModelOutputs as ModelOutputs
    from mmnar_lightning.rectifier.rectifier import Rectifier as Rectifier
    from mmnar_lightning.runs.protocols import evaluate as evaluate
    from mmnar_lightning.runs.protocols import train as train
    from mmnar_lightning.runs.results import read as read_results
    from mmnar_lightning.saved.model import Predictions as Predictions
    from mmnar_lightning.saved.model import SavedModel as SavedModel
    from mmnar_lightning.saved.read import load as load

_WHERE = {
    "BaselineInputs": ("mmnar_lightning.baselines.inputs", "BaselineInputs"),
    "Batch": ("data_modules.batch", "Batch"),
    "CohortDataModule": ("data_modules.datamodule", "CohortDataModule"),
    "ConfigError": ("mmnar_lightning.config.experiment", "ConfigError"),
    "CustomDataModule": ("data_modules.datamodule", "CustomDataModule"),
    "EICUDataModule": ("data_modules.datamodule", "EICUDataModule"),
    "EstimatorBaseline": ("mmnar_lightning.baselines.registry", "EstimatorBaseline"),
    "ExperimentConfig": ("mmnar_lightning.config.experiment", "ExperimentConfig"),
    "Items": ("data_modules.batch", "Items"),
    "MIMICDataModule": ("data_modules.datamodule", "MIMICDataModule"),
    "MMNARModel": ("mmnar_lightning.model", "MMNARModel"),
    "MMNARModule": ("mmnar_lightning.module", "MMNARModule"),
    "ModelOutputs": ("mmnar_lightning.outputs", "ModelOutputs"),
    "NetworkBaseline": ("mmnar_lightning.baselines.registry", "NetworkBaseline"),
    "Objective": ("mmnar_lightning.objective", "Objective"),
    "PatternMetric": ("mmnar_lightning.metrics.pattern", "PatternMetric"),
    "PatternScore": ("mmnar_lightning.metrics.pattern", "PatternScore"),
    "Predictions": ("mmnar_lightning.saved.model", "Predictions"),
    "Rectifier": ("mmnar_lightning.rectifier.rectifier", "Rectifier"),
    "Results": ("mmnar_lightning.evaluation.results", "Results"),
    "SavedModel": ("mmnar_lightning.saved.model", "SavedModel"),
    "UserError": ("data_modules.errors", "UserError"),
    "assignment_loss": ("mmnar_lightning.losses.assignment", "assignment"),
    "auroc": ("mmnar_lightning.metrics.functional", "auroc"),
    "average_precision": ("mmnar_lightning.metrics.functional", "average_precision"),
    "bootstrap_intervals": ("mmnar_lightning.metrics.intervals", "bootstrap_intervals"),
    "brier_score": ("mmnar_lightning.metrics.functional", "brier_score"),
    "calibration_error": ("mmnar_lightning.metrics.functional", "calibration_error"),
    "check_baseline": ("mmnar_lightning.baselines.testing", "check_baseline"),
    "delong": ("mmnar_lightning.metrics.delong", "delong"),
    "evaluate": ("mmnar_lightning.runs.protocols", "evaluate"),
    "find_baseline": ("mmnar_lightning.baselines.registry", "find"),
    "load": ("mmnar_lightning.saved.read", "load"),
    "load_config": ("mmnar_lightning.config.compose", "load"),
    "log_loss": ("mmnar_lightning.metrics.functional", "log_loss"),
    "masked_cross_entropy": ("mmnar_lightning.losses.multitask", "masked_cross_entropy"),
    "metric_intervals": ("mmnar_lightning.metrics.cells", "metric_intervals"),
    "paired_difference": ("mmnar_lightning.metrics.paired", "paired_difference"),
    "read_results": ("mmnar_lightning.runs.results", "read"),
    "reconstruction_loss": ("mmnar_lightning.losses.reconstruction", "reconstruction"),
    "reliability_curve": ("mmnar_lightning.metrics.functional", "reliability_curve"),
    "symmetric_infonce": ("mmnar_lightning.losses.contrastive", "symmetric_infonce"),
    "train": ("mmnar_lightning.runs.protocols", "train"),
}
"""Public name -> the module that defines it, and its name there."""

__all__ = [
    "BaselineInputs",
    "Batch",
    "CohortDataModule",
    "ConfigError",
    "CustomDataModule",
    "EICUDataModule",
    "EstimatorBaseline",
    "ExperimentConfig",
    "Items",
    "MIMICDataModule",
    "MMNARModel",
    "MMNARModule",
    "ModelOutputs",
    "NetworkBaseline",
    "Objective",
    "PatternMetric",
    "PatternScore",
    "Predictions",
    "Rectifier",
    "Results",
    "SavedModel",
    "UserError",
    "assignment_loss",
    "auroc",
    "average_precision",
    "bootstrap_intervals",
    "brier_score",
    "calibration_error",
    "check_baseline",
    "delong",
    "evaluate",
    "find_baseline",
    "load",
    "load_config",
    "log_loss",
    "masked_cross_entropy",
    "metric_intervals",
    "paired_difference",
    "read_results",
    "reconstruction_loss",
    "reliability_curve",
    "symmetric_infonce",
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
