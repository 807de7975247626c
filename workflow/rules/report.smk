rule report:
    input:
        tables=flow.tables(),
    output:
        page=report(
            flow.layout.report,
            category="Cohort",
            caption="../report/cohort.rst",
        ),
    log:
        flow.layout.log("report"),
    benchmark:
        flow.layout.benchmark("report")
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
        page=flow.layout.report,
    output:
        flow.layout.checked,
    log:
        flow.layout.log("check"),
    localrule: True
    params:
        limit=flow.config["aggregate"]["max_failed_fraction"],
    script:
        "../scripts/check.py"
