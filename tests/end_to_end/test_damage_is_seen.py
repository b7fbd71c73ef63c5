"""A stored file that changed since it was written is named and never read; a request is never answered with another."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data_modules.errors import UserError
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.runs import done, folders, single
from tests.conftest import write_custom_cohort
from tests.helpers.small_runs import SMALL, compose

WORDS = ("trainer.max_epochs=2", "embed.text.encoder=hashed_ngrams", "evaluation.num_replicates=100")


def _with_notes(folder: Path) -> Path:
    """A custom cohort with documents in every second row, so that a run reads an embedding store too."""
    write_custom_cohort(folder)
    table = pl.read_parquet(folder / "cohort.parquet")
    present = np.arange(table.height) % 2 == 0
    table.with_columns(pl.Series("present/notes", present)).write_parquet(folder / "cohort.parquet")
    rows = np.flatnonzero(present)
    texts = [f"chest pain {'severe' * int(row % 3)} day {row % 7}" for row in rows]
    (folder / "modalities" / "notes").mkdir()
    pl.DataFrame({"row_id": rows, "text": texts}).write_parquet(folder / "modalities" / "notes" / "documents.parquet")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with a cohort, its data and runs: one that is evaluated, and one that is not; copied by each test."""
    place = tmp_path_factory.mktemp("trained")
    _with_notes(place / "given")
    here = Path.cwd()
    os.chdir(place)
    try:
        single.train(compose(Path("given"), *WORDS, "paths.runs=scored"))
        with pytest.MonkeyPatch.context() as patch:  # as in a run whose last epoch has just ended
            patch.setattr(done, "PREVIOUS", "none")
            single.train(compose(Path("given"), *WORDS, "paths.runs=fitted", "evaluate=false"))
    finally:
        os.chdir(here)
    return place


@pytest.fixture
def place(trained: Path, workplace: Path) -> Path:
    shutil.copytree(trained, workplace / "copy")
    os.chdir(workplace / "copy")
    return workplace / "copy"


def _run(name: str) -> Path:
    (config,) = Path(name).glob("*/*/config.yaml")
    return config.parent


def flip(path: Path, at: float = 0.5) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 1
    path.write_bytes(content)


def _evaluate(run: Path, *words: str) -> Path:
    return single.evaluate(compose(Path("given"), f"run={run}", "evaluation.num_replicates=100", *words))


STORED = {
    "data/cohorts/*/modalities/*/values.npy": "mmnar cohort",
    "data/cohorts/*/modalities/*/statistics.json": "mmnar cohort",
    "data/cohorts/*/cohort.parquet": "mmnar cohort",
    "data/cohorts/*/modalities/notes/documents.parquet": "mmnar cohort",
    "data/embeddings/*/values.npy": "mmnar embed",
    "data/embeddings/*/present.npy": "mmnar embed",
    "data/embeddings/*/statistics.json": "mmnar embed",
}


def _halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [flip, _halve, Path.unlink])
@pytest.mark.parametrize("pattern", STORED)
def test_a_damaged_file_of_a_stage_is_named_with_the_command_that_builds_it_again(
    place: Path, pattern: str, damage: Callable[[Path], None]
) -> None:
    path = sorted(place.glob(pattern))[0]
    damage(path)
    run = _run("fitted")
    with pytest.raises(UserError) as caught:
        _evaluate(run)
    assert path.name in str(caught.value)
    assert f"`{STORED[pattern]}`" in str(caught.value)
    assert not (run / folders.RESULTS).exists()


@pytest.mark.parametrize("damage", [flip, _halve])
@pytest.mark.parametrize("name", [folders.BEST])
def test_a_damaged_best_checkpoint_is_refused_by_name(place: Path, name: str, damage: Callable[[Path], None]) -> None:
    run = _run("fitted")
    damage(run / name)
    with pytest.raises(UserError, match=r"best\.ckpt"):
        _evaluate(run)
    assert not (run / folders.RESULTS).exists()


