#!/bin/sh
# Compiles main.c to main.wasm, for WASI preview 1. On Debian:
#   apt-get install --no-install-recommends clang lld wasi-libc libclang-rt-dev-wasm32
set -eu
cd "$(dirname "$0")"
object=$(mktemp)
trap 'rm -f "$object"' EXIT
"${CC:-clang}" --target=wasm32-wasi -O2 -Wall -Wextra -c -o "$object" main.c "$@"
# The names of functions are kept (LDFLAGS=-s drops them): when the module stops, they say where. Linking with
# -O2 would lose them where there is a wasm-opt, which clang then runs.
"${CC:-clang}" --target=wasm32-wasi ${LDFLAGS:-} -o main.wasm "$object"
