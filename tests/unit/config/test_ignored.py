"""Settings that nothing would read: refused where they were given, named where a file holds them."""

import re
from functools import cache
from typing import Any

import pytest

from mmnar_lightning.config import keys
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError, datasets
from mmnar_lightning.config.ignored import check_command, check_ignored
from mmnar_lightning.config.layers import config_class
from mmnar_lightning.config.places import experiments_folder
from mmnar_lightning.config.read_by import COMMANDS, EVERYWHERE
from mmnar_lightning.config.read_by import READ as READ_BY

EXPERIMENTS = experiments_folder()
OVER_MORE = {"inverse_probability": "baselines/late_fusion,baselines/", "joint_refit": ""}
"""Layer of a baseline that needs more than an experiment -> what it is laid over; empty where it needs a target."""
LAYERS = sorted(path.stem for path in (EXPERIMENTS / "baselines").glob("*.yaml") if OVER_MORE.get(path.stem) != "")
OWN = sorted(path.stem for path in EXPERIMENTS.glob("*.yaml") if path.stem not in {"base", "simulated", "tuned"})

FIRST = "experiment=mimic_structured"
NO_TERMS = "objective={reconstruction: 0, contrast: 0, assignment: 0}"
TEXT = {kind: f"embed.text.encoder={kind}" for kind in ("none", "hashed_ngrams", "small", "transformers")}
TRAINED_TEXT = f"{TEXT['transformers']} embed.text.mode=trained"
TIMM = "embed.image={encoder: timm, model: resnet18, weights: pretrained}"
TRAINED_TIMM = "embed.image={encoder: timm, model: resnet18, weights: pretrained, mode: trained}"
IMAGE = {kind: f"embed.image.encoder={kind}" for kind in ("none", "release", "small")} | {
    "vectors": "embed.image={encoder: vectors, path: file.npy}"
}
REAL = "paths.mimic_root=/somewhere"
CASES: dict[str, tuple[str, str, str]] = {
    "rectifier.loss_offset": ("rectifier.fit=none", "", "false"),
    "rectifier.min_rows": ("rectifier.fit=none", "", "9"),
    "rectifier.gate": ("rectifier.fit=none", "", "false"),
    "rectifier.start_epoch": ("rectifier.loss_offset=false", "", "3"),
    "objective.temperature": ("objective.contrast=0", "", "0.5"),
    "objective.anneal_epochs": (NO_TERMS, "", "5"),
    "model.loo.sampled": (NO_TERMS, "", "0"),
    "model.additive.slopes": ("", "model.additive.inverse_penalties=[0.1]", "presence"),
    "model.additive.deviations": (
        "model.additive.inverse_penalties=[0.1]",
        "model.additive.inverse_penalties=[0.1] model.additive.slopes=pattern",
        "[0.5]",
    ),
    "model.additive.curves": (
        "model.additive.inverse_penalties=[0.1]",
        "model.additive.inverse_penalties=[0.1] model.encoder.bins=4",
        "[0.5]",
    ),
    "model.additive.canonical": ("", "model.additive.inverse_penalties=[0.1]", "2"),
    "model.additive.shares": (
        "model.additive.inverse_penalties=[0.1]",
        "model.additive.inverse_penalties=[0.1] model.additive.canonical=2",
        "[0.0,1.0]",
    ),
    "model.additive.strengths": (
        "baselines/logistic_regression model.additive.inverse_penalties=[0.1]",
        "model.additive.inverse_penalties=[0.1]",
        "[0.5]",
    ),
    "evaluation.inner_repeats": ("", "evaluation.inner_folds=3", "2"),
    "diagnostics.parts": ("", "evaluation.inner_folds=3", "true"),
    "evaluation.blend": ("baselines/late_fusion", "", "true"),
    "transfer.rectifier": ("", "transfer.target=eicu", "source"),
    "embed.text.mode": (TEXT["none"], TEXT["transformers"], "trained"),
    "embed.text.model": (TEXT["small"], TEXT["transformers"], "mine"),
    "embed.text.window": (TEXT["hashed_ngrams"], TEXT["transformers"], "256"),
    "embed.text.max_windows": (TEXT["hashed_ngrams"], TEXT["small"], "4"),
    "embed.text.sections": (TEXT["none"], TEXT["small"], "[Plan]"),
    "embed.text.pooling": (TEXT["none"], TEXT["small"], "attention"),
    "embed.text.batch_windows": (TEXT["small"], TEXT["transformers"], "4"),
    "embed.text.bf16": (TEXT["small"], TEXT["transformers"], "true"),
    "embed.text.trainable": (TEXT["transformers"], TRAINED_TEXT, "top_k"),
    "embed.text.top_layers": (TRAINED_TEXT, f"{TRAINED_TEXT} embed.text.trainable=top_k", "4"),
    "embed.text.gradient_checkpointing": (TEXT["transformers"], TRAINED_TEXT, "true"),
    "embed.text.lr_scale": (TEXT["transformers"], TRAINED_TEXT, "0.1"),
    "embed.image.mode": (IMAGE["none"], TIMM, "trained"),
    "embed.image.model": (IMAGE["small"], "embed.image.encoder=timm embed.image.weights=pretrained", "resnet18"),
    "embed.image.weights": (IMAGE["small"], "embed.image.encoder=timm embed.image.model=resnet18", "pretrained"),
    "embed.image.views": (IMAGE["none"], IMAGE["small"], "[PA]"),
    "embed.image.colour": (IMAGE["small"], TIMM, "true"),
    "embed.image.max_images": (IMAGE["none"], IMAGE["small"], "2"),
    "embed.image.pooling": (IMAGE["none"], IMAGE["small"], "attention"),
    "embed.image.bf16": (IMAGE["release"], TIMM, "true"),
    "embed.image.trainable": (TIMM, TRAINED_TIMM, "top_k"),
    "embed.image.top_layers": (TRAINED_TIMM, f"{TRAINED_TIMM} embed.image.trainable=top_k", "4"),
    "embed.image.gradient_checkpointing": (TIMM, TRAINED_TIMM, "true"),
    "embed.image.lr_scale": (IMAGE["release"], TRAINED_TIMM, "0.5"),
    "embed.image.batch_size": (IMAGE["release"], TIMM, "4"),
    "embed.image.num_workers": (IMAGE["none"], IMAGE["release"], "0"),
    "embed.image.max_unreadable_share": (IMAGE["none"], TIMM, "0.5"),
    "embed.image.path": (IMAGE["small"], "embed.image.encoder=vectors", "file.npy"),
    "cohort.early_events": ("", "cohort.note_grace_hours=72", "keep"),
    "cohort.elective_readmissions": ("cohort.tasks=[mortality_180d]", "", "false"),
    "cohort.min_gap_hours": ("cohort.tasks=[mortality_180d]", "", "2"),
    "cohort.death_in_window": ("cohort.tasks=[mortality_180d]", "", "exclude"),
    "cohort.in_unit": ("", "cohort.landmark=icu_24h cohort.tasks=[in_hospital_mortality]", "true"),
    "cohort.readmission": ("dataset=eicu", "dataset=eicu cohort.landmark=unit_discharge", "muse"),
    "cohort.pretraining_rows": ("", "objective.pretrain_epochs=2", "true"),
    "cohort.verify": ("", REAL, "true"),
    "baseline.settings": ("", "baseline.name=some.module:Model", "{width: 3}"),
    "baseline.late_fusion.dropout": ("", "baselines/late_fusion", "0.3"),
    "baseline.late_fusion.version": ("", "baselines/late_fusion", "concatenation"),
    "baseline.boosted_trees.learning_rate": ("", "baselines/boosted_trees", "0.3"),
    "baseline.boosted_trees.max_leaf_nodes": ("", "baselines/boosted_trees", "7"),
    "baseline.boosted_trees.num_components": ("", "baselines/boosted_trees", "7"),
    "baseline.logistic_regression.refit": ("", "baselines/logistic_regression transfer.target=eicu", "joint"),
    "baseline.published_score.name": ("", "baselines/published_score", "other"),
    "baseline.shaspec.alignment": ("", "baselines/shaspec", "0.3"),
    "baseline.shaspec.modality": ("", "baselines/shaspec", "0.3"),
    "baseline.drfuse.disentanglement": ("", "baselines/drfuse", "0.5"),
    "baseline.drfuse.ranking": ("", "baselines/drfuse", "0.5"),
    "baseline.cm_ae.reconstruction": ("", "baselines/cm_ae", "0.1"),
    "baseline.cm_ae.blanking": ("", "baselines/cm_ae", "0.1"),
    "baseline.tabm.dropout": ("", "baselines/tabm", "0.3"),
    "baseline.flex_moe.top_k": ("", "baselines/flex_moe", "2"),
    "wandb.model": ("wandb.enabled=false", "", "true"),
    "wandb.init": ("wandb.enabled=false", "", "{notes: pilot}"),
    **{
        f"simulate.{key}": ("dataset=eicu", "dataset=mimic", value)
        for key, value in {
            "note_rate": "0.5",
            "image_rate": "0.5",
            "report_rate": "0.5",
            "images": "false",
            "emergency": "true",
        }.items()
    },
    "simulate.charting": ("dataset=mimic", "dataset=eicu", "true"),
    **{
        key: (REAL, "", value)
        for key, value in {
            "simulate.subjects": "50",
            "simulate.seed": "9",
            "simulate.rho": "0",
            "simulate.gamma": "0",
            "simulate.tau": "0",
            "simulate.calendar": "0",
            "simulate.nu": "0.5",
            "simulate.kappa": "0.5",
            "simulate.pi": "0.5",
            "simulate.phi": "2",
            "simulate.shared": "0.5",
            "simulate.nuisance": "1",
            "simulate.label_share": "0.5",
            "simulate.shift": "1",
            "simulate.phenotypes": "true",
            "simulate.databases": "[eicu]",
        }.items()
    },
}
"""Key -> words under which nothing reads it, words under which something does, and a value."""


