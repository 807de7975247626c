"""One volume: its file, its geometry, its brain, views of a place, pictures of it."""
