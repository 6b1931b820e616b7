# Braid. `make demo` and `make test` set up what is missing and need root; the rest does not.

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: all lint format test bench soak demo figure10 setup clean root

# The proxy of Go modules may answer exact versions only.
GOLANGCI_LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.14.0
BENCH ?= .
BENCHTIME ?= 1s
COUNT ?= 1
STAGES ?=
SOAK ?=

all: ## build bin/upf and bin/braid
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/upf ./cmd/braid

lint: ## golangci-lint with .golangci.yml, and the same of shell scripts
	$(GOLANGCI_LINT) run
	bash -n scripts/setup .ci/run

format: ## gofumpt and goimports over the tree
	$(GOLANGCI_LINT) fmt

test: root setup all ## every test, none skipped: unit, race, e2e; STAGES=unit runs only that one
	@go build -o bin/ ./scripts/runtests
	REQUIRE_E2E=1 BRAID_BIN=$(CURDIR)/bin bin/runtests $(STAGES)

bench: ## benchmarks on one core; BENCH=regexp BENCHTIME=1s COUNT=1
	go test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -count $(COUNT) -benchmem -cpu 1 ./...

soak: ## the simulation with new seeds on every core until ^C; SOAK="-for 2h" or "-seeds 10000 -first 1"
	@go build -o bin/ ./scripts/soak
	bin/soak $(SOAK)

demo: root setup all ## the main job on real input: ends with demo: PASS or demo: FAIL
	bin/braid demo

figure10: root setup all ## Figure 10 of FlexCP from a run, into out/figure10.svg
	bin/braid figure10

setup: ## install what is missing (Debian, Ubuntu)
	@scripts/setup

root:
	@[ "$$(id -u)" = 0 ] || { echo "This makes network namespaces and TUN devices and needs root: use sudo." >&2; exit 1; }

clean: ## remove what was built
	rm -rf bin out