def conditional() -> dict[str, Any]:
    """Settings with a condition, their own or that of a group above them."""
    found: dict[str, Any] = {}
    for dataset in datasets():
        above: dict[str, str] = {}
        for key, field, is_group in keys.walk(config_class(dataset)):
            own = field.metadata.get("read_when")
            inherited = next((text for group, text in above.items() if key.startswith(group)), None)
            if is_group and own:
                above[f"{key}."] = own
            elif not is_group and (own or inherited):
                found[key] = own or inherited
    return found


@cache
def composed(words: str, *more: str):
    given = words.split(" ") if not re.search(r"[{\[]", words) else re.split(r" (?=\w+[.=])", words)
    layer = next((word for word in given if word.startswith("baselines/")), None)
    first = [f"{FIRST},{layer}"] if layer else [] if "dataset=eicu" in given else [FIRST]
    return load([*first, *(word for word in given if word and word != layer), *more])


def test_every_condition_has_a_case() -> None:
    assert set(CASES) == set(conditional())


@pytest.mark.parametrize("key", sorted(CASES))
def test_a_setting_is_refused_where_nothing_reads_it_and_passes_where_something_does(key: str) -> None:
    off, on, value = CASES[key]
    if key not in {"cohort.in_unit", "transfer.rectifier"}:  # which their own settings classes refuse
        with pytest.raises(ConfigError, match=rf"{re.escape(key)}=.* is not read: it needs .*; omit it"):
            check_ignored(composed(off, f"{key}={value}"))
    if on != "baseline.name=some.module:Model" and key != "simulate.databases":
        check_ignored(composed(on, f"{key}={value}"))


