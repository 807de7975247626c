from cmburden.run import jobs

jobs.check_job(snakemake)  # noqa: F821
