// The estimate of a segment and its error, from what was counted: twin of estimate.rs.
#pragma once
#include "count.cuh"

constexpr u32 DISCRETE = 0, DIFFERENTIAL = 1, GAUSSIAN = 2;

__device__ inline f64 x_ln_x(u32 n) { return n ? n * log(f64(n)) : 0.0; }

// Entropy of a histogram with the given sum of n ln n over its bins.
__device__ inline f64 of_bins(f64 sum, u32 filled, u32 count, bool correct) {
  f64 n = count;
  return (filled == 1 ? 0.0 : log(n) - sum / n) + (correct ? (filled - 1.0) / (2 * n) : 0.0);
}

__device__ inline f64 variance(f64 sum, f64 squares, u32 count) {
  f64 n = count, v = (squares - sum * sum / n) / n;
  return v > 0 ? v : 0;
}

__device__ inline f64 of_normal(f64 variance) { return log(17.079468445347134131 * variance) / 2; }  // 2 pi e

// The standard error from `without`, the estimates without a group each, over the groups that say something.
__device__ inline f64 jackknife(const f64* without, const u32* sizes, u32 count) {
  f64 groups = 0, mean = 0, spread = 0;
  for (u32 g = 0; g < GROUPS; ++g)
    if (sizes[g] > 0 && sizes[g] < count) groups += 1, mean += without[g];
  mean /= groups;
  for (u32 g = 0; g < GROUPS; ++g)
    if (sizes[g] > 0 && sizes[g] < count) spread += (without[g] - mean) * (without[g] - mean);
  f64 error = sqrt(spread * (groups - 1) / groups);
  return groups < 2 || !(error < f64(infinity())) ? f64(infinity()) : error;
}

__device__ void finish(u64 segment, Whole whole, f32* values, u32 width, u32 estimator, u32 correct) {
  LATENS_SHARED(u32, total);
  __shared__ f64 without[GROUPS];
  u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32, count = whole.counts[3 * segment], all_filled = 0;
  f32 low = whole.range[2 * segment], high = whole.range[2 * segment + 1];
  const u32* histogram = whole.histogram + segment * GROUPS * width;
  const u32* sizes = whole.sizes + segment * GROUPS;
  const f64* sums = whole.sums + 2 * segment * GROUPS;
  f64 all_sum = 0, mean = 0, squares = 0;
  for (u32 g = 0; g < GROUPS; ++g) mean += sums[2 * g], squares += sums[2 * g + 1];
  f64 spread = low == high ? 0 : variance(mean, squares, count);
  if (estimator != GAUSSIAN) {
    __syncthreads();  // the memory of the bins of this block
    for (u32 bin = threadIdx.x; bin < width; bin += blockDim.x) {
      u32 n = 0;
      for (u32 g = 0; g < GROUPS; ++g) n += histogram[g * width + bin];
      total[bin] = n;
      all_sum += x_ln_x(n), all_filled += n > 0;
    }
    all_sum = block_sum(all_sum), all_filled = block_sum(all_filled);
  }
  for (u32 group = warp; group < GROUPS; group += WARPS) {
    if (estimator == GAUSSIAN) {
      f64 sum = mean - sums[2 * group], square = squares - sums[2 * group + 1];
      if (lane == 0) without[group] = of_normal(low == high ? 0 : variance(sum, square, count - sizes[group]));
      continue;
    }
    f64 sum = 0;
    u32 filled = 0;
    for (u32 bin = lane; bin < width; bin += 32) {
      u32 n = total[bin] - histogram[group * width + bin];
      sum += x_ln_x(n), filled += n > 0;
    }
    sum = warp_sum(sum), filled = warp_sum(filled);
    if (lane == 0) without[group] = of_bins(sum, filled, count - sizes[group], correct);
  }
  __syncthreads();
  if (threadIdx.x) return;
  f32* row = values + 8 * segment;
  if (count == 0) {
    row[0] = estimator == DISCRETE ? 0.0f : not_a_number(), row[1] = infinity(), row[2] = row[7] = 0.0f;
    row[3] = row[4] = row[5] = row[6] = not_a_number();
    return;
  }
  f64 entropy = estimator == GAUSSIAN ? of_normal(spread) : of_bins(all_sum, all_filled, count, correct);
  f64 error = jackknife(without, sizes, count);
  if (estimator == DIFFERENTIAL) {
    entropy += log((f64(high) - low) / width);
    if (low == high) error = infinity();
  }
  row[0] = f32(entropy), row[1] = f32(error), row[2] = f32(estimator == GAUSSIAN ? 0.0 : (all_filled - 1.0) / (2.0 * count));
  row[3] = low + 0.0f, row[4] = high + 0.0f;
  row[5] = f32(mean / count), row[6] = f32(spread), row[7] = f32(all_filled);
}
