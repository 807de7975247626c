"""Command line, plan for Snakemake, jobs, status, pilot, demo."""
