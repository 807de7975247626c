rule preprocess:
    output:
        record=plan.paths.record("preprocess", "{scan}"),
    log:
        plan.paths.log("preprocess", "{scan}"),
    benchmark:
        plan.paths.benchmark("preprocess", "{scan}")
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        what=lambda w: plan.of_scan("preprocess", w.scan),
    script:
        "../scripts/preprocess.py"
