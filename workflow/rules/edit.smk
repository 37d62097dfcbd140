"""From shards to edits: one process and one GPU per lane, the model loaded once.

REQUIRED INPUTS: results/<run>/shards/{category}/lane{lane}.parquet, results/<run>/given.parquet of an editor with a
folder of edits
OUTPUTS: results/<run>/{editor}/edits/{category}/lane{lane}.parquet, results/<run>/{editor}/images/
"""


rule edit_lane:
    """Carry out the instructions of one lane with one editor."""
    input:
        shards=expand(
            "<results>/shards/{category}/lane{{lane}}.parquet", category=CATEGORIES
        ),
        model=lambda wildcards: PARAMS.find_built_model("editor", wildcards.editor),
        given=lambda wildcards: PARAMS.find_given(wildcards.editor),
    output:
        edits=expand(
            "<results>/{{editor}}/edits/{category}/lane{{lane}}.parquet",
            category=CATEGORIES,
        ),
    log:
        "<results>/logs/edit_lane/{editor}/lane{lane}.log",
    benchmark:
        "<results>/benchmarks/edit_lane/{editor}/lane{lane}.tsv"
    priority: 10
    retries: 3  # as DEATHS in lanes/journal.py: then an item that kills its process is given up
    conda:
        lambda wildcards: PARAMS.find_env("editor", wildcards.editor)
    threads: LANE_THREADS
    resources:
        gpu=lambda wildcards: PARAMS.count_gpus("editor", wildcards.editor),
        gpu_manufacturer="nvidia",
    params:
        adapter=lambda wildcards: PARAMS.make_model_flags("editor", wildcards.editor),
        version=lambda wildcards: PARAMS.describe_version("editor", wildcards.editor),
        seed=config["seed"],
        timeout=config["lane_timeout"],
        run_dir=subpath(input[0], ancestor=3),
    shell:
        r"""
        python scripts/gpulease.py -n {resources.gpu} -- python scripts/edit_lane.py \
            --run-dir {params.run_dir:q} --editor {wildcards.editor:q} --lane {wildcards.lane} --seed {params.seed} \
            --timeout {params.timeout} {params.adapter:q} \
            --shards {input.shards:q} --edits {output.edits:q} >{log:q} 2>&1
        """
