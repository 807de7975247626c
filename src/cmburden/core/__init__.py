"""The ground: scan, outcome, files, keys, paths, stages, contracts of tables, configuration."""
