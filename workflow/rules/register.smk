rule register:
    input:
        images=lambda w: ancient(flow.images(w.scan)),
        before=flow.layout.record("preprocess", "{scan}"),
    output:
        record=flow.layout.record("register", "{scan}"),
    log:
        flow.layout.log("register", "{scan}"),
    benchmark:
        flow.layout.benchmark("register", "{scan}")
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        what=lambda w: flow.of_scan("register", w.scan),
    script:
        "../scripts/register.py"
