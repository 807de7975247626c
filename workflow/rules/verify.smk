rule verify:
    input:
        records=lambda w: flow.records("register", w.bucket),
        candidates=flow.paths.bucket("detect", "{bucket}"),
    output:
        shard=flow.paths.bucket("verify", "{bucket}"),
    log:
        flow.paths.log("verify", "{bucket}"),
    benchmark:
        flow.paths.benchmark("verify", "{bucket}")
    threads: flow.config["threads"]
    resources:
        mem_mb=lambda w, attempt: 6000 * attempt,
        runtime=lambda w, attempt: 120 * attempt,
    params:
        what=lambda w: flow.of_bucket("verify", w.bucket),
    script:
        "../scripts/verify.py"
