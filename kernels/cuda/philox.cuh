// Philox4x32-10: twin of kernels/src/philox.rs.
#pragma once
#include "latens.cuh"

struct Draw { u32 x[4]; };

__device__ inline Draw philox(u64 key, u32 c0, u32 c1, u32 c2, u32 c3) {
  u32 k0 = u32(key), k1 = u32(key >> 32);
  for (int round = 0; round < 10; ++round) {
    u64 a = 0xd2511f53ull * c0, b = 0xcd9e8d57ull * c2;
    u32 n0 = u32(b >> 32) ^ c1 ^ k0, n2 = u32(a >> 32) ^ c3 ^ k1;
    c0 = n0; c1 = u32(b); c2 = n2; c3 = u32(a);
    k0 += 0x9e3779b9u; k1 += 0xbb67ae85u;
  }
  return {{c0, c1, c2, c3}};
}
