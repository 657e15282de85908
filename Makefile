# Every verb is one or two commands: the logic is in Rust (`chaos/src/bin/stack`, `chaos`, `loadtest`).

CARGO ?= cargo
# Of the form CARGO_TARGET_DIR has; the stacks' own files always lie under target/.
BIN := $(or $(CARGO_TARGET_DIR),target)/release
STACK := $(BIN)/stack
SEED ?=
# The seed of an adversary in the emulator, for `make up` and `make demo`; none without it.
ADVERSARY ?=
WITH_ADVERSARY = $(if $(ADVERSARY),--adversary $(ADVERSARY))
# 1: faults of FIS begin and end as on AWS, after up to a minute, for `make up`.
FIS_RAMPS ?=
WITH_FIS_RAMPS = $(if $(FIS_RAMPS),--fis-ramps)
TASKS ?= 10000000
# Of arbitrary requests, for all parsers together.
FUZZ_SECONDS ?= 60
EXPERIMENTS ?= chaos/experiments/baseline.toml chaos/experiments/worker-error-after-effect.toml chaos/experiments/worker-throttled.toml

FUNCTIONS := authorizer submit-task list-tasks process-task websocket audit-dead-letters
TOOLS := emulator loadtest chaos
# Selected apart from the tools, so that no feature that only a tool needs ends up in a function.
BUILD_FUNCTIONS = $(CARGO) build --profile function --locked $(addprefix -p ,$(FUNCTIONS))
BUILD_TOOLS = $(CARGO) build --release --locked $(addprefix -p ,$(TOOLS))
# The worker that is wrong on purpose, for the positive control.
BUILD_SABOTAGED = $(BUILD_FUNCTIONS) --features sabotage --bin process-task-sabotaged
# A test that the others leave out, by nextest where it is there: that one ends it when it hangs (.config/nextest.toml).
TEST_IGNORED = if $(CARGO) nextest --version >/dev/null 2>&1; \
	then $(CARGO) nextest run --workspace --locked --test $(1) --run-ignored only --no-capture; \
	else $(CARGO) test --workspace --locked --test $(1) -- --ignored --nocapture; fi
TERRAFORM_MIN := 1.11.0
RUST_MIN := $(shell sed -n 's/^rust-version = "\([0-9.]*\)"/\1/p' Cargo.toml)

.DEFAULT_GOAL := help
.PHONY: help tools build demo suite adversaries test test-sdks test-provider fuzz controls lint up plan down package bench bench-capacity bench-peers bench-oracle soak clean

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## Emulator, terraform apply, load, faults, verdict, report, destroy: all of it, on this machine
	@$(STACK) $(WITH_ADVERSARY) demo $(if $(SEED),--seed $(SEED)) $(EXPERIMENTS)

