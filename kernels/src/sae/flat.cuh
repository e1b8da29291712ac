// flat: the largest z of the whole batch. Contract: encode.rs. Geometry: launch/flat.rs. Not yet run on a device.
//
//   encode   leaves some of the largest of each row: a cache
//   cut      by counting digits over the caches; if a row dropped something that reaches the cut, the flag goes up
//   repair   only then: count the digits again over all z, from the tiles, then rows, then write what is in; kernels
//            that find the flag down return at once. The same tiles give the same bits, so the result is exact always
//   finish   each row by latent
//
//   floor: that of encode; a repair costs five times as many flops
#pragma once
#include "encode.cuh"

// Counts, the cut, and whether caches were too small: one piece of memory.
struct Flat {
  u64 bins[CUT_PASSES * CUT_BINS];
  Cut cut;
  u64 repair;
};

// One block. At first everything; the second time the bins, if they are to be counted again.
__device__ inline void flat_clear(Flat* flat, u32 again) {
  if (again && !flat->repair) return;
  for (u32 i = threadIdx.x; i < CUT_PASSES * CUT_BINS; i += blockDim.x) flat->bins[i] = 0;
  if (!again && threadIdx.x == 0) flat->repair = 0;
}

__device__ inline void flat_flush(const u32* counts, u64* bins) {
  for (u32 i = threadIdx.x; i < CUT_BINS; i += blockDim.x)
    if (counts[i]) atomicAdd(&bins[i], u64(counts[i]));
}

// Count one digit over the caches.
__device__ inline void flat_count(const u64* found, Flat* flat, u64 count, u64 total, u32 pass) {
  LATENS_SHARED(u32, counts);
  Cut cut = cut_of(flat->bins, pass, total);
  for (u32 i = threadIdx.x; i < CUT_BINS; i += blockDim.x) counts[i] = 0;
  __syncthreads();
  u32 bin;
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += u64(gridDim.x) * blockDim.x)
    if (found[i] && cut_counts(cut, pass, entry_order(found[i]), bin)) atomicAdd(&counts[bin], 1u);
  __syncthreads();
  flat_flush(counts, flat->bins + pass * CUT_BINS);
}

// One block: the cut, and whether a cache dropped what may reach it: its bar is then above the cut's order.
__device__ inline void flat_cut(Flat* flat, const u64* bars, u64 count, u64 total, u32 again) {
  if (again && !flat->repair) return;
  Cut cut = cut_of(flat->bins, CUT_PASSES, total);
  u32 lost = 0;
  for (u64 i = threadIdx.x; i < count && !again; i += blockDim.x) lost |= bars[i] && entry_order(bars[i]) >= cut.order;
  lost = block_sum(lost);
  if (threadIdx.x > 0) return;
  flat->cut = cut;
  if (!again) flat->repair = lost > 0;
}

// One block: one row. How many are above the cut and equal to it.
__device__ inline void flat_rows(const u64* found, const Flat* flat, u32* above, u32* equal, u32 candidates) {
  u32 more = 0, same = 0;
  for (u32 i = threadIdx.x; i < candidates && !flat->repair; i += blockDim.x) {
    u64 e = found[u64(blockIdx.x) * candidates + i];
    more += e && entry_order(e) > flat->cut.order;
    same += e && entry_order(e) == flat->cut.order;
  }
  more = block_sum(more);
  same = block_sum(same);
  if (threadIdx.x == 0) {
    above[blockIdx.x] = more;
    equal[blockIdx.x] = same;
  }
}

// One block: where rows begin, and how many equal to the cut each takes.
__device__ inline void flat_offsets(const Flat* flat, const u32* above, const u32* equal, u32* take, u32* placed,
                                    u32* offsets, u32 rows) {
  u64 need = flat->cut.need, same = 0;
  u32 end = 0;
  if (threadIdx.x == 0) offsets[0] = placed[rows] = 0;
  for (u32 begin = 0; begin < rows; begin += blockDim.x) {
    u32 r = begin + threadIdx.x, have = r < rows ? equal[r] : 0, all;
    u64 before = same + block_scan(have, all);
    same += all;
    u32 took = before >= need ? 0 : need - before < have ? u32(need - before) : have;
    u32 mine = took + (r < rows ? above[r] : 0), ahead = block_scan(mine, all);
    if (r < rows) {
      take[r] = took;
      placed[r] = 0;
      offsets[r + 1] = end + ahead + mine;
    }
    end += all;
  }
}

