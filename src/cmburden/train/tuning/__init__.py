"""Tunes the networks on labelled scans of a run, and measures that on people they have not seen."""
