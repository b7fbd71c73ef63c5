"""Data in the Medical Event Data Standard (MEDS), versions 0.3 and 0.4, with labels in its label schema."""
