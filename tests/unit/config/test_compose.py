import re
from dataclasses import asdict
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from data_modules.errors import UserError
from mmnar_lightning.config import compose, layers
from mmnar_lightning.config.compose import load, save, to_plain
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.losses.config import ObjectiveConfig
from mmnar_lightning.runs.build import build_datamodule
from tests.helpers.paths import ROOT

EXPERIMENTS = ROOT / "experiments"
SHIPPED = sorted(path.stem for path in EXPERIMENTS.glob("*.yaml") if path.stem != "base")

BAD = {
    "trainer.max_epochs=0": ["trainer.max_epochs=0", "at least 1"],
    "trainer.patience=0": ["trainer.patience=0", "at least 1"],
    "trainer.devices=0": ["trainer.devices=0", "at least 1"],
    "trainer.max_epochs=many": ["trainer.max_epochs=many", "Integer"],
    "trainer.max_epochs=1.5": ["trainer.max_epochs=1.5", "Integer"],
    "trainer.max_epochs=null": ["trainer.max_epochs=null", "int"],
    "trainer.accelerator=tpu": ["trainer.accelerator=tpu", "auto", "cpu", "gpu", "mps"],
    "trainer.strategy=dp": ["trainer.strategy=dp", "auto", "ddp", "fsdp"],
    "trainer.precision=8": ["trainer.precision=8", "32-true", "bf16-mixed"],
    "trainer=3": ["trainer=3", "group of settings", "trainer.max_epochs"],
    "evaluate=perhaps": ["evaluate=perhaps", "bool"],
    "seed=-1": ["seed=-1", "[0, 4294967296)"],
    "seed=4294967296": ["seed=4294967296", "[0, 4294967296)"],
    "loader.batch_size=0": ["loader.batch_size=0", "at least 1"],
    "loader.eval_batch_size=-3": ["loader.eval_batch_size=-3", "at least 1"],
    "evaluation.num_replicates=99": ["evaluation.num_replicates=99", "at least 100"],
    "privacy.min_count=-1": ["privacy.min_count=-1", "at least 0"],
    "model.fusion.num_heads=6": ["model.fusion.num_heads=6", "model.fusion.dim=128"],
    "model.fusion.num_blocks=0": ["model.fusion.num_blocks=0", "at least 1"],
    "model.fusion.dropout=1": ["model.fusion.dropout=1.0", "[0, 1)"],
    "objective.task_weights.death=-1": ["objective.task_weights.death=-1.0", "at least 0"],
    "optim.lr=0": ["optim.lr=0.0", "above 0"],
    "optim.lr=nan": ["optim.lr=nan", "above 0"],
    "optim.weight_decay=-1": ["optim.weight_decay=-1.0", "at least 0"],
    "cohort.name=a/b": ["cohort.name='a/b'", "letters"],
    "cohort.name=0123": ["cohort.name='0123'", "begin with no digit"],
    "cohort.modalities=[labs,labs]": ["cohort.modalities", "labs", "duplicates"],
    "cohort.index=second": ["cohort.index=second", "first", "last", "every"],
    "cohort.landmark=birth": ["cohort.landmark=birth", "discharge", "icu_24h"],
    "cohort.missing_tables=cry": ["cohort.missing_tables=cry", "drop", "error"],
    "cohort.in_unit=true": ["cohort.in_unit=true", "icu_24h"],
    "cohort.note_grace_hours=-1": ["cohort.note_grace_hours=-1", "0"],
    "cohort.tasks=[a": ["cohort.tasks=[a", "not readable"],
    "dataset=sepsis": ["dataset=sepsis", "custom", "mimic"],
    "experiment=nothing": ["experiment=nothing", "mimic_structured"],
    "max_epochs": ["'max_epochs'", "key=value"],
    "=3": ["'=3'", "key=value"],
}


