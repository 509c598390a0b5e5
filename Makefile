# Every target sets up .venv first, when it is missing or older than pyproject.toml or constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
# Four processes for two processors: tests wait a lot. A file at a time, the longest first (tests/durations.csv).
SPREAD := -n 4 --dist loadscope --no-loadscope-reorder

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo demo-all equality lab check test test-hostile notebooks verify mutants mutants-all proofs compat nbval site linkcheck bench bench-accuracy bench-grading bench-walls clean sandbox wheels

help: ## show this list
	@echo "make TARGET [PYTHON=/path/to/python3.11]"
	@sed -n 's/^\([a-z-]*\):.*## /  \1 @/p' $(firstword $(MAKEFILE_LIST)) | awk -F@ '{ printf "%-18s%s\n", $$1, $$2 }'

setup: $(READY) ## prepare .venv and nothing else: what every other target does first, when it must

demo: $(READY) sandbox wheels ## the whole grading cycle on labs 1 and 2, with a sample class; results in .run/demo/
	$(BIN)/autograder demo

demo-all: $(READY) sandbox wheels ## the same for every lab that there is
	$(BIN)/autograder demo --all

lab: $(READY) ## open JupyterLab on the students' notebooks
	$(BIN)/jupyter lab --ServerApp.root_dir=notebooks $(if $(filter 0,$(shell id -u)),--allow-root)

check: $(READY) ## style, formatting, types, and the layers that no import may cross
	$(BIN)/ruff check .
	$(BIN)/ruff format --check -q . || { echo "run: $(BIN)/ruff format ." >&2; exit 1; }
	$(BIN)/lint-imports
	$(BIN)/mypy

# COVERAGE counts the lines that the tests' own processes run (not workers and kernels), and takes half as long again.
test: $(READY) sandbox check ## the checks, then the tests; COVERAGE=1: print lines covered, DURATIONS=1: note times
	$(BIN)/pytest $(SPREAD) $(if $(DURATIONS),--durations-record) \
	  $(if $(COVERAGE),--cov=autograder --cov=vitedu --cov-report=term:skip-covered)

# What an attack gains without walls is known from tests/hostile/baselines.json, where nothing has changed.
test-hostile: $(READY) sandbox ## the whole hostile set; BASELINES=1: each without walls, too; writes .run/hostile.json
	$(BIN)/pytest -m "hostile or not hostile" $(SPREAD) $(if $(BASELINES),--baselines) tests/hostile

equality: $(READY) sandbox ## is everything that a move of code must not change still the same? (half an hour)
	$(BIN)/python tests/equality.py

notebooks: $(READY) ## rebuild everything that is built from solutions/ and autograder/exams/
	$(BIN)/autograder build

