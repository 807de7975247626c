from cmburden import jobs

jobs.aggregate_job(snakemake)  # noqa: F821
