# `make demo` and `make test` each do all the set-up that they need on a bare Debian 12 or 13.

PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
C_PARTS := guest native

# What the product needs on the host, what building it needs, what its tests need.
RUN_PACKAGES := qemu-system-x86 qemu-utils squashfs-tools e2fsprogs slirp4netns passt nftables iproute2 uidmap kmod xz-utils zstd virtiofsd?
BUILD_PACKAGES := gcc libc6-dev libjansson-dev linux-libc-dev python3 python3-venv
TEST_PACKAGES := busybox-static lz4 mmdebstrap tmux skopeo umoci docker-registry apache2-utils openssl openssh-client socat iputils-ping \
	curl git procps util-linux
PACKAGES := $(RUN_PACKAGES) $(BUILD_PACKAGES) $(TEST_PACKAGES)

.PHONY: setup packages native demo check test test-unit test-contract test-integration bench clean

setup: packages $(VENV)/.ready native

packages:
	@sh tools/packages $(PACKAGES)

$(VENV)/.ready: pyproject.toml constraints.txt hatch_build.py
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

native:
	@for part in $(C_PARTS); do $(MAKE) --silent -C $$part || exit 1; done

demo: setup
	@$(BIN)/python tools/demo.py

check: setup
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@for part in $(C_PARTS); do $(MAKE) --silent -C $$part check CLANG_FORMAT=$(CURDIR)/$(BIN)/clang-format || exit 1; done
	@$(BIN)/python -m pytest -q tests/style
	@$(BIN)/codespell src guest native tests docs tools *.md

test: check
	@$(BIN)/python -m pytest tests/unit tests/contract tests/integration

test-unit test-contract test-integration: setup
	@$(BIN)/python -m pytest tests/$(subst test-,,$@)

bench: setup
	@$(BIN)/python -m benchmarks

clean:
	@for part in $(C_PARTS); do $(MAKE) --silent -C $$part clean; done
	@rm -rf $(VENV) .cache dist build src/container/_native .mypy_cache .ruff_cache .pytest_cache
