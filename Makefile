# Both commands make .venv, install what they need, and run. PYTHON=... picks another interpreter.
FIND = for p in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do \
	if $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then echo $$p; break; fi; done
PYTHON ?= $(shell $(FIND))
RUN = .venv/bin/python
WHOLE := $(shell test ! -e .venv.unfinished && $(RUN) -c 'import pip' 2>/dev/null && echo whole)
SHOW = --model vgg --dataset digits --record-dir demo/prune_record --plot-dir demo/saved_plots
DEMO = $(SHOW) --model-dir demo/saved_models
TRAIN = --epochs 5 --batch-size 64 --resume
SWEEP = --ratios 0.03125 0.0625 0.125 $(TRAIN)
SEEDS = 0 1 2

.PHONY: demo figures study study-run test test-cluster lint clean .venv

demo: .venv/installed
	$(RUN) architecture_descent.py $(DEMO) --save demo --ratio 0.25 --warmup 5 --iterations 3 --prune-every 2 --batch-size 64 --resume
	$(RUN) list_architecture.py $(SHOW) --prune-fname demo --ratios 0.125 0.25 0.5 --plot
	$(RUN) plot_filters.py $(SHOW) --prune-fname demo
	set -e; for seed in $(SEEDS); do \
		$(RUN) ratio_swipe.py $(DEMO) --prune-fname demo --save neuralscale_$$seed $(SWEEP); \
		$(RUN) ratio_swipe.py $(DEMO) --uniform --save uniform_$$seed $(SWEEP); done
	$(RUN) train_norm.py $(DEMO) --ratio 0.25 --save base $(TRAIN)
	set -e; for seed in $(SEEDS); do for target in 6.25% 25%; do \
		$(RUN) prune.py $(DEMO) --weights demo/saved_models/vgg/base.pt --target $$target --budget params --save pruned_$$seed $(TRAIN); \
		done; done
	$(RUN) plot_ratio.py $(SHOW) --runs uniform=uniform NeuralScale=neuralscale "trained, then pruned (twice the epochs)=pruned"

figures: .venv/installed
	set -e; for pair in vgg_CIFAR10 vgg_CIFAR100 resnet18_CIFAR100 resnet18_tinyimagenet mobilenetv2_CIFAR100 mobilenetv2_tinyimagenet; do \
		of="--model $${pair%_*} --dataset $${pair#*_}"; \
		$(RUN) plot_ratio.py $$of --out images/$${pair}_accuracy.png; \
		$(RUN) plot_ratio.py $$of --axis macs --out images/$${pair}_macs.png; \
		$(RUN) plot_ratio.py $$of --front --out images/$${pair}_front.png; \
		$(RUN) list_architecture.py $$of --prune-fname published --plot --out images/$${pair}_architectures.png; done
	$(RUN) plot_ratio_warmup.py --model vgg --dataset CIFAR10 --out images/vgg_CIFAR10_warmup.png
	$(RUN) plot_ratio_warmup.py --model mobilenetv2 --dataset CIFAR100 --out images/mobilenetv2_CIFAR100_warmup.png
	$(RUN) plot_ratio_warmup.py --model resnet18 --dataset tinyimagenet --convcut --out images/resnet18_tinyimagenet_convcut.png
	$(RUN) plot_ratio_warmup.py --model mobilenetv2 --dataset tinyimagenet --convcut --out images/mobilenetv2_tinyimagenet_convcut.png

# The study: its tables and figures from the stored results; and what is missing of it, on CIFAR10 and CIFAR100 below DATA.
study: .venv/installed
	$(RUN) study.py

DATA ?= data
study-run: .venv/installed
	$(RUN) study.py --run --data "$(DATA)"

test: .venv/installed-dev
	$(RUN) -m pytest -n 2 --dist worksteal $(PYTEST)

# A Slurm of one node is started on this machine, and stopped: Debian's, installed where apt-get is and this is root.
test-cluster: .venv/installed-dev .venv/installed-cluster
	@PATH="$$PATH:/usr/sbin:/sbin" command -v slurmctld >/dev/null || { command -v apt-get >/dev/null && test "$$(id -u)" = 0 && \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y slurm-wlm munge >/dev/null; } || \
		echo "make: Slurm is not here and can't be installed: its tests will be skipped"
	$(RUN) -m pytest tests/slurm $(PYTEST)

lint: .venv/installed-dev
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy

clean:
	rm -rf demo .pytest_cache .ruff_cache .hypothesis

# .venv.unfinished, with the number of make's process, is there while .venv is made or filled. It stays where that is killed:
# what lies in .venv is not to be trusted then, and is made again.
.venv:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.10 or newer with venv found. On Debian or Ubuntu: apt install python3-venv;" \
		"elsewhere: https://www.python.org/downloads. Then make again, or say which with PYTHON=/path/to/python3"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "make: $(PYTHON) is not Python 3.10 or newer"; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' || { echo "make: $(PYTHON) has no venv; on Debian or Ubuntu: apt install python3-venv"; exit 1; }
	@other=$$(cat .venv.unfinished 2>/dev/null); test "$$other" = $$PPID || ! ps -o comm= -p "$$other" 2>/dev/null | grep -q make || { \
		echo "make: another make, process $$other, is installing; wait for it"; exit 1; }
	@echo $$PPID > .venv.unfinished
	rm -rf .venv
	"$(PYTHON)" -m venv .venv
	@rm .venv.unfinished

.venv/installed: requirements.txt $(if $(WHOLE),,.venv)
.venv/installed-dev: requirements-dev.txt .venv/installed $(wildcard requirements-export.txt)
.venv/installed-cluster: requirements-cluster.txt .venv/installed
.venv/installed .venv/installed-dev .venv/installed-cluster:
	@echo $$PPID > .venv.unfinished
	$(RUN) -m pip install -q -r $< || { status=$$?; test $$status -ge 128 || rm .venv.unfinished; exit $$status; }
	@touch $@
	@rm .venv.unfinished
