rule aggregate:
    input:
        shards=flow.shards(),
        records=flow.all_records(),
        followed=flow.followed(),
    output:
        tables=flow.tables(),
    log:
        flow.paths.log("aggregate"),
    benchmark:
        flow.paths.benchmark("aggregate")
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        what=flow.of_cohort(),
    script:
        "../scripts/aggregate.py"
