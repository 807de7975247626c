rule register:
    input:
        before=plan.paths.batch("preprocess", "{batch}"),
    output:
        mark=plan.paths.batch("register", "{batch}"),
    log:
        plan.paths.log("register", "batch-{batch}"),
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 4000 * (1 if attempt == 1 else 3),
        runtime=lambda w, attempt: plan.minutes(w.batch) * (1 if attempt == 1 else 3),
        restart=lambda w, attempt: int(workflow.is_main_process or attempt > 1),
    params:
        what=lambda w: plan.of_batch("register", w.batch),
    script:
        "../scripts/register.py"
