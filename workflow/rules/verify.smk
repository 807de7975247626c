rule verify:
    input:
        batches=lambda w: plan.marks("register", w.bucket),
        candidates=plan.paths.bucket("detect", "{bucket}"),
    output:
        shard=plan.paths.bucket("verify", "{bucket}"),
    log:
        plan.paths.log("verify", "{bucket}"),
    benchmark:
        plan.paths.benchmark("verify", "{bucket}")
    threads: plan.config["threads"]
    resources:
        mem_mb=lambda w, threads, attempt: (
            plan.memory_mb(threads) * (1 if attempt == 1 else 3)
        ),
        runtime=lambda w, attempt: 120 * (1 if attempt == 1 else 3),
        restart=lambda w, attempt: int(workflow.is_main_process or attempt > 1),
    params:
        what=lambda w: plan.of_bucket("verify", w.bucket),
    script:
        "../scripts/verify.py"
