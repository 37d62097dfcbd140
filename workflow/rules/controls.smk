"""Controls: questions to the judges with known answers.

REQUIRED INPUTS: results/<run>/items.parquet, results/<run>/{editor}/controls/{judge}/lane{lane}.parquet (by score_lane)
OUTPUTS: results/<run>/plan.parquet, results/<run>/controls.parquet
"""


rule draw_canary:
    """Draw the canary set: simple edits that every run has judged."""
    input:
        listed="resources/canary/items.jsonl",
        photos="<results>/built/photos",
    output:
        built=touch("<results>/built/canary"),
    log:
        "<results>/logs/draw_canary.log",
    localrule: True
    conda:
        "../../envs/workflow.yaml"
    shell:
        r"""
        python scripts/draw_canary.py --items {input.listed:q} --photos resources/demo/photos \
            --out resources/canary/pictures >{log:q} 2>&1
        """


rule plan_controls:
    """Choose the controls, the same for every judge."""
    input:
        item_table="<results>/items.parquet",
        canary=(
            ["resources/canary/items.jsonl", "<results>/built/canary"]
            if config["controls"]["canary"]
            else []
        ),
    output:
        plan="<results>/plan.parquet",
    log:
        "<results>/logs/plan_controls.log",
    localrule: True
    conda:
        "../../envs/workflow.yaml"
    params:
        run_dir=subpath(input.item_table, parent=True),
        editors=EDITORS,
        share=config["controls"]["share"],
        least=config["controls"]["least"],
        repeats=config["controls"]["repeats"],
        seed=config["seed"],
        canary=(
            ["--canary", "resources/canary/items.jsonl"]
            if config["controls"]["canary"]
            else []
        ),
    shell:
        r"""
        python scripts/plan_controls.py --items {input.item_table:q} --editors {params.editors:q} \
            --share {params.share} --least {params.least} --repeats {params.repeats} --seed {params.seed} \
            {params.canary:q} --run-dir {params.run_dir:q} --out {output.plan:q} >{log:q} 2>&1
        """


rule merge_controls:
    """Merge the controls of all lanes into one table; refuse lost or doubled rows."""
    input:
        plan="<results>/plan.parquet",
        controls=expand(
            "<results>/{editor}/controls/{judge}/lane{lane}.parquet",
            editor=EDITORS,
            judge=JUDGES,
            lane=LANES,
        ),
    output:
        controls="<results>/controls.parquet",
    log:
        "<results>/logs/merge_controls.log",
    localrule: True
    conda:
        "../../envs/workflow.yaml"
    params:
        run_dir=subpath(input.plan, parent=True),
        editors=EDITORS,
        judges=JUDGES + PARAMS.make_panel_flags(),
        lanes=len(LANES),
    shell:
        r"""
        python scripts/merge_controls.py --run-dir {params.run_dir:q} --editors {params.editors:q} \
            --judges {params.judges:q} --lanes {params.lanes} --plan {input.plan:q} --out {output.controls:q} >{log:q} 2>&1
        """
