"""From a dataset file to shards.

REQUIRED INPUTS: the dataset file of the config
Photos and tiny models lie in resources/, where runs share them; their rules leave a mark in results/<run>/built/.
OUTPUTS: results/<run>/items.parquet, results/<run>/given.parquet if an editor has a folder of edits,
results/<run>/sources/, results/<run>/shards/{category}/lane{lane}.parquet
"""

if LISTS_TO_COPY:  # not in the checkout itself, where they lie

    rule copy_list:
        """Copy a list of the checkout to the place where its images will be."""
        input:
            listed=lambda wildcards: f"{CHECKOUT}/resources/{wildcards.name}/items.jsonl",
        output:
            listed=update("resources/{name}/items.jsonl"),  # never deleted: another run may read it
        log:
            "<results>/logs/copy_list/{name}.log",
        wildcard_constraints:
            name="|".join(LISTS_TO_COPY),
        localrule: True
        conda:
            "../../envs/workflow.yaml"
        shell:
            "(cp {input.listed:q} {output.listed:q}.$$ && mv {output.listed:q}.$$ {output.listed:q}) 2>{log:q}"


rule extract_demo_photos:
    """Copy the demo's photos out of the installed scikit-image package."""
    output:
        built=touch("<results>/built/photos"),
    log:
        "<results>/logs/extract_demo_photos.log",
    localrule: True
    conda:
        "../../envs/workflow.yaml"
    shell:
        "python scripts/extract_demo_photos.py --out resources/demo/photos >{log:q} 2>&1"


rule build_tiny_model:
    """Build a tiny checkpoint with random weights, of a real model class."""
    output:
        built=touch("<results>/built/tiny-{kind}"),
    log:
        "<results>/logs/build_tiny_model/{kind}.log",
    localrule: True
    conda:
        "../../envs/edit.yaml"
    shell:
        r"""
        python scripts/build_tiny_model.py --kind {wildcards.kind:q} \
            --out resources/models/tiny-{wildcards.kind:q} >{log:q} 2>&1
        """


rule prepare_items:
    """Read the dataset: one row per item, and unchanged copies of the source images."""
    input:
        dataset=config["dataset"]["path"],
        photos=(
            "<results>/built/photos"
            if config["dataset"]["path"].startswith("resources/demo/")
            else []
        ),
    output:
        item_table="<results>/items.parquet",
        given=PARAMS.find_given(),
    log:
        "<results>/logs/prepare_items.log",
    benchmark:
        "<results>/benchmarks/prepare_items.tsv"
    localrule: True
    conda:
        "../../envs/workflow.yaml"
    params:
        dataset=config["dataset"],
        content=lambda wildcards: PARAMS.hash_dataset(),
        edited_dir=PARAMS.make_dataset_flags(),  # a new name would run finished jobs again
        run_dir=subpath(output.item_table, parent=True),
    shell:
        r"""
        python scripts/prepare_items.py --dataset {input.dataset:q} --format {params.dataset[format]:q} \
            --language {params.dataset[language]:q} --categories {params.dataset[categories]:q} \
            {params.edited_dir:q} --run-dir {params.run_dir:q} --out {output.item_table:q} >{log:q} 2>&1
        """


rule split_lanes:
    """Split the items into lanes of about equal cost."""
    input:
        item_table="<results>/items.parquet",
    output:
        shards=expand(
            "<results>/shards/{category}/lane{lane}.parquet",
            category=CATEGORIES,
            lane=LANES,
        ),
    log:
        "<results>/logs/split_lanes.log",
    localrule: True
    conda:
        "../../envs/workflow.yaml"
    params:
        categories=CATEGORIES,
        lanes=len(LANES),
        shards=subpath(output[0], ancestor=2),
    shell:
        r"""
        python scripts/split_lanes.py --items {input.item_table:q} --categories {params.categories:q} \
            --lanes {params.lanes} --shards {params.shards:q} >{log:q} 2>&1
        """
