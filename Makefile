# Two commands do everything on a fresh machine: `make run` (a first email, to an inbox page) and `make test`.
.DEFAULT_GOAL := help
.PHONY: help setup run up-separate build test test-peers check fmt clippy tidy doc unit e2e screenshots cpu-per-email \
  freeze-formats pacing-seeds pacing-seed pacing-mutations pacing-report chaos chaos-seed chaos-ground chaos-mutations chaos-report upgrade-test cpu-over-streams cpu-at-scale cpu-by-durability enqueue-latency \
  fuzz handlebars-spec render-rate refresh-latency fairness-latency memory-per-message ledger-rate suppression-import release clean

STAGE := scripts/stage
DATA ?= .run/paceline

help: ## This list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Installs the Debian packages that are missing (as root; else says the command)
	@scripts/setup

run: setup ## Builds, starts everything on this machine, sends three emails, says where to look
	@cargo build --locked --package paceline-cli
	@exec target/debug/paceline up --data $(DATA) --examples

up-separate: setup build ## The same as separate processes, with two senders
	@exec target/debug/paceline up --data $(DATA) --separate --senders 2 --examples

build: ## Every binary
	@cargo build --locked --workspace --bins

test: setup ## Everything that CI runs, each stage with its seconds
	@$(STAGE) fmt cargo fmt --all --check
	@$(STAGE) clippy cargo clippy --locked --workspace --all-targets -- --deny warnings
	@$(STAGE) doc env RUSTDOCFLAGS=--deny=warnings cargo doc --locked --workspace --no-deps --lib --quiet
	@$(STAGE) build cargo build --locked --workspace --all-targets
	@$(STAGE) peers tests/peers/run
	@$(STAGE) tests cargo test --locked --workspace --exclude paceline-chaos
	@$(STAGE) chaos cargo test --locked --package paceline-chaos

check: ## What a commit should pass: formatting, lints, tidy
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	cargo test --locked --package paceline-tidy

fmt: ## Formats the code
	cargo fmt --all

test-peers: setup build ## Only the tests with independent peers: moto, botocore, aws-ses-v2-local, clients in Python and Go
	@$(STAGE) peers tests/peers/run

freeze-formats: ## Adds fixtures of what is stored otherwise than before: tests/formats/README.md
	-FREEZE_FORMATS=1 cargo test --locked --package paceline-formats --test it what_is_written_now
	git status --short tests/formats/fixtures

pacing-seeds: ## The simulated pacing with more worlds: N=10000
	PACING_SEEDS=$(or $(N),10000) cargo test --locked --package paceline-pacing --test seeds

pacing-seed: ## One of them again: SEED=17
	PACING_SEED=$(or $(SEED),0) cargo test --locked --package paceline-pacing --test seeds -- --nocapture whatever

pacing-mutations: ## Breaks the pacing's code, one rule at a time: the tests must find each
	cargo run --locked --package paceline-pacing --example pacing_mutations

pacing-report: ## The pacing's figures beside those of other designs: docs/pacing.md and its plots
	cargo run --locked --package paceline-pacing --example report

chaos: setup build ## Every fault at every step, on each Redis, then faults by chance: MINUTES=10
	cargo run --locked --package paceline-chaos --example chaos -- run $(or $(MINUTES),10)

chaos-seed: setup build ## One story of chance again: SEED=17
	cargo run --locked --package paceline-chaos --example chaos -- seed $(or $(SEED),0)

chaos-ground: setup build ## The faults on one Redis whose names contain a text: GROUND=fsync FAULT="kill -9: sender"
	cargo run --locked --package paceline-chaos --example chaos -- ground "$(or $(GROUND),fsync)" "$(FAULT)"

chaos-mutations: setup ## Breaks the way of a message, one promise at a time: the suite must find each
	cargo run --locked --package paceline-chaos --example mutations

chaos-report: setup build ## All of it, and BullMQ under five of the faults (needs node): docs/reliability.md; MINUTES=10, GROUNDS="fsync; chance"
	cargo run --locked --package paceline-chaos --example chaos -- report $(or $(MINUTES),10) "$(GROUNDS)"

upgrade-test: setup build ## Binaries of an earlier revision beside ours, one process after another and back, while mail flows: BASE=v0.1.0, EXCEPT=
	scripts/upgrade-test "$(BASE)" "$(EXCEPT)"

e2e: setup build ## Only the tests with separate processes
	cargo test --locked --package paceline-e2e

