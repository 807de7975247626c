from cmburden.run import jobs

jobs.evaluate_job(snakemake)  # noqa: F821
