"""Cohort-level cerebral microbleed (CMB) burden from GRE and SWI scans. Research use only."""

__version__ = "0.1.0"

RESEARCH_USE_ONLY = "Research use only: not a medical device, not for diagnosis or treatment."
