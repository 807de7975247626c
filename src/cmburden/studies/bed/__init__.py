"""A test bed apart: shifted domains with truth, by a renderer that no network was trained on."""
