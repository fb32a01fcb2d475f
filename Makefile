# `make demo` and `make test` each do all the set-up that they need on a bare Debian 12 or 13.

PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
C_PARTS := guest native

# Debian packages by what needs them; each target installs its own. None has a service (tests/unit/test_packages.py):
# of one that has, take the program alone.
RUN_PACKAGES := python3 qemu-system-x86 qemu-utils squashfs-tools e2fsprogs slirp4netns passt nftables iproute2 uidmap kmod \
	xz-utils zstd virtiofsd?
BUILD_PACKAGES := gcc libc6-dev libjansson-dev linux-libc-dev python3-venv
DEMO_PACKAGES := mmdebstrap
TEST_PACKAGES := mmdebstrap busybox-static lz4 tmux skopeo umoci apache2-utils openssl openssh-client socat iputils-ping curl git \
	procps util-linux
TEST_PROGRAMS := docker-registry

STEP := tools/step
PIP_INSTALL = $(BIN)/python -m pip install --progress-bar off --disable-pip-version-check --constraint constraints.txt --editable
PIP_ADVICE := Check that pip reaches its index (pip config list), then run make again.

.NOTPARALLEL:
.PHONY: setup setup-packages demo-packages test-packages native demo lint check test test-unit test-contract test-integration bench clean

setup: setup-packages $(VENV)/.ready native

setup-packages:
	@tools/packages "running and building" $(RUN_PACKAGES) $(BUILD_PACKAGES)

demo-packages:
	@tools/packages "the demo" $(RUN_PACKAGES) $(BUILD_PACKAGES) $(DEMO_PACKAGES)

test-packages:
	@tools/packages "the tests" $(RUN_PACKAGES) $(BUILD_PACKAGES) $(TEST_PACKAGES)
	@for program in $(TEST_PROGRAMS); do tools/program $$program || exit 1; done

# pip is the last that `venv` makes: without it an earlier try was interrupted.
$(BIN)/pip:
	@$(STEP) "Making the virtual environment $(VENV)" "Remove $(VENV) and run make again." $(PYTHON) -m venv --clear $(VENV)

$(VENV)/.ready: pyproject.toml constraints.txt hatch_build.py | $(BIN)/pip
	@$(STEP) "Installing Python packages into $(VENV)" "$(PIP_ADVICE)" $(PIP_INSTALL) .
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	@$(STEP) "Installing Python packages for development into $(VENV)" "$(PIP_ADVICE)" $(PIP_INSTALL) '.[dev]'
	@touch $@

native:
	@for part in $(C_PARTS); do \
		$(MAKE) --silent --question -C $$part 2>/dev/null || \
		$(STEP) "Compiling $$part" "Mend what the compiler names and run make again." $(MAKE) --silent -C $$part || exit 1; \
	done

demo: demo-packages setup
	@$(BIN)/python tools/demo.py

lint: setup $(VENV)/.ready-dev
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@for part in $(C_PARTS); do $(MAKE) --silent -C $$part check CLANG_FORMAT=$(CURDIR)/$(BIN)/clang-format || exit 1; done
	@$(BIN)/codespell src guest native tests docs tools *.md

check: lint
	@$(BIN)/python -m pytest -q tests/style

test: test-packages lint
	@$(BIN)/python tools/test.py tests/style tests/unit tests/contract tests/integration

test-unit test-contract test-integration: test-packages setup $(VENV)/.ready-dev
	@$(BIN)/python tools/test.py tests/$(subst test-,,$@)

bench: test-packages setup $(VENV)/.ready-dev
	@$(BIN)/python -m benchmarks

clean:
	@test ! -x $(BIN)/python || $(BIN)/python tools/stop.py
	@for part in $(C_PARTS); do $(MAKE) --silent -C $$part clean; done
	@rm -rf --one-file-system $(VENV) .cache dist build src/container/_native .mypy_cache .ruff_cache .pytest_cache .hypothesis
