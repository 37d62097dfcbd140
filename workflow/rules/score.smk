"""From edits to one table of scores: one process and one GPU per lane, the judge loaded once for all editors.

REQUIRED INPUTS: results/<run>/{editor}/edits/{category}/lane{lane}.parquet, results/<run>/plan.parquet
OUTPUTS: results/<run>/{editor}/scores/{judge}/{category}/lane{lane}.parquet, results/<run>/scores.parquet,
results/<run>/{editor}/controls/{judge}/lane{lane}.parquet
"""


rule score_lane:
    """Judge the edits of one lane by all editors with one judge, as soon as they are there."""
    input:
        edits=expand(
            "<results>/{editor}/edits/{category}/lane{{lane}}.parquet",
            editor=EDITORS,
            category=CATEGORIES,
        ),
        model=lambda wildcards: PARAMS.find_built_model("judge", wildcards.judge),
        protocol=lambda wildcards: PARAMS.find_protocol(wildcards.judge),
        plan="<results>/plan.parquet",
    output:
        scores=expand(
            "<results>/{editor}/scores/{{judge}}/{category}/lane{{lane}}.parquet",
            editor=EDITORS,
            category=CATEGORIES,
        ),
        controls=expand(
            "<results>/{editor}/controls/{{judge}}/lane{{lane}}.parquet",
            editor=EDITORS,
        ),
    log:
        "<results>/logs/score_lane/{judge}/lane{lane}.log",
    benchmark:
        "<results>/benchmarks/score_lane/{judge}/lane{lane}.tsv"
    priority: 5
    retries: 3  # as in edit_lane
    conda:
        lambda wildcards: PARAMS.find_env("judge", wildcards.judge)
    threads: LANE_THREADS
    resources:
        gpu=lambda wildcards: PARAMS.count_gpus("judge", wildcards.judge),
        gpu_manufacturer="nvidia",
    params:
        adapter=lambda wildcards: PARAMS.make_model_flags("judge", wildcards.judge),
        version=lambda wildcards: PARAMS.describe_version("judge", wildcards.judge),
        timeout=config["lane_timeout"],
        run_dir=subpath(input.plan, parent=True),
        editors=EDITORS,
        categories=CATEGORIES,
        tables=[],
    shell:
        r"""
        python scripts/gpulease.py -n {resources.gpu} -- python scripts/score_lane.py \
            --run-dir {params.run_dir:q} --editors {params.editors:q} --judge {wildcards.judge:q} \
            --lane {wildcards.lane} --categories {params.categories:q} --timeout {params.timeout} \
            {params.adapter:q} --protocol {input.protocol:q} --plan {input.plan:q} {params.tables:q} >{log:q} 2>&1
        """


use rule score_lane as score_edited with:
    """Judge what is edited of one lane, though other editors lack edits there; its answers go to the journals alone.

    Edits are no inputs, because Snakemake would edit again where they are out of date.
    """
    input:
        model=lambda wildcards: PARAMS.find_built_model("judge", wildcards.judge),
        protocol=lambda wildcards: PARAMS.find_protocol(wildcards.judge),
        plan="<results>/plan.parquet",
    output:
        temp(touch("<results>/partial_report/scored/{judge}/lane{lane}")),
    log:
        "<results>/logs/score_edited/{judge}/lane{lane}.log",
    benchmark:
        "<results>/benchmarks/score_edited/{judge}/lane{lane}.tsv"
    params:
        adapter=lambda wildcards: PARAMS.make_model_flags("judge", wildcards.judge),
        version=lambda wildcards: PARAMS.describe_version("judge", wildcards.judge),
        timeout=config["lane_timeout"],
        run_dir=subpath(input.plan, parent=True),
        editors=lambda wildcards: RUN.find_edited(wildcards.lane),
        categories=CATEGORIES,
        tables=["--journal-only"],


rule merge_scores:
    """Merge the scores of all lanes into one table; refuse lost or doubled rows."""
    input:
        item_table="<results>/items.parquet",
        scores=expand(
            "<results>/{editor}/scores/{judge}/{category}/lane{lane}.parquet",
            editor=EDITORS,
            judge=JUDGES,
            category=CATEGORIES,
            lane=LANES,
        ),
    output:
        scores="<results>/scores.parquet",
    log:
        "<results>/logs/merge_scores.log",
    localrule: True
    conda:
        "../../envs/workflow.yaml"
    params:
        run_dir=subpath(input.item_table, parent=True),
        editors=EDITORS,
        judges=JUDGES + PARAMS.make_panel_flags(),
        categories=CATEGORIES,
        lanes=len(LANES),
    shell:
        r"""
        python scripts/merge_scores.py --items {input.item_table:q} --run-dir {params.run_dir:q} \
            --editors {params.editors:q} --judges {params.judges:q} --categories {params.categories:q} \
            --lanes {params.lanes} --out {output.scores:q} >{log:q} 2>&1
        """
