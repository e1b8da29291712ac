#!/bin/sh
# Build the C library and install it with its headers, CMake package and pkg-config file:
#   bindings/install.sh PREFIX [FOLDER]
# With FOLDER, the liblatens_c.so and .a that lie there are taken and nothing is built.
set -eu
prefix=${1:?"usage: install.sh PREFIX [FOLDER of built libraries]"}
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)

if [ $# -gt 1 ]; then
  built=$2
else
  (cd "$root" && cargo build --release -p latens-c)
  built=${CARGO_TARGET_DIR:-$root/target}/release
fi

mkdir -p "$prefix/lib/cmake/latens" "$prefix/lib/pkgconfig" "$prefix/include"
prefix=$(cd "$prefix" && pwd)
cp "$built/liblatens_c.so" "$built/liblatens_c.a" "$prefix/lib/"
cp "$here/include/latens.h" "$here/include/latens.hpp" "$prefix/include/"
cp "$here/cmake/latensConfig.cmake" "$prefix/lib/cmake/latens/"
sed "s|@VERSION@|$version|" "$here/cmake/latensConfigVersion.cmake.in" >"$prefix/lib/cmake/latens/latensConfigVersion.cmake"
sed "s|@VERSION@|$version|; s|@PREFIX@|$prefix|" "$here/cmake/latens.pc.in" >"$prefix/lib/pkgconfig/latens.pc"
echo "latens $version is in $prefix"
