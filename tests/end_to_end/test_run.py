"""Whole runs on a small custom cohort: results, repetition, resumption, refusals."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import polars as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from mmnar_lightning.callbacks.checkpoints import BestCheckpoint, checkpoint_callbacks
from mmnar_lightning.cli import main
from mmnar_lightning.compiled import CompiledLosses
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.runs import fit, folders, network, single
from mmnar_lightning.runs import trainer as training
from tests.conftest import draw_figures, write_custom_cohort
from tests.helpers.paths import shared
from tests.helpers.results import check_clusters
from tests.helpers.small_runs import Stop, compose, results_of

EPOCHS = 4


@pytest.fixture
def settings(workplace: Path, custom_cohort: Path) -> Callable[..., ExperimentConfig]:
    return partial(compose, custom_cohort, f"trainer.max_epochs={EPOCHS}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The run of these settings that nothing disturbed, its figures drawn; read-only."""
    place = tmp_path_factory.mktemp("whole")
    cohort = write_custom_cohort(place / "given")
    with pytest.MonkeyPatch.context() as patch:
        draw_figures(patch)
        words = (f"trainer.max_epochs={EPOCHS}", f"paths.runs={place / 'runs'}", f"paths.data={place / 'data'}")
        folder = single.train(compose(cohort, *words))
    with shared(folder):
        yield folder


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / folders.LAST, weights_only=True)["state_dict"]


def test_a_run_leaves_everything_that_the_architecture_names(whole: Path) -> None:
    folder = whole
    for name in ("config.yaml", "metrics.csv", "predictions.parquet", "results.json", "checkpoints/best.ckpt"):
        assert (folder / name).is_file(), name
    kept = {path.name for path in (folder / "checkpoints").iterdir()}
    assert kept == {"best.ckpt", "last.ckpt", "digests.json"}, "the one before the last is of a run in training"
    assert {path.name for path in (folder / "figures").iterdir()} >= {"auroc.png", "reliability_first.png"}
    assert (folder / "figures" / "auroc.png").stat().st_size > 10_000
    scored = results_of(folder)["tasks"]
    predictions = pl.read_parquet(folder / "predictions.parquet")
    assert predictions["split"].unique().to_list() == ["test"]
    assert predictions["row_id"].is_unique().all()
    assert scored["first"]["all"]["count"] == predictions["label/first"].drop_nulls().len()
    assert scored["second"]["all"]["count"] == predictions["label/second"].drop_nulls().len()
    by_pattern = sum(cell["count"] for cell in scored["first"]["patterns"].values())
    assert by_pattern == scored["first"]["all"]["count"]
    assert scored["first"]["all"]["auroc"]["low"] <= scored["first"]["all"]["auroc"]["value"]
    assert predictions["subject_id"].n_unique() < predictions.height, "no subject has several rows"
    for task, cells in scored.items():
        check_clusters(cells["all"], predictions, task, num_replicates=100)
        for label in ("11", "10"):
            check_clusters(cells["patterns"][label], predictions.filter(pattern=label), task, num_replicates=100)
    logged = pl.read_csv(folder / "metrics.csv", infer_schema_length=None)
    assert {"val/auroc", "val/auroc/first/11", "val/count/second/10", "train/loss"} <= set(logged.columns)


def test_the_same_seed_gives_the_same_results_and_another_seed_gives_others(settings, whole: Path) -> None:
    first = results_of(whole)
    assert results_of(single.train(settings("paths.runs=b"))) == first
    assert results_of(single.train(settings("paths.runs=c", "seed=1")))["tasks"] != first["tasks"]


