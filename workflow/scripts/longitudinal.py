from cmburden.run import jobs

jobs.longitudinal_job(snakemake)  # noqa: F821
