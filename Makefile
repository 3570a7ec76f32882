# Every target sets up what it needs the first time, says what it is doing, and is thin: the work is tox's.

SETUP := scripts/setup
TOX := .venv/bin/tox -q run

# Two set-ups at a time would meet in .venv.
.NOTPARALLEL:

.PHONY: help demo test check vm-test vm-test-full bench soak clean

help:
	@echo 'make demo     boot a Linux guest from images/demo.viso, and compare what it sees with what the recipe promises'
	@echo 'make test     make check, then make vm-test'
	@echo 'make check    lint, types, unit tests, and a smoke test of the built wheel'
	@echo 'make vm-test  the tests that boot guests'
	@echo 'make vm-test-full  the same, with those that take longer'
	@echo 'make bench    measure, side by side with other tools (minutes)'
	@echo 'make soak     64 connections at once for 10 minutes, every byte compared'
	@echo 'make clean    remove what the targets made in this checkout'

demo:
	@$(SETUP) demo
	@$(TOX) -e demo

check:
	@$(SETUP) test
	@$(TOX) -e lint,type,py311,pkg

vm-test:
	@$(SETUP) test
	@$(TOX) -e vm

vm-test-full:
	@$(SETUP) full
	@QEMU_VISO_FULL=1 $(TOX) -e vm

test: check vm-test

bench:
	@$(SETUP) bench
	@$(TOX) -e bench

soak:
	@$(SETUP) test
	@$(TOX) -e soak

clean:
	rm -rf .venv .tox .cache images/build dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
