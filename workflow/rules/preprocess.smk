rule preprocess:
    input:
        images=lambda w: ancient(flow.images(w.scan)),
    output:
        record=flow.layout.record("preprocess", "{scan}"),
    log:
        flow.layout.log("preprocess", "{scan}"),
    benchmark:
        flow.layout.benchmark("preprocess", "{scan}")
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        what=lambda w: flow.of_scan("preprocess", w.scan),
    script:
        "../scripts/preprocess.py"
