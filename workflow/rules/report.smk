rule report:
    input:
        tables=flow.tables(),
    output:
        page=report(
            flow.paths.report,
            category="Cohort",
            caption="../report/cohort.rst",
        ),
    log:
        flow.paths.log("report"),
    benchmark:
        flow.paths.benchmark("report")
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        what=flow.of_report(),
    script:
        "../scripts/report.py"


# Not worth a place in a cluster's queue: it reads one column.
rule check:
    input:
        tables=flow.tables(),
        page=flow.paths.report,
    output:
        flow.paths.checked,
    log:
        flow.paths.log("check"),
    localrule: True
    params:
        limit=flow.config["aggregate"]["max_failed_fraction"],
    script:
        "../scripts/check.py"
