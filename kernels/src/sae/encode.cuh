// encode: z = x W_encᵀ + bias tile by tile, and of each tile only what may still be among the largest of its row.
// Contract: encode.rs. Geometry: launch/encode.rs. Not yet run on a device.
//
//   floor: 2 * rows * n * dim flops; (rows + n) * dim * size + 8 * slots bytes
#pragma once
#include "product.cuh"
#include "reduce.cuh"
#include "select.cuh"

// What to multiply, in jobs of one block of 128 rows and one part of the latents.
template <class T> struct Problem {
  const T *x, *w;
  const f32* bias;
  const u32 *subset, *count;  // the latents, and how many of them; or null for all
  u32 rows, dim, n, listed;   // listed: n, or the length of subset
  u64 x_stride, w_stride;
  u32 parts, part;            // parts of the latents, and how many each has: a multiple of the tile
};

// One block: jobs, each a stream of tiles. Blocks that follow each other read the same latents.
//   ids, bias   of the tile's latents are laid out in shared memory
//   product     of the tile
//   gate        sees every z of a row and latent that there are
template <class T, class Gate>
__device__ void stream(const Problem<T>& p, Gate& gate, unsigned char* shared) {
  T* stages = reinterpret_cast<T*>(shared);
  u32* ids = reinterpret_cast<u32*>(shared + Product<T>::BYTES);
  f32* bias = reinterpret_cast<f32*>(ids + TILE);
  Product<T> tile;
  u32 blocks = (p.rows + TILE - 1) / TILE, end = p.count ? min(*p.count, p.listed) : p.listed;
  for (u32 job = blockIdx.x; job < blocks * p.parts; job += gridDim.x) {
    u32 first = job % blocks * TILE, part = job / blocks, last = min(u64(end), u64(part + 1) * p.part);
    gate.begin(first, part);
    for (u32 begin = part * p.part; begin < last; begin += TILE) {
      for (u32 i = threadIdx.x; i < TILE; i += THREADS) {
        u32 at = begin + i, id = at < last ? (p.subset ? p.subset[at] : at) : NONE;
        if (p.subset && at < last && (id >= p.n || (at > 0 && id <= p.subset[at - 1]))) id = NONE;
        ids[i] = id;
        bias[i] = id == NONE ? 0 : p.bias[id];
      }
      __syncthreads();
      auto rows = [&](u32 r) { return first + r < p.rows ? p.x + (first + r) * p.x_stride : nullptr; };
      auto latents = [&](u32 r) { return ids[r] != NONE ? p.w + ids[r] * p.w_stride : nullptr; };
      tile.run(stages, rows, latents, p.dim);
#pragma unroll
      for (u32 i = 0; i < 64; ++i) {
        u32 r = tile.row(i), c = tile.column(i);
        if (first + r < p.rows && ids[c] != NONE) gate.take(r, ids[c], tile.sum[i] + bias[c]);
      }
      __syncthreads();
      gate.settle(reinterpret_cast<u32*>(stages), begin + TILE >= last);
      __syncthreads();
    }
    gate.end(first, part, p.rows);
    __syncthreads();
  }
}

// Keep the k largest z of each row that are above `floor`. A row's list has room for k and two tiles; when the next
// tile might not fit, the warps select again, exactly, and what does not reach the k-th is not taken any more. So the
// list never overflows, whatever the data.
struct Largest128 {
  u64* lists;     // of this block: TILE rows of `room`
  u64* found;     // [rows, parts, kept], padded with 0
  u64* bars;      // [rows, parts]: nothing that reaches this was dropped
  u32* counts;    // [rows, parts]: how many were above the floor; or null
  u64* bar;       // shared, TILE
  u32 *fill, *seen;
  u32 k, room, parts;
  f32 floor;

  __device__ void begin(u32, u32) {
    for (u32 r = threadIdx.x; r < TILE; r += THREADS) bar[r] = fill[r] = seen[r] = 0;
    __syncthreads();
  }

  __device__ void take(u32 r, u32 latent, f32 z) {
    if (!(z > floor)) return;
    if (counts) atomicAdd(&seen[r], 1u);
    u64 e = entry(order(z), latent);
    if (e >= bar[r]) lists[u64(r) * room + atomicAdd(&fill[r], 1u)] = e;
  }

