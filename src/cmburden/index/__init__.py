"""BIDS tree in; manifest.parquet and rejected.parquet out."""
