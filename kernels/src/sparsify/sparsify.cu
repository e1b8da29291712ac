// sparsify: the k entries of largest magnitude of gradient plus memory, and the sum of such packets. Contract: mod.rs.
// Geometry: launch.rs. Not yet run on a device.
//
//   floor of sparsify:     n * (size + 8) + 8 * k bytes; it reads the memory four times more, n * 16 bytes
//   floor of sparsify_sum: n * size + 8 * ranks * k bytes
#include "reduce.cuh"
#include "select.cuh"

constexpr u32 PIECE = 4096;  // entries that a block takes at once: a multiple of 32, so a word of bits is one block's

// Whether an entry takes part, and how it ranks.
__device__ inline u32 rank_of(const f32* e, const u32* finite, u64 i, u64 n) {
  return i < n && finite[i / 32] >> (i % 32) & 1 ? order(fabsf(e[i])) : 0;
}

__device__ inline void clear(u64* bins, u32* counts) {
  for (u32 i = threadIdx.x; i < CUT_PASSES * CUT_BINS; i += blockDim.x) bins[i] = 0;
  if (threadIdx.x < 2) counts[threadIdx.x] = 0;
}

// The counts of a block, added to the grid's: integers, so in any order.
__device__ inline void add_counts(const u32* counts, u64* bins) {
  __syncthreads();
  for (u32 i = threadIdx.x; i < CUT_BINS; i += blockDim.x)
    if (counts[i]) atomicAdd(&bins[i], u64(counts[i]));
}

// Add the gradient to the memory where the sum is finite, note where that is, count the first digit of magnitudes.
template <class T>
__device__ void fold(const T* g, f32* e, u32* finite, u64* bins, u32* counts, u64 n) {
  LATENS_SHARED(u32, digits);
  for (u32 i = threadIdx.x; i < CUT_BINS; i += blockDim.x) digits[i] = 0;
  __syncthreads();
  Cut all = {0, 1};
  u32 dropped = 0;
  for (u64 base = u64(blockIdx.x) * PIECE; base < n; base += u64(gridDim.x) * PIECE)
    for (u32 j = threadIdx.x; j < PIECE; j += blockDim.x) {
      u64 i = base + j;
      f32 a = i < n ? __fadd_rn(to_f32(g[i]), e[i]) : 0;
      bool good = fabsf(a) < infinity();
      u32 word = __ballot_sync(~0u, i < n && good), bin;
      if (threadIdx.x % 32 == 0 && i < n) finite[i / 32] = word;
      if (i < n && good) {
        e[i] = a;
        if (cut_counts(all, 0, order(fabsf(a)), bin)) atomicAdd(&digits[bin], 1u);
      }
      dropped += i < n && !good;
    }
  add_counts(digits, bins);
  dropped = block_sum(dropped);
  if (threadIdx.x == 0 && dropped) atomicAdd(&counts[1], dropped);
}

// Count one more digit of what shares the digits before.
__device__ inline void count(const f32* e, const u32* finite, u64* bins, u64 n, u64 k, u32 pass) {
  LATENS_SHARED(u32, digits);
  Cut cut = cut_of(bins, pass, k);
  for (u32 i = threadIdx.x; i < CUT_BINS; i += blockDim.x) digits[i] = 0;
  __syncthreads();
  for (u64 base = u64(blockIdx.x) * PIECE; base < n; base += u64(gridDim.x) * PIECE)
    for (u32 j = threadIdx.x; j < PIECE; j += blockDim.x) {
      u32 bin, key = rank_of(e, finite, base + j, n);
      if (key && cut_counts(cut, pass, key, bin)) atomicAdd(&digits[bin], 1u);
    }
  add_counts(digits, bins + pass * CUT_BINS);
}

// One warp: what the three counts say.
__device__ inline void find_cut(const u64* bins, Cut* cut, u64 k) {
  Cut found = cut_of(bins, CUT_PASSES, k);
  if (threadIdx.x == 0) *cut = found;
}

// How many of each piece are above the cut, and equal to it. A key of 0 is an entry that takes no part.
__device__ inline void tally(const f32* e, const u32* finite, const Cut* of, u32* above, u32* equal, u64 n) {
  u32 cut = u32(of->order), more = 0, same = 0;
  for (u32 j = threadIdx.x; j < PIECE; j += blockDim.x) {
    u32 key = rank_of(e, finite, u64(blockIdx.x) * PIECE + j, n);
    more += key > cut;
    same += key && key == cut;
  }
  more = block_sum(more);
  same = block_sum(same);
  if (threadIdx.x == 0) {
    above[blockIdx.x] = more;
    equal[blockIdx.x] = same;
  }
}

