# The two commands that come first: `make up` and `make test`. Everything else is cargo's or knarr's.

.PHONY: help up down test bench

help:
	@echo 'make up     install what is missing, build, start a one-node cluster, run the example'
	@echo 'make down   take it down again'
	@echo 'make test   install what the tests need, run everything CI runs'
	@echo 'make bench  measure, and print a table for docs/benchmarks.md'

up:
	@scripts/up

down:
	@scripts/down

test:
	@scripts/install test
	@cargo xtask ci

bench:
	@scripts/install test
	@cargo xtask bench
