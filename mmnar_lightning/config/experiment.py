"""The settings of an experiment: each owner declares its own beside itself, and here they are put together."""

import os
from dataclasses import dataclass, field
from typing import Literal

from data_modules.cohorts.config import CohortConfig, CustomCohortConfig
from data_modules.databases import registry
from data_modules.errors import UserError
from data_modules.loading.config import LoaderConfig
from data_modules.settings import read_when
from data_modules.simulate.config import SimulateConfig
from mmnar_lightning.baselines.config import BaselineConfig
from mmnar_lightning.encoders.config import EmbedConfig
from mmnar_lightning.losses.config import ObjectiveConfig
from mmnar_lightning.nn.config import ModelConfig
from mmnar_lightning.optim import OptimConfig
from mmnar_lightning.rectifier.config import RectifierConfig

CUSTOM = "custom"
"""The dataset of a cohort that someone else built (docs/cohort.md)."""
SIMULATED = {"mimic": "mimic_iv", "eicu": "eicu"}
"""Dataset -> database that the simulator writes."""

MAX_SEED = 2**32
"""The generators of PyTorch on a CPU read 32 bits of a seed."""

REPLACEABLE = ("objective.", "optim.", "trainer.")
"""Settings that `resume_with` may name: a checkpoint can go on under others."""


class ConfigError(UserError):
    """A setting is unknown or makes no sense: its full key, what was given, what was expected."""


def datasets() -> tuple[str, ...]:
    """Every name that `dataset` may have."""
    return (*registry.packages(), CUSTOM)


def cohort_config(dataset: str) -> type[CohortConfig]:
    """The class of the settings of a dataset's cohort."""
    return CustomCohortConfig if dataset == CUSTOM else registry.cohort_config(dataset)


@dataclass(kw_only=True)
class PathsConfig:
    """Where things lie."""

    data: str = "data"
    """Cohorts and embedding stores."""
    runs: str = "runs"
    """One folder a run."""
    mimic_root: str = field(default_factory=lambda: os.environ.get("MIMIC_ROOT", ""))
    """Folders of MIMIC-IV, separated by ':'; taken from MIMIC_ROOT where it is not set."""
    eicu_root: str = field(default_factory=lambda: os.environ.get("EICU_ROOT", ""))
    """Folders of eICU-CRD, separated by ':'; taken from EICU_ROOT where it is not set."""
    roots: dict[str, str] = field(default_factory=dict)
    """Folders of other databases, by dataset; taken from <DATASET>_ROOT where one is not set."""
    cohort: str = field(default_factory=lambda: os.environ.get("COHORT", ""))
    """Folder of someone else's cohort, for dataset=custom."""

    def root(self, dataset: str) -> str:
        """Folders of a dataset's release, separated by ':'; empty where none is named."""
        if dataset in SIMULATED:
            return str(getattr(self, f"{dataset}_root"))
        return self.roots.get(dataset, os.environ.get(f"{dataset.upper()}_ROOT", ""))


@dataclass(kw_only=True)
class TrainerConfig:
    """How long to train, and on what."""

    max_epochs: int = 100
    """Most epochs."""
    patience: int = 15
    """Epochs without a better validation AUROC before training stops."""
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    """Kind of device."""
    devices: int = 1
    """Devices of each machine that train together; torchrun and srun say it themselves."""
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    """How they do; `auto` is `ddp` for several. `fsdp` shards the weights of large trained backbones over GPUs."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Number format of the forward pass."""
    accumulate: int = 1
    """Parts that the global batch of a step is taken in, one after the other, so that a larger one fits into memory."""
    checkpoint_every_steps: int = 0
    """Save within an epoch too, after so many steps, so that a killed run loses no more; 0 saves at its end alone."""
    progress_bar: bool = True
    """Show one."""

    def __post_init__(self) -> None:
        """Refuse counts below one, and sharding where there is no GPU."""
        if self.checkpoint_every_steps < 0:
            raise ValueError(f"trainer.checkpoint_every_steps={self.checkpoint_every_steps} must be at least 0")
        if self.strategy == "fsdp" and self.accelerator in {"cpu", "mps"}:
            raise ValueError(
                f"trainer.strategy=fsdp shards over GPUs, but trainer.accelerator={self.accelerator}; use ddp"
            )
        for key in ("max_epochs", "patience", "devices", "accumulate"):
            if getattr(self, key) < 1:
                raise ValueError(f"trainer.{key}={getattr(self, key)} must be at least 1")


