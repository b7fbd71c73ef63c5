"""Blocks of ICD-9-CM and ICD-10-CM categories with the same title in both revisions: the phenotypes of every database.

A category is the first three characters of a code. Titles and ranges are those of the chapters and blocks of ICD-10
(WHO, International Statistical Classification of Diseases, 10th revision, 2019; with ICD-10-CM's categories, such as
C7A, in their place) and of the sections of ICD-9-CM (National Center for Health Statistics, 2011) that have the same
title. Where the revisions divide a chapter differently, the grouping is that of the multi-level Clinical
Classifications Software (HCUP, Agency for Healthcare Research and Quality). No block has codes of factors and external
causes (V and E of ICD-9-CM; V to Z of ICD-10), so the ranges of one revision never have categories of the other; nor
adverse effects and underdosing of drugs, which are external causes in ICD-9-CM (`phenotypes.categories`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from data_modules.errors import UserError

GROUP = "phenotypes"
"""The entry of `cohort.tasks` that stands for all blocks."""
PREFIX = "phenotype_"


@dataclass(frozen=True)
class Block:
    """A block of categories.

    Attributes:
        name: of the task, without `PREFIX`.
        title: in words.
        icd9: ranges of categories, both ends included, separated by blanks: `295-302 306-319`.
        icd10: likewise.
    """

    name: str
    title: str
    icd9: str
    icd10: str

    @property
    def ranges(self) -> list[tuple[str, str]]:
        """The first and last category of each range of both revisions.

        >>> BLOCKS[0].ranges[:2]
        [('001', '009'), ('A00', 'A09')]
        """
        ends = [part.partition("-") for part in f"{self.icd9} {self.icd10}".split()]
        return [(first, last or first) for first, _, last in ends]


BLOCKS = (
    Block("intestinal_infection", "intestinal infectious diseases", "001-009", "A00-A09"),
    Block("sepsis_bacterial", "sepsis and other bacterial diseases", "020-040", "A20-A49"),
    Block("viral_infection", "viral infections", "042-079", "A80-B34"),
    Block("malignant_neoplasm", "malignant neoplasms", "140-209", "C00-C97"),
    Block("anaemia", "anaemias", "280-285", "D50-D64"),
    Block("coagulation", "coagulation defects and purpura", "286-287", "D65-D69"),
    Block("thyroid", "disorders of thyroid gland", "240-246", "E00-E07"),
    Block("diabetes", "diabetes mellitus", "249-250", "E08-E14"),
    Block("malnutrition", "nutritional deficiencies", "260-269", "E40-E64"),
    Block("obesity", "overweight and obesity", "278", "E65-E68"),
    Block("lipid", "disorders of lipoid metabolism", "272", "E78"),
    Block("fluid_electrolyte", "disorders of fluid, electrolyte and acid-base balance", "276", "E86-E87"),
    Block("organic_mental", "organic mental disorders, with dementia and delirium", "290 293-294", "F00-F09"),
    Block("substance_use", "mental disorders due to psychoactive substances", "291-292 303-305", "F10-F19"),
    Block("mental", "other mental disorders", "295-302 306-319", "F20-F99"),
    Block("central_nervous", "diseases of the central nervous system", "320-349", "G00-G44 G47 G80-G99"),
    Block("peripheral_nervous", "diseases of nerves and muscles", "350-359", "G50-G73"),
    Block("hypertension", "hypertensive diseases", "401-405", "I10-I16"),
    Block("ischaemic_heart", "ischaemic heart diseases", "410-414", "I20-I25"),
    Block("pulmonary_circulation", "diseases of pulmonary circulation", "415-417", "I26-I28"),
    Block("valve_myocardium", "diseases of valves, pericardium and myocardium", "393-398 420-425", "I05-I09 I30-I43"),
    Block("arrhythmia", "conduction disorders, arrhythmias and cardiac arrest", "426-427", "I44-I49"),
    Block("heart_failure", "heart failure", "428", "I50"),
    Block("cerebrovascular", "cerebrovascular diseases", "430-438", "G45-G46 I60-I69"),
    Block("arterial", "diseases of arteries", "440-448", "I70-I79"),
    Block("venous", "diseases of veins and lymphatic vessels", "451-457", "K64 I80-I89"),
    Block("acute_respiratory", "acute respiratory infections and pneumonia", "460-466 480-488", "J00-J22"),
    Block("chronic_respiratory", "chronic lower respiratory diseases", "490-496", "J40-J47"),
    Block("other_respiratory", "lung diseases of external agents, pleura, respiratory failure", "500-519", "J60-J99"),
    Block("upper_digestive", "diseases of oesophagus, stomach and duodenum", "530-537", "K20-K31"),
    Block("intestine", "diseases of appendix, hernia, intestines and peritoneum", "540-569", "K35-K63 K65-K68"),
    Block("liver", "diseases of liver", "570-573", "K70-K77"),
    Block("biliary_pancreas", "disorders of gallbladder, biliary tract and pancreas", "574-577", "K80-K87"),
    Block("kidney_failure", "acute and chronic kidney failure", "584-586", "N17-N19"),
    Block("urinary", "other diseases of kidneys and urinary tract", "580-583 587-599", "N00-N16 N20-N39"),
    Block("skin", "diseases of skin and subcutaneous tissue", "680-709", "L00-L99"),
    Block("musculoskeletal", "diseases of joints, spine and connective tissue", "710-739", "M00-M09 M11-M19 M20-M99"),
    Block("injury", "injuries", "800-959", "S00-T34"),
    Block("poisoning", "poisoning and toxic effects", "960-989", "T36-T65"),
    Block("complication", "complications of surgical and medical care", "996-999", "T80-T88"),
)
"""The blocks, in the order of the classification; no category is in two."""

TASKS = tuple(PREFIX + block.name for block in BLOCKS)
"""The tasks of all blocks."""


def expand(tasks: Sequence[str]) -> list[str]:
    """Write out `phenotypes` in a list of tasks.

    Args:
        tasks: names, among them perhaps `GROUP`.

    Returns:
        The names, with those of all blocks in the place of `GROUP`; one that is listed as well stays twice.

    >>> expand(["icu_90d", "phenotypes"])[:2], len(expand(["phenotypes"]))
    (['icu_90d', 'phenotype_intestinal_infection'], 40)
    """
    return [name for task in tasks for name in (TASKS if task == GROUP else (task,))]


def of_tasks(tasks: Sequence[str]) -> list[Block]:
    """Select the blocks of the phenotypes among tasks.

    Args:
        tasks: names of any tasks.

    Returns:
        The blocks, in the order of the tasks.

    >>> [block.icd10 for block in of_tasks(["icu_90d", "phenotype_heart_failure"])]
    ['I50']
    """
    by_task = dict(zip(TASKS, BLOCKS, strict=True))
    return [by_task[task] for task in tasks if task in by_task]


def is_phenotype(task: str) -> bool:
    """Whether a task is a phenotype.

    Args:
        task: its name.

    Returns:
        Whether it is a block.

    Raises:
        UserError: for an unknown block.

    >>> is_phenotype("phenotype_liver"), is_phenotype("icu_90d")
    (True, False)
    """
    if task.startswith(PREFIX) and task not in TASKS:
        raise UserError(
            f"cohort.tasks: unknown phenotype {task!r}; `phenotypes` stands for all, which are {', '.join(TASKS)}"
        )
    return task in TASKS
