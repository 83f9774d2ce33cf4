# What a person types. `make demo` and `make test` need nothing installed but make, python3 (>= 3.11) and a network once.
PYTHON ?= python3
PORT ?= 8080
FLEET ?= 5
BIN := .venv/bin

.PHONY: help demo test check chaos safety evening bench shots assets clean

help:
	@echo "make demo [PORT=8080] [FLEET=5]   a hub and a house of five devices on this machine; Ctrl-C ends it"
	@echo "make test               everything that is tested, in a few minutes"
	@echo "make check              ruff, mypy, import arrows"
	@echo "make chaos              10^6 samples while processes are killed 100 times each; every fault row in its long form"
	@echo "make evening            an evening in which everything goes wrong, with real processes: what a person is told"
	@echo "make safety             10000 heater days of faults, 10^6 random steps, real processes killed and stopped; tables"
	@echo "make bench              what it costs, as ratios against a peer in the same run"
	@echo "make shots              screenshots of every page into build/shots"

demo:
	@$(PYTHON) provisioning/environment.py demo
	@exec $(BIN)/python -m provisioning.demo --port $(PORT) --fleet $(FLEET)

test: check-env
	$(BIN)/python -m pytest -n 4 --dist loadfile

check: check-env
	$(BIN)/ruff check .
	$(BIN)/mypy agent hub
	$(BIN)/python -m pytest tests/test_arrows.py

chaos: check-env
	HUTKEEPER_LONG=1 $(BIN)/python -m pytest tests/chaos -s
	HUTKEEPER_LONG=1 $(BIN)/python -m pytest tests -k "B0 or B1 or B2 or B3 or B4 or B5 or B6 or B7 or B8"

evening: check-env
	$(BIN)/python -m tests.evening

safety: check-env
	$(BIN)/python -m tests.safety
	$(BIN)/python -m tests.safety.processes

bench: check-env
	$(BIN)/python -m tests.bench

shots: check-env
	HUTKEEPER_SHOTS=build/shots $(BIN)/python -m pytest tests/hub/web tests/provisioning -k "shots or demo_shows"
	@echo "see build/shots"

assets:
	$(BIN)/python -m hub.web.assets

.PHONY: check-env
check-env:
	@$(PYTHON) provisioning/environment.py test

clean:
	rm -rf .venv node_modules build .demo .mypy_cache .ruff_cache .pytest_cache *.egg-info
