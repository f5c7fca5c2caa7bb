# Two commands on a fresh machine: `make demo` and `make test`. `make check` says yes before a commit.

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0 # for the tests of scenes, training and networks of transformers; any torch >= 2.6 does
BIN := $(VENV)/bin
WHICH ?= not slow

.PHONY: demo furniture bench test test-slow test-portable test-pythons test-oldest check lint docs wheel dist torture fuzz compact pictures clean

demo: $(VENV)/core
	$(BIN)/cortexia estimate examples --output demo --preview
	$(BIN)/python examples/contact_sheet.py examples demo demo/contact_sheet.jpg
	$(BIN)/cortexia report demo
	$(BIN)/cortexia pointcloud examples/photo_coffee.jpg --depth demo/photo_coffee.jpg.npy --output demo/coffee.glb \
	  --fov-deg 40 --near-m 0.3 --far-m 0.7 --overwrite
	@echo
	@echo "Open demo/contact_sheet.jpg, demo/report.html, and demo/coffee.glb in a 3-D viewer (Blender, 3D Viewer)."
	@echo "All of it in 3-D: $(BIN)/pip install '.[view]' && $(BIN)/cortexia view demo --near-m 0.3 --far-m 5 --fov-deg 50"
	@echo "Your photos: source $(BIN)/activate, then: cortexia estimate PHOTOS --output depth --preview"

# Furniture for `cortexia scenes --kinds furnished`, 120 MB: Debian's package, unpacked where the command looks. Nothing
# of it is part of this package (licences: NOTICE). Elsewhere: any folder of .sh3f, .obj or .glb files, as --furniture.
FURNITURE ?= $(or $(filter /%,$(XDG_CACHE_HOME)),$(HOME)/.cache)/cortexia_video/furniture
furniture:
	@command -v apt-get dpkg-deb || { echo "make furniture needs apt: name a folder of .sh3f files as --furniture"; exit 1; }
	mkdir -p build/furniture $(FURNITURE)
	cd build/furniture && apt-get download sweethome3d-furniture && dpkg-deb -x sweethome3d-furniture_*.deb .
	cp build/furniture/usr/share/sweethome3d/furniture/*.sh3f build/furniture/usr/share/doc/sweethome3d-furniture/copyright \
	  $(FURNITURE)
	rm -r build/furniture

# Each file in a process of its own (with all libraries in one, Linux once could not deliver a signal), three at a time:
# those of clusters mostly wait. pytest's plugins take a second a file.
test: $(VENV)/test
	PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(BIN)/python tests/support/run_files.py -m "$(WHICH)"

# What `make test` leaves out: tests of minutes.
test-slow:
	$(MAKE) test WHICH=slow

# The same, as on a processor without AVX-512 (OpenVINO itself fails below AVX2), torch and numpy without AVX2 (numpy
# calls that by another name before 2.4), one thread: for releases.
test-portable:
	ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=default NPY_DISABLE_CPU_FEATURES=X86_V3 OMP_NUM_THREADS=1 $(MAKE) test

# The same on every other Python that is on PATH or that pyenv has: 3.12 and newer.
PYTHONS ?= $(foreach v,3.12 3.13 3.14,$(shell command -v python$(v))) $(wildcard $(HOME)/.pyenv/versions/3.1[2-9].*/bin/python)
test-pythons:
	set -e; for each in $(PYTHONS); do \
	  name=$$($$each -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null) || continue; \
	  case "$$tried" in *"$$name"*) continue;; esac; tried="$$tried $$name"; \
	  $(MAKE) test PYTHON=$$each VENV=build/python$$name; \
	done

# With the oldest versions that pyproject.toml allows (torch apart): needs uv.
test-oldest:
	uv venv --seed --python 3.11 build/oldest # with pip, which tests use
	uv pip install --python build/oldest --resolution lowest-direct $(TORCH) '.[test]'
	PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 build/oldest/bin/python tests/support/run_files.py -m "not slow"

check: lint test test-slow test-pythons docs wheel

lint: $(VENV)/check
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(BIN)/zizmor --offline --quiet --config .github/zizmor.yml .github

# The documentation site, into build/site; it opens from disk, too.
docs: $(VENV)/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	! grep -rlE 'src="https?://' build/site --include=*.html # a page that asks another server for a part of it

# What is published: built twice, to the same bytes, and looked at.
dist: $(VENV)/check
	rm -rf dist build/again
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m build --outdir build/again
	for file in dist/*; do cmp $$file build/again/$${file#dist/}; done
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

# A wheel, installed alone: it must work and stay small (without the bytecode that pip adds: a fifth more).
wheel: $(VENV)/check
	rm -rf build dist
	$(BIN)/python -m build --wheel --outdir dist
	$(PYTHON) -m venv build/clean
	build/clean/bin/pip install --quiet --no-compile dist/*.whl
	cd build && PYTHONDONTWRITEBYTECODE=1 clean/bin/cortexia models
	cd build && PYTHONDONTWRITEBYTECODE=1 clean/bin/cortexia estimate ../examples --output depth
	build/clean/bin/pip uninstall --quiet --yes pip setuptools
	find build/clean -type f -printf '%s\n' | awk '{bytes += $$1} END {print bytes " bytes"; exit bytes >= 190e6}'

# Kills every command that writes, 40 times, and fills its disk, 16 sizes of it (as root); compares what it then ends
# in with an undisturbed run. An hour of two cores; TORTURE="--minutes 30 --only train" for less.
torture: $(VENV)/test
	PYTHONPATH=tests/support PYTHONUNBUFFERED=1 nice $(BIN)/python tests/end_to_end/torture.py $(TORTURE)

# Damaged and hostile files for every decoder and reader, from new seeds until Ctrl-C; `make test` tries a few of them.
# What is found goes to build/fuzzing. FUZZ="--minutes 30 depth-tiff run" for less.
fuzz: $(VENV)/test
	PYTHONPATH=tests:tests/support nice $(BIN)/python -m fuzzing $(FUZZ)

# Short forms of the benchmarks beside the ratios of benchmarks/record.json; says what is lost. BENCH="reading --record"
# for one of them, and to keep what it finds. Ten minutes of two quiet cores.
bench: $(VENV)/test
	$(BIN)/pip install --quiet --editable '.[benchmark]'
	$(BIN)/python benchmarks/bench.py $(BENCH)

# The built-in network, from nothing: renders its scenes, trains, exports. Hours of two cores; the same command goes on
# where it was stopped. The variables spare glibc half of its work (docs/models/compact.md).
compact: $(VENV)/test
	MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 \
	$(BIN)/cortexia train cortexia_video/training/compact.toml --output runs/compact

# The pictures of the documents that show what it makes of images, after its weights have changed.
pictures: $(VENV)/test
	PYTHONPATH=tests:tests/support $(BIN)/python benchmarks/pictures.py docs/images build/pictures

clean:
	rm -rf $(VENV) build dist demo

$(VENV)/core: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/test: $(VENV)/core
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet --editable '.[train,test]'
	touch $@

$(VENV)/check: $(VENV)/test
	$(BIN)/pip install --quiet --editable '.[check]'
	touch $@

$(VENV)/docs: $(VENV)/core
	$(BIN)/pip install --quiet --editable '.[docs]'
	touch $@
