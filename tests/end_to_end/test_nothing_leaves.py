"""Records that sentences, ids and dates identify: nothing that a run uploads or shares holds any of them."""

import json
import math
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text

from benchmarks.wandb_logs import OfflineRun
from data_modules.simulate.config import SimulateConfig
from data_modules.simulate.release import simulate
from mmnar_lightning.config.compose import load
from mmnar_lightning.report import figures
from mmnar_lightning.report.style import FORMATS
from mmnar_lightning.runs import folders, single
from tests.conftest import PLOTS, draw_figures

SUBJECTS, MIN_COUNT = 300, 4
DOCUMENTS = ("discharge", "radiology")
IDS = ("subject_id", "hadm_id", "note_id")
SENTENCE = "Quillfeather{number} met Doctor Ambergris in Zanzibar"
REPORTED = re.compile(rb"quillfeather|ambergris|zanzibar", re.IGNORECASE)
DATES = re.compile(rb"(?<!\d)2[12]\d\d-\d\d-\d\d")
"""Years of the simulated release, as of MIMIC-IV; the run itself is of another century."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("private")


@pytest.fixture(scope="module")
def release(place: Path) -> Path:
    """A release, each of whose documents has a sentence of its own."""
    folder = place / "release"
    simulate(SimulateConfig(databases=["mimic_iv"], subjects=SUBJECTS, images=False), folder, processes=1)
    for name in DOCUMENTS:
        (path,) = folder.rglob(f"{name}.csv.gz")
        table = pl.read_csv(path, infer_schema=False)
        reported = pl.Series([f" {SENTENCE.format(number=number)}." for number in range(table.height)])
        table.with_columns(pl.col("text") + reported).write_csv(path, compression="gzip")
    return folder


@pytest.fixture(scope="module")
def ids(release: Path) -> set[int]:
    """Every number by which a subject, or one of their stays, could be found."""
    found: set[int] = set()
    for name in ("admissions", *DOCUMENTS):
        (path,) = release.rglob(f"{name}.csv.gz")
        table = pl.read_csv(path, infer_schema=False)
        for column in set(IDS[:2]) & set(table.columns):
            found |= set(map(int, table[column].drop_nulls()))
    assert min(found) >= 10**7, "shorter ids would be found anywhere by chance"
    return found


@pytest.fixture(scope="module")
def drawn() -> dict[str, list[str]]:
    """Name of a figure -> what is written in it; filled by the run."""
    return {}


def written(figure: Figure) -> list[str]:
    """Everything that a figure says in words."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.fixture(scope="module")
def run(place: Path, release: Path, drawn: dict[str, list[str]]) -> Path:
    """The folder of a run that read the documents, logged to W&B offline and was tested."""

    def look_and_save(figure: Figure, path: Path) -> None:
        PLOTS["save"](figure, path)
        drawn[path.name] = written(figure)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_API_KEY", folders.RUN_ID_VARIABLE):
            patch.delenv(name, raising=False)
        patch.chdir(place)
        draw_figures(patch)
        patch.setattr(figures, "save", look_and_save)
        words = [
            "experiment=mimic",
            f"paths.mimic_root={release}",
            "cohort.modalities=[structured,discharge_note,radiology_report]",
            "embed.text.encoder=hashed_ngrams",
            "trainer.max_epochs=2",
            "trainer.progress_bar=false",
            "trainer.accelerator=cpu",
            "rectifier.start_epoch=1",
            "model.fusion.dim=16",
            "model.fusion.num_heads=2",
            "evaluation.num_replicates=100",
            f"privacy.min_count={MIN_COUNT}",
        ]
        folder = place / single.train(load(words))
        import wandb

        wandb.finish()
    read = json.loads((folder / folders.RESULTS).read_text())["modalities"]
    assert {"discharge_note", "radiology_report"} < set(read), "the run did not read the documents"
    return folder


def shared(run: Path) -> Iterator[tuple[str, bytes]]:
    """Everything of a run but the test rows themselves, archives opened."""
    for path in sorted(path for path in run.rglob("*") if path.is_file() and path.name != folders.PREDICTIONS):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield from ((f"{path}:{name}", archive.read(name)) for name in archive.namelist())
        else:
            yield str(path), path.read_bytes()
    yield "what W&B would upload", "\n".join(OfflineRun(run).texts).encode()


