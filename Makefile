# Every target has a description in `make help`; every variable is passed to `mmnar` unchanged.
PYTHON ?= python3
TORCH_INDEX ?=
ARGS ?=
TABLE ?= quick
BIN := .venv/bin

# Variables on the command line of make are passed as environment variables or key=value words. Their text is what was
# given: make expands nothing in it, and the shell sees one quoted word. ARGS alone is text for the shell.
VARIABLES := MIMIC_ROOT EICU_ROOT COHORT MIMIC_CODE DATASET RESUME DEVICES SEED SUBJECTS OUT PAGE SWEEP TABLE OFFLINE PROCESSES TRIALS TORCH_INDEX
define newline


endef
given = $(filter-out undefined,$(origin $(1)))
literal = $(if $(findstring $(newline),$(value $(1))),$(error $(1) has several lines))$(eval override $(1) := $$(value $(1)))
$(foreach name,$(VARIABLES),$(if $(call given,$(name)),$(call literal,$(name))))
quoted = '$(subst ','\'',$(1)$($(2)))'
set = $(if $($(2)),$(call quoted,$(1)=,$(2)))
export MIMIC_ROOT EICU_ROOT COHORT MIMIC_CODE
WORDS = $(if $(call given,DATASET),$(call quoted,dataset=,DATASET)) $(call set,resume,RESUME) \
        $(call set,trainer.devices,DEVICES) $(call set,seed,SEED) $(call set,simulate.subjects,SUBJECTS) $(ARGS)

.DEFAULT_GOAL := help
.PHONY: help setup lock cohort embed train evaluate predict show settings report screenshots simulate doctor sweep best table test-fast test-oldest test-meds test test-slurm check format bench bench-gpu validation phases phases-full coverage storm docs tutorial clean

help: ## Print every target with its description.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

setup: $(if $(LOCKED),.venv/.locked,.venv/.ready) ## Build .venv with all dependencies; LOCKED=1 with the versions and hashes of requirements.lock.

.venv/.ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(call quoted,,TORCH_INDEX)) --editable '.[dev]'
	@touch $@

# Nothing is fetched that has no hash: pip is the one that Python brings, and the lock holds what builds the project.
.venv/.locked: pyproject.toml requirements.lock
	$(if $(TORCH_INDEX),$(error LOCKED=1 installs the files of requirements.lock; omit TORCH_INDEX))
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch .venv/.ready $@

lock: ## Write requirements.lock: the newest versions that pyproject.toml allows, for all platforms, with hashes.
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --upgrade pip uv
	.venv-lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras --generate-hashes --no-annotate --no-header --no-emit-package mmnar-lightning --output-file requirements.lock pyproject.toml
	rm -rf .venv-lock

cohort: setup ## Build the cohort of an experiment from the raw release (no network, no encoder).
	$(BIN)/mmnar cohort $(WORDS)

embed: setup ## Encode the documents and images of an experiment's cohort (several processes share the work).
	$(BIN)/mmnar embed $(WORDS)

train: setup ## Raw release -> cohort -> trained model -> test metrics. MIMIC_ROOT=/path, else a simulated release.
	$(BIN)/mmnar train $(WORDS)

evaluate: setup ## Read the test split once, with the best checkpoint of the newest run (ARGS="run=FOLDER" for another).
	$(BIN)/mmnar evaluate $(WORDS)

predict: setup ## Predict new rows with the model of the newest run; labels are not needed (docs/predict.md). COHORT=DIR or a root, ARGS="run=FOLDER out=FOLDER".
	$(BIN)/mmnar predict $(WORDS)

show: setup ## Print everything that the newest run knows: scores by pattern, rectifier, diagnostics. ARGS="run=FOLDER groups".
	$(BIN)/mmnar show $(ARGS)

settings: setup ## Print settings with type, default and meaning. ARGS="trainer" prints those of a group.
	$(BIN)/mmnar settings $(ARGS)

report: setup ## Write the page of the newest evaluated run, one HTML file (ARGS="run=FOLDER", or ARGS="runs=[A,B]" to compare; docs/report.md).
	$(BIN)/mmnar report $(ARGS)

screenshots: setup ## Take pictures of a page by Chromium, at two widths, light and dark, and a PDF: PAGE=report.html OUT=DIR.
	$(BIN)/python -m benchmarks.screenshots $(call quoted,,PAGE) $(call quoted,,OUT)

simulate: setup ## Write a simulated release with known truth. OUT=DIR SUBJECTS=3000 SEED=7
	$(BIN)/mmnar simulate $(call set,out,OUT) $(call set,simulate.subjects,SUBJECTS) \
	  $(call set,simulate.seed,SEED) $(if $(filter mimic,$(DATASET)),simulate.databases=[mimic_iv]) \
	  $(if $(filter eicu,$(DATASET)),simulate.databases=[eicu]) $(ARGS)

doctor: setup ## List the tables under a root and what needs them; compare files with SHA256SUMS.txt; or validate a custom cohort.
	$(BIN)/mmnar doctor $(WORDS)

sweep: setup ## Search settings: SWEEP=experiments/sweeps/x.yaml by W&B's agent, or on this machine with OFFLINE=1 PROCESSES=2 TRIALS=20.
	$(BIN)/mmnar sweep $(call quoted,sweep.file=,SWEEP) $(if $(OFFLINE),sweep.offline=true) \
	  $(call set,sweep.processes,PROCESSES) $(call set,sweep.trials,TRIALS) \
	  $(WORDS)