  // Stages are free here: they hold the warps' bins.
  __device__ void settle(u32* bins, bool last) {
    u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    bins += warp << Warp::BITS;
    for (u32 r = warp; r < TILE; r += THREADS / 32) {
      u32 have = fill[r], left = 0;
      if (have <= k || (!last && have + TILE <= room)) continue;
      u64* list = lists + u64(r) * room;
      u64 bound = bound_of(Warp(), [=](u32 i) { return list[i]; }, have, k, bins);
      for (u32 begin = 0; begin < have; begin += 32) {
        u64 e = begin + lane < have ? list[begin + lane] : 0;
        u32 stay = __ballot_sync(~0u, begin + lane < have && e >= bound), to = left + __popc(stay & ((1u << lane) - 1));
        if (stay >> lane & 1 && to < k) list[to] = e;  // behind what was read; more than k only if an entry came twice
        left = min(k, left + __popc(stay));
        __syncwarp();
      }
      if (lane == 0) {
        bar[r] = bound;
        fill[r] = left;
      }
      __syncwarp();
    }
  }

  __device__ void end(u32 first, u32 part, u32 rows) {
    __syncthreads();
    for (u32 i = threadIdx.x; i < TILE * k; i += THREADS) {
      u32 r = i / k, j = i % k;
      if (first + r < rows) found[((first + r) * u64(parts) + part) * k + j] = j < fill[r] ? lists[u64(r) * room + j] : 0;
    }
    for (u32 r = threadIdx.x; r < TILE && first + r < rows; r += THREADS) {
      u64 at = (first + r) * u64(parts) + part;
      bars[at] = bar[r];
      if (counts) counts[at] = seen[r];
    }
  }
};

template <class T>
__device__ void encode(const Problem<T>& p, u64* lists, u64* found, u64* bars, u32* counts, u32 k, u32 room, f32 floor) {
  LATENS_SHARED(unsigned char, shared);
  u64* bar = reinterpret_cast<u64*>(shared + Product<T>::BYTES + 8 * TILE);
  u32* fill = reinterpret_cast<u32*>(bar + TILE);
  Largest128 gate = {lists + u64(blockIdx.x) * TILE * room, found, bars, counts, bar, fill, fill + TILE, k, room, p.parts, floor};
  stream(p, gate, shared);
}

// One block: the slots of one row. `list` of `count` entries, in any order: sort by latent, write, pad.
__device__ inline void put(u64* list, u32 count, u32 slots, u32 n, f32* values, u32* latents) {
  for (u32 i = threadIdx.x; i < count; i += blockDim.x) list[i] = list[i] << 32 | list[i] >> 32;  // ~latent leads
  __syncthreads();
  sort(Block(), list, count);
  for (u32 i = threadIdx.x; i < slots; i += blockDim.x) {
    values[i] = i < count ? __uint_as_float(u32(list[i]) & 0x7fffffffu) : 0;  // the order of what is positive
    latents[i] = i < count ? ~u32(list[i] >> 32) : n;
  }
}

// Leave the k largest that are not 0 of key(0..count) in `list`, in any order, and say how many they are.
template <class Key>
__device__ u32 keep(Key key, u32 count, u32 k, u32* bins, u64* list) {
  __shared__ u32 kept;
  if (threadIdx.x == 0) kept = 0;
  __syncthreads();
  u64 bound = k ? bound_of(Block(), key, count, k, bins) : ~0ull;
  for (u32 i = threadIdx.x; i < count; i += blockDim.x) {
    u64 e = key(i);
    u32 to = e && e >= bound ? atomicAdd(&kept, 1u) : k;
    if (to < k) list[to] = e;
  }
  __syncthreads();
  u32 all = min(kept, k);
  __syncthreads();
  return all;
}

// One block: one row. Select among the parts' candidates, sort by latent, write.
__device__ inline void finish(const u64* found, const u32* counts, u64* sorted, f32* values, u32* latents, u32* totals,
                              u32 candidates, u32 parts, u32 k, u32 n, u32 listed) {
  LATENS_SHARED(u64, memory);
  u64 row = blockIdx.x;
  const u64* from = found + row * candidates;
  u64* list = listed ? memory : sorted + row * k;
  u32 count = keep([=](u32 i) { return from[i]; }, candidates, k, reinterpret_cast<u32*>(memory + listed), list);
  put(list, count, k, n, values + row * k, latents + row * k);
  if (totals && threadIdx.x == 0) {
    u32 all = 0;
    for (u32 part = 0; part < parts; ++part) all += counts[row * parts + part];
    totals[row] = all;
  }
}
