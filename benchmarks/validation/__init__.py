"""A second derivation of labs, vitals, labels and demographics, in plain loops over csv rows: `make validation`.

Nothing here is imported by the package. The rules are those of docs/mimic.md and docs/eicu.md; of data_modules only the
declarations of concepts are read.
"""
