from cmburden.run import jobs

jobs.supervised(jobs.batch_job, "preprocess", snakemake)  # noqa: F821
