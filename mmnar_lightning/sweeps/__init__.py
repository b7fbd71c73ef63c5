"""Sweeps: trials of one experiment with varied settings, searched by W&B or, without an account, by Optuna."""
