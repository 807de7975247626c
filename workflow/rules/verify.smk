rule verify:
    input:
        records=lambda w: plan.records("register", w.bucket),
        candidates=plan.paths.bucket("detect", "{bucket}"),
    output:
        shard=plan.paths.bucket("verify", "{bucket}"),
    log:
        plan.paths.log("verify", "{bucket}"),
    benchmark:
        plan.paths.benchmark("verify", "{bucket}")
    threads: plan.config["threads"]
    resources:
        mem_mb=lambda w, attempt: 6000 * attempt,
        runtime=lambda w, attempt: 120 * attempt,
    params:
        what=lambda w: plan.of_bucket("verify", w.bucket),
    script:
        "../scripts/verify.py"
