# make run     set up and show what ways of running one data centre cost
# make demo    set up and serve the page of a simulated cluster
# make test    set up and run every test
# make test-live   install QEMU, libvirt and HAProxy (as root), raise three real hosts, run the live tests on them
# make live-demo   the same hosts with six guests, and the frozen policy in charge of them for a few minutes
# make check   linters, types, formats, import arrows
# make audit   known weaknesses of the code and of what it depends on
# make build   rebuild the native core after a change in cpp/
# make sanitize, make tidy    the core under sanitizers; the core and its bindings under clang-tidy

PYTHON ?= python3
# Real traces, where they lie beside the checkout.
ifneq ($(wildcard ../shared/data),)
export FORESHADE_DATA ?= $(abspath ../shared/data)
endif
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NATIVE := $(shell find cpp -name '*.cpp' -o -name '*.hpp' -o -name 'CMakeLists.txt' -o -name '*.pyi')

.PHONY: run demo test test-live live-demo live check audit format build sanitize tidy links clean

run: $(STAMP)
	$(BIN)/foreshade evaluate --report report
	@echo 'next: make demo serves the page of a controller that drives a simulated cluster'

# A simulated cluster with its page; the address that is printed opens it. Ctrl-C ends it.
demo: $(STAMP)
	mkdir -p build
	FORESHADE_CONTROL__STATE_DIR=build/demo FORESHADE_CONTROL__CLUSTER=demo $(BIN)/foreshade control

test: $(STAMP)
	$(BIN)/python -m pytest -n 2

# The apt packages are looked for before pip starts, so that a missing one is named and not a compiler's error.
$(STAMP): pyproject.toml constraints.txt scripts/prerequisites.sh $(NATIVE)
	sh scripts/prerequisites.sh $(PYTHON)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip scikit-build-core pybind11 cmake ninja
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[api,control,dev,forecast,train,policy,render,rules]'
	sh scripts/libvirt_binding.sh $(BIN)/python
	touch $@

# Three libvirt hosts in namespaces of our own, with guests under TCG: needs root, and Debian's packages.
live: $(STAMP)
	tests/live/testbed.sh install
	sh scripts/libvirt_binding.sh $(BIN)/python
	$(BIN)/python -c 'import libvirt'

test-live: live
	FORESHADE_LIVE=1 $(BIN)/python -m pytest -n 0 tests/live

live-demo: live
	$(BIN)/python -m tests.live.demo

build:
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --no-deps --editable .

# Type checkers do not follow the folder mapping: they are given a package of links.
links:
	mkdir -p build/links/foreshade
	for f in envs agents adapters training; do ln -sfn ../../../$$f build/links/foreshade/$$f; done
	ln -sfn ../../../cpp/bindings/_core.pyi build/links/foreshade/_core.pyi
	touch build/links/foreshade/__init__.py build/links/foreshade/py.typed

check: $(STAMP) links
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=build/links $(BIN)/mypy -p foreshade
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror $$(find cpp -name '*.cpp' -o -name '*.hpp')

audit: $(STAMP)
	sh scripts/audit.sh $(BIN)

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(find cpp -name '*.cpp' -o -name '*.hpp')

tidy: $(STAMP)
	$(BIN)/cmake -S cpp -B build/tidy -G Ninja -DCMAKE_BUILD_TYPE=Debug -DSKBUILD=ON \
	    -DPython_EXECUTABLE=$(abspath $(BIN)/python) -Dpybind11_DIR=$$($(BIN)/python -m pybind11 --cmakedir)
	$(BIN)/clang-tidy -p build/tidy --quiet --extra-arg=-Wno-deprecated-declarations \
	    $$(find cpp/core cpp/cloudsim cpp/bindings -name '*.cpp')

sanitize: $(STAMP)
	$(BIN)/cmake -S cpp -B build/sanitize -G Ninja -DCMAKE_BUILD_TYPE=Debug -DFORESHADE_SANITIZE=ON
	$(BIN)/cmake --build build/sanitize
	build/sanitize/core_tests

clean:
	rm -rf build $(VENV) report
