# make demo    run the whole workflow on photos and tiny models, on the CPU
# make gallery-demo  draw edits of three made-up editors and show a report about them: what you will get; no model, about a minute
# make fleet-demo  start two vLLM servers on the CPU with tiny models behind a router, in their own venv (4 GB); some minutes
# make serve   start a reward server with a tiny judge on the CPU, at http://127.0.0.1:8200
# make check   lint, types, layers and the fast unit tests, for the inner loop; about a minute on 2 cores
# make test    the same, tests of models and in a browser, and a real run of each kind; 6 to 8 minutes on 2 cores
# make test-runs  the other tests that CI runs: more real runs, faults, slow models, long simulations; about 20 minutes on 2 cores
# make faults  inject every fault into real runs, in sequence, and print the table; an hour or more, of which EDITLANE_SOAK_MINUTES (30) are one test; some faults need root
# make test-envs  ask the package index if pip can still install envs/*.yaml; some minutes
# make test-slurm  run the workflow as jobs of a real SLURM on this machine; Debian, no root, some minutes
# make test-vllm  test the judge's engines against vLLM on the CPU, in its own venv (4 GB); some minutes
# make test-omni  edit with a real vLLM-Omni on the CPU, in its own venv (4 GB); some minutes
# make test-sglang  edit with a real SGLang on the CPU, in its own venv (3 GB); some minutes
# make test-libero  let a scripted expert play LIBERO, in its own venv (2 GB); some minutes
# make test-trainers  let trainers ask a reward server: TRL, verl, ms-swift, OpenRLHF, in their own venv (2 GB); some minutes
# make bench   run the benchmarks and print tables
# make bench-gpu  run judge and editor at full size with random weights, on a GPU of 80 GB or more; 8 minutes each at most

VENV := .venv
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
PYTHON ?= python3
# Test processes share the cores. With more threads each, they would mostly wait for each other, and busily.
SHARING := OMP_NUM_THREADS=1
REPORT := results/demo/report/report.html

.PHONY: demo gallery-demo fleet-demo serve check test test-runs lint fast faults test-envs test-slurm test-vllm test-omni test-sglang test-libero test-trainers bench bench-gpu clean

demo: $(VENV)/installed
	@$(RUN) snakemake --cores all
	@echo "Open $(REPORT) in a browser. Next, check this machine for real models:"
	@echo "  source $(VENV)/bin/activate && python scripts/check_setup.py --configfile config/small.yaml"
	@echo "For photos of your own, read config/README.md."

gallery-demo: $(VENV)/installed
	@$(RUN) python scripts/extract_demo_photos.py --out resources/demo/photos
	@$(RUN) python scripts/draw_gallery_demo.py --items resources/demo/gallery.jsonl --photos resources/demo/photos \
		--out resources/demo/gallery
	@$(RUN) snakemake --configfile config/gallery.yaml --cores all
	@echo "Open results/gallery/report/report.html in a browser. Its edits and its judge are made up."

serve: $(VENV)/installed
	@$(RUN) python scripts/serve_rewards.py --configfile config/reward.yaml $(if $(PORT),--port $(PORT))

fleet-demo: .venv-vllm/installed
	@.venv-vllm/bin/python scripts/serve_fleet.py demo

check: $(VENV)/installed
	$(MAKE) --no-print-directory --jobs 2 --output-sync=target lint fast

fast: $(VENV)/installed
	$(RUN) $(SHARING) pytest --quiet --fast --numprocesses 2 --dist loadfile tests/unit

# The folders with the longest files come first (testpaths in pyproject.toml), so that no process waits at the end.
test: lint
	$(RUN) $(SHARING) pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

test-runs: $(VENV)/installed
	$(RUN) $(SHARING) pytest -m runs --numprocesses 3 --dist loadfile --no-loadscope-reorder

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

test-vllm: .venv-vllm/installed
	.venv-vllm/bin/python -m pytest -m vllm tests/vllm

.venv-vllm/installed: tests/vllm/install.sh
	@echo "Installing vLLM for the CPU into .venv-vllm: 4 GB, once, 5 to 15 minutes."
	@sh tests/vllm/install.sh .venv-vllm

test-omni: $(VENV)/installed .venv-omni/omni-installed
	$(RUN) pytest -m omni tests/omni

.venv-omni/omni-installed: tests/omni/install.sh tests/omni/omni_cpu.py tests/vllm/install.sh
	@echo "Installing vLLM-Omni for the CPU into .venv-omni: 4 GB, once, 5 to 15 minutes."
	@sh tests/omni/install.sh .venv-omni

test-sglang: $(VENV)/installed .venv-sglang/installed
	$(RUN) pytest -m sglang tests/sglang

.venv-sglang/installed: tests/sglang/install.sh tests/sglang/sgl_kernel.py
	@echo "Installing SGLang for the CPU into .venv-sglang: 3 GB, once, 2 to 10 minutes."
	@sh tests/sglang/install.sh .venv-sglang

test-libero: $(VENV)/installed .venv-libero/installed
	$(RUN) pytest -m libero tests/libero

.venv-libero/installed: tests/libero/install.sh envs/libero.yaml
	@echo "Installing LIBERO into .venv-libero: 2 GB, once, some minutes."
	@sh tests/libero/install.sh .venv-libero

test-trainers: $(VENV)/installed .venv-trainers/installed
	.venv-trainers/bin/python -m pytest -m trainers tests/trainers

.venv-trainers/installed: tests/trainers/install.sh
	sh tests/trainers/install.sh .venv-trainers

bench: $(VENV)/installed
	$(RUN) python tests/bench/bench_lanes.py
	$(RUN) python tests/bench/bench_loads.py
	$(RUN) python tests/bench/bench_prepare_items.py
	$(RUN) python tests/bench/bench_images.py
	$(RUN) python tests/bench/bench_judge.py
	$(RUN) python tests/bench/bench_statistics.py
	$(RUN) python tests/bench/bench_scale.py
	$(RUN) python tests/bench/bench_planning.py
	$(RUN) python tests/bench/bench_heartbeat.py
	$(RUN) python tests/bench/bench_loading.py
	$(RUN) python tests/bench/bench_unchanged.py
	$(RUN) python tests/bench/bench_server.py
	$(RUN) python tests/bench/bench_fleet.py
	$(RUN) python tests/bench/bench_rollouts.py

bench-gpu: $(VENV)/installed
	$(RUN) python tests/bench/gpu_judge.py --model dense
	$(RUN) python tests/bench/gpu_judge.py --model moe
	$(RUN) python tests/bench/gpu_edit.py --part exact
	$(RUN) python tests/bench/gpu_edit.py --part inexact
	$(RUN) python tests/bench/gpu_edit.py --part offload

$(VENV)/installed: envs/install.sh envs/local.txt envs/local.lock.txt
	@PYTHON="$(PYTHON)" sh envs/install.sh $(VENV)

clean:
	rm -rf $(VENV) .snakemake results/demo results/gallery resources/models resources/demo/photos resources/demo/gallery
