# CMBurden: cohort-level cerebral microbleed burden. All logic is in src/cmburden.
from snakemake.utils import min_version

from cmburden.run.begin import plan_for_snakemake

min_version("9.0")


# Built by envs/apptainer.def; used with --software-deployment-method apptainer.
container: "envs/cmburden.sif"


plan = plan_for_snakemake(config, main=workflow.is_main_process)


wildcard_constraints:
    batch=r"\d+-\d+",
    bucket=r"\d+",


include: "workflow/rules/preprocess.smk"
include: "workflow/rules/register.smk"
include: "workflow/rules/detect.smk"
include: "workflow/rules/verify.smk"
include: "workflow/rules/longitudinal.smk"
include: "workflow/rules/aggregate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/evaluate.smk"


rule all:
    default_target: True
    input:
        plan.targets(),
