"""SOFA points at every step of the published table, and the equivalents of vasopressors."""

import numpy as np
import pytest

from data_modules.features.sofa import ORGANS, SofaPoints, SofaValues, sofa_points
from data_modules.features.vasoactive import norepinephrine_equivalents

NOT_GIVEN = float("nan")
STEPS: list[tuple[str, str, dict[float, int]]] = [
    ("respiration", "pf", {400: 0, 399: 1, 300: 1, 299: 2, 199: 2, 99: 2}),
    ("respiration", "pf_supported", {400: 0, 399: 1, 299: 2, 200: 2, 199: 3, 100: 3, 99: 4}),
    ("coagulation", "platelets", {150: 0, 149: 1, 100: 1, 99: 2, 50: 2, 49: 3, 20: 3, 19: 4}),
    ("liver", "bilirubin", {1.1: 0, 1.2: 1, 1.9: 1, 2: 2, 5.9: 2, 6: 3, 11.9: 3, 12.1: 4}),
    ("cardiovascular", "mbp", {70: 0, 69: 1, 20: 1}),
    ("cardiovascular", "dopamine", {1: 2, 5: 2, 5.1: 3, 15: 3, 15.1: 4}),
    ("cardiovascular", "dobutamine", {0.1: 2, 30: 2}),
    ("cardiovascular", "epinephrine", {0.01: 3, 0.1: 3, 0.11: 4}),
    ("cardiovascular", "norepinephrine", {0.01: 3, 0.1: 3, 0.11: 4}),
    ("nervous", "gcs", {15: 0, 14: 1, 13: 1, 12: 2, 10: 2, 9: 3, 6: 3, 5: 4, 3: 4}),
    ("renal", "creatinine", {1.1: 0, 1.2: 1, 1.9: 1, 2: 2, 3.4: 2, 3.5: 3, 4.9: 3, 5.1: 4}),
    ("renal", "urine", {2000: 0, 500: 0, 499: 3, 200: 3, 199: 4, 0: 4}),
]


def points(**values: list[float]) -> SofaPoints:
    """Points of rows with some values; all others are not measured."""
    rows = len(next(iter(values.values())))
    arrays = dict.fromkeys(SofaValues.__dataclass_fields__, np.full(rows, NOT_GIVEN))
    return sofa_points(SofaValues(**{**arrays, **{name: np.array(value) for name, value in values.items()}}))


@pytest.mark.parametrize(("organ", "name", "steps"), STEPS, ids=[name for _, name, _ in STEPS])
def test_every_step_of_the_table_gives_its_points_to_its_organ_alone(
    organ: str, name: str, steps: dict[float, int]
) -> None:
    found = points(**{name: [float(value) for value in steps]})
    column = ORGANS.index(organ)
    assert found.points[:, column].tolist() == list(steps.values())
    assert found.total.tolist() == list(steps.values())
    assert found.known.sum(1).tolist() == [1] * len(steps)
    assert found.known[:, column].all()


def test_an_organ_has_the_points_of_its_worst_value() -> None:
    found = points(pf=[250.0], pf_supported=[350.0], mbp=[60.0], norepinephrine=[0.05], dopamine=[20.0], urine=[100.0])
    assert dict(zip(ORGANS, found.points[0].tolist(), strict=True)) == {
        "respiration": 2, "coagulation": 0, "liver": 0, "cardiovascular": 4, "nervous": 0, "renal": 4
    }  # fmt: skip
    assert found.total.tolist() == [10]


def test_a_drug_at_a_rate_of_0_is_not_given() -> None:
    found = points(dopamine=[0.0], dobutamine=[0.0], epinephrine=[0.0], norepinephrine=[0.0])
    assert found.total.tolist() == [0]
    assert not found.known.any()


def test_vasopressors_are_added_as_norepinephrine() -> None:
    rates = {
        "norepinephrine": np.array([0.1, NOT_GIVEN, NOT_GIVEN]),
        "epinephrine": np.array([0.05, NOT_GIVEN, NOT_GIVEN]),
        "dopamine": np.array([5.0, 20.0, NOT_GIVEN]),
        "phenylephrine": np.array([1.0, NOT_GIVEN, NOT_GIVEN]),
        "vasopressin": np.array([0.04, NOT_GIVEN, NOT_GIVEN]),
    }
    assert norepinephrine_equivalents(rates) == pytest.approx([0.4, 0.2, NOT_GIVEN], nan_ok=True)
    with pytest.raises(KeyError, match="dobutamine"):
        norepinephrine_equivalents({"dobutamine": np.array([1.0])})