def test_the_search_finds_what_it_is_made_for(release: Path, ids: set[int]) -> None:
    (path,) = release.rglob("discharge.csv.gz")
    tables = pl.read_csv(path, infer_schema=False).write_csv().encode()
    assert REPORTED.search(tables)
    assert DATES.search(tables)
    assert numbers(tables) & ids


def test_no_sentence_no_date_and_no_id_is_in_what_a_run_leaves(run: Path, ids: set[int]) -> None:
    names = []
    for name, content in shared(run):
        names.append(name)
        for pattern in (REPORTED, DATES):
            assert not pattern.search(content), (name, pattern.search(content))
        assert not numbers(content) & ids, (name, numbers(content) & ids)
    for kind in ("best.ckpt", "last.ckpt", ".wandb", "results.json", "metrics.csv", "config.yaml", ".png"):
        assert [name for name in names if kind in name], f"no {kind} was searched"


def numbers(content: bytes) -> set[int]:
    """Whole numbers of eight digits, written out."""
    return {int(found) for found in re.findall(rb"(?<![\d.])\d{8}(?!\d)", content)}


@pytest.mark.parametrize("name", [folders.BEST, folders.LAST])
def test_no_number_of_a_checkpoint_is_an_id(run: Path, ids: set[int], name: str) -> None:
    searched = 0
    for value in leaves(torch.load(run / name, weights_only=True)):
        array = np.asarray(value.double() if isinstance(value, torch.Tensor) else value, dtype=np.float64)
        assert not set(np.unique(array[np.isfinite(array)])) & ids
        searched += array.size
    assert searched > 10_000


