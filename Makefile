# The chores; `make help` lists them.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
PORT ?= 8000
BIN := .venv/bin

# The demo has a data folder of its own, so that FRESH=1 can never touch a real shop's.
DEMO := ENV_FILE=.env.example DATA_DIR=var/demo DATABASE_URL= REDIS_URL= PORT=$(PORT)
# What a production server would set; for `check --deploy`.
PRODUCTION := ENV_FILE=.env.example DATA_DIR=var/check DEBUG=false SANDBOX=false \
	SITE_URL=https://shop.example.com ALLOWED_HOSTS=shop.example.com \
	BLOCKONOMICS_URL=https://www.blockonomics.co BITCOIN_NETWORK=main \
	BLOCKONOMICS_API_KEY=for-the-check-only BLOCKONOMICS_CALLBACK_SECRET=for-the-check-only \
	SECRET_KEY=for-the-check-only-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGH

.PHONY: help demo sandbox translations test test-sqlite test-servers test-quick soak bench lighthouse lint format clean

help: ## list the chores
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(BIN)/.ready ## the whole shop with the sandbox on http://127.0.0.1:8000 (PORT=…, FRESH=1, WATCH=1)
	@exec env $(DEMO) $(BIN)/python manage.py demo \
		$(if $(filter-out 0,$(FRESH)),--fresh) $(if $(filter-out 0,$(WATCH)),--watch)

sandbox: $(BIN)/.ready ## the stand-in for Blockonomics alone, on http://127.0.0.1:8100 (PORT=…)
	@exec $(BIN)/python -m sandbox --port $(if $(filter file,$(origin PORT)),8100,$(PORT))

# TESTS= chooses some of them: make test TESTS=tests/payments/test_stock.py
test: test-sqlite test-servers ## every test, on SQLite and again on PostgreSQL with Redis

test-sqlite: $(BIN)/.ready-dev
	@$(BIN)/python -m tests.browser.chromium
	env -u DATABASE_URL -u REDIS_URL $(BIN)/python -m pytest -n 3 $(TESTS)

test-servers: $(BIN)/.ready-dev
	@$(BIN)/python -m tests.browser.chromium
	$(BIN)/python -m tests.servers $(BIN)/python -m pytest -n 3 $(TESTS)

test-quick: $(BIN)/.ready-dev ## without what takes its time: kills, outages, full disks, crowds, hostile queries
	$(MAKE) test-sqlite TESTS='-m "not hard"'

soak: $(BIN)/.ready-dev ## hours of 1,000 kills, 2,000 lives, 100,000 callbacks (SOAK_MINUTES=… for each test)
	env -u DATABASE_URL -u REDIS_URL SOAK=1 $(BIN)/python -m pytest -n 2 --timeout 36000 \
		tests/resilience/test_kill.py tests/resilience/test_lifecycle.py \
		tests/resilience/test_fuzz.py tests/resilience/test_crowds.py
	SOAK=1 $(BIN)/python -m tests.servers $(BIN)/python -m pytest -n 2 --timeout 36000 \
		tests/resilience/test_kill.py tests/resilience/test_lifecycle.py

bench: $(BIN)/.ready ## the benchmarks, ours beside the naive way, as ratios
	@$(BIN)/python -m benchmarks.callback

lighthouse: $(BIN)/.ready-dev var/lighthouse/.ready ## Lighthouse on catalogue, product and invoice, in production settings
	@$(BIN)/python -m tests.browser.chromium
	@$(BIN)/python -m benchmarks.lighthouse

translations: $(BIN)/.ready-dev ## bring the translations in locale/ up to date with code and templates
	@$(BIN)/python -m shop.translations

lint: $(BIN)/.ready-dev ## formats, rules, migrations, production settings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/djade --check $$(git ls-files '*.html')
	env $(DEMO) $(BIN)/python manage.py makemigrations --check --dry-run
	env $(PRODUCTION) $(BIN)/python manage.py check --deploy --fail-level WARNING

format: $(BIN)/.ready-dev ## put code and templates into shape
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	$(BIN)/djade $$(git ls-files '*.html')

clean: ## remove the virtual environment and the demo's data
	rm -rf .venv var/demo var/check var/lighthouse

$(BIN)/.ready: requirements.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed."; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo "No virtual environment could be made; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "Installing what the shop needs …"
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(BIN)/.ready-dev: requirements-dev.txt $(BIN)/.ready
	@echo "Installing what the tests need …"
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

var/lighthouse/.ready: benchmarks/package.json benchmarks/package-lock.json
	@command -v npm >/dev/null || { \
		echo "Lighthouse comes by npm: install Node.js 18 or newer (Debian: apt-get install nodejs npm)."; exit 1; }
	@echo "Installing Lighthouse …"
	@mkdir -p $(@D) && cp $^ $(@D)
	@npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --loglevel error
	@touch $@
