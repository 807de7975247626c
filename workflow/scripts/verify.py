from cmburden.run import jobs

jobs.bucket_job("verify", snakemake)  # noqa: F821
