from cmburden.run import jobs

jobs.supervised(jobs.bucket_job, "verify", snakemake)  # noqa: F821
