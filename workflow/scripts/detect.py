from cmburden.run import jobs

jobs.bucket_job("detect", snakemake)  # noqa: F821
