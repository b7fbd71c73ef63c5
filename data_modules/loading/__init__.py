"""From a cohort folder to batches."""
