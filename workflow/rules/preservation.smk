"""From edits to a description of how much of each source they kept; on the CPU, in parallel to the GPU work.

REQUIRED INPUTS: results/<run>/{editor}/edits/{category}/lane{lane}.parquet
OUTPUTS: results/<run>/{editor}/preservation/lane{lane}.parquet, results/<run>/preservation.parquet
"""


rule measure_preservation:
    """Compare each edit of one lane with its source, as soon as the lane is edited."""
    input:
        edits=expand(
            "<results>/{{editor}}/edits/{category}/lane{{lane}}.parquet",
            category=CATEGORIES,
        ),
    output:
        preservation="<results>/{editor}/preservation/lane{lane}.parquet",
    log:
        "<results>/logs/measure_preservation/{editor}/lane{lane}.log",
    benchmark:
        "<results>/benchmarks/measure_preservation/{editor}/lane{lane}.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    params:
        run_dir=subpath(input[0], ancestor=4),
    shell:
        r"""
        python scripts/measure_preservation.py --run-dir {params.run_dir:q} --editor {wildcards.editor:q} \
            --edits {input.edits:q} --out {output.preservation:q} >{log:q} 2>&1
        """


rule merge_preservation:
    """Merge the preservation of all lanes into one table; refuse lost or doubled rows."""
    input:
        item_table="<results>/items.parquet",
        lanes=expand(
            "<results>/{editor}/preservation/lane{lane}.parquet",
            editor=EDITORS,
            lane=LANES,
        ),
    output:
        preservation="<results>/preservation.parquet",
    log:
        "<results>/logs/merge_preservation.log",
    localrule: True
    conda:
        "../../envs/workflow.yaml"
    params:
        run_dir=subpath(input.item_table, parent=True),
        editors=EDITORS,
        lanes=len(LANES),
    shell:
        r"""
        python scripts/merge_preservation.py --run-dir {params.run_dir:q} --editors {params.editors:q} --lanes {params.lanes} \
            --items {input.item_table:q} --out {output.preservation:q} >{log:q} 2>&1
        """
