import pytest

from mmnar_lightning.config.compose import experiments_folder, load
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.config.ignored import refuse_unread, switched_off

EXPERIMENTS = experiments_folder()
LAYERS = sorted(path.stem for path in (EXPERIMENTS / "baselines").glob("*.yaml"))
OWN = sorted(path.stem for path in EXPERIMENTS.glob("*.yaml") if path.stem not in {"base", "simulated", "tuned"})
REFUSED = {
    (
        "baselines/late_fusion",
        "model.fusion.dim=64",
    ): r"model\.fusion\.dim=64: the baseline late_fusion does not read this$",
    (
        "baselines/late_fusion",
        "objective.contrast=0.1",
    ): r"objective\.contrast=0\.1: the baseline late_fusion .*late_fusion sets objective\.contrast=0\.0",
    ("baselines/mask_only", "objective.temperature=0.2"): r"objective\.temperature=0\.2",
    ("baselines/mask_only", "model.encoder.components=16"): r"model\.encoder\.components=16: the baseline mask_only",
    ("baselines/mask_only", "baseline.late_fusion.dim=64"): r"baseline\.late_fusion\.dim=64: the baseline mask_only",
    ("baselines/boosted_trees", "trainer.max_epochs=7"): r"trainer\.max_epochs=7: the baseline boosted_trees",
    ("baselines/boosted_trees", "optim.lr=0.1"): r"optim\.lr=0\.1",
    ("baselines/boosted_trees", "loader.batch_size=7"): r"loader\.batch_size=7",
    ("baselines/boosted_trees", "objective.task_weights.x=2"): r"objective\.task_weights\.x=2",
    ("baselines/boosted_trees", "objective.focal_gamma=2"): r"objective\.focal_gamma=2",
    ("baselines/boosted_trees", "trainer.devices=2"): r"trainer\.devices=2: only one process can fit boosted_trees",
    (
        "baselines/boosted_trees",
        "trainer.accelerator=gpu",
    ): r"trainer\.accelerator=gpu: boosted_trees is fitted on the CPU",
    ("baselines/boosted_trees", "rectifier.fit=calibration"): r"rectifier\.fit=calibration.* sets rectifier\.fit=none",
    ("baselines/boosted_trees", "rectifier.gate=false"): r"rectifier\.gate=False",
    ("baselines/boosted_trees", "transfer={target: transfer, rectifier: source}"): r"transfer\.rectifier=source",
    ("transfer,baselines/published_score", "seed=1"): r"transfer\.target=transfer_back: the baseline published_score",
    ("mimic", "baseline.late_fusion.dim=64"): r"baseline\.late_fusion\.dim=64: the model \(baseline\.name=none\)",
    ("mimic", "baseline.name=mask_only"): r"objective\.reconstruction=1\.0.*experiment=\.\.\.,baselines/mask_only",
}
READ = {
    ("baselines/late_fusion", "baseline.late_fusion.dim=64"),
    ("baselines/late_fusion", "objective.focal_gamma=2"),
    ("baselines/late_fusion", "trainer.devices=2"),
    ("baselines/late_fusion", "model.encoder.components=16"),
    ("baselines/mask_only", "optim.lr=0.1"),
    ("baselines/late_fusion", "rectifier.fit=calibration"),
    ("baselines/boosted_trees", "baseline.boosted_trees.patience=3"),
    ("baselines/boosted_trees", "trainer.accelerator=cpu"),
    ("baselines/boosted_trees", "seed=3"),
    ("mimic", "model.fusion.dim=64"),
}


@pytest.mark.parametrize(("case", "message"), REFUSED.items(), ids=map(" ".join, REFUSED))
def test_a_setting_that_would_be_ignored_is_refused_by_its_full_key(case, message) -> None:
    with pytest.raises(ConfigError, match=message):
        refuse_unread(load([f"experiment={case[0]}", case[1]]))


def test_an_estimator_is_fitted_by_one_process_whoever_started_several(monkeypatch) -> None:
    config = load(["experiment=baselines/boosted_trees"])
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": "1", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    refuse_unread(config)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="torchrun started 2 processes: only one can fit boosted_trees"):
        refuse_unread(config)


@pytest.mark.parametrize("case", sorted(READ), ids=" ".join)
def test_a_setting_that_is_read_passes(case) -> None:
    refuse_unread(load([f"experiment={case[0]}", case[1]]))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("experiment", OWN)
def test_every_baselines_layer_fits_every_experiment(name: str, experiment: str) -> None:
    if name == "published_score" and experiment.startswith("transfer"):
        return  # refused above: a target would be scored by the table of the source
    refuse_unread(load([f"experiment={experiment},baselines/{name}"]))


def test_what_another_setting_switches_off_is_told() -> None:
    words = ["rectifier.fit=none", "rectifier.min_rows=9", "objective.temperature=0.5", "objective.contrast=0"]
    assert switched_off(load(words)) == [
        "objective.temperature=0.5 is not read: objective.contrast=0",
        "rectifier.min_rows=9 is not read: rectifier.fit=none",
    ]
    assert switched_off(load(["rectifier.loss_offset=false", "rectifier.start_epoch=3"])) == [
        "rectifier.start_epoch=3 is not read: rectifier.loss_offset=false"
    ]
    assert switched_off(load(["rectifier.start_epoch=3", "objective.temperature=0.5"])) == []
