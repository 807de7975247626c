"""Scans of a finished run -> copies with inserted lesions -> sensitivity for them."""
