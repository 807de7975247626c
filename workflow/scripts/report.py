from cmburden.run import jobs

jobs.report_job(snakemake)  # noqa: F821
