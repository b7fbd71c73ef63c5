"""Sweeps: trials of one experiment with other settings, searched by W&B or, with no account, by Optuna."""