@dataclass(kw_only=True)
class EvaluationConfig:
    """How the test split is scored."""

    protocol: Literal["split", "kfold", "leave_pattern_out"] = "split"
    """One test split; one run for each of `cohort.split.num_folds` folds, in which that fold is test; or one run for
    each missingness pattern, which learns from the others and is tested on it."""
    num_seeds: int = 1
    """Runs that differ in their seed alone: `seed`, `seed` + 1, ...; their metrics are averaged."""
    num_replicates: int = 1000
    """Bootstrap replicates of every interval."""
    part: int | None = None
    """Of the runs of a protocol only this one, from 0: an array of jobs shares them; who finishes last gathers."""

    def __post_init__(self) -> None:
        """Refuse no run at all, and intervals of too few replicates."""
        if self.part is not None and self.part < 0:
            raise ValueError(f"evaluation.part={self.part} must be at least 0")
        if self.num_seeds < 1:
            raise ValueError(f"evaluation.num_seeds={self.num_seeds} must be at least 1")
        if self.num_replicates < 100:
            raise ValueError(f"evaluation.num_replicates={self.num_replicates} must be at least 100")


@dataclass(kw_only=True)
class TransferConfig:
    """Another cohort, on whose test split the trained model is scored as well (docs/transfer.md)."""

    target: str = ""
    """Experiment on whose cohort the model is tested as well, a name or a YAML file; empty is none."""
    rectifier: Literal["target", "source"] = field(
        default="target", metadata=read_when(".target is set and rectifier.fit != none")
    )
    """The target's rectifier: fitted again on the target's calibration split, or carried over."""

    def __post_init__(self) -> None:
        """Refuse a rectifier for a target that is not there."""
        if self.rectifier == "source" and not self.target:
            raise ValueError("transfer.rectifier=source needs transfer.target, the cohort to carry it over to")


@dataclass(kw_only=True)
class PrivacyConfig:
    """What must not leave the machine."""

    min_count: int = 10
    """Cells with fewer rows are masked everywhere but in the local results.json."""

    def __post_init__(self) -> None:
        """Refuse a negative count."""
        if self.min_count < 0:
            raise ValueError(f"privacy.min_count={self.min_count} must be at least 0")


@dataclass(kw_only=True)
class WandbConfig:
    """The W&B logger; offline unless WANDB_API_KEY is set, and never a prompt."""

    enabled: bool = True
    """Whether to log to W&B at all; the CSV logger is always on."""
    project: str = field(default="mmnar", metadata=read_when(".enabled = true"))
    """Project of the runs."""


@dataclass(kw_only=True)
class SweepConfig:
    """Which sweep, and who searches."""

    file: str = ""
    """For sweep: a YAML file in W&B's sweep format."""
    offline: bool = False
    """Search with Optuna on this machine and send nothing, instead of asking W&B."""
    processes: int = 1
    """Trials that are trained at the same time; W&B starts one for each agent instead."""
    trials: int = 0
    """Most trials of a random or bayes sweep; 0 takes `run_cap` of the file."""

    def __post_init__(self) -> None:
        """Refuse no process at all, and a negative number of trials."""
        if self.processes < 1:
            raise ValueError(f"sweep.processes={self.processes} must be at least 1")
        if self.trials < 0:
            raise ValueError(f"sweep.trials={self.trials} must be at least 0 (0 = run_cap of the file)")


