"""What happens around training: metrics per pattern, checkpoints, loggers."""
