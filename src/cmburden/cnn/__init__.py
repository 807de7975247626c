"""The 3D CNN: its grid, its network, and candidates from its output."""
