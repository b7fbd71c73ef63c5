"""Prediction, rectification, diagnostics and scores: pure functions, independent of folders and configuration."""
