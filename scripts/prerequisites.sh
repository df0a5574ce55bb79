#!/bin/sh
# Names every Debian package that the set-up needs and does not find, and the command that installs them.
python=${1:-python3}
missing=
command -v "$python" >/dev/null 2>&1 || { echo "foreshade: $python not found: apt-get install python3" >&2; exit 2; }
"$python" - <<'EOF' || exit 2
import sys
if sys.version_info < (3, 11):
    sys.exit(f"foreshade: expected Python 3.11 or later, found {sys.version.split()[0]}")
EOF
command -v g++ >/dev/null 2>&1 || missing="$missing g++"
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
"$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' 2>/dev/null ||
    missing="$missing python3-dev"
if [ -n "$missing" ]; then
    echo "foreshade: missing Debian packages:$missing" >&2
    echo "foreshade: install them with: apt-get install -y$missing" >&2
    exit 2
fi
