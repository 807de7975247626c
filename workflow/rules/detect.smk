rule detect:
    input:
        records=lambda w: flow.records("preprocess", w.bucket),
    output:
        shard=flow.paths.bucket("detect", "{bucket}"),
    log:
        flow.paths.log("detect", "{bucket}"),
    benchmark:
        flow.paths.benchmark("detect", "{bucket}")
    threads: flow.config["threads"]
    resources:
        mem_mb=lambda w, attempt: 6000 * attempt,
        runtime=lambda w, attempt: 120 * attempt,
    params:
        what=lambda w: flow.of_bucket("detect", w.bucket),
    script:
        "../scripts/detect.py"
