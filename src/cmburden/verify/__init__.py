"""Candidates in; lesions out (YOLO, shape, place)."""
