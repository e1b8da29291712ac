// embed: rows of a table by number, and sums of rows by number. Contract: mod.rs. Geometry: launch.rs.
//
//   Forward: one block per id. It copies the row, 16 bytes a thread where both ends are aligned, else entry by entry.
//   A bad id is not followed: its row becomes NaN.
//   Backward: sort the numbers of rows by id (sort.cuh, stable; bad ids come last), then one block per row of the table
//   adds its rows in order, 16 bytes of columns a thread; nobody else writes there.
//
// Not yet run on a device.
#include "sort.cuh"
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

// A thread: an id.
__device__ inline void keys_of(const u32* ids, u32* keys, u32* items, u32 n, u32 vocab) {
  u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  keys[i] = min(ids[i], vocab);
  items[i] = i;
}

// A thread: a key, up to `most`. starts[key] is the first place whose key is not smaller.
__device__ inline void starts_of(const u32* keys, u32* starts, u32 count, u32 most) {
  u32 key = blockIdx.x * blockDim.x + threadIdx.x, low = 0, high = count;
  if (key > most) return;
  while (low < high) {
    u32 middle = low + (high - low) / 2;
    if (keys[middle] < key) low = middle + 1;
    else high = middle;
  }
  starts[key] = low;
}

// A block: row blockIdx.x of the table.
template <class T>
__device__ void scatter(const T* dy, const u32* items, const u32* starts, f32* dtable, u32 dim, u64 stride, u32 add) {
  constexpr u32 N = Pack<T>::N;
  u32 begin = starts[blockIdx.x], end = starts[blockIdx.x + 1];
  if (begin == end && add) return;
  dtable += u64(blockIdx.x) * dim;
  for (u32 column = threadIdx.x * N; column < dim; column += blockDim.x * N) {
    u32 left = dim - column;
    Pack<f32> sum[N / 4] = {};
    if (add)
#pragma unroll
      for (u32 c = 0; c < N; c += 4)
        if (c < left) sum[c / 4] = fetch(dtable + column + c, left - c);
#pragma unroll 4
    for (u32 h = begin; h < end; ++h) {
      Pack<T> row = fetch(dy + items[h] * stride + column, left);
#pragma unroll
      for (u32 c = 0; c < N; ++c) sum[c / 4].x[c % 4] += to_f32(row.x[c]);
    }
#pragma unroll
    for (u32 c = 0; c < N; c += 4)
      if (c < left) place(dtable + column + c, left - c, sum[c / 4]);
  }
}

LATENS_ENTRY(embed_keys_f32, 256, const u32* ids, u32* keys, u32* items, u32 n, u32 vocab) {
  keys_of(ids, keys, items, n, vocab);
}
LATENS_ENTRY(embed_sort_count_f32, 256, const u32* keys, u32* counts, u32 count, u32 shift) {
  sort_count(keys, counts, count, shift);
}
LATENS_ENTRY(embed_sort_scan_f32, 1024, u32* counts, u32 count) { sort_scan(counts, count); }
LATENS_ENTRY(embed_sort_move_f32, 256, const u32* keys, const u32* items, const u32* counts, u32* to_keys, u32* to_items,
             u32 count, u32 shift) {
  sort_move(keys, items, counts, to_keys, to_items, count, shift);
}
LATENS_ENTRY(embed_starts_f32, 256, const u32* keys, u32* starts, u32 count, u32 most) {
  starts_of(keys, starts, count, most);
}

#define ENTRIES(T)                                                                                              \
  LATENS_ENTRY(embed_rows_##T, 128, const T* table, const u32* ids, T* y, u64 vocab, u32 dim, u64 stride) {     \
    gather(table, ids, y, vocab, dim, stride);                                                                  \
  }                                                                                                             \
  LATENS_ENTRY(embed_scatter_##T, 256, const T* dy, const u32* items, const u32* starts, f32* dtable, u32 dim,  \
               u64 stride, u32 add) {                                                                           \
    scatter(dy, items, starts, dtable, dim, stride, add);                                                       \
  }
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)
