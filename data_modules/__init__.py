"""From raw clinical releases to cohorts, arrays and batches."""
