#!/bin/sh
# Compiles main.c to main.wasm, for WASI preview 1. On Debian:
#   apt-get install --no-install-recommends clang lld wasi-libc libclang-rt-14-dev-wasm32
# where 14 is the version of clang.
set -eu
cd "$(dirname "$0")"
# The names of functions are kept (no -s): when the module stops, they say where.
exec "${CC:-clang}" --target=wasm32-wasi -O2 -Wall -Wextra -o main.wasm main.c "$@"
