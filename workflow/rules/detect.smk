rule detect:
    input:
        records=lambda w: plan.records("preprocess", w.bucket),
    output:
        shard=plan.paths.bucket("detect", "{bucket}"),
    log:
        plan.paths.log("detect", "{bucket}"),
    benchmark:
        plan.paths.benchmark("detect", "{bucket}")
    threads: plan.config["threads"]
    resources:
        mem_mb=lambda w, attempt: 6000 * attempt,
        runtime=lambda w, attempt: 120 * attempt,
    params:
        what=lambda w: plan.of_bucket("detect", w.bucket),
    script:
        "../scripts/detect.py"
