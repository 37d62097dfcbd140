# make demo    the whole workflow on photos and tiny models, on the CPU
# make test    everything CI runs
# make faults  every fault on real runs, one after the other; prints the table. 20 minutes; some faults need root
# make test-envs  whether pip can still install envs/*.yaml; asks the package index, some minutes
# make test-slurm  the workflow as jobs of a real SLURM, on this machine; Debian, no root, some minutes
# make bench   the benchmarks; prints tables

VENV := .venv
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
PYTHON ?= python3

.PHONY: demo test lint faults test-envs test-slurm bench clean

demo: $(VENV)/installed
	$(RUN) snakemake --cores all

test: lint
	$(RUN) pytest --numprocesses 2 --dist loadfile

lint: $(VENV)/installed
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) snakefmt --check workflow
	$(RUN) snakemake --lint
	$(RUN) mypy
	$(RUN) PYTHONPATH=scripts lint-imports

faults: $(VENV)/installed
	$(RUN) pytest -m "" tests/faults

test-envs: $(VENV)/installed
	$(RUN) pytest -m index

test-slurm: $(VENV)/installed
	$(RUN) pytest -m slurm tests/slurm

bench: $(VENV)/installed
	$(RUN) python tests/bench/bench_lanes.py
	$(RUN) python tests/bench/bench_prepare_items.py
	$(RUN) python tests/bench/bench_judge.py
	$(RUN) python tests/bench/bench_statistics.py
	$(RUN) python tests/bench/bench_scale.py
	$(RUN) python tests/bench/bench_planning.py
	$(RUN) python tests/bench/bench_heartbeat.py

$(VENV)/installed: envs/local.txt envs/local.lock.txt
	@echo "installing packages into $(VENV); this takes some minutes"
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r envs/local.txt -c envs/local.lock.txt
	touch $@

clean:
	rm -rf $(VENV) .snakemake results/demo resources/models resources/demo/photos
