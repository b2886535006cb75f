# make demo and make test set up what they need first; a second run finds it done.
# ARGS goes to the command: make test ARGS="-k states -x".
SHELL := /bin/bash
RUN := tools/run.sh
ARGS ?=

# One worker more than there are cores, for kernel tests wait more than they compute; five at most. Those that look at
# the whole machine go to one of them (tests/conftest.py).
PARALLEL := -n $(shell n=$$(nproc); echo $$((n < 4 ? n + 1 : 5))) --dist loadgroup

.PHONY: demo test soak kernels scenarios lint docs captures pictures coverage corpus setup clean

demo:
	@tools/setup.sh demo
	@$(RUN) synfin run half-close $(ARGS)

test:
	@tools/setup.sh test
	@$(RUN) pytest -q $(PARALLEL) $(ARGS)

soak:
	@tools/setup.sh test
	@$(RUN) pytest -m slow --timeout 3600 $(ARGS)

# Every scenario in every family, twenty times in a row (REPEAT says how often); about an hour on two cores. Its last lines
# say how many plays there were, and which were played again because the kernel had not told of all it did.
REPEAT ?= 20
scenarios:
	@tools/setup.sh test
	@$(RUN) pytest -q $(PARALLEL) -m "slow or not slow" --repeat=$(REPEAT) --timeout 3600 $(ARGS) \
		tests/scenarios/test_every_scenario.py tests/scenarios/test_taken_away.py

kernels:
	@tools/setup.sh test
	@tools/kernels.sh
	@$(RUN) pytest -q -n 0 -m kernels tests/kernels $(ARGS)

lint:
	@tools/setup.sh test
	@failed=; \
	$(RUN) ruff check . || failed=yes; \
	$(RUN) mypy || failed=yes; \
	$(RUN) pytest -q -n 0 tests/test_layers.py || failed=yes; \
	[ -z "$$failed" ]

# Most of a recording's time is the minute of TIME_WAIT. A new one differs from the old in times, in who sleeps when, and so
# in the number of events. Some tests of the screen (tests/tui) have drawings and words of half-close's and netpoller-echo's
# recordings, and are to be looked at anew with them; else `git checkout` keeps these two.
captures:
	@tools/setup.sh test
	@$(RUN) python -m scenarios.reference | xargs -P 8 -I NAME $(RUN) synfin run NAME --check --wait -w captures/NAME.pcapng
	@$(RUN) python -m scenarios.reference docs captures

# The screens of docs/walk.md, driven by its keys over captures/half-close.pcapng.
pictures:
	@tools/setup.sh demo
	@$(RUN) env PYTHONPATH=. python tools/pictures.py docs

coverage:
	@tools/setup.sh demo
	@$(RUN) python -m scenarios.coverage docs/coverage.md

corpus:
	@tools/setup.sh test
	@$(RUN) env PYTHONPATH=. python tests/corpus_report.py $(ARGS)

docs:
	@tools/setup.sh demo
	@$(RUN) python -m tracer.reference docs
	@$(RUN) python -m scenarios.reference docs captures

setup:
	@tools/setup.sh test again

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .benchmarks build dist *.egg-info
	find tracer scenarios tui tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
