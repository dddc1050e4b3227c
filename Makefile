# Both commands make .venv, install what they need, and run. PYTHON=... picks another interpreter.
FIND = for p in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do \
	if $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then echo $$p; break; fi; done
PYTHON ?= $(shell $(FIND))
RUN = .venv/bin/python
DEMO = --dataset digits --record-dir demo/prune_record --plot-dir demo/saved_plots --model-dir demo/saved_models

.PHONY: demo test lint clean

demo: .venv/installed
	$(RUN) architecture_descent.py --model vgg $(DEMO) --save demo --ratio 0.25 --warmup 1 --iterations 4 --prune-every 3 --batch-size 64 --resume
	$(RUN) list_architecture.py --model vgg --dataset digits --record-dir demo/prune_record --plot-dir demo/saved_plots --prune-fname demo --ratios 0.125 0.25 0.5 --plot
	$(RUN) plot_filters.py --model vgg --dataset digits --record-dir demo/prune_record --plot-dir demo/saved_plots --prune-fname demo

test: .venv/installed-dev
	$(RUN) -m pytest -n 2 $(PYTEST)

lint: .venv/installed-dev
	$(RUN) -m ruff check .

clean:
	rm -rf demo .pytest_cache .ruff_cache .hypothesis

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.10 or newer with venv found. On Debian or Ubuntu: apt install python3-venv;" \
		"elsewhere: https://www.python.org/downloads. Then make again, or say which with PYTHON=/path/to/python3"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "make: $(PYTHON) is not Python 3.10 or newer"; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' || { echo "make: $(PYTHON) has no venv; on Debian or Ubuntu: apt install python3-venv"; exit 1; }
	"$(PYTHON)" -m venv .venv

.venv/installed: requirements.txt | .venv/bin/python
	$(RUN) -m pip install -q -r requirements.txt
	@touch $@

.venv/installed-dev: requirements.txt requirements-dev.txt | .venv/bin/python
	$(RUN) -m pip install -q -r requirements-dev.txt
	@touch $@ .venv/installed
