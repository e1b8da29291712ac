// embed: rows of a table by number. Contract: mod.rs. Geometry: launch.rs.
//
//   One block per id. It copies the row, 16 bytes a thread where both ends are aligned, else entry by entry.
//   A bad id is not followed: its row becomes NaN.
//
// Not yet run on a device.
#include "vector.cuh"

template <class T>
__device__ void gather(const T* table, const u32* ids, T* y, u64 vocab, u32 dim, u64 stride) {
  constexpr u32 N = Pack<T>::N;
  u32 id = ids[blockIdx.x];
  y += u64(blockIdx.x) * dim;
  if (id >= vocab) {
    for (u32 i = threadIdx.x; i < dim; i += blockDim.x) y[i] = from_f32<T>(not_a_number());
    return;
  }
  const T* row = table + id * stride;
  u32 packs = aligned16(row) && aligned16(y) ? dim / N : 0;
  for (u32 i = threadIdx.x; i < packs; i += blockDim.x) store16(y + i * N, load16(row + i * N));
  for (u32 i = packs * N + threadIdx.x; i < dim; i += blockDim.x) y[i] = row[i];
}

#define ENTRIES(T)                                                                                              \
  LATENS_ENTRY(embed_rows_##T, 128, const T* table, const u32* ids, T* y, u64 vocab, u32 dim, u64 stride) {     \
    gather(table, ids, y, vocab, dim, stride);                                                                  \
  }
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)
