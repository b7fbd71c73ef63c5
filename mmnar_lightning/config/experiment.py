"""The settings of an experiment, assembled from the dataclasses that each component declares."""

import os
from dataclasses import dataclass, field
from typing import Any, Literal

from data_modules.cohorts.config import CohortConfig, CustomCohortConfig
from data_modules.databases import registry
from data_modules.errors import UserError
from data_modules.loading.config import LoaderConfig
from data_modules.settings import check_minima, expand, expand_paths, path_setting, read_when
from data_modules.simulate.config import SimulateConfig
from data_modules.vocabulary import check_name
from mmnar_lightning.baselines.config import BaselineConfig
from mmnar_lightning.config.table import TableConfig
from mmnar_lightning.config.training import TrainerConfig, WandbConfig, check_named
from mmnar_lightning.encoders.config import EmbedConfig
from mmnar_lightning.losses.config import ObjectiveConfig
from mmnar_lightning.nn.config import ModelConfig
from mmnar_lightning.optim import OptimConfig
from mmnar_lightning.rectifier.config import RectifierConfig

CUSTOM = "custom"
"""The dataset of a user's own cohort (docs/cohort.md)."""
SIMULATED = {"mimic": "mimic_iv", "eicu": "eicu"}
"""Dataset -> database that the simulator generates."""

MAX_SEED = 2**32
"""PyTorch's CPU generators use 32 bits of a seed."""

REPLACEABLE = ("objective.", "optim.", "trainer.")
"""Settings that `resume_with` may name: a checkpoint can be resumed with other values."""


class ConfigError(UserError):
    """A setting is unknown or invalid: names its full key, the given and the expected value."""


def datasets() -> tuple[str, ...]:
    """All valid values of `dataset`."""
    return (*registry.packages(), CUSTOM)


def cohort_config(dataset: str) -> type[CohortConfig]:
    """The class of a dataset's cohort settings."""
    return CustomCohortConfig if dataset == CUSTOM else registry.cohort_config(dataset)


@dataclass(kw_only=True)
class PathsConfig:
    """Folders of input and output."""

    data: str = field(default="data", metadata=path_setting())
    """Cohorts and embedding stores."""
    runs: str = field(default="runs", metadata=path_setting())
    """One folder per run."""
    mimic_root: str = field(default_factory=lambda: os.environ.get("MIMIC_ROOT", ""), metadata=path_setting(":"))
    """Folders of MIMIC-IV, separated by ':'; MIMIC_ROOT if not set."""
    eicu_root: str = field(default_factory=lambda: os.environ.get("EICU_ROOT", ""), metadata=path_setting(":"))
    """Folders of eICU-CRD, separated by ':'; EICU_ROOT if not set."""
    roots: dict[str, str] = field(default_factory=dict, metadata=path_setting(":"))
    """Folders of other databases, by dataset; <DATASET>_ROOT if not set."""
    cohort: str = field(default_factory=lambda: os.environ.get("COHORT", ""), metadata=path_setting())
    """Folder of a user's own cohort, for dataset=custom; COHORT if not set."""

    def __post_init__(self) -> None:
        """Expand `~`."""
        expand_paths(self)

    def root(self, dataset: str) -> str:
        """Folders of a dataset's release, separated by ':'; empty if none is named."""
        if dataset in SIMULATED:
            return str(getattr(self, f"{dataset}_root"))
        return self.roots.get(dataset, expand(os.environ.get(f"{dataset.upper()}_ROOT", ""), ":"))


@dataclass(kw_only=True)
class EvaluationConfig:
    """Scoring of the test split."""

    protocol: Literal["split", "kfold", "temporal", "leave_pattern_out"] = "split"
    """One test split; one run for each of `cohort.split.num_folds` folds, in which that fold is test; one for each fold
    but the first, trained on the earlier ones; or one for each missingness pattern, trained on the others and tested
    on it."""
    num_seeds: int = 1
    """Runs that differ only in their seed: `seed`, `seed` + 1, ...; their metrics are averaged."""
    inner_folds: int = 0
    """K folds of the subjects of train and val: K models, each trained without one fold, whose rows together choose
    penalties, epochs and trials by log-loss; the K models are averaged. 0 chooses on the val split instead."""
    inner_repeats: int = field(default=1, metadata=read_when(".inner_folds > 0"))
    """Independent draws of the inner folds, each with models and seeds of its own; all are averaged."""
    blend: bool = field(default=False, metadata=read_when("baseline.name = none"))
    """Also fit boosted trees (`baseline.boosted_trees`), and report the mean logit of network and trees beside the
    network (docs/baselines.md)."""
    num_replicates: int = 1000
    """Bootstrap replicates of the intervals that have some: those of cells with 200 rows of each class are analytic."""
    subgroups: bool = True
    """Score by sex, age band, race and the other attributes that the cohort has, with the largest gaps."""
    figures: bool = True
    """Draw the figures of a run."""
    elsewhere: Literal["none", "carried", "refitted"] = "none"
    """For evaluate: score the cohort of other subjects that `paths` names, with the rectifier carried over, or refitted
    on its calibration split; `none` evaluates the run's own cohort."""
    part: int | None = None
    """Train only this run of a protocol, numbered from 0, as one job of an array; the last to finish gathers all."""

    def __post_init__(self) -> None:
        """Refuse a negative part, zero runs, and intervals of too few replicates."""
        check_minima(self, "evaluation", part=0, num_seeds=1, num_replicates=100, inner_folds=0, inner_repeats=1)
        if self.inner_folds == 1:
            raise UserError("evaluation.inner_folds=1 leaves no row to train on; use 2 or more, or 0 for the val split")


