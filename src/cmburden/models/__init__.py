"""A model's folder: contract, weights, device."""
