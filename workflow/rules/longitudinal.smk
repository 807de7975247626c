# A job for each bucket of participants with several sessions; none where nobody has. The mark of
# verify's end is ancient: it changes with any scan. What these participants' scans are
# and what was done to them is the key. It has a job of its own, since Snakemake looks at no
# parameter of a job below another that runs, and does not pass on through an ancient file.
rule people:
    output:
        key=plan.paths.people("{bucket}"),
    log:
        plan.paths.log("people", "{bucket}"),
    localrule: True
    params:
        key=lambda w: plan.key_of_people(w.bucket),
    shell:
        "echo {params.key:q} > {output.key:q} 2> {log:q}"


rule verified:
    input:
        plan.shards_of_people(),
    output:
        mark=plan.paths.verified,
    log:
        plan.paths.log("verified"),
    localrule: True
    shell:
        "touch {output.mark:q} 2> {log:q}"


rule longitudinal:
    input:
        people=plan.paths.people("{bucket}"),
        verified=ancient(plan.paths.verified),
    output:
        tracks=plan.paths.bucket("longitudinal", "{bucket}"),
        sessions=plan.paths.followed("{bucket}"),
    log:
        plan.paths.log("longitudinal", "{bucket}"),
    benchmark:
        plan.paths.benchmark("longitudinal", "{bucket}")
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 4000 * (1 if attempt == 1 else 3),
        runtime=lambda w, attempt: 60 * (1 if attempt == 1 else 3),
        restart=lambda w, attempt: int(workflow.is_main_process or attempt > 1),
    script:
        "../scripts/longitudinal.py"