@dataclass(kw_only=True)
class DiagnosticsConfig:
    """What is trained beside a run to explain it."""

    parts: bool = False
    """Before the evaluation repeat the training once without each part of the method that is on, and report what each
    part gains on the held-out rows of the inner folds (docs/method.md, section 6)."""


@dataclass(kw_only=True)
class TransferConfig:
    """Another cohort whose test split the trained model is scored on as well (docs/transfer.md)."""

    target: str = field(default="", metadata=path_setting())
    """Experiment whose cohort the model is also tested on, a name or a YAML file; empty is none."""
    rectifier: Literal["target", "source"] = field(
        default="target", metadata=read_when(".target is set and rectifier.fit != none")
    )
    """The target's rectifier: refitted on the target's calibration split, or carried over from the source."""

    def __post_init__(self) -> None:
        """Expand `~`; refuse a carried-over rectifier without a target."""
        expand_paths(self)
        if self.rectifier == "source" and not self.target:
            raise UserError("transfer.rectifier=source needs transfer.target, the cohort to carry it over to")


@dataclass(kw_only=True)
class PrivacyConfig:
    """Limits on what is shown or shared."""

    min_count: int = 10
    """Cells with fewer rows, positives or negatives, and those they would follow from, are hidden everywhere except in
    the local results.json (docs/privacy.md)."""
    shared_group: bool = False
    """Let the group of new files and folders read them: 0640 in 0750. Otherwise their owner alone does, 0600 in 0700,
    whatever the umask (docs/privacy.md)."""

    def __post_init__(self) -> None:
        """Refuse a negative count."""
        check_minima(self, "privacy", min_count=0)


@dataclass(kw_only=True)
class SweepConfig:
    """The sweep, and its search."""

    file: str = field(default="", metadata=path_setting())
    """For sweep: a YAML file in W&B's sweep format."""
    offline: bool = False
    """Search with Optuna on this machine instead of W&B, and send nothing."""
    processes: int = 1
    """Trials that are trained at the same time; W&B instead starts one per agent."""
    trials: int = 0
    """Maximum trials of a random or bayes sweep; 0 takes `run_cap` of the file."""

    def __post_init__(self) -> None:
        """Expand `~`; refuse zero processes, and a negative number of trials."""
        expand_paths(self)
        check_minima(self, "sweep", processes=1, trials=0)


