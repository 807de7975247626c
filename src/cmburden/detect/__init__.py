"""Volume in; candidates of the 3D CNN out."""
