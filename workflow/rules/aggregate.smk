rule aggregate:
    input:
        shards=plan.shards(),
        followed=plan.followed(),
    # Tables and mark are kept until the job replaces them, and restored if it fails.
    output:
        tables=update(plan.tables()),
        mark=update(plan.paths.table_set),
        made=plan.paths.aggregated,
    log:
        plan.paths.log("aggregate"),
    benchmark:
        plan.paths.benchmark("aggregate")
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        what=plan.of_cohort(),
    script:
        "../scripts/aggregate.py"