@dataclass(kw_only=True)
class ExperimentConfig:
    """Everything that a run is made from."""

    given = frozenset[str]()  # no field: keys that were given as words

    dataset: str = "mimic"
    """Where the cohort comes from: `mimic`, `eicu`, `custom`, or another database that is installed."""
    experiment: str = "mimic"
    """Name of the experiment; runs are gathered under it."""
    seed: int = 0
    """Of weights, order of rows and bootstrap."""
    evaluate: bool = True
    """Read the test split at the end of training."""
    simulated: bool = False
    """Set where no release was named: one is simulated, and experiments/simulated.yaml read first."""
    out: str = ""
    """For simulate: the folder to write the release into."""
    resume: str = ""
    """Empty goes on with the newest unfinished run of these settings, `new` starts one; `last` or a folder names it."""
    resume_with: list[str] = field(default_factory=list)
    """Settings that may differ from those of the resumed run, for example `[optim.lr]`; others are refused."""
    run: str = ""
    """For evaluate: the run folder; empty is the newest run of the experiment."""
    paths: PathsConfig = field(default_factory=PathsConfig)
    cohort: CohortConfig = field(default_factory=CohortConfig)
    simulate: SimulateConfig = field(default_factory=SimulateConfig, metadata=read_when("simulated = true"))
    embed: EmbedConfig = field(default_factory=EmbedConfig)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    baseline: BaselineConfig = field(default_factory=BaselineConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    rectifier: RectifierConfig = field(default_factory=RectifierConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    transfer: TransferConfig = field(default_factory=TransferConfig)
    privacy: PrivacyConfig = field(default_factory=PrivacyConfig)
    wandb: WandbConfig = field(default_factory=WandbConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)

    def __post_init__(self) -> None:
        """Refuse a seed that some generator would not take, and a fold where every fold is run."""
        for key in self.resume_with:
            if not key.startswith(REPLACEABLE):
                raise ValueError(
                    f"resume_with=[{key}]: a checkpoint can go on only under other {', '.join(REPLACEABLE)}*; start a "
                    "new run for any other change"
                )
        if not 0 <= self.seed <= MAX_SEED - self.evaluation.num_seeds:
            raise ValueError(f"seed={self.seed} must be in [0, {MAX_SEED}), evaluation.num_seeds of them")
        if self.objective.pretrain_epochs >= self.trainer.max_epochs:
            raise ValueError(
                f"objective.pretrain_epochs={self.objective.pretrain_epochs} leaves no epoch with labels: "
                f"trainer.max_epochs={self.trainer.max_epochs} counts them too"
            )
        protocol = self.evaluation.protocol
        if self.transfer.target and (protocol != "split" or self.rectifier.fit == "crossfit"):
            raise ValueError(
                f"transfer.target={self.transfer.target}: every run's model would be tested on the same target; use "
                "evaluation.protocol=split, and no rectifier.fit=crossfit"
            )
        if self.transfer.rectifier == "source" and self.rectifier.fit == "none":
            raise ValueError("transfer.rectifier=source carries over a rectifier, but rectifier.fit=none fits none")
        if protocol != "split" and self.rectifier.fit == "crossfit":
            raise ValueError(
                f"rectifier.fit=crossfit cannot be used with evaluation.protocol={protocol}: both are several "
                "runs; use rectifier.fit=calibration"
            )
        if protocol == "leave_pattern_out" and self.loader.held_pattern is not None:
            raise ValueError(
                "evaluation.protocol=leave_pattern_out holds out every pattern, but loader.held_pattern="
                f"{self.loader.held_pattern} names one; leave it out, or run that alone with evaluation.protocol=split"
            )
        if protocol == "kfold":
            for key in ("test_fold", "crossfit_fold"):
                fold = getattr(self.cohort.split, key)
                if fold is not None:
                    raise ValueError(
                        f"evaluation.protocol=kfold runs every fold, but cohort.split.{key}={fold} names one; leave it "
                        "out, or run that fold alone with evaluation.protocol=split"
                    )
