# make        set up .venv                    make demo   run the demo cohort
# make dev    set up with the tools           make lock   resolve both locks anew
# make quick  set up, run the quick tests     make test   set up, run the tests
# make long   set up, run the tests of faults and of SLURM
# make lint   set up, run the checks of style, types, rooms, safety and workflow
# make site   build the documentation as a site        make pages   write the pages made from code
# make wheel  build dist/*.whl                         make demo CPU=1 TORCH_INDEX=...  without a GPU
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 \
	|| command -v python3)
BIN := .venv/bin
# Compiled modules are kept whatever the machine says: tests start hundreds of processes.
export PYTHONDONTWRITEBYTECODE :=
STAMP := .venv/.installed
DEV := .venv/.installed-dev

# Quick tests run side by side, a process a core with one thread each. Of the slow ones two files run
# side by side: whole runs use several cores for a part of their time only, and a file's tests share
# what they began with, such as a SLURM.
QUICK := -m "not slow and not browser and not long and not endurance"
SIDE_BY_SIDE := OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(QUICK) \
	-n logical --maxprocesses 8 --dist worksteal

.PHONY: install dev demo quick test long cores slurm-faults acknowledged lint lock evaluation population tuning download \
	bed adaptation scale site pages wheel
install: $(STAMP)
dev: $(DEV)

# Each file must have a checksum of the lock. A newer pip comes first, and torch with it: where its
# wheels lie on the disk, pip then takes them from there. What builds this package is in the lock too.
define INSTALL
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "CMBurden needs Python 3.11 to 3.13: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -z "$(CPU)" -o -n "$(TORCH_INDEX)" || { echo "CPU=1: give TORCH_INDEX=, the address of \
	PyTorch's wheels for processors alone (docs/install.md)"; exit 1; }
	test -d .venv || $(PYTHON) -m venv .venv
	$(if $(CPU),$(call INSTALL_CPU,$(1)),$(call INSTALL_ALL,$(1)))
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
endef
define INSTALL_ALL
	awk '/^[^ ]/ {first = /^(pip|torch|torchvision)==/} first' $(1) > .venv/first.txt
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r .venv/first.txt
	$(BIN)/python -m pip install --quiet --require-hashes -r $(1)
endef
# Without a GPU: all of the lock but NVIDIA's packages, and PyTorch of the same version from
# TORCH_INDEX, whose files have other checksums than those of the lock.
define INSTALL_CPU
	awk '/^[^ ]/ {keep = !/^(torch|torchvision|triton|nvidia-|cuda-)/} keep' $(1) > .venv/cpu.txt
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r .venv/cpu.txt
	$(BIN)/python -m pip install --quiet --no-deps --index-url "$(TORCH_INDEX)" \
		$$(grep -oE '^(torch|torchvision)==[0-9.]+' $(1))
endef

$(STAMP): envs/requirements.lock pyproject.toml
	$(call INSTALL,envs/requirements.lock)
	touch $@

$(DEV): envs/requirements-dev.lock pyproject.toml
	$(call INSTALL,envs/requirements-dev.lock)
	touch $(STAMP) $@

demo: install
	$(BIN)/cmburden demo demo

quick: dev
	$(SIDE_BY_SIDE) --hypothesis-profile=quick

# Coverage is that of the quick tests. It is read, and no gate: it takes a fifth more processor time, and
# sees nothing of the jobs of Snakemake that most slow tests start.
test: dev
	$(SIDE_BY_SIDE) --cov --cov-report=term
	$(BIN)/python -m pytest -m "(slow or browser) and not long" -n 2 --dist loadfile

# Minutes a test: whole cohorts with faults in them, and a real SLURM.
long: dev
	$(BIN)/python -m pytest -m long -n 2 --dist loadfile

# A cancelled job and a lost node on a real SLURM: five minutes (docs/scale.md).
slurm-faults: dev
	CMBURDEN_SLURM_FAULTS=1 $(BIN)/python -m pytest tests/slurm/test_slurm_faults.py

# No acknowledged decision of a reader is lost: 10,000 of them while servers are killed, disks fill up and
# files are replaced. Each is four writes that wait for the disk: minutes on a free machine, more on a busy one.
acknowledged: install
	PYTHONPATH=tests $(BIN)/python tests/review/acknowledged.py --decisions 10000 --times 4

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/house.py
	$(BIN)/python -m pip check

# Seconds a scan by stage on one core, two and four, of four scans of the demo; fails if a file of theirs differs.
cores: install
	$(BIN)/python -m cmburden.benchmarks.stages demo/bids demo/derivatives --scans 4 --cores 1 2 4

