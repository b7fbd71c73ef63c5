"""What the scores read beside the day: age, surgery, time before the unit, and diseases of earlier admissions."""

import polars as pl

from data_modules.databases.mimic_iv.cohort import ELECTIVE_TYPES
from data_modules.features import charlson
from data_modules.features.modality import BuildContext

SAME_DAY_SURGERY = "SURGICAL SAME DAY ADMISSION"
SURGICAL_SERVICES = ("CSURG", "NSURG", "ORTHO", "PSURG", "SURG", "TRAUM", "TSURG", "VSURG")
"""Services whose patients count as surgical; transfers by the landmark count."""
SERVICES, DIAGNOSES = "services", "diagnoses_icd"


def known(context: BuildContext) -> pl.DataFrame:
    """Background of the rows.

    Args:
        context: release, rows, and the tables admissions and icustays.

    Returns:
        One row per `row_id`: `age` (years), `elective`, `surgical`, `hours_before_unit` (null without a stay by the
        landmark), `coded` (any diagnosis of an earlier admission), and whether each disease of `charlson.DISEASES`,
        and `hematologic`, was.
    """
    kind = pl.col("admission_type")
    base = context.rows.select(
        "row_id", "age", elective=kind.is_in(ELECTIVE_TYPES), same_day=kind == SAME_DAY_SURGERY
    ).with_columns(pl.col("elective", "same_day").fill_null(value=False))
    operated = _surgical(context)
    joined = base
    for frame in (operated, _before_unit(context), diseases(context)):
        joined = joined.join(frame, on="row_id", how="left", maintain_order="left")
    flags = [*charlson.DISEASES, "hematologic", "coded", "surgical"]
    filled = joined.with_columns(pl.col(flags).fill_null(value=False))
    return filled.with_columns(surgical=pl.col("surgical") | pl.col("same_day")).drop("same_day")


def _surgical(context: BuildContext) -> pl.DataFrame:
    rows = context.rows.select("row_id", "hadm_id", "landmark_at")
    if not context.release.has(SERVICES):
        return rows.select("row_id", surgical=pl.lit(value=False)).head(0)
    moved = context.release.scan(SERVICES, ["hadm_id", "transfertime", "curr_service"])
    here = moved.join(rows.lazy(), on="hadm_id").filter(pl.col("transfertime") <= pl.col("landmark_at"))
    of_row = here.group_by("row_id").agg(surgical=pl.col("curr_service").is_in(SURGICAL_SERVICES).any())
    return of_row.collect(engine="streaming")


def _before_unit(context: BuildContext) -> pl.DataFrame:
    rows = context.rows.select("row_id", "hadm_id", "admittime", "landmark_at")
    stays = context.tables["icustays"].select("hadm_id", "intime").join(rows, on="hadm_id")
    begun = stays.filter(pl.col("intime") <= pl.col("landmark_at")).group_by("row_id", "admittime")
    first = begun.agg(pl.col("intime").min())
    waited = (pl.col("intime") - pl.col("admittime")).dt.total_seconds() / 3600
    return first.select("row_id", hours_before_unit=waited.clip(lower_bound=0))


def diseases(context: BuildContext) -> pl.DataFrame:
    """Diseases that were coded for admissions that ended before the admission of a row began.

    The codes have no times, and count from the discharge on; coding may come later (docs/databases.md).

    Args:
        context: release, rows and the table admissions.

    Returns:
        `row_id`, `coded` and a flag for each disease, of the rows with any code.
    """
    flags = {**charlson.DISEASES, "hematologic": charlson.HEMATOLOGIC}
    rows = context.rows.select("row_id", "subject_id", "hadm_id", index_at="admittime")
    if not context.release.has(DIAGNOSES):
        return rows.select("row_id", *(pl.lit(value=False).alias(name) for name in ("coded", *flags))).head(0)
    others = context.tables["admissions"].select("subject_id", "admittime", "dischtime", other="hadm_id")
    ended = pl.col("dischtime").is_between("admittime", "index_at") & (pl.col("other") != pl.col("hadm_id"))
    earlier = rows.join(others, on="subject_id").filter(ended).select("row_id", hadm_id="other")
    codes = context.release.scan(DIAGNOSES, ["hadm_id", "icd_code", "icd_version"])
    of_rows = codes.join(earlier.lazy(), on="hadm_id").group_by("row_id")
    found = of_rows.agg(
        *(charlson.has(disease).any().alias(name) for name, disease in flags.items()), coded=pl.lit(value=True)
    )
    return found.collect(engine="streaming")