@dataclass(kw_only=True)
class ExperimentConfig:
    """All settings of a run."""

    given = frozenset[str]()  # not a field: keys given as words

    dataset: str = "mimic"
    """Database of the cohort: `mimic`, `eicu`, `meds`, `custom`, or an installed database of another package."""
    experiment: str = "mimic"
    """Name of the experiment, and of the folder of its runs."""
    seed: int = 0
    """Seed of weights, row order and bootstrap."""
    evaluate: bool = True
    """Evaluate the test split after training."""
    simulated: bool = False
    """Set if no release was named: one is simulated, and experiments/simulated.yaml applies first."""
    out: str = field(default="", metadata=path_setting())
    """The folder to write into: of simulate the release, of predict the predictions, of compare the table, of export
    the graph, of report the page."""
    resume: str = field(default="", metadata=path_setting())
    """Empty resumes the newest unfinished run with these settings, `new` starts one; or `last`, or a run's folder."""
    resume_with: list[str] = field(default_factory=list)
    """Settings that may differ from those of the resumed run, for example `[optim.lr]`; others are refused."""
    run: str = field(default="", metadata=path_setting())
    """The folder of the run, for best the sweep's; empty is the newest, of the experiment or dataset if one is named.

    Predict and export also take a model folder.
    """
    to: Literal["onnx", "torch", "meds"] = "torch"
    """For export: an ONNX model, or a program of torch.export; or the predictions of the test rows in the schema of
    MEDS."""
    runs: list[str] = field(default_factory=list)
    """For compare and report: folders of runs on the same test rows, the first of which is compared with the others."""
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
    callbacks: list[dict[str, Any]] = field(default_factory=list)
    """Lightning callbacks of your own, by class path: `[{class: my.module.MyCallback, args: {every: 3}}]`."""
    loggers: list[dict[str, Any]] = field(default_factory=list)
    """Loggers beside the CSV files and W&B, by class path: `[{class: lightning.pytorch.loggers.TensorBoardLogger}]`."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    diagnostics: DiagnosticsConfig = field(
        default_factory=DiagnosticsConfig, metadata=read_when("baseline.name = none and evaluation.inner_folds > 0")
    )
    transfer: TransferConfig = field(default_factory=TransferConfig)
    privacy: PrivacyConfig = field(default_factory=PrivacyConfig)
    wandb: WandbConfig = field(default_factory=WandbConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    table: TableConfig = field(default_factory=TableConfig)

    def __post_init__(self) -> None:
        """Expand `~`; refuse seeds out of range, and settings that contradict each other."""
        expand_paths(self)
        check_name("experiment", self.experiment)
        check_named("callbacks", self.callbacks)
        check_named("loggers", self.loggers)
        for key in self.resume_with:
            if not key.startswith(REPLACEABLE):
                raise UserError(
                    f"resume_with=[{key}]: a checkpoint can be resumed only with other {', '.join(REPLACEABLE)}*; "
                    "start a new run for any other change"
                )
        if not 0 <= self.seed <= MAX_SEED - self.evaluation.num_seeds:
            raise UserError(f"seed={self.seed} must be in [0, {MAX_SEED}), evaluation.num_seeds of them")
        if self.objective.pretrain_epochs >= self.trainer.max_epochs:
            raise UserError(
                f"objective.pretrain_epochs={self.objective.pretrain_epochs} leaves no epoch with labels: "
                f"trainer.max_epochs={self.trainer.max_epochs} counts them too"
            )
        if self.evaluation.inner_folds and (self.trainer.accumulate > 1 or self.trainer.strategy == "fsdp"):
            raise UserError(
                f"evaluation.inner_folds={self.evaluation.inner_folds} trains its models together, which neither "
                "trainer.accumulate nor trainer.strategy=fsdp can do; omit these, or use evaluation.inner_folds=0"
            )
        if self.evaluation.inner_folds and self.trainer.compile != "none":
            raise UserError(
                f"trainer.compile={self.trainer.compile} needs batches of one shape, but evaluation.inner_folds="
                f"{self.evaluation.inner_folds} gives each model rows of its own; omit either"
            )
        protocol = self.evaluation.protocol
        if self.transfer.target and (protocol != "split" or self.rectifier.fit == "crossfit"):
            raise UserError(
                f"transfer.target={self.transfer.target}: every run's model would be tested on the same target; use "
                "evaluation.protocol=split, and no rectifier.fit=crossfit"
            )
        if self.transfer.rectifier == "source" and self.rectifier.fit == "none":
            raise UserError("transfer.rectifier=source carries over a rectifier, but rectifier.fit=none fits none")
        if protocol != "split" and self.rectifier.fit == "crossfit":
            raise UserError(
                f"rectifier.fit=crossfit cannot be used with evaluation.protocol={protocol}: both need several "
                "runs; use rectifier.fit=calibration"
            )
        if protocol == "leave_pattern_out" and self.loader.held_pattern is not None:
            raise UserError(
                "evaluation.protocol=leave_pattern_out holds out every pattern, but loader.held_pattern="
                f"{self.loader.held_pattern} names one; omit it, or run that alone with evaluation.protocol=split"
            )
        if protocol in {"kfold", "temporal"}:
            for key, fold in self.cohort.split.held_folds.items():
                raise UserError(
                    f"evaluation.protocol={protocol} runs every fold, but cohort.split.{key}={fold} names one; omit "
                    "it, or run that fold alone with evaluation.protocol=split"
                )
        self._check_target_calibration()
        self._check_refit()

    def _check_target_calibration(self) -> None:
        """Refuse calibration rows of the target without a held-out fold, and settings that would train on them."""
        split = self.cohort.split
        given = f"cohort.split.target_calibration={split.target_calibration}"
        if not split.target_calibration:
            return
        if self.evaluation.protocol not in {"kfold", "temporal"} and not {"test_fold", "test_from"} & {
            *split.held_folds
        }:
            raise UserError(
                f"{given} is a share of the held-out folds, but none is held out; set evaluation.protocol=kfold or "
                "temporal, cohort.split.test_fold or cohort.split.test_from"
            )
        if self.rectifier.fit == "crossfit":
            raise UserError(f"{given} fits the rectifier on held-out folds; use rectifier.fit=calibration")
        if self.rectifier.fit == "calibration" and self.rectifier.loss_offset:
            raise UserError(
                f"{given}: the offset in the loss would train the model on labels of the folds that it is tested on; "
                "set rectifier.loss_offset=false, as the layers protocols/leave_hospital_out and protocols/temporal do"
            )

    def _check_refit(self) -> None:
        """Refuse a baseline that is refitted at a target where none, or more than one, is named."""
        refit, share, target = self.baseline.refit, self.cohort.split.target_calibration, self.transfer.target
        given = f"baseline.logistic_regression.refit={refit} adds calibration rows of a target to the fit"
        if refit != "none" and not share and not target:
            raise UserError(
                f"{given}, but there is none: set cohort.split.target_calibration, as protocols/leave_hospital_out "
                "does, or transfer.target"
            )
        if refit != "none" and share and target:
            raise UserError(
                f"{given}, but there are two: omit cohort.split.target_calibration={share} or transfer.target={target}"
            )