@pytest.mark.parametrize(("word", "parts"), BAD.items(), ids=BAD.keys())
def test_a_bad_setting_is_refused_with_its_full_key_what_was_given_and_what_was_expected(word, parts):
    with pytest.raises(ConfigError) as caught:
        load(["experiment=mimic", word] if "experiment" not in word else [word])
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("trainer.max_epoch=3", "trainer.max_epochs"),
        ("model.fusion.num_head=3", "model.fusion.num_heads"),
        ("sede=3", "seed"),
        ("cohort.indx=first", "cohort.index"),
        ("paths.mimic_rot=x", "paths.mimic_root"),
    ],
)
def test_an_unknown_key_is_refused_and_the_nearest_one_is_named(word, meant):
    with pytest.raises(ConfigError, match=re.escape(word)) as caught:
        load([word])
    assert f"did you mean {meant}" in str(caught.value)


def test_a_key_like_no_other_is_refused_with_the_settings_of_its_group():
    with pytest.raises(ConfigError, match=r"known settings of optim are lr, weight_decay$"):
        load(["optim.momentum=3"])


def test_a_key_like_no_other_is_refused_with_the_groups_that_there_are():
    with pytest.raises(ConfigError, match=r"xyzzy.*known keys begin with dataset, experiment, seed"):
        load(["xyzzy=1"])


@pytest.fixture
def own(tmp_path: Path):
    def write(text: str, name: str = "mine") -> str:
        path = tmp_path / f"{name}.yaml"
        path.write_text(text, encoding="utf-8")
        return f"experiment={path}"

    return write


def test_words_are_laid_over_the_experiment_over_base_over_the_defaults(own):
    word = own("trainer: {max_epochs: 7, patience: 2}\n")
    base = OmegaConf.load(EXPERIMENTS / "base.yaml")
    assert base.trainer.max_epochs != 7
    assert load([word]).trainer.max_epochs == 7
    composed = load([word, "trainer.max_epochs=9"])
    assert composed.trainer.max_epochs == 9
    assert composed.trainer.patience == 2
    assert composed.optim.weight_decay == base.optim.weight_decay
    assert composed.objective.temperature == ObjectiveConfig().temperature


def test_the_base_file_is_laid_over_the_defaults(tmp_path, monkeypatch):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "base.yaml").write_text("trainer: {patience: 3}\nseed: 11\n")
    (tmp_path / "experiments" / "mine.yaml").write_text("seed: 12\n")
    monkeypatch.chdir(tmp_path)
    composed = load(["experiment=mine", "paths.mimic_root=/given"])
    assert (composed.trainer.patience, composed.seed, composed.experiment) == (3, 12, "mine")


def test_a_list_in_a_later_layer_replaces_the_earlier_one(own):
    word = own("cohort: {modalities: [labs, vitals]}\n")
    assert load([word, "cohort.modalities=[notes]"]).cohort.modalities == ["notes"]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_experiment_loads_and_its_datamodule_builds(name, tmp_path):
    roots = [f"paths.{key}={tmp_path}" for key in ("mimic_root", "eicu_root", "cohort", "data", "roots.meds")]
    composed = load([f"experiment={name}", *roots, "simulate.subjects=20"])
    assert composed.experiment == name
    assert build_datamodule(composed).seed == composed.seed


@pytest.mark.parametrize("name", SHIPPED)
def test_the_resolved_configuration_of_a_run_loads_to_an_equal_one(name, tmp_path, monkeypatch):
    monkeypatch.setenv("MIMIC_ROOT", "/then")
    words = ["seed=5", "trainer.max_epochs=3", "embed.image.views=[a, 'b: c']", "objective.task_weights.x=0.5"]
    composed = load([f"experiment={name}", *words])
    save(composed, tmp_path / "config.yaml")
    monkeypatch.setenv("MIMIC_ROOT", "/now")
    assert load([f"experiment={tmp_path / 'config.yaml'}"]) == composed


