"""Records and shards in; cohort/*.parquet out (stage aggregate)."""
