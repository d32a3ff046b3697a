# Two commands: `make lab` and `make test`. Both install into .venv what they need, in the releases of requirements.lock,
# and, when nothing changed, start at once.
# Kept to what make 3.81 knows, because that is what macOS ships.

VENV  := .venv
PY    := $(VENV)/bin/python
PIP   := $(PY) -m pip --disable-pip-version-check install
LOCK  := requirements.lock
LATEST := .venv-latest
UV    := 0.13.9
TORCH := 2.13.0
TORCH_INDEX := https://download.pytorch.org/whl/cpu
ARGS  ?=

# The first Python that torch $(TORCH) has a build for; `make lab PYTHON=/path/to/python3.12` names another.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c '$(FITS)' 2>/dev/null && { echo $$p; break; }; done)

# GPU=1 takes the CUDA build of torch, GPU=0 goes back to the CPU build; later calls keep the last choice.
GPU ?= $(if $(wildcard $(VENV)/.torch-gpu-*),1,0)
ifeq ($(filter 0 1,$(GPU)),)
$(error GPU=$(GPU) is not understood: GPU=1 takes the CUDA build of torch, GPU=0 the CPU build)
endif

# On Linux PyPI's torch brings gigabytes of CUDA packages, so "+cpu" is pinned: pip then fails rather than take them.
# "===" names PyPI's own build and no other, so that GPU=1 also replaces an installed +cpu. --no-deps asks the extra
# index for torch alone: an index out of reach costs one second, and nothing else can come from it.
ifeq ($(GPU),1)
TORCH_STAMP := $(VENV)/.torch-gpu-$(TORCH)
TORCH_BUILD := torch===$(TORCH)
TORCH_ARGS  := --no-deps $(TORCH_BUILD)
TORCH_SAY   := the CUDA build, several GB with its packages
else ifeq ($(shell uname -s),Linux)
TORCH_STAMP := $(VENV)/.torch-cpu-$(TORCH)
TORCH_BUILD := torch==$(TORCH)+cpu
TORCH_ARGS  := --no-deps --retries 2 --extra-index-url $(TORCH_INDEX) $(TORCH_BUILD)
TORCH_SAY   := the CPU build, about 200 MB
else
TORCH_STAMP := $(VENV)/.torch-cpu-$(TORCH)
TORCH_BUILD := torch==$(TORCH)
TORCH_ARGS  := --no-deps $(TORCH_BUILD)
TORCH_SAY   := about 100 MB
endif

# The lock serves as pip's constraints: pyproject.toml says what is installed, the lock in which release. So one lock
# holds the lab, its tests and CUDA's packages, and each command takes its share. LOCK= takes the newest, pip's too.
RELEASES := $(if $(LOCK),-c $(LOCK),--upgrade --upgrade-strategy eager $(TORCH_BUILD))
BACKEND  := setuptools $(if $(LOCK),,pip)

# An editable install remembers its folder: the folder's sum in the name makes a moved or copied checkout install anew.
HERE       := $(shell pwd | cksum | cut -d' ' -f1)
LAB_STAMP  := $(VENV)/.lab-$(HERE)
TEST_STAMP := $(VENV)/.test-$(HERE)

.NOTPARALLEL:
.PHONY: help lab test quick lint unit notebooks browser images sheet bench doctor lock test-latest torch-suite \
	clean releases torch-args

help:  ## these lines
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

lab: $(LAB_STAMP)  ## JupyterLab on work/00_ranks.ipynb, your copy (ARGS="--no-browser --port=9999" go on to JupyterLab, GPU=1: CUDA)
	@$(PY) -m lab_utils lab $(ARGS)

test: lint unit notebooks browser  ## everything: ruff, unit tests, notebooks, real browser

quick: lint  ## two minutes, for after each change: ruff, tests that start no process, one start of ranks, one notebook
	$(PY) -m pytest -q --quick -n 2 --dist loadfile --nbval --nbval-current-env --nbval-cell-timeout=300 tests labs/00_ranks.ipynb $(ARGS)

lint: $(TEST_STAMP)  ## ruff, on code and notebooks
	$(PY) -m ruff check --no-cache .
	$(PY) -m ruff format --no-cache --check .

unit: $(TEST_STAMP)  ## unit tests (ARGS="-k ring" go on to pytest)
	$(PY) -m pytest -q -p no:nbval -n 2 --dist loadfile --no-loadscope-reorder --ignore-glob="*/test_browser*" --ignore=tests/soak/test_soak.py tests $(ARGS)
	$(if $(ARGS),,$(PY) -m pytest -q tests/soak/test_soak.py)  # random faults have the machine to themselves

