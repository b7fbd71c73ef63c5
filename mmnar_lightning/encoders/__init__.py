"""The embed stage: documents and images of a cohort become what the model reads, by encoders."""