// One block: above[piece] becomes where its part of the packet begins, equal[piece] how many of its entries equal to the
// cut go out; pieces take them in order until those needed are gone. Then the slots that nobody fills.
__device__ inline void place(const Cut* of, u32* above, u32* equal, f32* values, u32* indices, u32* counts, u32 pieces,
                             u32 n, u32 k) {
  u64 need = of->need, same = 0;
  u32 end = 0;
  for (u32 begin = 0; begin < pieces; begin += blockDim.x) {
    u32 r = begin + threadIdx.x, have = r < pieces ? equal[r] : 0, all;
    u64 before = same + block_scan(have, all);
    same += all;
    u32 take = before >= need ? 0 : need - before < have ? u32(need - before) : have;
    u32 mine = take + (r < pieces ? above[r] : 0), ahead = block_scan(mine, all);
    if (r < pieces) {
      equal[r] = take;
      above[r] = end + ahead;
    }
    end += all;
  }
  if (threadIdx.x == 0) counts[0] = end;
  for (u64 j = u64(end) + threadIdx.x; j < k; j += blockDim.x) {
    values[j] = 0;
    indices[j] = n;
  }
}

// One block: one piece. Send what is in, in order of index, and leave 0 behind.
__device__ inline void send(f32* e, const u32* finite, const Cut* of, const u32* first, const u32* take, f32* values,
                            u32* indices, u64 n) {
  u32 cut = u32(of->order), quota = take[blockIdx.x], at = first[blockIdx.x], same = 0;
  for (u32 begin = 0; begin < PIECE; begin += blockDim.x) {
    u64 i = u64(blockIdx.x) * PIECE + begin + threadIdx.x;
    u32 key = rank_of(e, finite, i, n), all;
    bool equal = key && key == cut;
    u32 before = same + block_scan(equal, all);
    same += all;
    bool kept = key > cut || (equal && before < quota);
    u32 to = at + block_scan(kept, all);
    at += all;
    if (kept) {
      values[to] = e[i];
      indices[to] = u32(i);
      e[i] = 0;
    }
  }
}

// One block: one piece of y.
//   sums    in shared memory, 0
//   ranks   in order: find the part of its indices that lies in the piece, add its values; no two are of one index
//   write   scaled, and added to what was there
template <class T>
__device__ void sum(const f32* values, const u32* indices, T* y, u32 ranks, u32 k, u64 n, f32 scale, u32 add) {
  LATENS_SHARED(f32, sums);
  u64 base = u64(blockIdx.x) * PIECE;
  u32 size = n - base < PIECE ? u32(n - base) : PIECE;
  for (u32 j = threadIdx.x; j < size; j += blockDim.x) sums[j] = 0;
  for (u64 r = 0; r < ranks; ++r) {
    const u32* row = indices + r * k;
    u32 first = 0;  // indices before it are below base; every thread finds the same
    for (u32 left = k; left > 0;) {
      u32 half = left / 2;
      bool below = row[first + half] < base;
      first += below ? half + 1 : 0;
      left = below ? left - half - 1 : half;
    }
    __syncthreads();
    for (u64 j = u64(first) + threadIdx.x; j < k; j += blockDim.x) {
      u64 index = row[j];
      if (index >= base + size) break;
      if (index >= base) sums[index - base] = __fadd_rn(sums[index - base], values[r * k + j]);
    }
  }
  __syncthreads();
  for (u32 j = threadIdx.x; j < size; j += blockDim.x) {
    f32 scaled = __fmul_rn(scale, sums[j]);
    y[base + j] = from_f32<T>(add ? __fadd_rn(to_f32(y[base + j]), scaled) : scaled);
  }
}

#define ENTRIES(T)                                                                                                     \
  LATENS_ENTRY(sparsify_clear_##T, 256, u64* bins, u32* counts) { clear(bins, counts); }                               \
  LATENS_ENTRY(sparsify_fold_##T, 256, const T* g, f32* e, u32* finite, u64* bins, u32* counts, u64 n) {               \
    fold(g, e, finite, bins, counts, n);                                                                               \
  }                                                                                                                    \
  LATENS_ENTRY(sparsify_count_##T, 256, const f32* e, const u32* finite, u64* bins, u64 n, u64 k, u32 pass) {          \
    count(e, finite, bins, n, k, pass);                                                                                \
  }                                                                                                                    \
  LATENS_ENTRY(sparsify_cut_##T, 32, const u64* bins, Cut* cut, u64 k) { find_cut(bins, cut, k); }                     \
  LATENS_ENTRY(sparsify_tally_##T, 256, const f32* e, const u32* finite, const Cut* cut, u32* above, u32* equal,       \
               u64 n) {                                                                                                \
    tally(e, finite, cut, above, equal, n);                                                                            \
  }                                                                                                                    \
  LATENS_ENTRY(sparsify_place_##T, 256, const Cut* cut, u32* above, u32* equal, f32* values, u32* indices,             \
               u32* counts, u32 pieces, u32 n, u32 k) {                                                                \
    place(cut, above, equal, values, indices, counts, pieces, n, k);                                                   \
  }                                                                                                                    \
  LATENS_ENTRY(sparsify_send_##T, 256, f32* e, const u32* finite, const Cut* cut, const u32* first, const u32* take,   \
               f32* values, u32* indices, u64 n) {                                                                     \
    send(e, finite, cut, first, take, values, indices, n);                                                             \
  }                                                                                                                    \
  LATENS_ENTRY(sparsify_sum_##T, 256, const f32* values, const u32* indices, T* y, u32 ranks, u32 k, u64 n, f32 scale, \
               u32 add) {                                                                                              \
    sum(values, indices, y, ranks, k, n, scale, add);                                                                  \
  }
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)
