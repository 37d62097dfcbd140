"""From scores to a report.

REQUIRED INPUTS: results/<run>/scores.parquet, items.parquet, controls.parquet, preservation.parquet, pairs.parquet of a
run with an arena, people's ratings and votes if the config names them, and the lanes' heartbeats in
results/<run>/heartbeats/. Heartbeats are outputs of no rule, so that a killed lane keeps its own.
OUTPUTS: results/<run>/costs.parquet, results/<run>/report/report.html, report.md, report.json
"""


rule merge_costs:
    """Sum the costs of all lanes; again whenever a lane has new scores."""
    input:
        scores="<results>/scores.parquet",
        pairs="<results>/pairs.parquet" if COMPARING else [],
    output:
        costs="<results>/costs.parquet",
    log:
        "<results>/logs/merge_costs.log",
    localrule: True
    conda:
        "../../envs/workflow.yaml"
    params:
        run_dir=subpath(input.scores, parent=True),
        lanes=[len(LANES), "--with-pairs"] if COMPARING else len(LANES),
    shell:
        r"""
        python scripts/merge_costs.py --run-dir {params.run_dir:q} --scores {input.scores:q} --lanes {params.lanes} \
            --out {output.costs:q} >{log:q} 2>&1
        """


rule make_report:
    """Write the report about the scores."""
    input:
        item_table="<results>/items.parquet",
        scores="<results>/scores.parquet",
        controls="<results>/controls.parquet",
        costs="<results>/costs.parquet",
        preservation="<results>/preservation.parquet" if config["preservation"] else [],
        pairs="<results>/pairs.parquet" if COMPARING else [],
        votes=config["votes"] or [],
        ratings=config["ratings"] or [],
    output:
        html="<results>/report/report.html",
        markdown="<results>/report/report.md",
        json="<results>/report/report.json",
    log:
        "<results>/logs/make_report.log",
    localrule: True
    conda:
        "../../envs/report.yaml"
    params:
        run_dir=subpath(input.item_table, parent=True),
        out_dir=subpath(output.html, parent=True),
        run=config["run"],  # which the report names
        editors=EDITORS,
        judges=JUDGES + list(config["panels"]),
        categories=CATEGORIES,
        baseline=(
            ["--baseline", config["report"]["baseline"]]
            if config["report"]["baseline"]
            else []
        ),
        preservation=PARAMS.make_report_flags(),  # and all that a run may lack: a new name would run finished jobs again
        language=config["report"]["language"],
        min_coverage=config["report"]["min_coverage"],
    shell:
        r"""
        python scripts/make_report.py --items {input.item_table:q} --scores {input.scores:q} --run-dir {params.run_dir:q} \
            --controls {input.controls:q} --costs {input.costs:q} {params.preservation:q} --language {params.language} \
            --expected-editors {params.editors:q} --expected-judges {params.judges:q} \
            --categories {params.categories:q} {params.baseline:q} --min-coverage {params.min_coverage} --out-dir {params.out_dir:q} \
            >{log:q} 2>&1
        """


rule partial_report:
    """Report on the finished part and list what is missing, even while a workflow runs."""
    log:
        "<results>/logs/partial_report.log",
    localrule: True
    conda:
        "../../envs/report.yaml"
    params:
        run_dir=RESULTS,
        config=json.dumps(config, ensure_ascii=False),
        editors=EDITORS,
        judges=JUDGES + list(config["panels"]),
        categories=CATEGORIES,
        lanes=len(LANES),
        baseline=(
            ["--baseline", config["report"]["baseline"]]
            if config["report"]["baseline"]
            else []
        ),
        language=config["report"]["language"],
        min_coverage=config["report"]["min_coverage"],
    shell:
        r"""
        exec >{log:q} 2>&1
        python scripts/collect_scores.py --items {params.run_dir:q}/items.parquet --run-dir {params.run_dir:q} \
            --config {params.config:q} --plan {params.run_dir:q}/plan.parquet \
            --out {params.run_dir:q}/partial_report/scores.parquet \
            --controls {params.run_dir:q}/partial_report/controls.parquet
        python scripts/merge_costs.py --run-dir {params.run_dir:q} --lanes {params.lanes} \
            --scores {params.run_dir:q}/partial_report/scores.parquet --out {params.run_dir:q}/partial_report/costs.parquet
        python scripts/make_report.py --items {params.run_dir:q}/items.parquet \
            --scores {params.run_dir:q}/partial_report/scores.parquet --run-dir {params.run_dir:q} \
            --controls {params.run_dir:q}/partial_report/controls.parquet --language {params.language} \
            --costs {params.run_dir:q}/partial_report/costs.parquet \
            --expected-editors {params.editors:q} --expected-judges {params.judges:q} \
            --categories {params.categories:q} {params.baseline:q} --min-coverage {params.min_coverage} \
            --out-dir {params.run_dir:q}/partial_report
        """


use rule partial_report as partial_scores with:
    """Judge what is edited so far, then report on it: the others' scores when an editor is slow or fails."""
    input:
        lambda wildcards: expand(
            f"{RESULTS}/partial_report/scored/{{judge}}/lane{{lane}}",
            judge=JUDGES,
            lane=[lane for lane in LANES if RUN.find_edited(lane)],
        ),
    log:
        "<results>/logs/partial_scores.log",
    localrule: True  # Snakemake does not inherit it
