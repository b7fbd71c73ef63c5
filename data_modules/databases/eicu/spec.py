"""The specification of eICU for the cohort stage."""

from data_modules.cohorts.spec import DatabaseSpec
from data_modules.databases.eicu import apache
from data_modules.databases.eicu.cohort import build_rows, label_tables
from data_modules.databases.eicu.modalities import EICU_MODALITIES, attributes, count, read_tables
from data_modules.databases.eicu.tables import EICU

SPEC = DatabaseSpec(
    schema=EICU,
    modalities=EICU_MODALITIES,
    build_rows=build_rows,
    label_tables=label_tables,
    read_tables=read_tables,
    count=count,
    subgroups=attributes,
    scores=apache.predicted_mortality,
    score_tables=(apache.TABLE,),
)
