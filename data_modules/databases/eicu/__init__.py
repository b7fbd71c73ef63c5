"""eICU-CRD 2.0."""
