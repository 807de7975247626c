from cmburden.run import jobs

jobs.aggregate_job(snakemake)  # noqa: F821
