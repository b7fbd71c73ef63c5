"""The tables of a simulated MIMIC-IV release."""