@pytest.mark.parametrize("key", sorted(CASES))
def test_the_usual_value_passes_everywhere(key: str) -> None:
    off, _, _ = CASES[key]
    assert not [line for line in check_ignored(composed(off)) if line.startswith(f"{key}=")]


REFUSED = {
    (
        "baselines/late_fusion",
        "model.fusion.dim=64",
    ): r"model\.fusion\.dim=64 .* another baseline\.name than late_fusion",
    ("baselines/late_fusion", "objective.contrast=0.1"): r"objective\.contrast=0\.1: .* set objective\.contrast=0\.0",
    ("baselines/mask_only", "objective.temperature=0.2"): r"objective\.temperature=0\.2",
    ("baselines/mask_only", "model.encoder.components=16"): r"model\.encoder\.components=16 .* than mask_only",
    ("baselines/boosted_trees", "trainer.max_epochs=7"): r"trainer\.max_epochs=7 .* than boosted_trees",
    ("baselines/boosted_trees", "optim.lr=0.1"): r"optim\.lr=0\.1",
    ("baselines/boosted_trees", "loader.batch_size=7"): r"loader\.batch_size=7",
    # Without the label-free terms, which no baseline has, there are no epochs of pre-training.
    **{
        (
            f"baselines/{name}",
            "cohort.pretraining_rows=true",
        ): r"cohort\.pretraining_rows=True is not read: it needs obj"
        for name in ("boosted_trees", "late_fusion")
    },
    ("baselines/boosted_trees", "objective.task_weights.x=2"): r"objective\.task_weights\.x=2",
    ("baselines/boosted_trees", "objective.focal_gamma=2"): r"objective\.focal_gamma=2",
    ("baselines/boosted_trees", "trainer.devices=2"): r"trainer\.devices=2: only one process can fit boosted_trees",
    (
        "baselines/boosted_trees",
        "trainer.accelerator=gpu",
    ): r"trainer\.accelerator=gpu: boosted_trees is fitted on the CPU",
    ("baselines/boosted_trees", "rectifier.fit=calibration"): r"rectifier\.fit=calibration: .* set rectifier\.fit=none",
    (
        "mimic",
        "baseline.name=mask_only",
    ): r"objective\.reconstruction=1\.0.* as experiment=\.\.\.,baselines/mask_only does",
}
READ = {
    ("baselines/late_fusion", "objective.focal_gamma=2"),
    ("baselines/late_fusion", "trainer.devices=2"),
    ("baselines/late_fusion", "model.encoder.components=16"),
    ("baselines/mask_only", "optim.lr=0.1"),
    ("baselines/late_fusion", "rectifier.fit=calibration"),
    ("baselines/boosted_trees", "trainer.accelerator=cpu"),
    ("baselines/boosted_trees", "seed=3"),
    ("mimic", "model.fusion.dim=64"),
}


