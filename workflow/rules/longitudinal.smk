# A job for each bucket of participants with several sessions; none where nobody has. The shards of
# verify are ancient: each changes with any scan of its bucket. What these participants' scans are
# and what was done to them is in the parameter.
rule longitudinal:
    input:
        shards=ancient(lambda w: flow.shards_of_people(w.bucket)),
    output:
        tracks=flow.paths.bucket("longitudinal", "{bucket}"),
        sessions=flow.paths.followed("{bucket}"),
    log:
        flow.paths.log("longitudinal", "{bucket}"),
    benchmark:
        flow.paths.benchmark("longitudinal", "{bucket}")
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=lambda w, attempt: 60 * attempt,
    params:
        what=lambda w: flow.of_people(w.bucket),
    script:
        "../scripts/longitudinal.py"
