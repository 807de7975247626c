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
        mem_mb=lambda w, attempt: 4000 * (1 if attempt == 1 else 3),
        runtime=lambda w, attempt: 20 * (1 if attempt == 1 else 3),
        restart=lambda w, attempt: int(workflow.is_main_process or attempt > 1),
    params:
        what=lambda w: plan.of_scan("register", w.scan),
    script:
        "../scripts/register.py"