@pytest.mark.parametrize(("case", "message"), REFUSED.items(), ids=map(" ".join, REFUSED))
def test_what_a_baseline_does_not_read_is_refused_by_its_full_key(case, message) -> None:
    with pytest.raises(ConfigError, match=message):
        check_ignored(load([f"experiment={case[0]}", case[1]]))


def test_an_estimator_is_fitted_by_one_process_whichever_launcher_started_several(monkeypatch) -> None:
    config = load(["experiment=baselines/boosted_trees"])
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": "1", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    check_ignored(config)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="torchrun started 2 processes: only one can fit boosted_trees"):
        check_ignored(config)


@pytest.mark.parametrize("case", sorted(READ), ids=" ".join)
def test_a_setting_that_a_baseline_reads_passes(case) -> None:
    check_ignored(load([f"experiment={case[0]}", case[1]]))


@pytest.mark.parametrize("experiment", OWN)
def test_every_baselines_layer_fits_every_experiment(experiment: str) -> None:
    refused = {}
    for name in LAYERS:
        try:
            check_ignored(load([f"experiment={experiment},{OVER_MORE.get(name, 'baselines/')}{name}"]))
        except ConfigError as error:
            refused[name] = str(error)
    assert refused == {}


@pytest.mark.parametrize("experiment", ["transfer", "transfer_back"])
def test_a_refit_with_rows_of_the_target_fits_an_experiment_with_a_target(experiment: str) -> None:
    check_ignored(load([f"experiment={experiment},baselines/joint_refit"]))


def test_a_setting_of_a_file_is_named_and_not_refused() -> None:
    assert check_ignored(load(["experiment=mimic,tuned,ablations/no_rectifier"])) == [
        "rectifier.start_epoch=3 is not read: it needs rectifier.fit != none and rectifier.loss_offset = true"
    ]
    assert check_ignored(load(["experiment=mimic,tuned"])) == []


@pytest.mark.parametrize("key", sorted(COMMANDS))
def test_a_setting_of_another_command_is_refused(key: str) -> None:
    values = {"resume_with": "[optim.lr]", "simulate.databases": "[eicu]", "sweep": "{trials: 3}", "table": "{part: 3}"}
    value = (values | {"evaluation.elsewhere": "carried", "to": "onnx", "runs": "[a]"}).get(key, "x")
    config = load([f"{key}={value}"])
    for command in (
        "cohort",
        "embed",
        "train",
        "evaluate",
        "show",
        "sweep",
        "trial",
        "best",
        "predict",
        "export",
        "compare",
        "table",
        "report",
        "simulate",
        "doctor",
    ):
        if command in COMMANDS[key]:
            check_command(config, command)
        else:
            with pytest.raises(ConfigError, match=rf"{key} is not read by `mmnar {command}`, only by "):
                check_command(config, command)


@pytest.mark.parametrize("command", READ_BY)
def test_a_command_that_reads_few_settings_refuses_the_others(command):
    for word in ("optim.lr=0.1", "cohort.index=every", "rectifier.fit=none", "trainer.max_epochs=3"):
        with pytest.raises(
            ConfigError, match=rf"{word.partition('=')[0]} is not read by `mmnar {command}`, which reads"
        ):
            check_command(load([word]), command)
    for key in (*READ_BY[command], *EVERYWHERE):
        given = load([])
        given.given = frozenset([key])
        check_command(given, command)
