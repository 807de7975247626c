from cmburden import jobs

jobs.evaluate_job(snakemake)  # noqa: F821
