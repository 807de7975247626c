"""Scan in; volume of median 1 and brain mask out."""
