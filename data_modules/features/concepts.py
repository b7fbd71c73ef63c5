"""Clinical concepts: names, units, plausible ranges and conversions, shared by all databases.

A concept names its records by item id (MIMIC-IV) or by label (eICU). `convert` turns records into values in the unit of
the concept; a record whose value cannot be used is kept without a value, because it was recorded all the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from data_modules.features import units
from data_modules.features.lookup import looked_up

Name = int | str
"""Item id, or label."""
USABLE, UNREADABLE, OUT_OF_RANGE, UNKNOWN_UNIT = "usable", "unreadable", "out of range", "unknown unit"
CONTRADICTED = "contradicted"
PROBLEMS = pl.Enum([USABLE, UNREADABLE, OUT_OF_RANGE, UNKNOWN_UNIT, CONTRADICTED])
"""Why a record has no value."""


@dataclass(frozen=True, kw_only=True)
class Concept:
    """A clinical quantity in one unit.

    Attributes:
        name: in snake case.
        unit: unit after conversion.
        low: smallest plausible value, inclusive.
        high: largest plausible value, inclusive.
        names: item ids or labels of its records.
        recorded_in: name -> unit of its records without a unit, if it is not the unit of the concept.
        negated: names whose values have the opposite sign.
        molar_mass: g/mol, to convert mass to amount of substance.
        valence: equivalents per mol.
        spellings: further units in normal form (`units.normal`) -> factor.
        refused: units in normal form of other quantities under the same name; such records are dropped.
        above: (threshold, factor, offset): a value above the threshold is in another unit than recorded and becomes
            value · factor + offset.
        fraction: True = values up to 1 are fractions and are multiplied by 100.
        lacking: texts (lower case) that stand for no measurement; such records are dropped.
        zero_is_missing: whether the number 0 stands for no measurement; such records are dropped.
        states: texts (lower case) that the value states: it is 1 for a record with one of them and 0 for any other.
        grades: text (lower case, without dots and asterisks around it) -> value of a record that is no number.
    """

    name: str
    unit: str
    low: float
    high: float
    names: tuple[Name, ...]
    recorded_in: Mapping[Name, str] = field(default_factory=dict)
    negated: tuple[Name, ...] = ()
    molar_mass: float | None = None
    valence: int | None = None
    spellings: Mapping[str, float] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    above: tuple[float, float, float] | None = None
    fraction: bool = False
    lacking: tuple[str, ...] = ()
    zero_is_missing: bool = False
    states: tuple[str, ...] = ()
    grades: Mapping[str, float] = field(default_factory=dict)

    @property
    def conversions(self) -> dict[str, units.Conversion]:
        """Unit in normal form -> conversion."""
        known = units.conversions(self.unit, self.molar_mass, self.valence)
        return known | {unit: (factor, 0.0) for unit, factor in self.spellings.items()}


SUBSTANCES: Mapping[str, tuple[float | None, int | None]] = {
    "albumin": (66_500, None),
    "anion_gap": (None, 1),
    "base_excess": (None, 1),
    "bicarbonate": (61.02, 1),
    "bicarbonate_gas": (61.02, 1),
    "bilirubin_direct": (584.7, None),
    "bilirubin_total": (584.7, None),
    "bun": (28.01, None),
    "calcium": (40.08, 2),
    "chloride": (35.45, 1),
    "chloride_gas": (35.45, 1),
    "creatinine": (113.1, None),
    "glucose": (180.16, None),
    "glucose_bedside": (180.16, None),
    "hemoglobin": (16_114, None),
    "hemoglobin_gas": (16_114, None),
    "ionized_calcium": (40.08, 2),
    "lactate": (90.08, None),
    "magnesium": (24.305, 2),
    "nt_probnp": (8_457, None),
    "phosphate": (30.97, None),
    "potassium": (39.10, 1),
    "potassium_gas": (39.10, 1),
    "sodium": (22.99, 1),
    "sodium_gas": (22.99, 1),
    "total_co2_gas": (None, 1),
}
"""Concept -> molar mass in g/mol and valence; urea nitrogen as N2, phosphate as P, hemoglobin by its monomer."""
SPELLINGS: Mapping[str, Mapping[str, float]] = {
    "d_dimer": {"ng/mlddu": 2.0},
    "mchc": {"%": 1.0},
    "tsh": {"uu/ml": 1.0, "mu/l": 1.0},
}
"""Concept -> unit in normal form -> factor: units that only this concept has."""


def lab(name: str, unit: str, low: float, high: float, *names: Name) -> Concept:
    """Declare a lab; its molar mass, valence and spellings are those of its name."""
    molar_mass, valence = SUBSTANCES.get(name, (None, None))
    return Concept(
        name=name,
        unit=unit,
        low=low,
        high=high,
        names=names,
        molar_mass=molar_mass,
        valence=valence,
        spellings=SPELLINGS.get(name, {}),
    )


def names_of(concepts: Sequence[Concept]) -> list[Name]:
    """Return the names of the records of some concepts.

    >>> names_of([Concept(name="temperature", unit="C", low=21.2, high=49, names=(223762, 223761))])
    [223762, 223761]
    """
    return [name for concept in concepts for name in concept.names]


def name_table(concepts: Sequence[Concept], dtype: pl.DataType) -> pl.DataFrame:
    """Return one row per name and concept: `name`, `source` (position in its concept), `concept` and its conversion."""
    schema = {
        "name": dtype,
        "source": pl.UInt8(),
        "concept": pl.UInt16(),
        "low": pl.Float64(),
        "high": pl.Float64(),
        "sign": pl.Float64(),
        "default_unit": pl.String(),
        "fraction": pl.Boolean(),
        "threshold": pl.Float64(),
        "large_factor": pl.Float64(),
        "large_offset": pl.Float64(),
    }
    rows = [
        (
            name,
            source,
            position,
            one.low,
            one.high,
            -1.0 if name in one.negated else 1.0,
            one.recorded_in.get(name),
            one.fraction,
            *(one.above or (float("inf"), 1.0, 0.0)),
        )
        for position, one in enumerate(concepts)
        for source, name in enumerate(one.names)
    ]
    return pl.DataFrame(rows, schema=schema, orient="row")


def unit_table(concepts: Sequence[Concept]) -> pl.DataFrame:
    """Return one row per concept and known unit: `concept` (position), `unit` (normal form), `factor`, `offset`.

    >>> crp = Concept(name="crp", unit="mg/L", low=0, high=1000, names=("CRP",))
    >>> unit_table([crp]).filter(pl.col("unit") == "mg/dl").rows()
    [(0, 'mg/dl', 10.0, 0.0)]
    """
    rows = [
        (position, unit, *conversion)
        for position, concept in enumerate(concepts)
        for unit, conversion in concept.conversions.items()
    ]
    schema = {"concept": pl.UInt16, "unit": pl.String, "factor": pl.Float64, "offset": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _refused(concepts: Sequence[Concept]) -> pl.DataFrame:
    rows = [(position, unit) for position, one in enumerate(concepts) for unit in one.refused]
    return pl.DataFrame(rows, schema={"concept": pl.UInt16, "unit": pl.String}, orient="row")


def convert(events: pl.LazyFrame, concepts: Sequence[Concept]) -> pl.LazyFrame:
    """Convert records to values of concepts; a record without a usable value is kept, and says why.

    Of two readings of a record the first plausible one counts. A record without a unit is in the unit of the concept,
    or in that of `recorded_in`.

    Args:
        events: `name` (item id or label), `number`, `unit`, `text` (what `lacking`, `states` and `grades` compare), any
            other columns, and optionally a second reading `other_number`, `other_unit`.
        concepts: the concepts to keep.

    Returns:
        The events with `concept` (UInt16 position), `source` (UInt8 position of the name), `value` (Float64, null =
        none), `problem` (`PROBLEMS`) and `unit` (normal form, only where it is unknown) instead of these columns.

    >>> glucose = lab("glucose", "mg/dL", 1, 10000, 50931)
    >>> raw = pl.LazyFrame({"name": [50931, 50931, 1], "number": [5.0, 5.0, 5.0], "unit": ["mmol/L", "cm", None],
    ...                     "text": [None, None, None]}, schema_overrides={"text": pl.String})
    >>> convert(raw, [glucose]).select("concept", pl.col("value").round(1), "problem", "unit").collect().rows()
    [(0, 90.1, 'usable', None), (0, None, 'unknown unit', 'cm')]
    """
    names = events.collect_schema()
    table = name_table(concepts, names["name"])
    known = events.filter(pl.col("name").is_in(table["name"].unique().implode()))
    named = known.join(table.lazy(), on="name").filter(~_lacks(concepts)).with_columns(unit=_unit("unit"))
    refused = _refused(concepts)
    meant = named if refused.is_empty() else named.join(refused.lazy(), on=["concept", "unit"], how="anti")
    first = _reading(meant, concepts, "number", "unit", "value")
    second = "other_number" in names
    if second:
        first = _reading(
            first.with_columns(other_unit=_unit("other_unit")), concepts, "other_number", "other_unit", "other"
        )
    values = [pl.col("value"), *([pl.col("other")] if second else [])]
    plausible = [pl.when(value.is_between("low", "high")).then(value) for value in values]
    settled = first.with_columns(usable=pl.coalesce(plausible)).with_columns(problem=_problem())
    kept = [name for name in names if name not in {"name", "number", "unit", "text", "other_number", "other_unit"}]
    return settled.select(
        *kept,
        "concept",
        "source",
        "problem",
        value=pl.col("usable"),
        unit=pl.when(pl.col("problem") == UNKNOWN_UNIT).then("unit"),
    )


def _problem() -> pl.Expr:
    """Why a record has no `usable` value, from its `number` and its converted `value`."""
    problem = (
        pl.when(pl.col("usable").is_not_null()).then(pl.lit(USABLE))
        .when(pl.col("number").is_null()).then(pl.lit(UNREADABLE))
        .when(pl.col("value").is_null()).then(pl.lit(UNKNOWN_UNIT))
        .otherwise(pl.lit(OUT_OF_RANGE))
    )  # fmt: skip
    return problem.cast(PROBLEMS)


def _unit(column: str) -> pl.Expr:
    return pl.coalesce(units.normal(column), "default_unit")


def _reading(events: pl.LazyFrame, concepts: Sequence[Concept], number: str, unit: str, value: str) -> pl.LazyFrame:
    """Add `value`, the number in the unit of the concept; null where the number is null or its unit unknown."""
    table = unit_table(concepts).lazy().rename({"unit": unit})
    joined = events.join(table, on=["concept", unit], how="left")
    own = pl.col(unit).is_null()
    factor = pl.when(own).then(1.0).otherwise(pl.col("factor"))
    offset = pl.when(own).then(0.0).otherwise(pl.col("offset"))
    result = pl.col(number) * factor * pl.col("sign") + offset
    percent = pl.when(pl.col("fraction") & (result <= 1)).then(result * 100).otherwise(result)
    large = percent > pl.col("threshold")
    small = pl.when(large).then(percent * pl.col("large_factor") + pl.col("large_offset")).otherwise(percent)
    return joined.with_columns(_stated(concepts, small).alias(value)).drop("factor", "offset")


def _stated(concepts: Sequence[Concept], numbers: pl.Expr) -> pl.Expr:
    """The value of a record: what its text states or grades, or its number."""
    positions = [position for position, concept in enumerate(concepts) if concept.states]
    states = {_key(position, text): 1.0 for position in positions for text in concepts[position].states}
    grades = {
        _key(position, text): grade
        for position, concept in enumerate(concepts)
        for text, grade in concept.grades.items()
    }
    found = numbers
    if grades:
        words = _texts(concepts, "grades", pl.col("number").is_null()).str.strip_chars(" .*")
        found = pl.coalesce(found, looked_up(_keyed(words), grades, pl.Float64()))
    if states:
        stated = looked_up(_keyed(_texts(concepts, "states")), states, pl.Float64(), 0.0)
        found = pl.when(pl.col("concept").is_in(positions)).then(stated).otherwise(found)
    return found


def _texts(concepts: Sequence[Concept], declared: str, where: pl.Expr | None = None) -> pl.Expr:
    """Texts, in lower case, of the records of concepts that declare some; null for all others, which are not read."""
    positions = [position for position, concept in enumerate(concepts) if getattr(concept, declared)]
    chosen = pl.col("concept").is_in(positions)
    return pl.when(chosen if where is None else chosen & where).then(pl.col("text")).str.to_lowercase()


def _key(position: int, text: str) -> str:
    return f"{position} {text}"


def _keyed(text: pl.Expr) -> pl.Expr:
    """A text with the position of its concept before it, as `_key` has it: one look-up serves all concepts."""
    return pl.concat_str(pl.when(text.is_not_null()).then(pl.col("concept")).cast(pl.String), text, separator=" ")


def _lacks(concepts: Sequence[Concept]) -> pl.Expr:
    """Whether the text or number of a record stands for no measurement of its concept."""
    lacking = [_key(position, text) for position, concept in enumerate(concepts) for text in concept.lacking]
    lacks = [_keyed(_texts(concepts, "lacking")).is_in(lacking)] if lacking else []
    zeros = [position for position, concept in enumerate(concepts) if concept.zero_is_missing]
    zero = pl.col("concept").is_in(zeros) & (pl.col("number") == 0)
    return pl.any_horizontal(zero, *lacks).fill_null(value=False)
