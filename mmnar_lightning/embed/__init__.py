"""The embed stage: documents and films of a cohort become what the model reads, by encoders."""
