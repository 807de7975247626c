"""What the pipeline costs in time, memory and disk; left out of the wheel."""
