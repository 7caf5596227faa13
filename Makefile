# `make book` builds the report, `make test` checks it, `make browse` its pages. What they need is first installed into
# .venv, once.
PYTHON ?= python3
# The environment comes first on the path, as where it is activated: kernels and tools are found there.
IN_ENV = PATH="$(CURDIR)/.venv/bin:$$PATH"

install: .venv/installed

book: install
	$(IN_ENV) jupyter-book build .

test: install
	$(IN_ENV) ruff check && $(IN_ENV) pytest

browse: install  # the built pages in an installed Chromium: what they show, say, weigh, and answer to a drawing
	$(IN_ENV) pytest -m browser tests

soak: install  # what takes too long for every day: faults by the thousand, and whether it lasts
	$(IN_ENV) pytest -m soak -n 1 -rP tests

record: install  # the outputs stored in the chapters, which the tests compare
	$(IN_ENV) python book/_ext/record.py

pdf: install  # the whole report as one PDF, printed by an installed Chromium
	$(IN_ENV) python book/_ext/pdf.py

screenshots: install  # the README's pictures, taken from the built book
	$(IN_ENV) python book/_ext/screenshots.py

study: install  # ten seeds of each recipe, recorded in results/; DATASET=mnist for all of MNIST, in about two hours
	$(IN_ENV) python -m labcode.study $(or $(DATASET),mnist-5k)

bench: install  # how fast everything is, recorded in results/bench.json; two to three hours in which nothing else runs
	$(IN_ENV) python -m benchmarks

clean: install
	$(IN_ENV) jupyter-book clean .

# A stamp is written last, so that an installation which was interrupted is done again.
.venv/installed: .venv/locked pyproject.toml
	.venv/bin/python -m pip install --no-deps --no-build-isolation -e .
	touch $@

.venv/locked: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { echo "Python 3.11, 3.12 or 3.13 \
	is needed, but $(PYTHON) is: $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --require-hashes -r requirements.lock
	touch $@

.PHONY: install book test browse soak record pdf screenshots study bench clean
