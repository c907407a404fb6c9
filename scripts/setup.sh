# Sourced by run and test, from the project's root: makes .venv and keeps it up to date.
# shellcheck shell=bash

python=.venv/bin/python
cpu_index=https://download.pytorch.org/whl/cpu

say() { printf '%s\n' "$*" >&2; }

fail() {
  say "error: $*"
  exit 1
}

find_python() { # prints the command of a Python that is new enough
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.11 python3.12 python3.13 python3.14 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  fail "Python 3.11 or newer is needed; found: $(python3 --version 2>&1 || true)." \
    "Install it (https://www.python.org/downloads/), or name it: PYTHON=/path/to/python3.11 $0"
}

make_venv() {
  if "$python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    return
  fi
  local base
  base=$(find_python)
  "$base" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$base has no venv module. On Debian and Ubuntu: apt-get install python3-venv"
  say "Making .venv with $("$base" --version) ..."
  "$base" -m venv --clear .venv
  # The pip of an older Python takes a third longer for what follows.
  "$python" -m pip install --quiet --disable-pip-version-check -c constraints.txt pip || true
}

has_nvidia() {
  [ -n "${CUDA:-}" ] || [ -e /proc/driver/nvidia/version ] || [ -e /dev/nvidiactl ] || [ -e /usr/lib/wsl/lib/libcuda.so.1 ]
}

# On Linux the common package index serves a torch with CUDA inside, 3 GB with its libraries. Where no GPU could use
# it, the CPU build is taken: from whatever pip is configured to look at, else from PyTorch's own index.
install_cpu_torch() {
  local torch is_pinned
  torch=$(grep '^torch==' constraints.txt)
  is_pinned="import sys, torch; sys.exit(torch.__version__.partition('+')[0] != '${torch#torch==}')"
  if [ "$(uname -s)" != Linux ] || has_nvidia || "$python" -c "$is_pinned" 2>/dev/null ||
    "$python" -m pip index versions torch 2>/dev/null | grep -qF "${torch#torch==}+cpu"; then
    return
  fi
  # The limit covers name resolution too, which Python's own time-out does not.
  if timeout 5 "$python" -c "import urllib.request as r; r.urlopen('$cpu_index/torch/', timeout=4)" 2>/dev/null &&
    "$python" -m pip install --no-deps --retries 1 --index-url "$cpu_index" "$torch"; then
    return
  fi
  say "note: $cpu_index cannot be reached; the torch of pip's usual index may hold CUDA and be several GB large."
}

# install STAMP FILE...: installs the requirement files unless STAMP says that this very set is installed.
install() {
  local stamp=.venv/$1 wanted
  shift
  wanted=$("$python" -VV; cat constraints.txt "$@")
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    return
  fi
  say "Installing $* ..."
  install_cpu_torch
  "$python" -m pip install --disable-pip-version-check -c constraints.txt "${@/#/--requirement=}" ||
    fail "the installation failed; pip's message above says why. Run the same command again to go on."
  printf '%s\n' "$wanted" >"$stamp"
}
