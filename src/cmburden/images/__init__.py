"""One volume: read whole, its geometry, its brain, views of a place, pictures."""