# They round as an older processor does: what is stored must not depend on the processor that it was made on. Not as the
# oldest, whose matrix products take three times as long: `make test-latest` does.
OLDER = AVX2
notebooks: $(TEST_STAMP)  ## every notebook run and compared with its stored outputs (OLDER=SSE4_2: as on an even older processor)
	ATEN_CPU_CAPABILITY=default MKL_ENABLE_INSTRUCTIONS=$(OLDER) ONEDNN_MAX_CPU_ISA=SSE41 NUMBA_CPU_NAME=generic \
	$(PY) -m pytest -q --nbval --nbval-current-env --nbval-cell-timeout=300 -n 2 --dist loadfile labs

browser: $(TEST_STAMP)  ## a chapter and the widgets in a real browser
	@tests/browser/install_browser.sh $(PY)
	$(PY) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder tests/browser/test_browser*.py tests/widgets/*/test_browser*.py

images: $(TEST_STAMP)  ## docs/images anew, from the pages' examples in a real browser (ARGS="shard_map": one of them)
	@tests/browser/install_browser.sh $(PY)
	PYTHONPATH=tests/docs:tests/browser:tests/running $(PY) tests/docs/pictures.py $(ARGS)

sheet: $(TEST_STAMP)  ## screenshots of every widget and card, light, dark, narrow, without a kernel: test-results/sheet
	@$(PY) tests/browser/sheet.py

bench: $(LAB_STAMP)  ## the project's figures, side by side with plain torch
	@$(PY) -m lab_utils bench $(ARGS)

doctor: $(LAB_STAMP)  ## what is present, what is missing, and the mend
	@$(PY) -m lab_utils doctor

lock: .venv-lock/.uv-$(UV)  ## requirements.lock anew from pyproject.toml (ARGS=--upgrade: every release the newest)
	@.venv-lock/bin/uv pip compile -q --universal --python-version 3.11 --all-extras --custom-compile-command 'make lock' \
		-o requirements.lock pyproject.toml $(ARGS)

test-latest:  ## make test with the newest releases that pyproject.toml allows, in .venv-latest (ONLY=unit: one part)
	@rm -f $(LATEST)/.lab-* $(LATEST)/.test-*
	@$(MAKE) --no-print-directory VENV=$(LATEST) LOCK= OLDER=SSE4_2 releases $(or $(ONLY),test torch-suite)

torch-suite: $(TEST_STAMP)  ## torch's own tests of its collectives and DDP, recorded and not: none may differ
	@$(PY) tests/torch_suite/torch_suite.py

releases: $(TEST_STAMP)
	@$(PY) -c 'from lab_utils.host import releases; print(releases.in_one_line())'

clean:  ## removes .venv, the other environments and every cache
	rm -rf $(VENV) $(LATEST) .venv-lock build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

torch-args:
	@echo '$(TORCH_ARGS)'

WANTED := (torch $(TORCH) has builds for those): install one, or name it with PYTHON=/path/to/python3.12.
$(VENV)/.made:
	@test -n '$(PYTHON)' || { echo 'No Python 3.11 to 3.14 found $(WANTED)' >&2; exit 1; }
	@$(PYTHON) -c '$(FITS)' 2>/dev/null || { echo 'PYTHON=$(PYTHON) is not Python 3.11 to 3.14 $(WANTED)' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo '$(PYTHON) has no venv module: on Debian and Ubuntu run apt-get install python3-venv.' >&2; exit 1; }
	@echo 'Making $(VENV) with $(PYTHON) ...'
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(TORCH_STAMP): $(VENV)/.made
	@echo 'Installing torch $(TORCH): $(TORCH_SAY) ...'
	@rm -f $(VENV)/.torch-* $(VENV)/.lab-* $(VENV)/.test-*
	@$(PIP) $(TORCH_ARGS)  # which says how far it is: a download of minutes
	@touch $@

# The backend that builds the lab is locked too: it is installed first, while torch still lacks its dependencies, and pip
# brings no other for the build.
$(LAB_STAMP): $(TORCH_STAMP) pyproject.toml $(LOCK)
	@echo 'Installing JupyterLab, ipyparallel and the lab: about 150 MB, some minutes ...'
	@$(PIP) -qq $(RELEASES) --no-warn-conflicts $(BACKEND)
	@$(PIP) $(RELEASES) --no-build-isolation -e .
	@$(PY) -m compileall -q lab_utils  # and so are the ranks' many starts quick, where Python may not write its caches
	@$(PY) -c 'import lab_utils.timeline.simulator.placing_loop, lab_utils.schedule.search.moves'  # compiled now: no slider waits for it
	@touch $@

$(TEST_STAMP): $(LAB_STAMP)
	@echo 'Installing what the tests need ...'
	@$(PIP) -qq $(RELEASES) --no-build-isolation -e '.[test]'
	@$(PIP) -qq --no-deps --upgrade --target $(VENV)/oldest cloudpickle==3.1.0  # the oldest allowed ships code too: test_shipping
	@touch $@

.venv-lock/.uv-$(UV):
	@test -n '$(PYTHON)' || { echo 'No Python 3.11 to 3.14 found $(WANTED)' >&2; exit 1; }
	@$(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/python -m pip --disable-pip-version-check install -qq uv==$(UV)
	@touch $@
