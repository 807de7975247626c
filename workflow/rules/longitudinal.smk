# A job for each bucket of participants with several sessions; none where nobody has. The shards of
# verify are ancient: each changes with any scan of its bucket. What these participants' scans are
# and what was done to them is the key. It has a job of its own, since Snakemake looks at no
# parameter of a job below another that runs, and does not pass on through an ancient file.
rule people:
    output:
        key=flow.paths.people("{bucket}"),
    log:
        flow.paths.log("people", "{bucket}"),
    localrule: True
    params:
        key=lambda w: flow.key_of_people(w.bucket),
    shell:
        "echo {params.key} > {output.key} 2> {log}"


rule longitudinal:
    input:
        people=flow.paths.people("{bucket}"),
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
    script:
        "../scripts/longitudinal.py"
