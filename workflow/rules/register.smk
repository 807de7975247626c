rule register:
    input:
        before=flow.paths.record("preprocess", "{scan}"),
    output:
        record=flow.paths.record("register", "{scan}"),
    log:
        flow.paths.log("register", "{scan}"),
    benchmark:
        flow.paths.benchmark("register", "{scan}")
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        what=lambda w: flow.of_scan("register", w.scan),
    script:
        "../scripts/register.py"
