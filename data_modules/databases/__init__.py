"""The databases from which cohorts are built: one package each, with the same modules."""
