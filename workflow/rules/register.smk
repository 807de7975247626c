rule register:
    input:
        before=plan.paths.record("preprocess", "{scan}"),
    output:
        record=plan.paths.record("register", "{scan}"),
    log:
        plan.paths.log("register", "{scan}"),
    benchmark:
        plan.paths.benchmark("register", "{scan}")
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        what=lambda w: plan.of_scan("register", w.scan),
    script:
        "../scripts/register.py"