# About 2 hours: 80 scans of eight shifted domains, by a renderer of its own (docs/bed.md). Name other
# domains with DOMAINS="GRE4MM VESSELS".
DOMAINS := GRE4MM VESSELS MINIP MOTION TURNED SWI7T EPI TEXTURE
bed: install
	$(BIN)/python -m cmburden.studies.bed.scan bed/bids --participants 10 --anatomy $(ANATOMY) \
		--people 13-14 --seed 2601 --presets $(DOMAINS)
	$(BIN)/cmburden run bed/bids bed/derivatives participant --cores 2 --set buckets=4
	$(BIN)/python -m cmburden.studies.bed.figures bed/derivatives bed/truth.tsv

# A day on two cores: of each shifted domain 24 scans without labels are adapted to with two seeds, 40 others
# and the evaluation cohort are read before and after (docs/adapting.md). Killed and called again, it goes on.
# All options of the study and of cmburden adapt: ADAPTATION="--seeds 0 --adapt --renderer physics".
adaptation: install
	$(BIN)/python -m cmburden.studies.adaptation adaptation \
		$(if $(ANATOMY),--anatomy $(ANATOMY) --people 13-14) $(ADAPTATION)

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

# About 8 hours of processor time: 576 scans with mimics as a population has them, and the figures of
# the verifier's contract by which a cohort's counts are corrected. ANATOMY as above. Killed and
# called again, it goes on. Seeds 3101 to 3124: nothing was ever chosen on these scans.
population: install
	for k in $$(seq -w 1 24); do \
		chunk=population/chunk-$$k; \
		test -f $$chunk/truth.tsv || { rm -rf $$chunk && $(BIN)/cmburden simulate $$chunk/bids \
			--participants 6 --anatomy $(ANATOMY) --people 11-14 --t1w-share 0.25 \
			--mimics population --seed 31$$k; } || exit 1; \
		$(BIN)/cmburden run $$chunk/bids $$chunk/derivatives participant --cores 2 \
			--set buckets=2 || exit 1; \
	done
	$(BIN)/python -m cmburden.studies.population_figures population/chunk-* \
		--about "Label maps 11-14: none served training, 11-12 calibration; seeds 3101-3124" \
		--write models/verifier/model.json

# Under 2 hours on 2 cores: 24 simulated participants of an acquisition that no network has seen, the
# networks tuned on them in three folds, and the table before and after on unseen people
# (docs/tuning.md). ANATOMY as above; without it all have the template's anatomy. Killed and called
# again, it goes on.
tuning: install
	test -f tuning/truth.tsv || { rm -rf tuning/bids && \
		$(BIN)/python -m cmburden.studies.unseen_acquisition tuning/bids --participants 24 \
		$(if $(ANATOMY),--anatomy $(ANATOMY) --people 13-14) --seed 2041; }
	$(BIN)/cmburden run tuning/bids tuning/derivatives participant --cores 2 --set buckets=2
	$(BIN)/cmburden tune tuning/derivatives tuning/truth.tsv tuning/models

# About an hour on 2 cores: 30 simulated participants of two sessions as a download of ADNI, onboarded and
# evaluated in one command, beside the same scans as BIDS (docs/onboarding.md). ANATOMY as above.
download: install
	test -f download/truth.tsv || { rm -rf download && $(BIN)/cmburden simulate download/bids \
		--presets ADNI --participants 30 --sessions 2 $(if $(ANATOMY),--anatomy $(ANATOMY) --people 13-14) \
		--seed 2044; }
	test -f download/source/read.tsv || { rm -rf download/source && $(BIN)/python -m \
		cmburden.studies.pretend_download download/source --cohort download/bids download/truth.tsv; }
	$(BIN)/cmburden onboard adni download/source/ADNI download/out --jobs 2 --cores 2 --then evaluate \
		--lesions download/source/MAYOADIRL_MRI_MCH_01Jan2026.csv --tables download/source/collection.csv
	$(BIN)/cmburden run download/bids download/derivatives participant --cores 2 --set buckets=2
	$(BIN)/cmburden evaluate download/derivatives download/source/read.tsv --out download/figures
	$(BIN)/python -m cmburden.studies.download_figures download/source download/out download/figures

# The site of the documentation. A dead link, or any other warning, ends it with an error.
site: dev
	$(BIN)/python tools/site_pages.py site

# docs/outputs.md and docs/troubleshooting.md say what the code says.
pages: dev
	$(BIN)/python tools/outputs_page.py

wheel: dev
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

# What planning and tables cost at thousands of scans: the figures of docs/scale.md.
scale: install
	$(BIN)/python -m cmburden.benchmarks.cohort plan
	$(BIN)/python -m cmburden.benchmarks.cohort plan --scans 20000
	$(BIN)/python -m cmburden.benchmarks.cohort tables

# Versions stay as they are where pyproject.toml allows; UPGRADE=--upgrade takes the newest ones.
RESOLVE = $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --quiet $(UPGRADE)
lock: dev
	$(RESOLVE) --group build -o envs/requirements.lock
	$(RESOLVE) --group build --group dev -c envs/requirements.lock -o envs/requirements-dev.lock
