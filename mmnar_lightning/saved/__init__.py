"""The model folder: everything that turns rows of a cohort into predictions, and nothing of the subjects."""
