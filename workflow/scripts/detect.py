from cmburden.run import jobs

jobs.supervised(jobs.bucket_job, "detect", snakemake)  # noqa: F821
