from cmburden.run import jobs

jobs.supervised(jobs.longitudinal_job, "longitudinal", snakemake)  # noqa: F821
