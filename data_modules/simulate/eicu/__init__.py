"""The tables of a simulated eICU release."""
