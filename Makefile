# Edition: what to type. Only Go is needed for run, build and test; lint builds
# its pinned tools on first use (tools/go.mod), which takes a few minutes.
GO      ?= go
PKGS    ?= ./...
TIMEOUT ?= 20m
FUZZTIME ?= 10s

LINT     = $(GO) tool -modfile=tools/go.mod golangci-lint
# The race detector needs a C compiler on most platforms; without one the tests
# run without it, and say so.
RACE     = race=-race; $(GO) build -race runtime/cgo >/dev/null 2>&1 || { race=; \
	echo "note: no working C compiler for $$($(GO) env GOOS)/$$($(GO) env GOARCH): testing without the race detector" >&2; }

.PHONY: help run run-kicks build peers test test-long e2e bench fuzz lint fmt vet check clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-10s  %s\n", $$1, $$2 }' Makefile

run: build ## a server, two relays and three devices in one process, with a transcript
	@bin/edition demo

run-kicks: build ## a sleeping device for each kick driver, woken through a relay
	@bin/edition demo --kicks

build: ## bin/edition
	$(GO) build -trimpath -o bin/edition ./cmd/edition

peers: ## install what tests need of npm, where there is node; those tests are skipped without
	@scripts/npm-peers

test: peers ## every test, with the race detector
	@$(RACE); $(GO) test $$race -timeout $(TIMEOUT) $(PKGS)

test-long: peers ## the same with the long variants: 50 kills under load and the like
	@$(RACE); EDITION_LONG=1 $(GO) test $$race -count 1 -timeout 60m $(PKGS)

e2e: ## Firefox and programs of others as devices and app servers; installs firefox-esr and npm packages
	@scripts/firefox
	@scripts/npm-peers --must
	EDITION_E2E=1 $(GO) test -count 1 -timeout $(TIMEOUT) -v -run '^(TestFirefox|TestPeers)' ./e2e

bench: ## the figures of README, each beside its reference (edition bench --help)
	$(GO) run ./cmd/edition bench

fuzz: ## every fuzz target for FUZZTIME (10s)
	@GO='$(GO)' scripts/fuzz $(FUZZTIME) $(PKGS)

lint: ## golangci-lint with .golangci.yml, gofumpt and goimports included
	$(LINT) run

fmt: ## format in place
	$(LINT) fmt

vet:
	@out=$$(gofmt -l .) && [ -z "$$out" ] || { echo "not gofmt-ed: $$out" >&2; exit 1; }
	$(GO) vet $(PKGS)

check: vet lint test ## what continuous integration runs

clean: ## what make made
	rm -rf bin
