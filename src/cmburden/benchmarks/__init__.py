"""Time, memory and disk of the pipeline, measured. No room of the product imports this one."""
