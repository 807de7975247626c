"""Candidates of a run are shown to a reader in the browser; the reader's decisions come out."""
