"""Charts of the report, a module a kind: ``select`` takes rows of tables, ``draw`` a figure."""
