"""Someone else's cohort: the example of docs/cohort.md trains, and every breach of the contract is named."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data_modules.cohorts.build import COHORT, MODALITIES
from data_modules.cohorts.columns import ContractError
from data_modules.cohorts.config import CustomCohortConfig, SplitConfig
from data_modules.cohorts.custom import build_custom
from data_modules.features import store
from data_modules.loading.opening import open_cohort
from data_modules.raw.errors import SourceError
from data_modules.stage import MANIFEST, read_json
from tests.helpers.paths import ROOT


def imported(source: Path, **settings) -> Path:
    return build_custom(source, CustomCohortConfig(name="custom", **settings), source.parent / "data")


def changed(source: Path, **columns) -> Path:
    path = source / COHORT
    pl.read_parquet(path).with_columns(**columns).write_parquet(path)
    return source


def refused(source: Path, error: type[Exception] = ContractError, **settings) -> str:
    with pytest.raises(error) as caught:
        imported(source, **settings)
    cohorts = source.parent / "data" / "cohorts"
    assert not [path for path in cohorts.glob("*") if not path.name.endswith(".lock")], "something half-built is left"
    return str(caught.value)


def test_the_example_of_the_documentation_imports(tmp_path: Path, monkeypatch) -> None:
    code, more = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "cohort.md").read_text(), re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 35
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/cohort.md", "exec"), {})
    manifest = read_json(imported(tmp_path / "my_cohort") / MANIFEST)
    assert {modality["name"]: modality["width"] for modality in manifest["modalities"]} == {"labs": 2, "note": 16}
    assert {entry["label"] for entry in manifest["patterns"]} == {"10", "11"}
    exec(compile(code + more, "docs/cohort.md", "exec"), {})
    manifest = read_json(imported(tmp_path / "my_cohort") / MANIFEST)
    kinds = {modality["name"]: (modality["kind"], modality["width"]) for modality in manifest["modalities"]}
    assert kinds == {
        "labs": ("table", 2), "note": ("vectors", 16), "scan": ("images", 0), "vitals": ("table", 9),
        "unit": ("table", 4),
    }  # fmt: skip


def test_values_arrive_in_the_rows_they_belong_to(custom_cohort: Path) -> None:
    folder = imported(custom_cohort)
    cohort = pl.read_parquet(folder / COHORT)
    present = cohort["present/vectors"].to_numpy()
    given = np.load(custom_cohort / "modalities" / "vectors" / "vectors.npy")
    found = store.open_values(folder / MODALITIES / "vectors")
    assert np.array_equal(found[present], given[present])
    table = pl.read_parquet(custom_cohort / "modalities" / "table" / "table.parquet")
    expected = table.sort("row_id").drop("row_id").to_numpy().astype(np.float32)
    assert np.array_equal(store.open_values(folder / MODALITIES / "table"), expected)


SECRET = 777.0


def test_values_of_absent_rows_are_never_stored(custom_cohort: Path) -> None:
    table, vectors = (custom_cohort / "modalities" / name for name in ("table/table.parquet", "vectors/vectors.npy"))
    changed(custom_cohort, **{"present/table": pl.col("row_id") % 5 != 2})
    present = pl.read_parquet(custom_cohort / COHORT).select("present/table", "present/vectors")
    hidden = {name: ~present[f"present/{name}"].to_numpy() for name in ("table", "vectors")}
    given = np.load(vectors)
    given[hidden["vectors"]] = SECRET
    np.save(vectors, given)
    pl.read_parquet(table).with_columns(
        pl.when(pl.Series(hidden["table"])).then(SECRET).otherwise(pl.col("^c.*$")).name.keep()
    ).write_parquet(table)
    assert (pl.read_parquet(table).drop("row_id").to_numpy() == SECRET).any()
    folder = imported(custom_cohort)
    for name, rows in hidden.items():
        found = store.open_values(folder / MODALITIES / name)
        assert rows.any()
        assert not found[rows].any(), name
        assert not (found == SECRET).any(), name


def test_statistics_come_from_present_train_rows_alone(custom_cohort: Path) -> None:
    folder = imported(custom_cohort)
    cohort = pl.read_parquet(folder / COHORT)
    chosen = cohort.select((pl.col("split") == "train") & pl.col("present/vectors")).to_series().to_numpy()
    given = np.load(custom_cohort / "modalities" / "vectors" / "vectors.npy")[chosen]
    statistics = store.Statistics.load(folder / MODALITIES / "vectors")
    np.testing.assert_allclose(statistics.mean, given.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(statistics.scale, given.std(0), rtol=1e-4)


def test_given_splits_and_folds_are_kept(custom_cohort: Path) -> None:
    subject = pl.col("subject_id").str.slice(1).cast(pl.Int64)
    split = pl.when(subject % 4 == 0).then(pl.lit("test")).when(subject % 4 == 1).then(pl.lit("val"))
    source = changed(custom_cohort, split=split.otherwise(pl.lit("train")), fold=subject % 3)
    given, found = pl.read_parquet(source / COHORT), pl.read_parquet(imported(source) / COHORT)
    assert found["split"].to_list() == given["split"].to_list()
    assert found["fold"].to_list() == given["fold"].to_list()


def test_the_same_folder_is_imported_once_and_a_changed_one_again(custom_cohort: Path) -> None:
    first = imported(custom_cohort)
    before = (first / MANIFEST).stat().st_mtime_ns
    assert imported(custom_cohort) == first
    assert (first / MANIFEST).stat().st_mtime_ns == before
    second = imported(changed(custom_cohort, **{"label/first": ~pl.col("label/first")}))
    assert second != first


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"row_id": pl.col("row_id") + 1}, r"'row_id': must be the integers 0 to \d+, each once"),
        ({"label/first": pl.col("label/first").cast(pl.String)}, r"'label/first': must be Boolean, but is String"),
        ({"present/table": pl.lit(None, pl.Boolean)}, r"'present/table' \(\d+ rows\): must be True or False"),
        ({"subject_id": pl.lit(None, pl.String)}, r"'subject_id' \(\d+ rows\): must name a subject"),
        ({"split": pl.lit("training")}, r"'split' \(\d+ rows\): must be one of train, calibration, val, test"),
        ({"fold": pl.col("row_id") % 7}, r"'fold' \(\d+ rows\): a subject must be in one fold"),
        ({"present/table": pl.col("row_id") >= 0}, None),
    ],
)
def test_a_breach_names_the_column_the_count_and_the_rule(custom_cohort: Path, columns, said) -> None:
    source = changed(custom_cohort, **columns)
    if said is None:
        imported(source)
        return
    message = refused(source)
    assert re.search(said, message), message
    assert str(source / COHORT) in message
    assert "docs/cohort.md" in message


def test_a_present_row_without_data_is_refused_with_the_count(custom_cohort: Path) -> None:
    path = custom_cohort / "modalities" / "table" / "table.parquet"
    pl.read_parquet(path).head(-3).write_parquet(path)
    assert "'present/table' (3 rows): is True, but the file lacks the row" in refused(custom_cohort)


def test_a_row_twice_or_of_another_cohort_is_refused(custom_cohort: Path) -> None:
    path = custom_cohort / "modalities" / "table" / "table.parquet"
    table = pl.read_parquet(path)
    pl.concat([table, table.head(2)]).write_parquet(path)
    assert "'row_id' (2 rows): each row must occur once" in refused(custom_cohort)
    for step in (1, -1):
        table.with_columns(pl.col("row_id") + step).write_parquet(path)
        assert f"'row_id' (1 rows): must lie in 0 to {table.height - 1}" in refused(custom_cohort)


def test_dates_in_a_table_and_vectors_of_another_length_are_refused(custom_cohort: Path) -> None:
    path = custom_cohort / "modalities" / "table" / "table.parquet"
    table = pl.read_parquet(path)
    table.with_columns(c0=pl.date(2150, 1, 1)).write_parquet(path)
    assert "'c0': must be numeric or text, but is Date" in refused(custom_cohort)
    table.write_parquet(path)
    vectors = custom_cohort / "modalities" / "vectors" / "vectors.npy"
    np.save(vectors, np.load(vectors)[:-1])
    assert "expected floats of shape" in refused(custom_cohort, SourceError)


def test_missing_files_unknown_names_and_broken_parquet_are_refused(custom_cohort: Path) -> None:
    assert "no_such is not in" in refused(custom_cohort, ValueError, tasks=["no_such"])
    (custom_cohort / "modalities" / "vectors" / "vectors.npy").unlink()
    assert "has none of the files; expected exactly one of table.parquet, vectors.npy, events.parquet" in refused(
        custom_cohort, SourceError
    )
    (custom_cohort / COHORT).write_bytes(b"not parquet")
    assert "not readable as parquet" in refused(custom_cohort, SourceError)
    (custom_cohort / COHORT).unlink()
    assert "is missing" in refused(custom_cohort, SourceError)


def test_documents_are_imported_and_left_out_of_the_arrays(custom_cohort: Path) -> None:
    folder = custom_cohort / "modalities" / "vectors"
    (folder / "vectors.npy").unlink()
    present = pl.read_parquet(custom_cohort / COHORT).filter("present/vectors")["row_id"]
    pl.DataFrame({"row_id": present, "text": ["a note"] * len(present)}).write_parquet(folder / "documents.parquet")
    kinds = {entry["name"]: entry["kind"] for entry in read_json(imported(custom_cohort) / MANIFEST)["modalities"]}
    assert kinds == {"table": "table", "vectors": "documents"}


def test_documents_of_absent_rows_are_never_stored(custom_cohort: Path) -> None:
    folder = custom_cohort / "modalities" / "vectors"
    (folder / "vectors.npy").unlink()
    cohort = pl.read_parquet(custom_cohort / COHORT)
    text = pl.when("present/vectors").then(pl.lit("a note")).otherwise(pl.lit("of nobody who is there"))
    cohort.select("row_id", text=text).write_parquet(folder / "documents.parquet")
    stored = pl.read_parquet(imported(custom_cohort) / MODALITIES / "vectors" / "documents.parquet")
    present = cohort.filter("present/vectors")["row_id"].to_list()
    assert 0 < len(present) < cohort.height
    assert stored.sort("row_id")["row_id"].to_list() == present
    assert stored["text"].unique().to_list() == ["a note"]


def test_every_held_out_fold_is_a_cohort_of_its_own_with_its_own_statistics(custom_cohort: Path) -> None:
    folders = [imported(custom_cohort, split=SplitConfig(num_folds=3, test_fold=fold)) for fold in range(3)]
    cohorts = [pl.read_parquet(folder / COHORT) for folder in folders]
    assert len({read_json(folder / MANIFEST)["fingerprint"] for folder in folders}) == 3
    assert all((cohort["split"] == "test").equals(cohort["fold"] == fold) for fold, cohort in enumerate(cohorts))
    tested = pl.concat([cohort.filter(split="test")["row_id"] for cohort in cohorts])
    assert sorted(tested) == cohorts[0]["row_id"].to_list()
    for folder, cohort in zip(folders, cohorts, strict=True):
        found = store.Statistics.load(folder / MODALITIES / "table")
        train = store.open_values(folder / MODALITIES / "table")[(cohort["split"] == "train").to_numpy()]
        np.testing.assert_allclose(found.mean, train.mean(0), rtol=1e-5, atol=1e-6)


def folds_of_three(source: Path) -> pl.Series:
    subjects = pl.read_parquet(source / COHORT)["subject_id"]
    return (subjects.str.slice(1).cast(pl.Int64) % 3).alias("fold")


def test_folds_that_were_given_are_the_ones_that_are_held_out(custom_cohort: Path) -> None:
    fold = folds_of_three(custom_cohort)
    changed(custom_cohort, fold=fold)
    cohort = pl.read_parquet(imported(custom_cohort, split=SplitConfig(num_folds=3, test_fold=1)) / COHORT)
    assert cohort["fold"].cast(pl.Int64).equals(fold)
    assert (cohort["split"] == "test").equals(cohort["fold"] == 1)


def test_holding_a_fold_out_against_splits_or_folds_that_were_given_is_refused(custom_cohort: Path) -> None:
    fold = folds_of_three(custom_cohort)
    changed(custom_cohort, fold=fold + 3)
    rows = len(fold.filter(fold == 2))
    said = refused(custom_cohort, split=SplitConfig(test_fold=1))
    rule = "must lie in 0 to 4 (cohort.split.num_folds) for cohort.split.test_fold=1"
    assert f"'fold' ({rows} rows): {rule}" in said
    changed(custom_cohort, fold=fold, split=pl.lit("train"))
    assert "remove the column" in refused(custom_cohort, split=SplitConfig(num_folds=3, test_fold=1))
    path = custom_cohort / COHORT
    pl.read_parquet(path).drop("fold").write_parquet(path)
    said = refused(custom_cohort, split=SplitConfig(num_folds=3, crossfit_fold=1))
    assert "'fold': is missing, but cohort.split.crossfit_fold=1 needs it" in said
    pl.read_parquet(path).drop("split").write_parquet(path)
    said = refused(custom_cohort, split=SplitConfig(num_folds=3, test_from=1))
    assert "'fold': is missing, but cohort.split.test_from=1 needs it, numbered in order of time" in said


def test_later_folds_are_test_and_a_share_of_their_subjects_is_calibration(custom_cohort: Path) -> None:
    changed(custom_cohort, fold=folds_of_three(custom_cohort))
    split = SplitConfig(num_folds=3, test_from=1, target_calibration=0.5)
    cohort = open_cohort(imported(custom_cohort, split=split), {})
    later = pl.col("fold") >= 1
    assert set(cohort.table.filter(later)["split"]) == {"test", "calibration"}
    assert set(cohort.table.filter(~later)["split"]) == {"train", "val"}
    assert cohort.calibration_half("B").tolist() == cohort.rows("calibration").tolist()
    assert not len(cohort.calibration_half("A"))


def test_the_halves_of_calibration_follow_the_fold_that_is_held_out(custom_cohort: Path) -> None:
    for split in (SplitConfig(calibration=0.3, train=0.45), SplitConfig(crossfit_fold=2)):
        cohort = open_cohort(imported(custom_cohort, split=split), {})
        rows = {half: set(cohort.calibration_half(half).tolist()) for half in ("A", "B")}
        assert not rows["A"] & rows["B"]
        assert rows["A"] | rows["B"] == set(cohort.rows("calibration").tolist())
        assert rows["A"]
        assert rows["B"]
        if split.crossfit_fold is not None:
            folds = {half: set(cohort.table[sorted(found)]["fold"]) for half, found in rows.items()}
            assert folds == {"A": {3}, "B": {2}}
