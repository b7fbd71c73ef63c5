"""The tables of a release: the layout of the real ones, keys and times in order, and their dirt."""

import gzip
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data_modules.databases.mimic_iv.images import taken_at
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.raw.header import read_header
from data_modules.raw.reader import Release
from tests.helpers.mimic_iv import NOT_SIMULATED
from tests.helpers.simulated_scores import TASKS, auroc

TABLES = sorted(set(MIMIC_IV.tables) - set(NOT_SIMULATED))
RANGES = {
    "subject_id": (10_000_000, 19_999_999),
    "hadm_id": (20_000_000, 29_999_999),
    "stay_id": (30_000_000, 39_999_999),
    "transfer_id": (30_000_000, 39_999_999),
    "study_id": (50_000_000, 59_999_999),
}


def whole(release: Release, name: str) -> pl.DataFrame:
    return release.scan(name, list(MIMIC_IV.tables[name].columns)).collect()


@pytest.fixture(scope="module")
def tables(release: Release) -> dict[str, pl.DataFrame]:
    return {name: whole(release, name) for name in TABLES}


@pytest.fixture(scope="module")
def admissions(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Every admission; `number` 0 is the index."""
    return (
        tables["admissions"]
        .sort("subject_id", "admittime")
        .with_columns(number=pl.int_range(pl.len()).over("subject_id"))
    )


@pytest.fixture(scope="module")
def index(admissions: pl.DataFrame) -> pl.DataFrame:
    return admissions.filter(pl.col("number") == 0)


@pytest.mark.parametrize("name", TABLES)
def test_header_order_and_dtypes_are_the_declared_ones(name: str, release: Release, tables) -> None:
    declared = MIMIC_IV.tables[name].columns
    assert read_header(release.files[name]) == list(declared)
    assert dict(tables[name].schema) == dict(declared)
    with gzip.open(release.files[name], "rt", newline="") as handle:
        assert pl.read_csv(handle.read().encode(), infer_schema=False).height == tables[name].height


def test_the_layout_shows_the_versions(release: Release) -> None:
    assert release.versions() == {"mimiciv": "3.1", "mimic-iv-note": "2.2", "mimic-cxr-jpg": "2.1.0"}
    assert release.missing(TABLES) == []


@pytest.mark.demo
def test_headers_are_those_of_the_open_demo(mimic_demo_roots: str, release: Release) -> None:
    demo = Release.parse(MIMIC_IV, mimic_demo_roots)
    common = [name for name in TABLES if demo.has(name)]
    assert len(common) >= 10
    for name in common:
        lower = [[column.lower() for column in read_header(one.files[name])] for one in (demo, release)]
        assert lower[0] == lower[1], name


@pytest.mark.parametrize("name", TABLES)
def test_keys_are_there_once(name: str, tables) -> None:
    key = (
        list(MIMIC_IV.tables[name].key)
        or {
            "chartevents": ["stay_id", "charttime", "itemid"],
            "drgcodes": ["hadm_id", "drg_type"],
        }[name]
    )
    assert tables[name].select(key).null_count().sum_horizontal().item() == 0
    assert tables[name].n_unique(key) == tables[name].height


@pytest.mark.parametrize("name", TABLES)
def test_ids_are_in_their_ranges_and_known(name: str, tables) -> None:
    table = tables[name]
    for column, (low, high) in RANGES.items():
        if column in table.columns:
            assert table[column].drop_nulls().is_between(low, high).all(), column
    known = {"subject_id": "patients", "hadm_id": "admissions", "stay_id": "icustays"}
    for column, owner in known.items():
        if column in table.columns:
            keys = ["subject_id", *({column} - {"subject_id"})]
            stray = table.drop_nulls(keys).join(tables[owner], on=keys, how="anti")
            assert stray.is_empty(), f"{column} of another subject, or of none"


def test_ids_of_moves_and_units_do_not_collide(tables) -> None:
    ids = pl.concat([tables["transfers"]["transfer_id"], tables["icustays"]["stay_id"]])
    assert ids.is_unique().all()


def test_times_of_a_stay_are_in_order(tables, admissions: pl.DataFrame) -> None:
    assert (admissions["admittime"] < admissions["dischtime"]).all()
    emergency = admissions.drop_nulls("edregtime")
    assert (emergency["edregtime"] < emergency["admittime"]).all()
    assert (emergency["edregtime"] < emergency["edouttime"]).all()
    dead = admissions.filter(pl.col("hospital_expire_flag") == 1)
    assert dead["deathtime"].equals(dead["dischtime"])
    assert (dead["discharge_location"] == "DIED").all()
    assert admissions.filter(pl.col("hospital_expire_flag") == 0)["deathtime"].null_count() == (
        admissions.height - dead.height
    )
    spans = admissions.select("hadm_id", "admittime", "dischtime")
    stays = tables["icustays"].join(spans, on="hadm_id")
    assert (stays["intime"] >= stays["admittime"]).all()
    assert (stays["outtime"] > stays["intime"]).all()
    moves = tables["transfers"].join(spans, on="hadm_id")
    assert (moves["intime"] < moves["outtime"]).all()
    assert ((moves["intime"] >= moves["admittime"]) & (moves["outtime"] <= moves["dischtime"])).all()


def test_nobody_is_admitted_or_discharged_after_death(tables, admissions: pl.DataFrame) -> None:
    last = admissions.group_by("subject_id").agg(pl.col("dischtime", "deathtime").max())
    dead = tables["patients"].drop_nulls("dod").join(last, on="subject_id")
    assert (dead["dod"] >= dead["dischtime"].dt.date()).all()
    died = dead.drop_nulls("deathtime")
    assert died.height > 0
    assert died["dod"].equals(died["deathtime"].dt.date())
    assert last.drop_nulls("deathtime").height == died.height


def test_events_lie_in_the_stay_that_they_name(tables, admissions: pl.DataFrame) -> None:
    arrival = pl.min_horizontal("edregtime", "admittime")
    spans = admissions.select("hadm_id", "dischtime", arrival=arrival)
    for name, column in (
        ("labevents", "charttime"), ("microbiologyevents", "charttime"), ("radiology_notes", "charttime"),
        ("prescriptions", "starttime"), ("procedureevents", "starttime"),
    ):  # fmt: skip
        timed = tables[name].drop_nulls(["hadm_id", column]).join(spans, on="hadm_id")
        assert (timed[column] >= timed["arrival"]).all(), name
        late = timed.filter(pl.col(column) > pl.col("dischtime")).height
        assert late <= 0.15 * timed.height, name
    charted = tables["chartevents"].join(tables["icustays"], on="stay_id")
    assert (charted["charttime"] >= charted["intime"]).all()


def test_quantities_are_plausible(tables) -> None:
    from data_modules.databases.mimic_iv import events
    from data_modules.databases.mimic_iv.concepts import LABS, VITALS
    from data_modules.features.concepts import convert

    for source, concepts, count in ((events.LABS, LABS, 16), (events.CHARTED, VITALS, 6)):
        raw, name = tables[source.table].lazy(), source.table
        kept = convert(events.records(raw, source), concepts).drop_nulls("value").collect()
        assert kept.height >= 0.995 * raw.collect().height, name
        assert kept["concept"].n_unique() == count
        spread = kept.group_by("concept").agg(pl.col("value").std() / pl.col("value").mean().abs())
        assert spread["value"].max() < 1.2, "units are fixed, so no quantity is spread over two scales"


def share(mask: pl.Series) -> float:
    return float(mask.mean())  # type: ignore[arg-type]


def test_labs_come_without_admission_and_from_the_emergency_department(tables, admissions: pl.DataFrame) -> None:
    labs = tables["labevents"]
    assert 0.1 < share(labs["hadm_id"].is_null()) < 0.35
    before = labs.drop_nulls("hadm_id").join(admissions, on="hadm_id").filter(pl.col("charttime") < pl.col("admittime"))
    assert 0.01 < before.height / labs.height < 0.2
    orphans = labs.filter(pl.col("hadm_id").is_null()).join(admissions, on="subject_id")
    early = orphans.filter(pl.col("charttime").is_between("edregtime", "admittime", closed="left"))
    assert early["labevent_id"].n_unique() > 0.2 * labs["hadm_id"].null_count()


def test_results_are_stored_after_they_were_drawn(tables) -> None:
    labs = tables["labevents"]
    stored = labs.drop_nulls("storetime")
    assert (stored["storetime"] > stored["charttime"]).all()
    assert 0.003 < 1 - stored.height / labs.height < 0.02
    cultures = tables["microbiologyevents"]
    assert 0.03 < share(cultures["charttime"].is_null()) < 0.1
    assert (cultures["storetime"] >= cultures["chartdate"] + timedelta(days=2)).all()


def test_the_last_panel_would_show_the_outcome_and_is_stored_too_late(
    tables, index: pl.DataFrame, survivors: pl.DataFrame
) -> None:
    labs = (
        tables["labevents"]
        .filter(pl.col("valueuom").is_in(["mmol/L", "mg/dL", "umol/L"]).not_())
        .join(index.select("hadm_id", "dischtime"), on="hadm_id")
    )
    leaking = (pl.col("charttime") <= pl.col("dischtime")) & (pl.col("storetime") > pl.col("dischtime"))
    centred = (pl.col("valuenum") - pl.col("valuenum").median().over("itemid")) / pl.col("valuenum").std().over(
        "itemid"
    )
    telling = labs.filter(leaking).with_columns(centred).group_by("hadm_id").agg(pl.col("valuenum").mean())
    reported = survivors.join(telling, on="hadm_id").with_columns(
        any=pl.any_horizontal(pl.col(f"outcome/{task}") for task in TASKS),
        best=1 - pl.fold(1.0, lambda a, b: a * (1 - b), [pl.col(f"oracle_all/{task}") for task in TASKS]),
    )
    assert reported.height > 0.7 * survivors.height
    assert auroc(reported["any"], reported["valuenum"]) > 0.9 > auroc(reported["any"], reported["best"]) + 0.05
    assert labs.filter((pl.col("charttime") <= pl.col("dischtime")) & ~leaking.fill_null(value=False)).height > 0


def test_specimens_repeat_and_units_vary(tables) -> None:
    labs = tables["labevents"]
    assert 0.01 < 1 - labs.n_unique(["specimen_id", "itemid"]) / labs.height < 0.03
    assert labs.group_by("specimen_id").agg(pl.col("subject_id").n_unique())["subject_id"].max() == 1
    for item, usual, other in ((50931, "mg/dL", "mmol/L"), (50912, "mg/dL", "umol/L"), (50889, "mg/L", "mg/dL")):
        drawn = labs.filter(pl.col("itemid") == item)
        assert set(drawn["valueuom"]) == {usual, other}
        assert 0.005 < share(drawn["valueuom"] == other) < 0.04
        ratio = drawn.filter(pl.col("valueuom") == other)["valuenum"].median()
        assert not 0.5 < ratio / drawn.filter(pl.col("valueuom") == usual)["valuenum"].median() < 2


def test_notes_are_dated_midnight_stored_late_and_then_show_what_happened(
    tables, index: pl.DataFrame, survivors: pl.DataFrame
) -> None:
    notes = tables["discharge_notes"].join(index.select("hadm_id", "dischtime"), on="hadm_id")
    assert (notes["charttime"].dt.time() == pl.Series([0]).cast(pl.Time)[0]).all()
    assert (notes["charttime"].dt.date() == notes["dischtime"].dt.date()).all()
    assert (notes["storetime"] > notes["dischtime"]).all()
    late = pl.col("storetime") > pl.col("dischtime") + pl.duration(hours=72)
    reported = survivors.join(notes.with_columns(late=late), on="hadm_id")
    assert reported.filter(pl.col("late") == pl.col("present/discharge_note")).is_empty()
    tardy = reported.filter("late")
    absent = survivors.filter(~pl.col("present/discharge_note")).height
    assert 0.2 < tardy.height / absent < 0.4
    assert reported.filter(~pl.col("late"))["text"].str.contains("ADDENDUM").sum() == 0
    happened = tardy["outcome/mortality_180d"] | tardy["outcome/readmission_30d"]
    assert tardy["text"].str.contains("ADDENDUM").equals(happened.rename("text"))
    assert 0 < happened.sum() < tardy.height


def test_reports_are_stored_after_discharge_where_they_were_not_in_time(tables, index, survivors) -> None:
    reports = tables["radiology_notes"]
    assert 0.15 < share(reports["hadm_id"].is_null()) < 0.35
    own = reports.join(index.select("hadm_id", "dischtime"), on="hadm_id")
    late = own.filter(pl.col("charttime") < pl.col("dischtime"), pl.col("storetime") > pl.col("dischtime"))
    assert late.height > 0
    assert late.join(survivors.filter("present/radiology_report"), on="hadm_id").is_empty()


def test_images_are_taken_in_the_emergency_department_in_two_stays_and_after_discharge(
    tables, admissions: pl.DataFrame
) -> None:
    images = tables["cxr_metadata"].with_columns(taken_at()).join(admissions, on="subject_id")
    assert images.filter(pl.col("taken_at").is_between("edregtime", "admittime", closed="left")).height > 0
    inside = images.filter(pl.col("taken_at").is_between("admittime", "dischtime")).group_by("dicom_id").len()
    assert inside.filter(pl.col("len") == 2).height > 0, "some match two stays"
    arrival = pl.min_horizontal("edregtime", "admittime")
    owned = images.filter(pl.col("taken_at").is_between(arrival, "dischtime"))["dicom_id"]
    assert 0.03 < 1 - owned.n_unique() / tables["cxr_metadata"].height < 0.5
    views = tables["cxr_metadata"]["ViewPosition"]
    assert set(views) == {"AP", "PA", "LATERAL"}


def test_some_admissions_overlap(admissions: pl.DataFrame) -> None:
    overlapping = admissions.filter(pl.col("admittime") < pl.col("dischtime").shift(1).over("subject_id"))
    assert 0.003 < overlapping.height / admissions["subject_id"].n_unique() < 0.02


def test_ages_over_89_are_written_91(tables) -> None:
    age = tables["patients"]["anchor_age"]
    assert age.min() >= 18
    assert set(age.filter(age > 89)) == {91}


def test_some_orders_stop_before_they_start(tables) -> None:
    orders = tables["prescriptions"]
    assert 0.03 < share(orders["stoptime"] < orders["starttime"]) < 0.07


def test_every_image_has_an_embedding_unless_it_is_lateral(folder: Path, tables) -> None:
    from data_modules.databases.mimic_iv.images import file_name

    listed = tables["cxr_metadata"].select("ViewPosition", file=file_name())
    (base,) = folder.glob("image-embeddings-mimic-cxr/*")
    found = {str(path.relative_to(base)) for path in base.rglob("*.tfrecord")}
    assert found == {f"{file}.tfrecord" for file in listed.filter(pl.col("ViewPosition") != "LATERAL")["file"]}
    assert not list(folder.rglob("*.jpg"))
    assert np.array_equal(tables["cxr_split"]["dicom_id"], tables["cxr_metadata"]["dicom_id"])
