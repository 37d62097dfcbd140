# make demo    the whole workflow on photos and tiny models, on the CPU
# make test    everything CI runs
# make bench   the benchmarks; prints tables

VENV := .venv
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
PYTHON ?= python3

.PHONY: demo test lint bench clean

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

bench: $(VENV)/installed
	$(RUN) python tests/bench/bench_lanes.py
	$(RUN) python tests/bench/bench_prepare_items.py
	$(RUN) python tests/bench/bench_judge.py
	$(RUN) python tests/bench/bench_statistics.py

$(VENV)/installed: envs/local.txt envs/local.lock.txt
	@echo "installing packages into $(VENV); this takes some minutes"
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r envs/local.txt -c envs/local.lock.txt
	touch $@

clean:
	rm -rf $(VENV) .snakemake results/demo resources/models resources/demo/photos