screenshots: setup ## Makes the pictures of the README anew, with headless Chromium
	cargo build --locked --package paceline-cli
	scripts/screenshots

cpu-per-email: setup release ## CPU per email of services and Redis: BENCH=<the benchmark's folder>, for those below too
	tests/load/run $(BENCH)

memory-per-message: setup ## What a message costs in Redis's memory, by state and size: N=20000, SERVER=redis-server or valkey
	@cargo run --locked --package paceline-store --example memory_per_message -- $(or $(N),20000) $(or $(SERVER),redis-server)

suppression-import: setup release ## How fast a list comes in, into SQLite and PostgreSQL: N=100000 lines
	@cargo run --locked --release --package paceline-e2e --example suppression_import -- $(or $(N),100000) > docs/reliability/suppression-import.md.new
	@mv docs/reliability/suppression-import.md.new docs/reliability/suppression-import.md && cat docs/reliability/suppression-import.md

ledger-rate: setup ## What the ledger costs: events a second, CPU for each, bytes for a million messages: N=50000
	@cargo run --locked --release --package paceline-ledger --example ledger_rate -- $(or $(N),50000) > docs/reliability/ledger.md.new
	@mv docs/reliability/ledger.md.new docs/reliability/ledger.md && cat docs/reliability/ledger.md

cpu-over-streams: setup release ## The same over 50 identities with 20 tenants each, beside one stream
	tests/load/run $(BENCH) --n=20000
	tests/load/run $(BENCH) --n=20000 --identities=50 --tenants=20

cpu-at-scale: setup release ## The same with 10,000, 50,000 and 100,000 queued, and with 1, 2 and 4 senders
	for n in 10000 50000 100000; do tests/load/run $(BENCH) --n=$$n || exit; done
	for senders in 1 4; do tests/load/run $(BENCH) --workers=$$senders || exit; done

cpu-by-durability: setup release ## The same at each level of durability
	tests/load/run $(BENCH) --n=20000 --durability=local
	tests/load/run $(BENCH) --n=20000 --durability=fsync --persist=always
	BENCH_REDIS_BIN=$$(scripts/valkey) tests/load/run $(BENCH) --n=20000 --durability=fsync --label=waitaof
	tests/load/run $(BENCH) --n=20000 --durability=replicated --replicas=1 --persist=always

enqueue-latency: setup release ## The latency of Enqueue over gRPC at 1,000 and 5,000 calls a second
	for offered in 1000 5000; do tests/load/run $(BENCH) enqueue --offered=$$offered || exit; done

fairness-latency: setup release ## From Enqueue to the provider: alone, beside a slow identity, beside a flood of bulk mail
	for block in none slow flood; do tests/load/run $(BENCH) fairness --block=$$block || exit; done

fuzz: setup ## Looks for inputs that break parsers, renderer and encoders, for MINUTES=5 each (needs cargo-fuzz and the nightly toolchain)
	for target in template render url address header; do \
	  mkdir -p .run/fuzz/$$target && cargo +nightly fuzz run --sanitizer none $$target .run/fuzz/$$target fuzz/corpus/$$target -- \
	    -max_total_time=$$((60 * $(or $(MINUTES),5))) -timeout=20 -max_len=8192 -print_final_stats=1 || exit; done

handlebars-spec: setup ## The cases of npm's handlebars-spec through Handlebars.js and Paceline (needs node): docs/handlebars.md
	HANDLEBARS_JS=$$(scripts/handlebars-js) cargo run --locked --package paceline-templates --example handlebars_spec

render-rate: setup ## Renders per core-second beside Handlebars.js (needs node), memory and check time: docs/templates.md; BENCH=<its folder>
	cargo build --locked --release --package paceline-templates --example render_rate
	HANDLEBARS_JS=$$(scripts/handlebars-js) target/release/examples/render_rate $(BENCH)

refresh-latency: setup ## The latency of a sender's refresh with 200 senders and 20 keys: SENDERS=, KEYS=, SECONDS=
	cargo build --locked --release --bin throttle-coordinator
	cargo run --locked --release --package paceline-throttle-coordinator --example refresh_latency -- \
	  $(or $(SENDERS),200) $(or $(KEYS),20) $(or $(SECONDS),20)

release: ## The services, optimised
	cargo build --locked --release --bins --package paceline-ingest --package paceline-renderer --package paceline-sender \
	  --package paceline-throttle-coordinator
