"""Scans of a finished run without labels -> models adapted to them, checked on other people."""
