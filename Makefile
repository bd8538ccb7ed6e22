# Two commands do it all on a fresh Debian or Raspberry Pi OS: `make demo` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench bench-quick vectors lock clean
.PHONY: campaign-cut campaign-faults campaign-kill campaign-sim campaign-power
py := .venv/bin/python
benchmarks := latency drain history wear traffic waveforms footprint bus

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

setup: ## the environment in .venv, from hashed locks
	@sh tools/setup.sh dev

demo: ## a whole simulated school, one told story, no root (STAY=1 to press by hand)
	@sh tools/setup.sh demo
	@$(py) -m simulators demo $(if $(STAY),--stay)

test: setup ## every test, against real brokers
	@sh tools/system.sh
	@$(py) -m pytest -n 2 $(ARGS)

lint: setup ## ruff and mypy strict, over everything
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

bench: setup ## every benchmark, whole (about half an hour)
	@ends=0; for name in $(benchmarks); do \
	  $(py) -m benchmarks.$$name || ends=1; done; exit $$ends

bench-quick: setup ## every benchmark, each about a minute
	@ends=0; for name in $(benchmarks); do \
	  $(py) -m benchmarks.$$name --quick || ends=1; done; exit $$ends

campaign-cut: setup ## power cuts under the real ledger, on a disk in memory (N=10000 SEED=1)
	@$(py) -m campaigns.cut N=$(N) SEED=$(SEED)

campaign-faults: setup ## calls to disk, broker and bus go wrong, each once (N=0: all; ONLY=disk/full/17)
	@$(py) -m campaigns.faults N=$(N) SEED=$(SEED) WHAT=$(WHAT) ONLY=$(ONLY)

campaign-kill: setup ## kill -9 of the real process while buttons are pressed (N=100 SEED=1)
	@sh tools/system.sh
	@$(py) -m campaigns.kill N=$(N) SEED=$(SEED) JOBS=$(JOBS) PLANT=$(PLANT)

campaign-sim: setup ## a told year under virtual time (HOURS=20 SEED=1); the same seed, the same digest
	@$(py) -m campaigns.sim HOURS=$(HOURS) SEED=$(SEED)

campaign-power: setup ## power cuts of a whole virtual machine (CUTS=20 SEED=1); as root, amd64
	@sh tools/system.sh
	@sh tools/vm.sh
	@$(py) -m campaigns.power CUTS=$(CUTS) SEED=$(SEED) NORMAL=$(NORMAL) PROVE=$(PROVE)

vectors: setup ## write the published test vectors again (nothing should change)
	@$(py) -m tools.make_vectors

lock: setup ## resolve the locks again from pyproject.toml
	@for kind in "" -demo -dev; do \
	  case $$kind in "") extra="--extra hardware";; -demo) extra="--extra demo";; *) extra="--all-extras";; esac; \
	  .venv/bin/uv pip compile pyproject.toml $$extra --universal --generate-hashes --no-emit-index-url \
	    --no-header --no-annotate -q -o requirements$$kind.lock; \
	done

clean: ## remove what was made
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis demo-run
