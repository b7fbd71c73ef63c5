"""The databases that cohorts are built from: one folder each, with the same rooms."""
