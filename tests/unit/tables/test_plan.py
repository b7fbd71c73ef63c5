"""The entries of a table: which methods it has, their settings and folders, and what is refused."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.runs import build
from mmnar_lightning.tables import declared, plan
from mmnar_lightning.tables.declared import LISTED
from tests.conftest import write_custom_cohort
from tests.helpers.paths import ROOT
from tests.helpers.tables import DECLARED, of, planned

ROOTS = ("paths.mimic_root=/none", "paths.eicu_root=/none")


def test_every_method_has_an_entry_for_each_seed_and_fold(workplace: Path) -> None:
    found = planned(workplace)
    assert [entry.label for entry in found.entries[:3]] == [
        "own, presence, seed 0, fold 0",
        "own, presence, seed 0, fold 1",
        "own, presence, seed 1, fold 0",
    ]
    assert len(found.entries) == 8
    for entry in found.entries:
        (config,) = entry.trials
        assert (config.seed, config.cohort.split.test_fold) == (entry.child.seed, entry.child.fold)
        assert config.cohort.split.num_folds == 2
        assert not config.wandb.enabled
        assert entry.folder == workplace / "runs/tables/small/own" / entry.method / entry.child.name
    without = planned(workplace, folds=0)
    assert [entry.child.fold for entry in without.entries] == [None] * 4
    assert without.entries[0].trials[0].cohort.split.test_fold is None


def test_a_changed_file_names_other_runs_and_an_unchanged_one_the_same(workplace: Path) -> None:
    first, again = planned(workplace), planned(workplace)
    assert [entry.runs for entry in first.entries] == [entry.runs for entry in again.entries]
    assert [entry.outcome for entry in first.entries] == [entry.outcome for entry in again.entries]
    changed = planned(workplace, words=["trainer.max_epochs=7"])
    assert not {entry.outcome for entry in first.entries} & {entry.outcome for entry in changed.entries}
    elsewhere = planned(workplace, "evaluation.num_replicates=150", "privacy.min_count=5")
    assert [entry.runs for entry in elsewhere.entries] == [entry.runs for entry in first.entries]
    assert elsewhere.bases["own"].evaluation.num_replicates == 150


def test_a_new_layer_is_a_method_by_its_name_alone(workplace: Path) -> None:
    methods = {**DECLARED["methods"], "baselines": "all", "ablations": "all"}
    shipped = {path.stem for kind in LISTED for path in (ROOT / "experiments" / kind).glob("*.yaml")}
    before = planned(workplace, methods=methods, seeds=[0])
    assert {*before.methods} == shipped | {*DECLARED["methods"]}
    own = workplace / "experiments" / "baselines" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text((ROOT / "experiments/baselines/mask_only.yaml").read_text() + "optim: {lr: 0.5}\n")
    after = planned(workplace, methods=methods, seeds=[0])
    assert {*after.methods} - {*before.methods} == {"mine"}
    (config,) = of(after, "mine")[0].trials
    assert (config.baseline.name, config.optim.lr) == ("mask_only", 0.5)


def test_a_new_class_and_its_layer_are_a_method_by_the_name_of_the_layer_alone(workplace: Path, monkeypatch) -> None:
    """The class is that of CONTRIBUTING.md, as it is printed there."""
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    (written,) = [block for block in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "nn.Module" in block]
    assert len(written.splitlines()) < 25
    (workplace / "mine.py").write_text(written)
    monkeypatch.syspath_prepend(workplace)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    methods = {**DECLARED["methods"], "baselines": "all"}
    given = f"paths.cohort={write_custom_cohort(workplace / 'given')}"
    before = planned(workplace, given, methods=methods)
    own = workplace / "experiments" / "baselines" / "my_method.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(
        'baseline: {name: "mine:Concatenation", settings: {width: 8}}\n'
        "objective: {reconstruction: 0, contrast: 0, assignment: 0}\n"
    )
    after = planned(workplace, given, methods=methods)
    assert {*after.methods} - {*before.methods} == {"my_method"}
    assert len(of(after, "my_method")) == len(of(after, "presence")) == 4
    (config,) = of(after, "my_method")[0].trials
    datamodule = build.build_datamodule(config)
    datamodule.prepare_data()
    datamodule.setup()
    module = build.build_module(config, datamodule.cohort)
    assert type(module.model) is sys.modules["mine"].Concatenation
    assert module.model.hidden[0].out_features == 8
    batch = datamodule.cohort.arrays.gather(datamodule.cohort.rows("test"))
    assert module.eval()(batch).logits.shape == (len(batch), 2)


def test_an_ablation_has_the_trials_of_the_reference_but_for_what_it_takes_away(workplace: Path) -> None:
    found = planned(
        workplace,
        methods={"full": {"layers": ["tuned"], "words": ["model.encoder.bins=4"]}, "ablations": "all"},
        family={"reference": "full"},
        trials={"full": [["model.additive.slopes=shared"], ["optim.lr=0.5", "model.additive.slopes=presence"]]},
        inner_folds=2,
    )
    assert [config.optim.lr for config in of(found, "full")[0].trials] == [0.003, 0.5]
    ablated = of(found, "no_additive")[0].trials
    assert [config.optim.lr for config in ablated] == [0.003, 0.5]
    assert [config.model.additive.slopes for config in ablated] == ["shared", "shared"]
    assert {config.model.encoder.bins for config in ablated} == {4}
    assert [config.model.additive.slopes for config in of(found, "no_contrast")[0].trials] == ["shared", "presence"]


def test_an_ablation_has_no_word_of_the_reference_that_it_would_not_read(workplace: Path) -> None:
    found = planned(
        workplace,
        methods={"full": {"layers": ["tuned"], "words": ["model.additive.shares=[0.5]"]}, "ablations": "all"},
        family={"reference": "full"},
        trials={"full": [["model.additive.curves=[0.1]"], ["model.additive.strengths=[1.0]"]]},
        inner_folds=2,
    )
    assert [config.model.additive.curves for config in of(found, "full")[0].trials] == [[0.1], [0.0, 1.0]]
    assert [config.model.additive.curves for config in of(found, "no_contrast")[0].trials] == [[0.1], [0.0, 1.0]]
    (only,) = of(found, "no_additive")[0].trials
    assert (only.model.additive.inverse_penalties, only.model.additive.shares) == ([], [0.0, 0.5, 1.0])
    assert not [method for _, method in found.refused if method.startswith("no_")]


def test_words_that_a_trial_makes_read_stay_and_groups_are_taken_apart(workplace: Path) -> None:
    additive = "model.additive={inverse_penalties: [0.1], curves: [0.1], shares: [0.5]}"
    found = planned(
        workplace,
        methods={"full": {"layers": ["tuned"], "words": ["model.encoder.bins=0", additive]}, "ablations": "all"},
        family={"reference": "full"},
        trials={"full": [["model.encoder.bins=4"], ["model.encoder.bins=8", "objective={contrast: 0.2}"]]},
        inner_folds=2,
    )
    for name in ("full", "no_contrast", "no_canonical"):
        assert [config.model.additive.curves for config in of(found, name)[0].trials] == [[0.1], [0.1]], name
    assert {config.objective.contrast for config in of(found, "no_contrast")[0].trials} == {0.0}
    assert {config.objective.contrast for config in of(found, "no_canonical")[0].trials} == {0.03, 0.2}
    assert {config.model.additive.canonical for config in of(found, "no_canonical")[0].trials} == {0}


def test_without_trials_an_ablation_also_leaves_out_words_that_it_would_not_read(workplace: Path) -> None:
    words = ["model.additive.shares=[0.5]"]
    methods = {"full": {"layers": ["tuned"], "words": words}, "ablations": "all"}
    found = planned(workplace, methods=methods, family={"reference": "full"})
    assert not [method for _, method in found.refused if method.startswith("no_")]
    assert of(found, "no_reconstruction")[0].trials[0].model.additive.shares == [0.5]


def test_trials_of_networks_are_those_of_every_network_without_its_own(workplace: Path) -> None:
    trials = {"networks": [["optim.lr=0.1"], ["optim.lr=0.2"], ["optim.lr=0.2"]]}
    found = planned(workplace, trials=trials, inner_folds=2)
    assert [config.optim.lr for config in of(found, "presence")[0].trials] == [0.1, 0.2]
    assert len(of(found, "regression")[0].trials) == 1
    with pytest.raises(ConfigError, match=r"trials.presense: there is no such method; known are presence"):
        planned(workplace, trials={"presense": [[]]})


def test_a_layer_that_cannot_apply_is_named_with_its_reason(workplace: Path) -> None:
    own = workplace / "experiments" / "baselines"
    own.mkdir(parents=True)
    (own / "elsewhere.yaml").write_text("dataset: eicu\n")
    (own / "joint.yaml").write_text(
        (ROOT / "experiments/baselines/logistic_regression.yaml")
        .read_text()
        .replace("name: logistic_regression", "name: logistic_regression\n  logistic_regression: {refit: joint}")
    )
    found = planned(workplace, methods={**DECLARED["methods"], "baselines": "all"})
    assert "mixes experiments of several datasets" in found.refused["own", "elsewhere"]
    assert "adds calibration rows of a target to the fit, but there is none" in found.refused["own", "joint"]
    assert not {method for _, method in found.refused} & {*DECLARED["methods"], "boosted_trees"}
    assert not of(found, "joint")


def test_a_wrong_word_of_the_file_is_refused_and_one_that_a_method_does_not_read_is_not(workplace: Path) -> None:
    wrong = {
        **DECLARED["methods"],
        "regression": {"layers": ["baselines/logistic_regression"], "words": ["optim.lr=1"]},
    }
    with pytest.raises(ConfigError, match=r"own, regression: optim.lr=1.0 is not read"):
        planned(workplace, methods=wrong)
    assert planned(workplace, words=["optim.lr=1"]).entries
    for words, said in ((["optim.lrr=1"], "cohorts.own: optim.lrr=1: unknown setting"), (["seed=1"], "a table sets")):
        with pytest.raises(ConfigError, match=said):
            planned(workplace, words=words)
    with pytest.raises(ConfigError, match="seed=3: a table sets"):
        planned(workplace, "seed=3")
    with pytest.raises(ConfigError, match="one test split, K folds or eras"):
        planned(workplace, cohorts={"own": {"experiment": "custom", "words": ["rectifier.fit=crossfit"]}})


def test_a_release_is_named_or_simulated_and_needed_only_to_train(workplace: Path, monkeypatch) -> None:
    cohorts = {"own": "mimic_structured"}
    with pytest.raises(ConfigError, match="no release is named; set MIMIC_ROOT, or simulated: true"):
        planned(workplace, cohorts=cohorts)
    named = planned(workplace, "paths.mimic_root=/some", cohorts=cohorts)
    stored = planned(workplace, "table.source=predictions", cohorts=cohorts)
    assert [entry.runs for entry in stored.entries] == [entry.runs for entry in named.entries]
    monkeypatch.setenv("MIMIC_ROOT", "/some")
    drawn = planned(workplace, cohorts={"own": {"experiment": "mimic_structured", "simulated": True}})
    assert drawn.bases["own"].simulated
    with pytest.raises(ConfigError, match="custom has no simulator"):
        planned(workplace, cohorts={"own": {"experiment": "custom", "simulated": True}})


def test_numbers_are_refused_with_what_compares_them(workplace: Path) -> None:
    with pytest.raises(ConfigError, match=r"cohorts\.own: length_of_stay is a number, .* `mmnar compare` them"):
        planned(workplace, *ROOTS, cohorts={"own": {"experiment": "mimic_length_of_stay"}})


def test_protocols_of_a_cohort_are_kept(workplace: Path) -> None:
    cohorts = {
        "later": {"experiment": "mimic_structured,protocols/temporal", "words": ["cohort.split.num_folds=4"]},
        "hospitals": {"experiment": "eicu,protocols/leave_hospital_out", "folds": 3},
    }
    found = planned(workplace, *ROOTS, cohorts=cohorts, seeds=[0])
    later = of(found, "presence", "later")
    assert [entry.trials[0].cohort.split.test_from for entry in later] == [1, 2, 3]
    assert [entry.child.fold for entry in of(found, "presence", "hospitals")] == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quick", "demo", "eicu_death"])
def test_a_shipped_table_is_planned_without_its_data(name: str, workplace: Path) -> None:
    table = declared.read(declared.find(name))
    plain = yaml.safe_load(declared.find(name).read_text())
    found = planned(workplace, *ROOTS, **plain)
    assert {*found.methods} == {*plan.methods_of(table)}
    entries = {(entry.cohort, entry.method) for entry in found.entries}
    trained = [name for name, own in plan.methods_of(table).items() if not own.mean]
    assert entries | {*found.refused} == {(cohort, method) for cohort in table.cohorts for method in trained}


@pytest.mark.slow
def test_every_method_of_the_paper_s_table_has_as_many_trials_as_the_reference(workplace: Path) -> None:
    plain = yaml.safe_load(declared.find("paper").read_text())
    whole = {*plain["cohorts"]}
    chosen = {name: plain["cohorts"][name] for name in ("MIMIC-IV", "eICU, 24 h, hospitals left out")}
    assert len(whole) == 5
    found = planned(workplace, *ROOTS, **(plain | {"cohorts": chosen}))
    assert {method for _, method in found.refused} == {"joint_refit"}, "it needs a target, which one cohort has"
    trials = {(entry.cohort, entry.method): len(entry.trials) for entry in found.entries}
    assert trials["MIMIC-IV", "full method"] == trials["eICU, 24 h, hospitals left out", "joint_refit"] == 4
    few = {method for (_, method), count in trials.items() if count < 4}
    # Nothing is trained of the first; trials of the others are equal once their layer has taken a setting away.
    assert few == {"published_score", "no_additive", "no_conditioning"}


def test_a_mean_trains_nothing_and_is_of_methods_that_are_trained(workplace: Path) -> None:
    named = DECLARED["methods"]
    found = planned(workplace, methods={**named, "both": {"mean": [*named]}})
    assert found.methods == [*named, "both"]
    assert {entry.method for entry in found.entries} == {*named}
    for wrong in (
        ["presence"],
        ["presence", "presence"],
        ["regression", "presence", "presence"],
        ["presence", "others"],
        ["presence", "both"],
    ):
        with pytest.raises(ConfigError, match=r"methods.both.mean=.*expected at least two different ones of presence"):
            planned(workplace, methods={**named, "both": {"mean": wrong}})


def test_a_named_method_takes_the_place_of_the_layer_of_its_name(workplace: Path) -> None:
    named = {"layers": ["baselines/late_fusion", "baselines/mask_only"], "words": ["optim.lr=0.25"]}
    found = planned(workplace, methods={**DECLARED["methods"], "mask_only": named, "baselines": "all"}, seeds=[0])
    assert found.methods.count("mask_only") == 1
    assert of(found, "mask_only")[0].trials[0].optim.lr == 0.25
