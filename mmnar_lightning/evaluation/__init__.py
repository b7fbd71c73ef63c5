"""Predict, rectify, diagnose, score: pure functions that know no folder and no configuration."""