@pytest.mark.parametrize("epoch", range(EPOCHS - 1))
def test_a_run_stopped_after_any_epoch_and_resumed_ends_with_the_same_weights(
    epoch: int, settings, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = checkpoint_callbacks
    monkeypatch.setattr(training, "checkpoint_callbacks", lambda *given: [Stop(epoch), *usual(*given)])
    with pytest.raises(RuntimeError, match="on purpose"):
        single.train(settings("paths.runs=parts"))
    monkeypatch.setattr(training, "checkpoint_callbacks", usual)
    resumed = single.train(settings("paths.runs=parts", "resume=last"))
    expected, found = weights_of(whole), weights_of(resumed)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert results_of(resumed) == results_of(whole)
    steps = pl.read_csv(resumed / "metrics.csv", infer_schema_length=None)["val/auroc"].drop_nulls()
    assert len(steps) == EPOCHS


def test_early_stopping_remembers_its_patience_across_a_resumption(settings, monkeypatch) -> None:
    words = ("trainer.patience=1", "trainer.max_epochs=6", "optim.lr=1e-9")
    whole = single.train(settings("paths.runs=whole", *words))
    usual = checkpoint_callbacks
    monkeypatch.setattr(training, "checkpoint_callbacks", lambda *given: [Stop(0), *usual(*given)])
    with pytest.raises(RuntimeError, match="on purpose"):
        single.train(settings("paths.runs=parts", *words))
    monkeypatch.setattr(training, "checkpoint_callbacks", usual)
    resumed = single.train(settings("paths.runs=parts", "resume=last", *words))
    epochs = [torch.load(folder / folders.LAST, weights_only=True)["epoch"] for folder in (whole, resumed)]
    assert epochs[0] == epochs[1] < 5


def test_resuming_under_other_settings_is_refused_with_the_difference(settings) -> None:
    single.train(settings())
    with pytest.raises(ConfigError, match=r"optim\.lr: 0\.0002 before, 0\.1 now"):
        single.train(settings("resume=last", "optim.lr=0.1"))


def test_resuming_where_there_is_no_run_is_refused(settings) -> None:
    with pytest.raises(ConfigError, match=r"has no run with checkpoints/last\.ckpt"):
        single.train(settings("resume=last"))


def test_the_resolved_configuration_of_a_run_repeats_it(whole: Path, workplace: Path) -> None:
    again = single.train(load([f"experiment={whole / 'config.yaml'}", "paths.runs=b", "paths.data=data"]))
    assert again.parent.name == whole.parent.name
    assert results_of(again) == results_of(whole)


def test_test_rows_are_read_by_evaluate_alone_and_once(settings, monkeypatch, capsys) -> None:
    folder = single.train(settings("evaluate=false"))
    assert not (folder / "results.json").exists()
    assert not (folder / "predictions.parquet").exists()
    single.evaluate(settings())
    before = (folder / "results.json").read_bytes()
    monkeypatch.setattr(network, "_rectify_and_evaluate", lambda *_: pytest.fail("the test split was read twice"))
    capsys.readouterr()
    single.evaluate(settings())
    lines = capsys.readouterr().out.splitlines()
    assert any("evaluated before" in line for line in lines)
    assert lines[-1] == f"run: {folder}"
    assert sum(line.startswith("┏") for line in lines) == 1, "one table; `mmnar show` has the others"
    assert (folder / "results.json").read_bytes() == before


def test_resuming_a_finished_run_changes_nothing_and_does_not_read_the_test_rows_again(settings, monkeypatch) -> None:
    folder = single.train(settings())
    before, weights = (folder / "results.json").read_bytes(), weights_of(folder)
    monkeypatch.setattr(network, "_rectify_and_evaluate", lambda *_: pytest.fail("the test split was read twice"))
    assert single.train(settings("resume=last")) == folder
    assert (folder / "results.json").read_bytes() == before
    assert all(torch.equal(weights[name], again) for name, again in weights_of(folder).items())


def test_best_and_last_are_two_checkpoints(whole: Path) -> None:
    folder = whole
    best = torch.load(folder / folders.BEST, weights_only=True)
    last = torch.load(folder / folders.LAST, weights_only=True)
    assert last["epoch"] == EPOCHS - 1
    saved = [
        state
        for key, state in best["callbacks"].items()
        if key.startswith((BestCheckpoint.saved_as, ModelCheckpoint.__name__))
    ]
    scores = pl.read_csv(folder / "metrics.csv", infer_schema_length=None)["val/auroc"].drop_nulls()
    # A mean over tasks is logged with two digits where a task has few rows of a class; checkpoints have it exactly.
    assert scores[best["epoch"]] == scores.max()
    exact = [float(state["best_model_score"]) for state in saved if state["monitor"]]
    assert min(abs(value - scores.max()) for value in exact) <= 0.005
    assert round(exact[0], 2) != exact[0]


def test_the_command_line_says_one_line_and_fails_for_a_bad_setting(settings, capsys) -> None:
    assert main(["train", "dataset=custom"]) == 1
    assert "COHORT=/path" in capsys.readouterr().out
    assert main(["cohort", "cohort.indx=last"]) == 1
    assert "did you mean cohort.index" in capsys.readouterr().out


def test_evaluate_scores_the_network_that_was_trained_whatever_the_command_line_says(settings) -> None:
    words = ("model.fusion.num_heads=4", "model.fusion.dim=32")
    whole = single.train(settings("paths.runs=whole", *words))
    trained = single.train(settings("paths.runs=parts", "evaluate=false", *words))
    single.evaluate(settings("paths.runs=parts"))
    assert results_of(trained) == results_of(whole)


def test_a_run_is_not_resumed_on_another_cohort(settings, custom_cohort: Path) -> None:
    (single.train(settings()) / folders.DONE).unlink()
    path = custom_cohort / "cohort.parquet"
    pl.read_parquet(path).with_columns(**{"label/first": ~pl.col("label/first")}).write_parquet(path)
    with pytest.raises(ConfigError, match="was trained on the cohort"):
        single.train(settings("resume=last"))


def test_bf16_trains_with_clipping(settings) -> None:
    assert (single.train(settings("trainer.precision=bf16-mixed", "trainer.max_epochs=1")) / "results.json").is_file()


def test_a_device_that_is_not_there_is_refused_in_words(settings) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(ConfigError, match=r"trainer\.accelerator=gpu .* Use trainer\.accelerator=auto or cpu"):
        single.train(settings("trainer.accelerator=gpu"))


@pytest.mark.parametrize("accelerator", ["auto", "cpu"])
def test_more_ranks_than_cores_are_refused(settings, accelerator) -> None:
    if torch.cuda.is_available() and accelerator == "auto":
        pytest.skip("there is a CUDA device")
    with pytest.raises(ConfigError, match=r"trainer\.devices=10000: this process may use \d+ processor cores"):
        single.train(settings("trainer.devices=10000", f"trainer.accelerator={accelerator}"))


@pytest.mark.parametrize("accelerator", ["auto", "cpu"])
def test_sharding_without_a_gpu_is_refused_in_words(settings, accelerator) -> None:
    if torch.cuda.is_available() and accelerator == "auto":
        pytest.skip("there is a CUDA device")
    with pytest.raises(ValueError, match=r"trainer\.strategy=fsdp .*GPUs.*use ddp"):
        single.train(settings("trainer.strategy=fsdp", f"trainer.accelerator={accelerator}"))


def test_two_runs_of_one_second_have_folders_of_their_own(settings) -> None:
    config = settings()
    first = folders.new_run(config)
    folders.forget_run()
    assert folders.new_run(config) != first
    folders.forget_run()


def test_a_compiled_run_ends_with_the_weights_of_the_others(settings, monkeypatch) -> None:
    taken: list[int] = []

    class Traced(CompiledLosses):
        """Traces the graph, and runs it without generated code, which takes minutes."""

        def __init__(self, model, mode, sizes) -> None:
            super().__init__(model, mode, sizes, backend="eager")

        def __call__(self, losses, batch, weights):
            taken.append(len(batch))
            return super().__call__(losses, batch, weights)

    monkeypatch.setattr(fit, "CompiledLosses", Traced)
    words = ["trainer.max_epochs=1", "evaluate=false", "loader.batch_size=32"]
    compiled = single.train(settings(*words, "trainer.compile=default", "paths.runs=compiled"))
    plain = single.train(settings(*words, "paths.runs=plain"))
    assert set(taken) == {32}, "the last batch of an epoch, which is smaller, is not compiled"
    assert len(taken) >= 2
    for name, weight in weights_of(plain).items():
        torch.testing.assert_close(weights_of(compiled)[name], weight, rtol=1e-5, atol=1e-6, equal_nan=True)
