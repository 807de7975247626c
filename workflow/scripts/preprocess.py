from cmburden.run import jobs

jobs.supervised(jobs.scan_job, "preprocess", snakemake)  # noqa: F821
