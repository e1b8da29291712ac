// What is counted of a sample: moments of jobs, groups and segments, and bins. Contract: mod.rs.
#pragma once
#include "sample.cuh"

typedef double f64;

struct Moments { u32 count, nan, infinite; f32 low, high; f64 sum, squares; };

template <class T>
__device__ void moments(const T* x, const Job& job, const Sampler& sampler, const u32* first, const u32* ranks, u32* found,
                        f32* ranges, f64* sums) {
  Moments m = {0, 0, 0, infinity(), -infinity(), 0, 0};
  visit_job(x, job, sampler, first, ranks, [&](f32 value) {
    if (is_finite(value)) {
      ++m.count;
      m.low = min(m.low, value), m.high = max(m.high, value);
      m.sum += value, m.squares += f64(value) * value;
    } else if (value != value) ++m.nan; else ++m.infinite;
  });
  u32 count = block_sum(m.count), nan = block_sum(m.nan), infinite = block_sum(m.infinite);
  f32 low = block_fold<Smallest>(m.low, infinity()), high = block_fold<Largest>(m.high, -infinity());
  f64 sum = block_sum(m.sum), squares = block_sum(m.squares);
  if (threadIdx.x) return;
  u64 at = blockIdx.x;
  found[3 * at] = count;
  if (!sampler.released) found[3 * at + 1] = nan, found[3 * at + 2] = infinite;
  ranges[2 * at] = low, ranges[2 * at + 1] = high;
  sums[2 * at] = sum, sums[2 * at + 1] = squares;
}

// What is known of segments and their groups.
struct Whole { u32* sizes; f64* sums; f32* range; u32* counts; u32* histogram; };

// Jobs to groups, a warp each; then groups to the segment.
__device__ void merge(const Job& job, const u32* first, const u32* found, const f32* ranges, const f64* sums, Whole whole,
                      u32 width) {
  u32 end = first[job.at + 1];
  u64 segment = job.at;
  Moments all = {0, 0, 0, infinity(), -infinity(), 0, 0};
  for (u32 group = threadIdx.x / 32; group < GROUPS; group += WARPS) {
    u32 size = 0;
    f64 sum = 0, squares = 0;
    for (u32 i = first[segment] + group + GROUPS * (threadIdx.x % 32); i < end; i += 32 * GROUPS) {
      u64 at = i;
      size += found[3 * at], all.nan += found[3 * at + 1], all.infinite += found[3 * at + 2];
      all.low = min(all.low, ranges[2 * at]), all.high = max(all.high, ranges[2 * at + 1]);
      sum += sums[2 * at], squares += sums[2 * at + 1];
    }
    all.count += size;
    size = warp_sum(size), sum = warp_sum(sum), squares = warp_sum(squares);
    if (threadIdx.x % 32 == 0) {
      whole.sizes[segment * GROUPS + group] = size;
      whole.sums[2 * (segment * GROUPS + group)] = sum, whole.sums[2 * (segment * GROUPS + group) + 1] = squares;
    }
  }
  u32 count = block_sum(all.count), nan = block_sum(all.nan), infinite = block_sum(all.infinite);
  f32 low = block_fold<Smallest>(all.low, infinity()), high = block_fold<Largest>(all.high, -infinity());
  if (threadIdx.x == 0) {
    whole.range[2 * segment] = low, whole.range[2 * segment + 1] = high;
    whole.counts[3 * segment] = count, whole.counts[3 * segment + 1] = nan, whole.counts[3 * segment + 2] = infinite;
  }
  for (u32 i = threadIdx.x; i < GROUPS * width; i += blockDim.x) whole.histogram[segment * GROUPS * width + i] = 0;
}

// Twin of Scale in estimate.rs. No step of it may be fused: every device counts alike.
struct Scale {
  f32 unit, offset, factor;
  u32 last;
  __device__ Scale(f32 low, f32 high, u32 width) : last(width - 1) {
    i32 exponent = 254 - i32(__float_as_uint(__fsub_rn(high, low)) >> 23 & 255);
    unit = __uint_as_float(u32(min(max(exponent, 1), 253)) << 23);
    offset = __fmul_rn(low, unit);
    factor = __fdiv_rn(f32(width), __fsub_rn(__fmul_rn(high, unit), offset));
  }
  __device__ u32 bin(f32 x) const {
    f32 at = __fmul_rn(__fsub_rn(__fmul_rn(x, unit), offset), factor);
    return at > 0.0f ? min(u32(at), last) : 0;  // NaN, of a range of nothing, too
  }
};

template <class T>
__device__ void bins(const T* x, const Job& job, const Sampler& sampler, const u32* first, const u32* ranks,
                     const f32* range, u32* histogram, u32 width, u32 copies) {
  LATENS_SHARED(u32, table);
  for (u32 i = threadIdx.x; i < width * copies; i += blockDim.x) table[i] = 0;
  __syncthreads();
  u32* mine = table + threadIdx.x / 32 % copies * width;
  Scale scale(range[2 * u64(job.at)], range[2 * u64(job.at) + 1], width);
  visit_job(x, job, sampler, first, ranks, [&](f32 value) {
    if (is_finite(value)) atomicAdd(&mine[scale.bin(value)], 1u);
  });
  __syncthreads();
  histogram += (u64(job.at) * GROUPS + job.group) * width;
  for (u32 i = threadIdx.x; i < width; i += blockDim.x) {
    u32 count = 0;
    for (u32 copy = 0; copy < copies; ++copy) count += table[copy * width + i];
    if (count) atomicAdd(&histogram[i], count);
  }
}
