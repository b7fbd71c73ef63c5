"""A look-up is streamed, so that what is converted of a table never lies in memory at once."""

import polars as pl
import pytest

from data_modules.databases.mimic_iv import sets
from data_modules.databases.mimic_iv.events import CHARTED, LABS, records
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.features.concepts import convert
from data_modules.features.lookup import looked_up

KEYS = {"a": 1.0, "b": 2.0}


def test_a_look_up_is_that_of_polars_and_null_stays_null() -> None:
    cells = pl.DataFrame({"text": ["b", "x", None, "a"]})
    found = cells.select(
        without=looked_up(pl.col("text"), KEYS, pl.Float64()),
        default=looked_up(pl.col("text"), KEYS, pl.Float64(), 0.0),
    )
    assert found["without"].to_list() == [2.0, None, None, 1.0]
    assert found["default"].to_list() == [2.0, 0.0, None, 1.0]


@pytest.mark.parametrize("source", [LABS, CHARTED], ids=["labevents", "chartevents"])
def test_concepts_are_converted_without_a_step_that_gathers_all_rows(source, tmp_path) -> None:
    columns = {name: MIMIC_IV.tables[source.table].columns[name] for name in source.columns}
    pl.DataFrame(schema=columns).write_parquet(tmp_path / "events.parquet")
    concepts = [concept for some in sets.SETS[source].values() for concept in some]
    events = convert(records(pl.scan_parquet(tmp_path / "events.parquet"), source), sets.distinct(concepts))
    plan = events.show_graph(engine="streaming", plan_stage="physical", raw_output=True)
    assert "equi-join" in plan
    assert "columnar-function" not in plan
    assert "in-memory-map" not in plan
