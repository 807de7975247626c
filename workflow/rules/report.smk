rule report:
    input:
        tables=plan.tables(),
        mark=plan.paths.table_set,
        made=plan.paths.aggregated,
    output:
        page=update(
            report(
                plan.paths.report,
                category="Cohort",
                caption="../report/cohort.rst",
            )
        ),
    log:
        plan.paths.log("report"),
    benchmark:
        plan.paths.benchmark("report")
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        what=plan.of_report(),
    script:
        "../scripts/report.py"


# Not worth a place in a cluster's queue: it reads one column.
rule check:
    input:
        tables=plan.tables(),
        mark=plan.paths.table_set,
        made=plan.paths.aggregated,
        page=plan.paths.report,
    output:
        plan.paths.checked,
    log:
        plan.paths.log("check"),
    localrule: True
    params:
        limit=plan.config["aggregate"]["max_failed_fraction"],
    script:
        "../scripts/check.py"
