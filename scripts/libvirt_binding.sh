#!/bin/sh
# libvirt's Python module is built from source, against Debian's headers. Where those are missing the rest works: it is
# said what is left out, and how to have it.
python=$1
if "$python" -c 'import libvirt' 2>/dev/null; then exit 0; fi
if pkg-config --exists libvirt 2>/dev/null; then
    exec "$python" -m pip install --quiet --constraint constraints.txt libvirt-python
fi
missing=
command -v pkg-config >/dev/null 2>&1 || missing="$missing pkg-config"
cat >&2 <<EOF
********************************************************************************
foreshade: libvirt's headers are not there, so libvirt-python was not built.
  missing Debian packages: libvirt-dev$missing
  left out: foreshade control on libvirt hosts, and the tests on libvirt's test driver
  to have them: apt-get install -y libvirt-dev$missing && rm -f .venv/.installed && make test
********************************************************************************
EOF
