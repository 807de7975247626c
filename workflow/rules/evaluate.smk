# Run on demand, beside a simulated cohort: the truth lies next to the output folder.
rule evaluate:
    input:
        tables=plan.tables(),
        mark=plan.paths.table_set,
        truth=plan.layout.root.parent / "truth.tsv",
    output:
        plan.paths.root / "evaluation" / "evaluation.json",
    log:
        plan.paths.log("evaluate"),
    script:
        "../scripts/evaluate.py"
