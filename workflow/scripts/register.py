from cmburden.run import jobs

jobs.supervised(jobs.batch_job, "register", snakemake)  # noqa: F821
