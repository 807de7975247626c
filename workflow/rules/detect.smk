rule detect:
    input:
        batches=lambda w: plan.marks("preprocess", w.bucket),
    output:
        shard=plan.paths.bucket("detect", "{bucket}"),
    log:
        plan.paths.log("detect", "{bucket}"),
    benchmark:
        plan.paths.benchmark("detect", "{bucket}")
    threads: plan.config["threads"]
    resources:
        mem_mb=lambda w, threads, attempt: (
            plan.memory_mb(threads) * (1 if attempt == 1 else 3)
        ),
        runtime=lambda w, attempt: 120 * (1 if attempt == 1 else 3),
        restart=lambda w, attempt: int(workflow.is_main_process or attempt > 1),
    params:
        what=lambda w: plan.of_bucket("detect", w.bucket),
    script:
        "../scripts/detect.py"
