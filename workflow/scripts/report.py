from cmburden import jobs

jobs.report_job(snakemake)  # noqa: F821
