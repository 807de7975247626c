rule aggregate:
    input:
        shards=plan.shards(),
        followed=plan.followed(),
    output:
        tables=plan.tables(),
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
