"""From the tables of a cohort to files that other programs read: CSV, TSV, Stata, REDCap, SVG."""