def test_a_configuration_is_plain_values_all_the_way_down(tmp_path):
    def leaves(value):
        if isinstance(value, dict):
            return [leaf for part in value.values() for leaf in leaves(part)]
        return [leaf for part in value for leaf in leaves(part)] if isinstance(value, list) else [value]

    plain = to_plain(load(["experiment=mimic"]))
    assert {type(leaf) for leaf in leaves(plain)} <= {str, int, float, bool, type(None)}
    assert plain == asdict(load(["experiment=mimic"]))


def test_the_root_comes_from_the_environment_unless_it_is_set(monkeypatch):
    monkeypatch.setenv("MIMIC_ROOT", "/from/environment")
    assert load([]).paths.mimic_root == "/from/environment"
    assert load(["paths.mimic_root=/given"]).paths.mimic_root == "/given"
    monkeypatch.delenv("MIMIC_ROOT")
    assert load([]).paths.mimic_root == ""


def test_without_a_root_the_simulated_settings_are_laid_over_and_with_one_they_are_not(monkeypatch):
    monkeypatch.delenv("MIMIC_ROOT", raising=False)
    simulated = load([])
    assert (simulated.simulated, simulated.embed.text.encoder) == (True, "small")
    assert load(["embed.text.encoder=none"]).embed.text.encoder == "none"
    real = load(["paths.mimic_root=/somewhere"])
    assert (real.simulated, real.embed.text.encoder) == (False, "none")


def test_a_cohort_that_was_not_named_is_asked_for(monkeypatch):
    monkeypatch.delenv("COHORT", raising=False)
    with pytest.raises(ConfigError, match=r"COHORT=/path \(or paths\.cohort\)"):
        build_datamodule(load(["dataset=custom"]))


def test_the_dataset_picks_its_own_experiment():
    assert load(["dataset=custom"]).experiment == "custom"
    assert load([]).experiment == load(["dataset=mimic"]).experiment == "mimic"


def test_an_experiment_of_another_dataset_is_refused():
    with pytest.raises(ConfigError, match=r"experiment=mimic is for dataset=mimic, but dataset=custom was given"):
        load(["experiment=mimic", "dataset=custom"])


@pytest.mark.parametrize("text", ["a: [1", "- a\n- b"])
def test_a_file_that_is_no_mapping_is_refused_by_name(own, text):
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        load([own(text)])


@pytest.mark.parametrize(("text", "key"), [("trainer: {epochs: 3}", "trainer.epochs"), ("optim: {lr: x}", "optim.lr")])
def test_a_bad_setting_in_a_file_is_refused_by_its_full_key(own, text, key):
    with pytest.raises(ConfigError, match=re.escape(key)):
        load([own(text)])


def test_a_setting_that_is_tied_to_another_is_refused(own):
    with pytest.raises(ConfigError, match=r"cohort\.index=last has no later admission, so readmission_30d"):
        load(["experiment=mimic_structured", "cohort.index=last"])


def test_layers_are_laid_over_an_experiment_and_name_the_runs(own):
    composed = load(["experiment=mimic,baselines/late_fusion,ablations/no_contrast", "optim.lr=0.1"])
    assert composed.experiment == "mimic-late_fusion-no_contrast"
    assert composed.cohort.modalities == load(["experiment=mimic"]).cohort.modalities
    assert (composed.baseline.name, composed.objective.contrast, composed.optim.lr) == ("late_fusion", 0.0, 0.1)
    mine = own("baseline: {name: mask_only}\nexperiment: odd\n").removeprefix("experiment=")
    later = load([f"experiment=eicu,baselines/late_fusion,{mine}"])
    assert (later.experiment, later.baseline.name, later.dataset) == ("eicu-late_fusion-odd", "mask_only", "eicu")


@pytest.mark.parametrize("dataset", ["mimic", "eicu", "custom"])
def test_a_layer_alone_is_laid_over_the_datasets_own_experiment(dataset):
    alone = load([f"dataset={dataset}", "experiment=baselines/mask_only"])
    assert alone == load([f"experiment={dataset},baselines/mask_only"])
    assert (alone.dataset, alone.experiment) == (dataset, f"{dataset}-mask_only")


