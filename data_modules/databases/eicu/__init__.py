"""The eICU Collaborative Research Database (eICU-CRD) 2.0."""
