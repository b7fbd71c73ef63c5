"""MIMIC-IV 2.2 to 3.1, with MIMIC-IV-Note and MIMIC-CXR-JPG."""