def test_the_resolved_configuration_of_a_layered_run_repeats_it(tmp_path):
    composed = load(["experiment=mimic,ablations/no_conditioning", "seed=5"])
    save(composed, tmp_path / "config.yaml")
    assert load([f"experiment={tmp_path / 'config.yaml'}"]) == composed


def test_a_file_whose_name_holds_a_comma_is_one_file(own):
    assert load([own("seed: 3\nexperiment: mine\n", name="a,b")]).seed == 3
    with pytest.raises(ConfigError, match=r"a,b\.yaml: experiment='a,b' must consist of letters"):
        load([own("seed: 3\n", name="a,b")])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["experiment=mimic,eicu"], r"experiment=mimic,eicu mixes .*mimic for dataset=mimic, eicu for dataset=eicu"),
        (
            ["dataset=eicu", "experiment=mimic,baselines/mask_only"],
            "experiment=mimic is for dataset=mimic, but dataset=eicu",
        ),
        (
            ["experiment=mimic,baselines/late_fusoin"],
            "experiment=baselines/late_fusoin: there is no .*baselines/late_fusion",
        ),
        (["experiment=mimic,"], "experiment=: there is no"),
    ],
)
def test_layers_that_do_not_fit_are_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        load(words)


def test_what_every_experiment_begins_with_is_base_over_the_defaults():
    shared = layers.shared_settings("eicu")
    assert shared["optim"]["lr"] == OmegaConf.load(EXPERIMENTS / "base.yaml").optim.lr
    assert shared["objective"]["temperature"] == ObjectiveConfig().temperature


def test_an_experiment_keeps_its_own_encoders_on_simulated_data() -> None:
    assert load(["experiment=mimic"]).embed.image.encoder == "small"
    experiment = load(["experiment=images_frozen"])
    assert experiment.simulated
    assert experiment.embed.image.encoder == "release"
    assert load(["experiment=images_frozen", "embed.image.encoder=small"]).embed.image.encoder == "small"


def test_pre_training_leaves_epochs_with_labels() -> None:
    with pytest.raises(
        ConfigError, match=r"objective\.pretrain_epochs=2 leaves no epoch with labels: trainer\.max_epochs=2"
    ):
        load(["trainer.max_epochs=2", "objective.pretrain_epochs=2"])


def test_a_defect_while_settings_are_made_is_no_mistake_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("not of the user")

    monkeypatch.setattr(OmegaConf, "to_object", broken)
    with pytest.raises(ValueError, match="not of the user") as caught:
        load(["dataset=mimic"])
    assert not isinstance(caught.value, UserError)


def test_paths_are_logged_without_their_folders(own):
    secret = "of-dr-smith"
    word = own(
        f"transfer: {{target: {secret}/target.yaml}}\n"
        f"embed: {{text: {{encoder: transformers, model: ../{secret}/bert}}, "
        f"image: {{encoder: vectors, path: {secret}/vectors.npy}}, modalities: {{cxr: {{path: {secret}/x.npy}}}}}}\n"
        f"baseline: {{name: 'own.models:Net', settings: {{files: [{secret}/a.csv]}}}}\n"
    )
    logged = compose.loggable(load([word, f"out={secret}/out", f"paths.runs={secret}", f"sweep.file={secret}/s.yaml"]))
    assert secret not in str(logged)
    assert logged["embed"]["text"]["model"] == "bert"
    assert logged["embed"]["modalities"]["cxr"]["path"] == "x.npy"
    assert logged["baseline"]["settings"] == {"files": ["a.csv"]}


def test_a_model_of_the_hub_is_logged_with_its_owner_unless_it_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load(["embed.text.model=owner/name"])
    assert compose.loggable(config)["embed"]["text"]["model"] == "owner/name"
    (tmp_path / "owner/name").mkdir(parents=True)
    assert compose.loggable(config)["embed"]["text"]["model"] == "name"