suite: build ## Every experiment of chaos/experiments on a stack of its own, in some nine minutes beside apply and destroy
	@$(STACK) $(WITH_ADVERSARY) demo $(if $(SEED),--seed $(SEED)) $(sort $(wildcard chaos/experiments/*.toml))

adversaries: build ## The demo under ten legal adversaries, one after the other; ends at the first that does not pass
	@for seed in 1 2 3 4 5 6 7 8 9 10; do \
	  echo "adversary $$seed"; \
	  $(STACK) --adversary $$seed demo --seed $$seed $(EXPERIMENTS) || exit $$?; \
	done

test: build ## Every test: Rust, Terraform, and the end-to-end test with its positive control
	@$(BUILD_SABOTAGED)
	@if $(CARGO) nextest --version >/dev/null 2>&1; then $(CARGO) nextest run --workspace --locked; else $(CARGO) test --workspace --locked; fi
	@$(STACK) verify
	@$(call TEST_IGNORED,end_to_end)
	@echo "make test: Rust tests, Terraform fmt + validate + test, and the end-to-end test with its positive control all passed"

controls: build ## Ten services that are broken on purpose, each of which the harness must catch
	@$(BUILD_SABOTAGED)
	@$(STACK) package
	@$(call TEST_IGNORED,controls)

lint: tools ## Formatting, clippy with warnings as errors, and the direction of dependencies
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --workspace --all-targets --locked --quiet -- -D warnings
	@$(CARGO) test --workspace --locked --quiet --test layers

test-provider: build ## The Terraform provider against the emulator: every resource type, changed in place, destroyed
	@$(STACK) test-provider

fuzz: ## Arbitrary requests to every parser of the emulator for a minute (or FUZZ_SECONDS), from a fixed seed (or FUZZ_SEED)
	@FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO) test --workspace --locked --test fuzz -- --test-threads 1

test-sdks: build ## boto3 and the AWS CLI, from the Python registry, against the emulator
	@$(STACK) test-sdks

up: build ## Leave the emulator and the applied stack running; described in target/stack.json
	@$(STACK) $(WITH_ADVERSARY) $(WITH_FIS_RAMPS) up

plan: build ## Plan against the running stack: fails when something would change
	@$(STACK) plan

down: build ## Destroy the stack and stop the emulator
	@$(STACK) down

package: ## The functions as zips for AWS in target/package, of this machine's architecture and for its glibc or a newer one
	@$(BUILD_FUNCTIONS)
	@$(BUILD_TOOLS) --bin stack
	@$(STACK) package --into target/package --for-lambda

bench: build ## The figures that the README quotes, measured here and now
	@$(STACK) bench

bench-capacity: ## The emulator alone: SQS messages and pushes per second, memory of 5,000 idle WebSocket connections
	@$(BUILD_TOOLS) --bins --example capacity
	@$(BIN)/examples/capacity

bench-peers: build ## This emulator beside MiniStack: the same Terraform, the same zips, the same load, in one run
	@$(STACK) bench-peers

bench-oracle: ## Ten million generated tasks, judged: seconds and peak memory
	@$(BUILD_TOOLS)
	@$(BIN)/chaos bench-oracle --tasks $(TASKS)

soak: build ## 300 tasks per second (or RATE) for an hour (or MINUTES): the emulator's memory must stay within 5 %
	@$(STACK) soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(RATE),--rate $(RATE)) $(if $(PLACE),--place $(PLACE))

build: tools ## Compile the tools and the functions
	@$(BUILD_TOOLS)
	@$(BUILD_FUNCTIONS)

tools: ## Say which tools are missing and how to get them
	@missing=0; \
	need() { command -v $$1 >/dev/null 2>&1 || { echo "missing: $$1 - $$2"; missing=1; }; }; \
	recent() { oldest=$$(printf '%s\n%s\n' "$$2" "$$3" | sort -V | head -n 1); \
	  [ "$$oldest" = "$$2" ] || { echo "too old: $$1 $$3 - need >= $$2$$4"; missing=1; }; }; \
	need $(CARGO) "install Rust with rustup, https://rustup.rs"; \
	need cc "a C compiler: 'apt-get install build-essential' or 'xcode-select --install'"; \
	need terraform ">= $(TERRAFORM_MIN), https://developer.hashicorp.com/terraform/install"; \
	if command -v rustc >/dev/null 2>&1; then \
	  recent rustc "$(RUST_MIN)" "$$(rustc --version 2>/dev/null | sed -n '1s/^rustc \([0-9.]*\).*/\1/p')" ": rustup update"; \
	fi; \
	if command -v terraform >/dev/null 2>&1; then \
	  recent terraform "$(TERRAFORM_MIN)" "$$(terraform version 2>/dev/null | sed -n '1s/^Terraform v//p')"; \
	fi; \
	exit $$missing

clean: ## Bring down the stack of `make up`, if one is up, and remove what was built and every run's files
	@if [ -d target/stack ] && [ -x $(STACK) ]; then $(STACK) down; fi
	@$(CARGO) clean
	@rm -rf runs
