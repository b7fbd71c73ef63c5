"""Modalities that MIMIC-IV and eICU record alike, in the same columns and units."""
