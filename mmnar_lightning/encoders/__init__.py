"""The embed stage: encoders turn the documents and images of a cohort into inputs of the model."""
