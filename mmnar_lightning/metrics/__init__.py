"""Pure functions, their intervals, and the metric that keeps state across batches and ranks."""
