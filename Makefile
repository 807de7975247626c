# make        set up .venv                    make demo   run the demo cohort
# make quick  set up, run the quick tests     make test   set up, run all tests
# make lint   set up, run the checks of style, types, rooms and workflow
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.installed

# Quick tests run side by side, a process a core with one thread each. Whole runs, SLURM and the
# browser use all cores of the machine themselves, so that they run one after the other.
QUICK := -m "not slow and not browser"
SIDE_BY_SIDE := OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(QUICK) \
	-n logical --maxprocesses 8 --dist worksteal

.PHONY: install demo quick test slurm-faults acknowledged lint lock evaluation scale
install: $(STAMP)

$(STAMP): envs/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
		|| { echo "CMBurden needs Python 3.11: make PYTHON=/path/to/python3.11"; exit 1; }
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $$(grep -E '^(torch|torchvision)==' envs/requirements.lock)
	$(BIN)/pip install --quiet -r envs/requirements.lock
	$(BIN)/pip install --quiet --no-deps -e .
	touch $@

demo: install
	$(BIN)/cmburden demo demo

quick: install
	$(SIDE_BY_SIDE)

# Coverage counts this process alone, not the jobs of Snakemake. It is read, and no gate. It takes a fifth
# more processor time in tests of tables and report (2026-11-27), less where ANTs and torch work.
test: install
	$(SIDE_BY_SIDE) --cov --cov-report=
	$(BIN)/python -m pytest -m "slow or browser" --cov --cov-append --cov-report=term

# A cancelled job and a lost node on a real SLURM: five minutes (docs/scale.md).
slurm-faults: install
	CMBURDEN_SLURM_FAULTS=1 $(BIN)/python -m pytest tests/slurm/test_slurm_faults.py

# No acknowledged decision of a reader is lost: 10,000 of them while servers are killed, disks fill up and
# files are replaced. Each is four writes that wait for the disk: minutes on a free machine, more on a busy one.
acknowledged: install
	PYTHONPATH=tests $(BIN)/python tests/review/acknowledged.py --decisions 10000 --times 4

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/house.py

# About 2 hours: 120 simulated scans that no network was trained or calibrated on, 40 of another
# simulator, and all figures of docs/evaluation.md. ANATOMY: the folder of the label maps.
evaluation: install
	$(BIN)/cmburden simulate evaluation/bids --participants 30 --anatomy $(ANATOMY) \
		--people 13-14 --positive-share 0.5 --t1w-share 0.25 --seed 2038
	$(BIN)/cmburden run evaluation/bids evaluation/derivatives participant --cores 2 --set buckets=4
	$(BIN)/cmburden evaluate evaluation/derivatives evaluation/truth.tsv --out evaluation/figures
	$(BIN)/python -m cmburden.studies.distributions evaluation/truth.tsv evaluation/figures
	$(BIN)/python -m cmburden.benchmarks.one_scan --derivatives evaluation/derivatives --threads 2 \
		--out evaluation/figures
	$(BIN)/python -m cmburden.studies.anatomy $(ANATOMY)/seg_13.nii.gz $(ANATOMY)/seg_14.nii.gz \
		--out evaluation/figures
	$(BIN)/python -m cmburden.simulate.plain evaluation/plain/bids --participants 10 \
		--anatomy $(ANATOMY) --people 13-14 --seed 2
	$(BIN)/cmburden run evaluation/plain/bids evaluation/plain/derivatives participant \
		--cores 2 --set buckets=4
	$(BIN)/cmburden evaluate evaluation/plain/derivatives evaluation/plain/truth.tsv \
		--out evaluation/plain/figures
	$(BIN)/python -m cmburden.studies.evaluation_docs evaluation docs

# What planning and tables cost at thousands of scans: the figures of docs/scale.md.
scale: install
	$(BIN)/python -m cmburden.benchmarks.cohort plan
	$(BIN)/python -m cmburden.benchmarks.cohort plan --scans 20000
	$(BIN)/python -m cmburden.benchmarks.cohort tables

# The lock is what is installed, without what torch itself brings.
lock:
	$(BIN)/pip freeze --exclude-editable | grep -viE '^(cmburden|-e|nvidia-|cuda-|triton)' \
		> envs/requirements.lock
