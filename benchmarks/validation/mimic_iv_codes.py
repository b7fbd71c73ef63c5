"""Charlson's comorbidities from ICD codes, by ranges, as the table of Quan et al. (2005) prints them."""

from collections.abc import Iterable
from functools import cache

from benchmarks.validation.plain import Row

NINE = {
    "infarction": "410 412",
    "failure": "39891 40201 40211 40291 40401 40403 40411 40413 40491 40493 4254-4259 428",
    "vascular": "0930 4373 440 441 4431-4439 4471 5571 5579 V434",
    "cerebrovascular": "36234 430-438",
    "dementia": "290 2941 3312",
    "pulmonary": "4168 4169 490-505 5064 5081 5088",
    "rheumatic": "4465 7100-7104 7140-7142 7148 725",
    "ulcer": "531-534",
    "mild liver": "07022 07023 07032 07033 07044 07054 0706 0709 570 571 5733 5734 5738 5739 V427",
    "diabetes": "2500-2503 2508 2509",
    "bad diabetes": "2504-2507",
    "paralysis": "3341 342 343 3440-3446 3449",
    "renal": "40301 40311 40391 40402 40403 40412 40413 40492 40493 582 5830-5837 585 586 5880 V420 V451 V56",
    "cancer": "140-172 174-194 1950-1958 200-208 2386",
    "bad liver": "4560-4562 5722-5728",
    "metastatic": "196-199",
    "aids": "042-044",
    "hematologic": "200-208 2386 2733",
}
TEN = {
    "infarction": "I21 I22 I252",
    "failure": "I099 I110 I130 I132 I255 I420 I425-I429 I43 I50 P290",
    "vascular": "I70 I71 I731 I738 I739 I771 I790 I792 K551 K558 K559 Z958 Z959",
    "cerebrovascular": "G45 G46 H340 I60-I69",
    "dementia": "F00-F03 F051 G30 G311",
    "pulmonary": "I278 I279 J40-J47 J60-J67 J684 J701 J703",
    "rheumatic": "M05 M06 M315 M32-M34 M351 M353 M360",
    "ulcer": "K25-K28",
    "mild liver": "B18 K700-K703 K709 K713-K715 K717 K73 K74 K760 K762-K764 K768 K769 Z944",
    "diabetes": "E100 E101 E106 E108-E111 E116 E118-E121 E126 E128-E131 E136 E138-E141 E146 E148 E149",
    "bad diabetes": "E102-E105 E107 E112-E115 E117 E122-E125 E127 E132-E135 E137 E142-E145 E147",
    "paralysis": "G041 G114 G801 G802 G81 G82 G830-G834 G839",
    "renal": "I120 I131 N032-N037 N052-N057 N18 N19 N250 Z490-Z492 Z940 Z992",
    "cancer": "C00-C26 C30-C34 C37-C41 C43 C45-C58 C60-C76 C81-C85 C88 C90-C97",
    "bad liver": "I850 I859 I864 I982 K704 K711 K721 K729 K765-K767",
    "metastatic": "C77-C80",
    "aids": "B20-B22 B24",
    "hematologic": "C81-C96",
}
WEIGHTS = {"bad diabetes": 2, "paralysis": 2, "renal": 2, "cancer": 2, "bad liver": 3, "metastatic": 6, "aids": 6}
"""Disease -> weight; all others 1."""
REPLACED = {"mild liver": "bad liver", "diabetes": "bad diabetes", "cancer": "metastatic"}


def _listed(code: str, ranges: str) -> bool:
    """Whether a code begins with one that is listed or lies in a range, whose ends have one length."""
    for part in ranges.split():
        first, _, last = part.partition("-")
        if first <= code[: len(first)] <= (last or first):
            return True
    return False


@cache
def _diseases(version: str, code: str) -> frozenset[str]:
    tables = {"9": NINE, "10": TEN}[version]
    return frozenset(name for name, ranges in tables.items() if _listed(code, ranges))


def comorbidities(codes: Iterable[Row]) -> tuple[int, set[str]]:
    """Charlson's index, and the diseases."""
    found = set[str]()
    for row in codes:
        found |= _diseases(row["icd_version"], row["icd_code"].strip())
    counted = {name for name in found if REPLACED.get(name) not in found} - {"hematologic"}
    return sum(WEIGHTS.get(name, 1) for name in counted), found
