#!/bin/bash
# Makes sure that a Chromium is there for the browser test: install_browser.sh PYTHON
# Debian's own package where we may install it, else playwright's download. Does nothing when one is found.
set -euo pipefail
python=$1

found() { "$python" -c 'import sys; from lab_utils.host.doctor import chromium_path; sys.exit(chromium_path() is None)'; }

# Only Debian proper has a real chromium package; Ubuntu's is a stub for a snap, which containers cannot run.
debian() { grep -qs '^ID=debian$' /etc/os-release && command -v apt-get >/dev/null; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

if found; then exit 0; fi
if debian && as_root true 2>/dev/null; then
  echo "Installing Debian's chromium ..."
  as_root apt-get -qq update
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install chromium >/dev/null
else
  echo "Downloading playwright's chromium ..."
  deps=()
  if as_root true 2>/dev/null && command -v apt-get >/dev/null; then deps=(--with-deps); fi
  # A failure is judged by the next line, which says the mend. "${deps[@]+...}": bash 3.2 of macOS and set -u.
  "$python" -m playwright install ${deps[@]+"${deps[@]}"} chromium || true
fi
found || { echo "No Chromium for the browser test: install chromium or google-chrome, then run make test again." >&2; exit 1; }
