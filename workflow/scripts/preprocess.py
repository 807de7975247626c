from cmburden.run import jobs

jobs.scan_job("preprocess", snakemake)  # noqa: F821
