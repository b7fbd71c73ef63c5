"""Callbacks: metrics per pattern, checkpoints, preemption, seeds."""