wheels: $(READY) ## build dist/: vitedu for students, and vitedu-autograder, with every answer, for instructors
	@rm -f dist/*.whl
	@for each in vitedu vitedu-autograder; do \
	  (cd packaging/$$each && "$(CURDIR)/$(BIN)/hatchling" build -t wheel -d "$(CURDIR)/dist") || exit 1; done

compat: $(READY) wheels ## the students' wheel with the oldest and the newest packages: all checks, all notebooks (half an hour)
	$(BIN)/python packaging/compat/compat.py

verify: $(READY) ## prove the exams on all variants of three secrets: wrong ideas caught and named, right answers accepted
	$(BIN)/autograder verify

mutants: $(READY) ## change right code by machine: every change loses points, or stands in equivalent_mutants.csv
	$(BIN)/autograder verify --mutants

mutants-all: $(READY) ## the same with every change of every alternative (some hours)
	$(BIN)/autograder verify --mutants --all-alternatives

proofs: $(READY) ## what CI proves beside the tests: exams on fewer variants, 100 mutants, solution notebooks, environment.yml
	$(BIN)/pytest -m long -n 3 --dist loadgroup
	$(BIN)/autograder verify --secrets 2 --variants 2 --pairs 1
	$(BIN)/autograder verify --mutants --limit 100

# The options are those with which the tests run each notebook. All run in copies.
nbval: $(READY) ## run solution and untouched student notebooks with nbval (some minutes); LABS="lab1 lab2": only these
	@rm -rf .run/nbval; mkdir -p .run/nbval
	@for lab in $(or $(LABS),lab); do \
	  ls -d solutions/$$lab*/ >/dev/null 2>&1 || { \
	    echo "There is no lab '$$lab'; name some of: $$(cd solutions && echo lab*)" >&2; exit 1; }; \
	  cp --parents solutions/$$lab*/*.ipynb notebooks/$$lab*/*.ipynb .run/nbval || exit 1; done
	@# A number that a notebook promises comes with the answer, which is not there yet.
	@sed -i s/NBVAL_CHECK_OUTPUT/NBVAL_IGNORE_OUTPUT/ .run/nbval/notebooks/*/*.ipynb
	$(BIN)/python -m pytest -q -c /dev/null --rootdir .run/nbval -p no:cacheprovider -p no:xdist \
	  --nbval-lax --nbval-current-env --nbval-cell-timeout=120 .run/nbval

# From the sources in docs/, without a network; every warning is an error.
site: $(READY) ## build the documentation, with a page for each lab, in .run/site/index.html (seconds)
	$(BIN)/python -m sphinx -q -W --keep-going -b html -d .run/site-doctrees docs .run/site
	@echo "$(CURDIR)/.run/site/index.html"

linkcheck: $(READY) ## look up the addresses of other sites that the documentation names (needs a network)
	$(BIN)/python -m sphinx -q -b linkcheck -d .run/site-doctrees docs .run/linkcheck

bench-accuracy: $(READY) ## the accuracy exam on fresh seeds: right code and every broken variant (half an hour and more)
	$(BIN)/python benchmarks/accuracy.py

bench: $(READY) ## where the time of one submission goes, by stage, over the class that `make demo` graded
	$(BIN)/python benchmarks/stages.py

# Where nothing may be installed, the demo and the tests say what is missing.
sandbox: ## install bubblewrap, which makes the sandbox, where packages may be installed
	@command -v bwrap >/dev/null || ! command -v apt-get >/dev/null || { \
	  if [ "$$(id -u)" -eq 0 ]; then as_root=; elif sudo -n true 2>/dev/null; then as_root="sudo -n"; else exit 0; fi; \
	  echo "Installing the system's package bubblewrap, which makes the sandbox."; \
	  { $$as_root apt-get install -y --no-install-recommends bubblewrap || \
	    { $$as_root apt-get update && $$as_root apt-get install -y --no-install-recommends bubblewrap; }; } >/dev/null || \
	  echo "bubblewrap could not be installed; its message is above." >&2; }

bench-grading: $(READY) sandbox ## throughput on a class: ours, stock nbgrader and otter-grader in turn (half an hour)
	$(BIN)/python benchmarks/grading.py

bench-walls: $(READY) sandbox ## what the sandbox costs: a submission graded with and without it, in turn
	$(BIN)/python benchmarks/walls.py

clean: ## remove .venv and .run
	rm -rf $(VENV) .run

# One sentence for each thing that can be missing; pip's own progress bars for the rest.
$(READY): pyproject.toml constraints.txt
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "vitedu needs Python 3.11 or newer and found no '$(PYTHON)': install it, or name yours with make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; v = ".".join(map(str, sys.version_info[:3])); sys.exit(sys.version_info < (3, 11) and \
	  "vitedu needs Python 3.11 or newer and $(PYTHON) is " + v + ": name a newer one with make PYTHON=/path/to/python3.11")'
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments: install its venv module (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(VENV)
	@rm -rf $(VENV)/probe; $(BIN)/python -m pip download -q --retries 1 --no-deps -d $(VENV)/probe -c constraints.txt einops \
	  >$(VENV)/probe.log 2>&1 || { cat $(VENV)/probe.log >&2; \
	  echo "pip cannot reach a package index: connect to the network, or name a mirror with PIP_INDEX_URL, then run make again" >&2; exit 1; }
	@echo "Setting up $(VENV): about 3 GB to download and 6 GB on disk, once."
	@$(BIN)/python -m pip install --progress-bar on -c constraints.txt -e ".[instructor,libraries,test]" || { \
	  echo "pip could not install vitedu: its message is above (often: no network, or less than 10 GB free on the disk); then run make again" >&2; exit 1; }
	@rm -rf $(VENV)/probe $(VENV)/probe.log; touch $@
