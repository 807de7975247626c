from cmburden.run import jobs

jobs.scan_job("register", snakemake)  # noqa: F821
