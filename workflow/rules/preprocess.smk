rule preprocess:
    output:
        record=flow.paths.record("preprocess", "{scan}"),
    log:
        flow.paths.log("preprocess", "{scan}"),
    benchmark:
        flow.paths.benchmark("preprocess", "{scan}")
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        what=lambda w: flow.of_scan("preprocess", w.scan),
    script:
        "../scripts/preprocess.py"