@pytest.mark.parametrize("at", [0.2, 0.5, 0.8])
def test_a_damaged_last_checkpoint_is_replaced_by_the_previous_one_with_a_warning(place: Path, at, capsys) -> None:
    run = _run("fitted")
    (run / folders.DONE).unlink()
    flip(run / folders.LAST, at)
    words = (*WORDS, "paths.runs=fitted", f"resume={run}", "evaluate=false")
    assert single.train(compose(Path("given"), *words)) == run
    printed = capsys.readouterr().out
    assert "last.ckpt is refused" in printed
    assert "previous.ckpt is used instead" in printed


@pytest.mark.parametrize("name", [folders.RESULTS, folders.PREDICTIONS])
@pytest.mark.parametrize("damage", [flip, _halve, Path.unlink])
def test_damaged_results_of_a_finished_run_are_named(place: Path, name: str, damage: Callable[[Path], None]) -> None:
    run = _run("scored")
    damage(run / name)
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        _evaluate(run)


def test_results_of_one_cohort_are_no_answer_for_another(place: Path, capsys) -> None:
    write_custom_cohort(place / "other", seed=1)
    with pytest.raises(ConfigError, match="trained on the cohort"):
        single.evaluate(compose(Path("other"), f"run={_run('scored')}", "evaluation.num_replicates=100"))
    assert "AUROC" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "word",
    [
        "evaluation.num_replicates=200",
        "evaluation.blend=true",
        "diagnostics.parts=true",
        "transfer.target=experiments/eicu.yaml",
    ],
)
def test_results_of_one_request_are_no_answer_for_another(place: Path, word: str, capsys) -> None:
    run = _run("scored")
    with pytest.raises(ConfigError, match=word.partition("=")[0].replace(".", r"\.")):
        _evaluate(run, word)
    assert "AUROC" not in capsys.readouterr().out


def test_the_same_request_is_answered_with_the_saved_results(place: Path, capsys) -> None:
    run = _run("scored")
    capsys.readouterr()
    assert _evaluate(run) == run
    assert "evaluated before" in capsys.readouterr().out


def test_the_newest_run_is_the_one_that_was_started_last(place: Path) -> None:
    run = _run("fitted")
    names = ("20250101-000000-aaaaaa", "slurm-99", "20260101-000000-aaaaaa", "slurm-100", "20250601-000000-aaaaaa")
    config = compose(Path("given"), *WORDS, "paths.runs=several", "evaluate=false")
    for name in names:
        os.environ[folders.RUN_ID_VARIABLE] = name
        with folders.opened(config) as folder:
            (folder / folders.BEST).parent.mkdir()
            shutil.copy(run / folders.BEST, folder / folders.BEST)
        assert folders.newest_run(config, folders.BEST).name == name


def test_a_finished_run_that_is_resumed_answers_no_other_request(place: Path, capsys) -> None:
    run = _run("scored")
    words = (*WORDS, "paths.runs=scored", f"resume={run}", "evaluation.num_replicates=200")
    with pytest.raises(ConfigError, match=r"evaluation\.num_replicates: 100 before, 200 now"):
        single.train(compose(Path("given"), *words))
    assert "AUROC" not in capsys.readouterr().out


def test_a_line_says_which_setting_the_saved_results_have_if_none_was_asked_for(place: Path, capsys) -> None:
    capsys.readouterr()
    _evaluate(_run("scored"), "evaluation.num_replicates=1000")
    assert "these results have evaluation.num_replicates=100" in capsys.readouterr().out


def test_saved_results_are_printed_where_the_data_are_not(place: Path, capsys) -> None:
    shutil.rmtree("given")
    shutil.rmtree("data")
    capsys.readouterr()
    single.evaluate(load([*SMALL, f"run={_run('scored')}"]))
    assert "evaluated before" in capsys.readouterr().out


@pytest.mark.parametrize("damage", [flip, lambda path: path.write_bytes(path.read_bytes()[:20])], ids=["bit", "half"])
def test_the_record_of_a_fitted_estimator_is_verified(place: Path, damage: Callable[[Path], None]) -> None:
    words = ("dataset=custom", "experiment=baselines/logistic_regression", "paths.cohort=given", "wandb.enabled=false")
    folder = single.train(load([*words, "evaluate=false", "paths.runs=estimators"]))
    damage(folder / folders.FIT)
    with pytest.raises(ConfigError, match=r"fit\.json is refused: it .*train again with resume=new"):
        single.evaluate(load([*words, f"run={folder}"]))
