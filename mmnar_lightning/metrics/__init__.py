"""Metrics as pure functions, their confidence intervals, and the metric with state across batches and ranks."""
