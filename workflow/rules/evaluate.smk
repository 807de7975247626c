# Run on demand, beside a simulated cohort: the truth lies next to the output folder.
rule evaluate:
    input:
        tables=flow.tables(),
        truth=flow.layout.root.parent / "truth.tsv",
    output:
        flow.paths.root / "evaluation" / "evaluation.json",
    log:
        flow.paths.log("evaluate"),
    script:
        "../scripts/evaluate.py"
