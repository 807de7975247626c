rule preprocess:
    output:
        record=plan.paths.record("preprocess", "{scan}"),
    log:
        plan.paths.log("preprocess", "{scan}"),
    benchmark:
        plan.paths.benchmark("preprocess", "{scan}")
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 4000 * (1 if attempt == 1 else 3),
        runtime=lambda w, attempt: 20 * (1 if attempt == 1 else 3),
        restart=lambda w, attempt: int(workflow.is_main_process or attempt > 1),
    params:
        what=lambda w: plan.of_scan("preprocess", w.scan),
    script:
        "../scripts/preprocess.py"