def leaves(content: object) -> Iterator[torch.Tensor | float]:
    """Every number in nested plain values."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from leaves(key)
            yield from leaves(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from leaves(value)
    elif isinstance(content, torch.Tensor | int | float):
        yield content


@pytest.mark.parametrize("name", [folders.BEST, folders.LAST])
def test_no_checkpoint_says_where_its_run_lay(run: Path, place: Path, name: str) -> None:
    (within,) = {content for kept, content in shared(run) if kept.startswith(f"{run / name}:") and "data.pkl" in kept}
    assert Path(name).name.encode() in within, "the names of checkpoints are looked for in the wrong place"
    for folder in {place, place.resolve(), place.parent, place.parent.resolve()}:
        assert str(folder).encode() not in (run / name).read_bytes()
        assert str(folder).encode() not in within


def test_the_test_rows_are_never_uploaded(run: Path) -> None:
    uploaded = OfflineRun(run)
    assert (run / folders.PREDICTIONS).is_file()
    assert not [text for text in uploaded.texts if folders.PREDICTIONS in text]
    assert not list(uploaded.folder.rglob("*.parquet"))


def hidden_cells_of(run: Path) -> list[tuple[str, str]]:
    """Task and pattern of each cell that results.public.json does not have and results.json has."""
    whole, shown = (json.loads((run / name).read_text())["tasks"] for name in (folders.RESULTS, folders.PUBLIC))
    cells = [(task, pattern) for task, reported in whole.items() for pattern in reported["patterns"]]
    return [
        (task, pattern)
        for task, pattern in cells
        if whole[task]["patterns"][pattern]["count"] and shown[task]["patterns"][pattern]["count"] is None
    ]


def is_small(rows: float, positives: float) -> bool:
    return rows < MIN_COUNT or any(0 < count < MIN_COUNT for count in (positives, rows - positives))


def test_small_cells_are_hidden_in_all_but_the_local_results(run: Path) -> None:
    hidden = hidden_cells_of(run)
    whole = json.loads((run / folders.RESULTS).read_text())["tasks"]
    for task, reported in whole.items():
        small = {name for name, cell in reported["patterns"].items() if is_small(cell["count"], cell["positives"])}
        small = {name for name in small if reported["patterns"][name]["count"]}
        assert small <= {pattern for own, pattern in hidden if own == task}
    assert hidden, "the release has no hidden cell, so this test could not fail"
    logged = OfflineRun(run)
    table = pl.read_csv(run / "metrics.csv", infer_schema=False)
    for task, pattern in hidden:
        for name in ("count", "positives", "auroc", "average_precision", "brier"):
            values = [float(value) for value in logged.logged(f"test/{name}/{task}/{pattern}")]
            assert bool(values) is (name == "auroc"), "the others are in tables alone"
            assert all(map(math.isnan, values)), (name, task, pattern)
            assert set(table[f"test/{name}/{task}/{pattern}"].drop_nulls()) <= {"", "nan"}


def test_the_scores_sent_in_a_table_are_those_of_the_public_results(run: Path) -> None:
    public = json.loads((run / folders.PUBLIC).read_text())
    sent = OfflineRun(run).table("test/scores")["data"]
    assert {(row[0], row[1], row[3]) for row in sent if row[2] == "rows"} == {
        (task, name, cell["count"])
        for task, found in public["tasks"].items()
        for name, cell in {"all": found["all"], **found["patterns"]}.items()
        if cell["count"] is not None
    }
    assert not {(task, pattern) for task, pattern in hidden_cells_of(run)} & {(row[0], row[1]) for row in sent}


def test_no_small_count_is_in_what_is_logged(run: Path) -> None:
    logged = OfflineRun(run)
    table = pl.read_csv(run / "metrics.csv", infer_schema=False)
    logs = [
        *logged.history,
        *({key: value or "nan" for key, value in row.items()} for row in table.iter_rows(named=True)),
    ]
    seen = 0
    for step in logs:
        for key in [key for key in step if re.match(r"(val|test)/count/", key)]:
            rows, positives = (float(step[name]) for name in (key, key.replace("count", "positives", 1)))
            assert math.isnan(rows) == math.isnan(positives), key
            assert math.isnan(rows) or not is_small(rows, positives), key
            seen += not math.isnan(rows)
    counts = {tuple(row[:3]): row[3] for row in logged.table("test/scores")["data"]}
    cells = {key[:2] for key in counts}
    for cell in cells:
        assert not is_small(counts[*cell, "rows"], counts[*cell, "positives"]), cell
    assert seen
    assert cells


def test_small_cells_are_hidden_in_figures(run: Path, drawn: dict[str, list[str]]) -> None:
    results = json.loads((run / folders.PUBLIC).read_text())
    for key in ("tasks", "rectifier"):
        cells = [cell for reported in results[key].values() for cell in reported["patterns"].values()]
        assert any(cell["count"] is None for cell in cells), f"{key} has no hidden cell"
    shown = {cell["count"] for reported in results["tasks"].values() for cell in reported["patterns"].values()}
    shown |= {cell["count"] for reported in results["rectifier"].values() for cell in reported["patterns"].values()}
    shown |= {reported["all"]["count"] for reported in results["tasks"].values()}
    divided = [scores for found in results["subgroups"].values() for scores in found["tasks"].values()]
    shown |= {cell["count"] for scores in divided for cell in [*scores["levels"].values(), scores["pooled"]] if cell}
    assert {"auroc.png", "rectifier.png", f"reliability_{next(iter(results['tasks']))}.png"} <= set(drawn)
    files = {path.name for path in (run / "figures").iterdir()}
    assert {path.with_suffix(f".{kind}").name for path in map(Path, drawn) for kind in FORMATS} == files
    for name, texts in drawn.items():
        counts = {int(found) for text in texts for found in re.findall(r"n=(\d+)", text)}
        assert counts <= shown, (name, texts)
        if not name.startswith(("reliability", "decision_curve", "subgroups")):
            assert any("masked" in text for text in texts), name


@pytest.mark.parametrize("name", [folders.BEST, folders.LAST])
def test_no_checkpoint_counts_a_small_cell(run: Path, name: str) -> None:
    table = json.loads((run / folders.RESULTS).read_text())["rectifier"]
    counts = [cell["count"] for reported in table.values() for cell in reported["patterns"].values()]
    assert any(0 < count < MIN_COUNT for count in counts), "the calibration rows have no small cell"
    whole = (torch.int64, torch.int32, torch.int16, torch.uint8)
    state = torch.load(run / name, weights_only=True)["state_dict"]
    listed = {key: value for key, value in state.items() if value.dtype in whole and value.numel() > 1}
    assert {key.rpartition(".")[2] for key in listed} == {"pattern"}, "what else does it count?"
