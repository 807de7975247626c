from cmburden.run import jobs

jobs.supervised(jobs.scan_job, "register", snakemake)  # noqa: F821
