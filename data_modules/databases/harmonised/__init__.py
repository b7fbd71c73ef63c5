"""Modalities with the same columns and units in MIMIC-IV and eICU."""