best: setup ## Read the test split once, with the best trial of the newest sweep (ARGS="run=FOLDER" for another).
	$(BIN)/mmnar best $(ARGS)

table: setup ## Run the methods of a table on its cohorts, and write it (docs/table.md): TABLE=quick, demo, eicu_death or paper, or a YAML file; PROCESSES=2 share the work; a stopped one is resumed.
	OMP_NUM_THREADS=1 $(BIN)/mmnar table $(call quoted,table.name=,TABLE) $(if $(PROCESSES),$(call set,table.processes,PROCESSES),table.processes=2) $(WORDS)

# Compiled files are kept even where the environment says not to: every process of a test would compile the program again.
test test-fast: export PYTHONDONTWRITEBYTECODE :=

test-fast: setup ## Run the unit tests that train nothing and start no process: under a minute on two cores.
	$(BIN)/python -m pytest -n $(if $(PROCESSES),$(call quoted,,PROCESSES),2) -q -m "not slow and not demo" tests/unit data_modules mmnar_lightning

test-oldest: ## Run the unit tests with the oldest versions that pyproject.toml allows, in .venv-oldest.
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --upgrade pip uv
	.venv-oldest/bin/uv pip install --quiet --python .venv-oldest/bin/python --resolution lowest-direct $(if $(TORCH_INDEX),--extra-index-url $(call quoted,,TORCH_INDEX)) --editable '.[dev]'
	.venv-oldest/bin/python -m pytest -n 2 -q -m "not slow and not demo" tests/unit data_modules mmnar_lightning

test-meds: setup ## Score an export of predictions by meds-evaluation, installed in .venv-meds.
	$(PYTHON) -m venv .venv-meds
	.venv-meds/bin/python -m pip install --quiet 'meds-evaluation==0.0.6'
	MEDS_EVALUATION=$(CURDIR)/.venv-meds/bin/python $(BIN)/python -m pytest -q -k meds_evaluation tests/end_to_end/test_meds.py

# In the order of collection, whole runs come first; in the order of the number of tests they would come last, one by one.
test: setup ## Run the tests, in two processes or PROCESSES=8 (those on the open demos skip, saying so, where the demos are not found).
	$(BIN)/python -m pytest -n $(if $(PROCESSES),$(call quoted,,PROCESSES),2) --dist loadfile --no-loadscope-reorder

test-slurm: setup ## Jobs on a private SLURM cluster of one node: preempted, out of time, in arrays (skips without SLURM).
	$(BIN)/python -m pytest tests/distributed/slurm_preemption.py

check: setup ## Format, lint, import contracts, types, tests.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/python tests/helpers/words.py
	$(BIN)/mypy
	$(MAKE) --no-print-directory test

format: setup ## Fix format and lint where it can be done automatically.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## Time and memory of start-up, the cohort build, the loader, the objective, the embed stage, several ranks, the bootstrap, a sweep and the parts of a training run (docs/performance.md), as ratios taken in one run.
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.loader
	$(BIN)/python -m benchmarks.cohort
	$(BIN)/python -m benchmarks.cohort --dataset eicu
	$(BIN)/python -m benchmarks.nurse_charting
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.objective
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.members
	$(BIN)/python -m benchmarks.embed
	$(BIN)/python -m benchmarks.images
	$(BIN)/python -m benchmarks.images --side 2600 --workers 1
	$(BIN)/python -m benchmarks.ranks
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.bootstrap
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.bootstrap --whole 1000000
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.bootstrap --whole 1000000 --bootstrap --replicates 100
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.sweep
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.train

bench-gpu: setup ## Training steps and embedding on a GPU beside bare loops; without a GPU it measures nothing. ARGS="--parts text images" measures embedding alone.
	$(BIN)/python -m benchmarks.gpu.run $(ARGS)

validation: setup ## Derive the tables, labels and demographics of the open demos a second time, and print the cells that disagree; MIMIC_CODE=DIR compares MIMIC_ROOT with mimic-code instead.
	$(BIN)/python -m benchmarks.validation$(if $(MIMIC_CODE),.mimic_code)

phases: setup ## Measure what each part of the method earns in worlds that differ in one property and write docs/phases.md; a stopped one is resumed. ARGS="--replicates 1" is the quick form.
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.phases.run $(ARGS)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.phases.page

phases-full: setup ## The same on simulated releases, at the size of a night. Prints its table.
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.phases.full

coverage: setup ## Measure how often the intervals of every metric hold the true value, and write docs/coverage.md: eight minutes on one core.
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.coverage.run

storm: setup ## Kill every stage, damage every stored file, give bad inputs, each followed by the same command; writes docs/reliability.md. At most an hour; a stopped one is resumed.
	$(BIN)/python -m benchmarks.storm.run $(ARGS)

docs: setup ## Build the user guide into site/; a link that leads nowhere fails.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

tutorial: setup ## Run docs/tutorial.ipynb and store its outputs.
	OMP_NUM_THREADS=1 $(BIN)/python docs/site/tutorial.py

clean: ## Remove caches and built pages; data/ and runs/ are kept.
	rm -rf site dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
