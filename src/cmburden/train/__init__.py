"""Training: slabs, simulated or of a user's own labels -> networks -> released models."""