// What a row needs to write its entries: placed[rows] counts those of the one row that takes a part of its equals.
struct Rows {
  u32 *above, *equal, *take, *placed;
  const u32* offsets;
  u64 *sorted, *equals;
};

// A pass over all z: a digit counted (step 0 to 2), rows counted (3), entries written (4).
struct Repair {
  Flat* flat;
  Rows rows;
  Cut cut;
  u32* counts;  // shared
  u32 step, count, first;

  __device__ void begin(u32 row, u32) {
    first = row;
    for (u32 i = threadIdx.x; i < CUT_BINS; i += THREADS) counts[i] = 0;
    __syncthreads();
  }
  __device__ void take(u32 r, u32 latent, f32 z) {
    if (!(z > 0)) return;
    u32 key = order(z), row = first + r, bin;
    if (step < CUT_PASSES) {
      if (cut_counts(cut, step, key, bin)) atomicAdd(&counts[bin], 1u);
    } else if (key < cut.order) {
      return;
    } else if (step == CUT_PASSES) {
      atomicAdd(key > cut.order ? &rows.above[row] : &rows.equal[row], 1u);
    } else if (key > cut.order || rows.take[row] == rows.equal[row]) {
      rows.sorted[rows.offsets[row] + atomicAdd(&rows.placed[row], 1u)] = entry(key, latent);
    } else if (rows.take[row]) {
      rows.equals[atomicAdd(&rows.placed[count], 1u)] = entry(key, latent);
    }
  }
  __device__ void settle(u32*, bool) {}
  __device__ void end(u32, u32, u32) {
    if (step < CUT_PASSES) flat_flush(counts, flat->bins + step * CUT_BINS);
  }
};

template <class T> __device__ void flat_repair(const Problem<T>& p, Flat* flat, const Rows& rows, u64 total, u32 step) {
  LATENS_SHARED(unsigned char, shared);
  if (!flat->repair) return;
  Cut cut = step < CUT_PASSES ? cut_of(flat->bins, step, total) : flat->cut;
  u32* counts = reinterpret_cast<u32*>(shared + Product<T>::BYTES + 24 * TILE);
  Repair gate = {flat, rows, cut, counts, step, p.rows, 0};
  stream(p, gate, shared);
}

// One block: one row. Its entries from the cache, or where the repair wrote them; then by latent. All blocks share the
// slots that are left over.
__device__ inline void flat_finish(const u64* found, const Flat* flat, const Rows& rows, f32* values, u32* latents,
                                   u32 candidates, u32 total, u32 n, u32 listed) {
  LATENS_SHARED(u64, memory);
  u32 row = blockIdx.x, begin = rows.offsets[row], k = rows.offsets[row + 1] - begin;
  u32* bins = reinterpret_cast<u32*>(memory + listed);
  u64* list = rows.sorted + begin;
  if (!flat->repair) {
    const u64* from = found + u64(row) * candidates;
    if (k <= listed) list = memory;
    keep([=](u32 i) { return from[i]; }, candidates, k, bins, list);
  } else if (rows.take[row] && rows.take[row] < rows.equal[row]) {
    const u64* from = rows.equals;
    keep([=](u32 i) { return from[i]; }, rows.equal[row], rows.take[row], bins, list + rows.above[row]);
  }
  put(list, k, k, n, values + begin, latents + begin);
  u32 end = rows.offsets[gridDim.x];
  for (u64 i = end + u64(row) * blockDim.x + threadIdx.x; i < total; i += u64(gridDim.x) * blockDim.x) {
    values[i] = 0;
    latents[i] = n;
  }
}
