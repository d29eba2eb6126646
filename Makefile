# `make demo` and `make test` do everything, from a bare Debian with Python; tools/set_up.py is told once what for.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test test-browser lint docs body example clean

help:
	@echo "make demo     set up, then capture the example take and show where the results are"
	@echo "make test     set up, then run the tests (ARGS='-k triangulate' to choose)"
	@echo "make test-browser  set up, then test the report page and exports in a headless Chromium, and emc view"
	@echo "make lint     set up, then check style, types and which floor imports which"
	@echo "make docs     set up, then build the documentation into build/docs; its warnings are errors"
	@echo "make body     build the embedded body and hands anew (tools/build_body.py, tools/build_hands.py)"
	@echo "make example  render the example take anew (tools/make_example.py); CMU=FILE.npz has the motions"
	@echo "make clean    remove the environment, caches and output"

demo:
	@$(PYTHON) tools/set_up.py run
	@$(BIN)/emc --data config/datasets/mvimage.yml --exp config/fitSMPL.yml

test:
	@$(PYTHON) tools/set_up.py test
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --ignore=tests/browser $(ARGS)

test-browser:
	@$(PYTHON) tools/set_up.py browser
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/browser tests/test_view.py tests/test_export.py tests/io/test_tables.py $(ARGS)

lint:
	@$(PYTHON) tools/set_up.py lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports

docs:
	@$(PYTHON) tools/set_up.py docs
	@$(BIN)/python tools/make_reference.py docs/reference
	@$(BIN)/python -m sphinx --fail-on-warning --quiet --fresh-env docs build/docs
	@echo "build/docs/index.html"

body:
	@$(PYTHON) tools/set_up.py tools
	@$(BIN)/python tools/build_body.py all
	@$(BIN)/python tools/build_hands.py

example:
	@test -n "$(CMU)" || { echo "Say where the CMU clips are: make example CMU=cmu_30fps.npz" >&2; exit 2; }
	@$(PYTHON) tools/set_up.py run
	@$(BIN)/python tools/make_example.py --cmu "$(CMU)" --detections

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache .cache
	find mocap tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
	find output -mindepth 1 ! -name .gitkeep -exec rm -rf {} +
