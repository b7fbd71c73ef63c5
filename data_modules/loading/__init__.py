"""From a cohort's folder to batches."""
