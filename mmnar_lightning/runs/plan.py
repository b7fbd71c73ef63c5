"""The runs that a protocol consists of: which they are, and the settings of each (docs/protocols.md)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from data_modules import patterns
from mmnar_lightning.config.experiment import ConfigError, EvaluationConfig, ExperimentConfig
from mmnar_lightning.runs.build import build_datamodule

LEAVE_PATTERN_OUT = "leave_pattern_out"
FOLDED = ("kfold", LEAVE_PATTERN_OUT)
"""Protocols whose runs test different rows each."""
Child = dict[str, Any]
"""`name`, `seed` and `fold`, which is None where there are no folds; of a pattern that is held out, its label as
`pattern` and the names of its modalities as `present`."""


def protocol_of(config: ExperimentConfig) -> str | None:
    """`kfold`, `leave_pattern_out`, `crossfit` or `seeds`; None for one ordinary run."""
    if config.evaluation.protocol != "split":
        return config.evaluation.protocol
    if config.rectifier.fit == "crossfit" and config.cohort.split.crossfit_fold is None:
        return "crossfit"
    return "seeds" if config.evaluation.num_seeds > 1 else None


def plan(config: ExperimentConfig, protocol: str) -> list[Child]:
    """The runs of a protocol, seed by seed."""
    parts: Sequence[dict[str, Any]]
    if protocol == LEAVE_PATTERN_OUT:
        parts = [
            {"name": f"-without-{label}", "fold": fold, "pattern": label, "present": present}
            for fold, (label, present) in enumerate(_held_patterns(config).items())
        ]
    elif protocol == "seeds":
        parts = [{"name": "", "fold": None}]
    else:
        parts = [{"name": f"-fold{fold}", "fold": fold} for fold in range(config.cohort.split.num_folds)]
    return [
        {**part, "name": f"seed{seed}{part['name']}", "seed": seed}
        for seed in range(config.seed, config.seed + config.evaluation.num_seeds)
        for part in parts
    ]


def _held_patterns(config: ExperimentConfig) -> dict[str, list[str]]:
    """Patterns that have test rows and others to learn from, the most frequent first: label -> present modalities.

    Raises:
        ConfigError: if there are not two patterns.
    """
    datamodule = build_datamodule(config)
    datamodule.prepare_data()
    datamodule.setup()
    codes = patterns.encode(datamodule.cohort.arrays.present)
    tested = set(codes[datamodule.cohort.rows("test")].tolist())
    train = codes[datamodule.cohort.rows("train")]
    held = [code for code in datamodule.cohort.patterns if code in tested and bool((train != code).any())]
    if len(held) < 2:
        raise ConfigError(
            f"evaluation.protocol={LEAVE_PATTERN_OUT}: the test split has {len(tested)} missingness patterns, and "
            "there is nothing to leave out with fewer than two"
        )
    names = [modality.name for modality in datamodule.cohort.modalities]
    return {
        label: [name for name, bit in zip(names, label, strict=True) if bit == "1"]
        for label in (patterns.label(code, len(names)) for code in held)
    }


def child_config(config: ExperimentConfig, protocol: str, child: Child) -> ExperimentConfig:
    """The settings of one run: an ordinary one, which can be run alone and anywhere."""
    held = {"kfold": {"test_fold": child["fold"]}, "crossfit": {"crossfit_fold": child["fold"]}}.get(protocol, {})
    loader = config.loader
    if protocol == LEAVE_PATTERN_OUT:
        loader = replace(loader, held_pattern=child["present"])
    return replace(
        config,
        seed=child["seed"],
        resume="",
        loader=loader,
        cohort=replace(config.cohort, split=replace(config.cohort.split, **held)),
        evaluation=of_one_run(config),
    )


def of_one_run(config: ExperimentConfig) -> EvaluationConfig:
    """How one run of a protocol is scored."""
    return replace(config.evaluation, protocol="split", num_seeds=1, part=None)
