"""The comorbidity index of Charlson, from codes of diagnoses.

Weights: Charlson, Pompei, Ales and MacKenzie, J Chronic Dis 40:373-383 (1987), age: Charlson et al., J Clin Epidemiol
47:1245-1251 (1994). Codes: the enhanced ICD-9-CM and the ICD-10 lists of Quan et al., Med Care 43:1130-1139 (2005),
whose table this is. A severe form of a disease replaces its mild form.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from data_modules.features.points import Array, graded
from data_modules.features.store import BoolArray


def _numbers(first: int, last: int, width: int = 3, letter: str = "") -> tuple[str, ...]:
    """The codes between two, both included."""
    return tuple(f"{letter}{number:0{width}d}" for number in range(first, last + 1))


@dataclass(frozen=True)
class Disease:
    """A group of diagnoses.

    Attributes:
        weight: points.
        icd9: beginnings of its ICD-9-CM codes, without point.
        icd10: beginnings of its ICD-10 codes, without point.
    """

    weight: int
    icd9: tuple[str, ...]
    icd10: tuple[str, ...]


def _disease(weight: int, icd9: str, icd10: str, *more: str) -> Disease:
    tens = tuple(code for code in more if code[0].isalpha() and code[0] not in "V")
    nines = tuple(code for code in more if code not in tens)
    return Disease(weight, (*icd9.split(), *nines), (*icd10.split(), *tens))


DISEASES: Mapping[str, Disease] = {
    "myocardial_infarction": _disease(1, "410 412", "I21 I22 I252"),
    "heart_failure": _disease(
        1,
        "39891 40201 40211 40291 40401 40403 40411 40413 40491 40493 4254 4255 4256 4257 4258 4259 428",
        "I099 I110 I130 I132 I255 I420 I425 I426 I427 I428 I429 I43 I50 P290",
    ),
    "peripheral_vascular": _disease(
        1,
        "0930 4373 440 441 4431 4432 4433 4434 4435 4436 4437 4438 4439 4471 5571 5579 V434",
        "I70 I71 I731 I738 I739 I771 I790 I792 K551 K558 K559 Z958 Z959",
    ),
    "cerebrovascular": _disease(1, "36234", "G45 G46 H340", *_numbers(430, 438), *_numbers(60, 69, 2, "I")),
    "dementia": _disease(1, "290 2941 3312", "F00 F01 F02 F03 F051 G30 G311"),
    "chronic_pulmonary": _disease(
        1,
        "4168 4169 5064 5081 5088",
        "I278 I279 J684 J701 J703",
        *_numbers(490, 505),
        *_numbers(40, 47, 2, "J"),
        *_numbers(60, 67, 2, "J"),
    ),
    "rheumatic": _disease(
        1,
        "4465 7100 7101 7102 7103 7104 7140 7141 7142 7148 725",
        "M05 M06 M315 M32 M33 M34 M351 M353 M360",
    ),
    "peptic_ulcer": _disease(1, "531 532 533 534", "K25 K26 K27 K28"),
    "mild_liver": _disease(
        1,
        "07022 07023 07032 07033 07044 07054 0706 0709 570 571 5733 5734 5738 5739 V427",
        "B18 K700 K701 K702 K703 K709 K713 K714 K715 K717 K73 K74 K760 K762 K763 K764 K768 K769 Z944",
    ),
    "diabetes": _disease(
        1,
        "2500 2501 2502 2503 2508 2509",
        "",
        *(f"E1{kind}{form}" for kind in range(5) for form in (0, 1, 6, 8, 9)),
    ),
    "diabetes_complicated": _disease(
        2, "2504 2505 2506 2507", "", *(f"E1{kind}{form}" for kind in range(5) for form in (2, 3, 4, 5, 7))
    ),
    "paralysis": _disease(
        2,
        "3341 342 343 3440 3441 3442 3443 3444 3445 3446 3449",
        "G041 G114 G801 G802 G81 G82 G830 G831 G832 G833 G834 G839",
    ),
    "renal": _disease(
        2,
        "40301 40311 40391 40402 40403 40412 40413 40492 40493 582 5830 5831 5832 5833 5834 5835 5836 5837 585 586 "
        "5880 V420 V451 V56",
        "I120 I131 N032 N033 N034 N035 N036 N037 N052 N053 N054 N055 N056 N057 N18 N19 N250 Z490 Z491 Z492 Z940 Z992",
    ),
    "cancer": _disease(
        2,
        "1950 1951 1952 1953 1954 1955 1956 1957 1958 2386",
        "C43 C88",
        *_numbers(140, 172),
        *_numbers(174, 194),
        *_numbers(200, 208),
        *_numbers(0, 26, 2, "C"),
        *_numbers(30, 34, 2, "C"),
        *_numbers(37, 41, 2, "C"),
        *_numbers(45, 58, 2, "C"),
        *_numbers(60, 76, 2, "C"),
        *_numbers(81, 85, 2, "C"),
        *_numbers(90, 97, 2, "C"),
    ),
    "severe_liver": _disease(
        3,
        "4560 4561 4562 5722 5723 5724 5725 5726 5727 5728",
        "I850 I859 I864 I982 K704 K711 K721 K729 K765 K766 K767",
    ),
    "metastatic_cancer": _disease(6, "196 197 198 199", "C77 C78 C79 C80"),
    "aids": _disease(6, "042 043 044", "B20 B21 B22 B24"),
}
HEMATOLOGIC = _disease(0, "2386 2733", "", *_numbers(200, 208), *_numbers(81, 96, 2, "C"))
"""Lymphoma, leukemia and multiple myeloma, for SAPS II."""
REPLACES = {
    "severe_liver": "mild_liver",
    "diabetes_complicated": "diabetes",
    "metastatic_cancer": "cancer",
}
"""Severe form -> mild form, which does not count beside it."""


def has(disease: Disease, code: str = "icd_code", version: str = "icd_version") -> pl.Expr:
    """Return whether a code is one of a disease; null counts as no.

    >>> codes = pl.DataFrame({"icd_code": ["I2510", "I252 ", "41071", "I21"], "icd_version": [10, 10, 9, 9]})
    >>> codes.select(has(DISEASES["myocardial_infarction"])).to_series().to_list()
    [False, True, True, False]
    """
    text = pl.col(code).str.strip_chars()
    found = [
        (pl.col(version) == number) & text.str.contains(f"^(?:{'|'.join(codes)})")
        for number, codes in ((9, disease.icd9), (10, disease.icd10))
    ]
    return pl.any_horizontal(found).fill_null(value=False)


def charlson_points(diseases: Mapping[str, BoolArray]) -> Array:
    """Return the index of N rows.

    Args:
        diseases: name of `DISEASES` -> (N,) bool; all of them.

    >>> none = dict.fromkeys(DISEASES, np.array([False, False]))
    >>> found = {"cancer": np.array([True, True]), "metastatic_cancer": np.array([True, False])}
    >>> charlson_points({**none, **found}).tolist()
    [6.0, 2.0]
    """
    mild = {mild: ~diseases[severe] for severe, mild in REPLACES.items()}
    parts = [
        disease.weight * (diseases[name] & mild.get(name, np.True_)).astype(np.float64)
        for name, disease in DISEASES.items()
    ]
    return np.asarray(np.sum(parts, axis=0))


def age_points(age: Array) -> Array:
    """Return the points of N ages in years: one for each decade from 50 on, 4 at most.

    >>> age_points(np.array([49.0, 50.0, 69.0, 93.0])).tolist()
    [0.0, 1.0, 2.0, 4.0]
    """
    return graded(age, (50, 60, 70, 80), (0, 1, 2, 3, 4))
