"""Training of the networks on simulated scans, or on a user's own labels."""
