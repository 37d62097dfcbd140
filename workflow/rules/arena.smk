"""The arena: judges compare the edits of two editors, in rounds; each round is planned from the answers of those before.

REQUIRED INPUTS: results/<run>/items.parquet, results/<run>/{editor}/edits/{category}/lane{lane}.parquet
OUTPUTS: results/<run>/arena/{judge}/round{round}/plan.parquet, results/<run>/arena/{judge}/round{round}/lane{lane}.parquet,
results/<run>/pairs.parquet
"""

if COMPARING:

    rule plan_pairs:
        """Choose the pairs of edits of one judge and round: none about editors that are separated."""
        input:
            item_table="<results>/items.parquet",
            edits=expand(
                "<results>/{editor}/edits/{category}/lane{lane}.parquet",
                editor=EDITORS,
                category=CATEGORIES,
                lane=LANES,
            ),
            answers=lambda wildcards: expand(
                f"{RESULTS}/arena/{{judge}}/round{{round}}/lane{{lane}}.parquet",
                judge=wildcards.judge,
                round=range(1, int(wildcards.round)),
                lane=LANES,
            ),
        output:
            plan="<results>/arena/{judge}/round{round}/plan.parquet",
        log:
            "<results>/logs/plan_pairs/{judge}/round{round}.log",
        localrule: True
        conda:
            "../../envs/workflow.yaml"
        params:
            run_dir=subpath(input.item_table, parent=True),
            editors=EDITORS,
            categories=CATEGORIES,
            lanes=len(LANES),
            arena=PARAMS.make_arena_flags(),
        shell:
            r"""
            python scripts/plan_pairs.py --items {input.item_table:q} --run-dir {params.run_dir:q} \
                --editors {params.editors:q} --categories {params.categories:q} --lanes {params.lanes} \
                --judge {wildcards.judge:q} --round {wildcards.round} {params.arena:q} --out {output.plan:q} >{log:q} 2>&1
            """

    rule compare_lane:
        """Compare the pairs of one lane and round with one judge; without any it loads no model."""
        input:
            plan="<results>/arena/{judge}/round{round}/plan.parquet",
            model=lambda wildcards: PARAMS.find_built_model("judge", wildcards.judge),
            protocol=lambda wildcards: PARAMS.find_arena_protocol(),
        output:
            answers="<results>/arena/{judge}/round{round}/lane{lane}.parquet",
        log:
            "<results>/logs/compare_lane/{judge}/round{round}/lane{lane}.log",
        benchmark:
            "<results>/benchmarks/compare_lane/{judge}/round{round}/lane{lane}.tsv"
        retries: 3  # as in edit_lane
        conda:
            lambda wildcards: PARAMS.find_env("judge", wildcards.judge)
        threads: LANE_THREADS
        resources:
            gpu=lambda wildcards: PARAMS.count_gpus("judge", wildcards.judge),
            gpu_manufacturer="nvidia",
        params:
            adapter=lambda wildcards: PARAMS.make_model_flags("judge", wildcards.judge),
            version=lambda wildcards: PARAMS.describe_arena_version(wildcards.judge),
            timeout=config["lane_timeout"],
            run_dir=subpath(input.plan, ancestor=4),
            lanes=len(LANES),
        shell:
            r"""
            python scripts/gpulease.py -n {resources.gpu} -- python scripts/compare_lane.py \
                --run-dir {params.run_dir:q} --judge {wildcards.judge:q} --lane {wildcards.lane} --lanes {params.lanes} \
                --timeout {params.timeout} {params.adapter:q} --protocol {input.protocol:q} --plan {input.plan:q} \
                --out {output.answers:q} >{log:q} 2>&1
            """

    rule merge_pairs:
        """Merge the answers of all judges, rounds and lanes into one table; refuse lost or doubled rows."""
        input:
            item_table="<results>/items.parquet",
            plans=expand(
                "<results>/arena/{judge}/round{round}/plan.parquet",
                judge=COMPARING,
                round=ROUNDS,
            ),
            answers=expand(
                "<results>/arena/{judge}/round{round}/lane{lane}.parquet",
                judge=COMPARING,
                round=ROUNDS,
                lane=LANES,
            ),
        output:
            pairs="<results>/pairs.parquet",
        log:
            "<results>/logs/merge_pairs.log",
        localrule: True
        conda:
            "../../envs/workflow.yaml"
        params:
            run_dir=subpath(input.item_table, parent=True),
            editors=EDITORS,
            judges=COMPARING,
            rounds=len(ROUNDS),
            lanes=len(LANES),
        shell:
            r"""
            python scripts/merge_pairs.py --items {input.item_table:q} --run-dir {params.run_dir:q} \
                --editors {params.editors:q} --judges {params.judges:q} --rounds {params.rounds} --lanes {params.lanes} \
                --out {output.pairs:q} >{log:q} 2>&1
            """
