"""Lesions of a participant's sessions in; tracks out."""
