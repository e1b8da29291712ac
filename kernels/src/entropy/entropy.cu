// entropy: of the elements of many tensors, from a sample. Contract: mod.rs. Geometry: launch.rs.
//
//   layout   one block: where the jobs of each segment begin; a job is 8 runs of one group, a run to a warp
//   survey   released rule: finite elements of each run; the last block of a segment: how many come before each
//   moments  a block a job: counts, range and sums; the last of a segment: of groups and of the segment, in order
//   bins     a block a job: counts in shared memory, in copies so that equal elements do not all queue, then added
//   finish   by the last block of a segment, a warp a group: the estimate without it; thread 0: the estimate and its error
//
// Which block is last depends on chance; what it computes, from what all have written, does not. Counts are integers and
// sums have a fixed order, so runs agree in every bit. Not yet run on a device.
#include "philox.cuh"
#include "reduce.cuh"
#include "segments.cuh"
#include "vector.cuh"

typedef double f64;
constexpr u32 RUN = 1024, GROUPS = 16, RUNS = 8, WARPS = 8;
constexpr u32 DISCRETE = 0, DIFFERENTIAL = 1, GAUSSIAN = 2;

struct Sampler { u32 chunk, stride; u64 seed, step; bool released; };

// Runs of a segment; twin of Plan::runs.
__device__ inline u32 runs_of(const Sampler& sampler, u64 len) {
  u64 chunks = (len + sampler.chunk - 1) / sampler.chunk;
  u64 sampled = sampler.released ? len : (chunks + sampler.stride - 1) / sampler.stride * sampler.chunk;
  return u32((sampled + RUN - 1) / RUN);
}

// A segment of nothing has jobs too: a last block must write its row.
__device__ inline u32 jobs_of(u32 runs) { return GROUPS * max(((runs + GROUPS - 1) / GROUPS + RUNS - 1) / RUNS, 1u); }

// Whether this block is the last of its segment; then it sees what all of them have written, and the next stage may count.
__device__ inline bool is_last(u32* arrived, u32 count) {
  __shared__ u32 before;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    before = atomicAdd(arrived, 1u);
    __threadfence();
    if (before + 1 == count) *arrived = 0;
  }
  __syncthreads();
  return before + 1 == count;
}

// What a block does; runs group + 16 (first + warp) of a segment.
struct Job { Segment segment; u32 at, group, first, runs, jobs; };

// The job of this block. `first` ascends; the last segment that begins at or before the block has it.
__device__ inline Job job_of(const u32* table, const u32* first, u32 segments, u64 span, const Sampler& sampler) {
  u32 low = 0, high = segments;
  while (high - low > 1) {
    u32 middle = (low + high) / 2;
    if (first[middle] <= blockIdx.x) low = middle; else high = middle;
  }
  Segment segment = segment_of(table, low, span);
  u32 local = blockIdx.x - first[low];
  return {segment, low, local % GROUPS, local / GROUPS * RUNS, runs_of(sampler, segment.len()), first[low + 1] - first[low]};
}

__device__ inline bool is_finite(f32 x) { return (__float_as_uint(x) & 0x7fffffffu) < 0x7f800000u; }

// visit(x) for the sample of one run, by a whole warp; `rank` is the number of finite elements before the run.
template <class T, class F>
__device__ void visit_run(const T* x, const Job& job, const Sampler& sampler, u32 run, u32 rank, F use) {
  u32 lane = threadIdx.x % 32;
  u64 len = job.segment.len();
  x += job.segment.start;
  if (sampler.released) {
    for (u32 i = 0; i < RUN; i += 32) {
      u64 at = u64(run) * RUN + i + lane;
      f32 value = at < len ? to_f32(x[at]) : infinity();
      u32 finite = __ballot_sync(~0u, is_finite(value));
      u32 mine = rank + __popc(finite & ((1u << lane) - 1));
      if (is_finite(value) && mine % sampler.stride == 0) use(value);
      rank += __popc(finite);
    }
    return;
  }
  u32 each = RUN / sampler.chunk;
  u64 chunks = (len + sampler.chunk - 1) / sampler.chunk;
  Draw draw = {};
  for (u32 i = 0; i < each; ++i) {
    u32 s = run * each + i;
    u64 before = u64(s) * sampler.stride;
    if (before >= chunks) return;
    if (s % 4 == 0 || i == 0) draw = philox(sampler.seed, s / 4, job.at, u32(sampler.step), u32(sampler.step >> 32));
    u64 left = chunks - before;
    u32 choice = left < sampler.stride ? u32(left) : sampler.stride;
    u32 bits = s % 4 == 0 ? draw.x[0] : s % 4 == 1 ? draw.x[1] : s % 4 == 2 ? draw.x[2] : draw.x[3];
    u64 from = (before + __umulhi(bits, choice)) * sampler.chunk;
    u32 n = len - from < sampler.chunk ? u32(len - from) : sampler.chunk;
    visit(x + from, n, lane, 32, [&](u32, f32 value) { use(value); });
  }
}

// visit(x) for the sample of a job, by a whole block.
template <class T, class F>
__device__ void visit_job(const T* x, const Job& job, const Sampler& sampler, const u32* first, const u32* ranks, F use) {
  u32 run = job.group + GROUPS * (job.first + threadIdx.x / 32);
  if (run >= job.runs) return;
  visit_run(x, job, sampler, run, ranks ? ranks[u64(first[job.at]) * RUNS + run] : 0, use);
}

__device__ void layout(const u32* table, u32* first, u32* arrived, u32 segments, u32 jobs, u64 span, const Sampler& sampler) {
  u32 before = 0;
  for (u32 begin = 0; begin < segments; begin += blockDim.x) {
    u32 at = begin + threadIdx.x, total;
    u32 mine = at < segments ? jobs_of(runs_of(sampler, segment_of(table, at, span).len())) : 0;
    u32 sum = before + block_scan(mine, total);
    if (at < segments) first[at] = min(sum, jobs), arrived[at] = 0;
    before += total;
  }
  if (threadIdx.x == 0) first[segments] = min(before, jobs);
}

// Finite elements of each run, and the others of the job by kind.
template <class T>
__device__ void survey(const T* x, const Job& job, const u32* first, u32* ranks, u32* found) {
  u32 run = job.group + GROUPS * (job.first + threadIdx.x / 32), finite = 0, nan = 0, infinite = 0;
  u64 len = job.segment.len(), begin = u64(run) * RUN;
  if (run < job.runs) {
    u32 n = len - begin < RUN ? u32(len - begin) : RUN;
    visit(x + job.segment.start + begin, n, threadIdx.x % 32, 32, [&](u32, f32 value) {
      if (is_finite(value)) ++finite; else if (value != value) ++nan; else ++infinite;
    });
    finite = warp_sum(finite);
    if (threadIdx.x % 32 == 0) ranks[u64(first[job.at]) * RUNS + run] = finite;
  }
  nan = block_sum(nan);
  infinite = block_sum(infinite);
  if (threadIdx.x == 0) found[3 * u64(blockIdx.x) + 1] = nan, found[3 * u64(blockIdx.x) + 2] = infinite;
}

// Finite elements of each run become those before it.
__device__ void rank(const Job& job, const u32* first, u32* ranks) {
  u32 before = 0, runs = min(job.runs, job.jobs * RUNS);
  ranks += u64(first[job.at]) * RUNS;
  for (u32 begin = 0; begin < runs; begin += blockDim.x) {
    u32 at = begin + threadIdx.x, total;
    u32 sum = before + block_scan(at < runs ? ranks[at] : 0, total);
    if (at < runs) ranks[at] = sum;
    before += total;
  }
}

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

#define TABLE const T* x, const u32* table, u32* first, u32* arrived, u32* ranks, u32 segments, u32 jobs, u64 span, u32 chunk, u32 stride, u64 seed, u64 step, u32 released
#define END u32* sizes, f64* group_sums, f32* range, u32* counts, u32* histogram, f32* values, u32 width, u32 estimator, u32 correct
#define SAMPLER Sampler sampler = {chunk, stride, seed, step, released != 0}
#define JOB SAMPLER; Job job = job_of(table, first, segments, span, sampler)
#define WHOLE Whole whole = {sizes, group_sums, range, counts, histogram}

#define ENTRIES(name)                                                                                                \
  LATENS_ENTRY(entropy_layout_##name, 256, TABLE) {                                                                  \
    SAMPLER;                                                                                                         \
    layout(table, first, arrived, segments, jobs, span, sampler);                                                    \
  }                                                                                                                  \
  LATENS_ENTRY(entropy_survey_##name, 256, TABLE, u32* found) {                                                      \
    JOB;                                                                                                             \
    survey(x, job, first, ranks, found);                                                                             \
    if (is_last(arrived + job.at, job.jobs)) rank(job, first, ranks);                                                \
  }                                                                                                                  \
  LATENS_ENTRY(entropy_moments_##name, 256, TABLE, u32* found, f32* ranges, f64* sums, END) {                        \
    JOB;                                                                                                             \
    moments(x, job, sampler, first, ranks, found, ranges, sums);                                                     \
    if (!is_last(arrived + job.at, job.jobs)) return;                                                                \
    WHOLE;                                                                                                           \
    merge(job, first, found, ranges, sums, whole, estimator == GAUSSIAN ? 0 : width);                                \
    __syncthreads();                                                                                                 \
    if (estimator == GAUSSIAN) finish(job.at, whole, values, width, estimator, correct);                             \
  }                                                                                                                  \
  LATENS_ENTRY(entropy_bins_##name, 256, TABLE, u32 copies, END) {                                                   \
    JOB;                                                                                                             \
    bins(x, job, sampler, first, ranks, range, histogram, width, copies);                                            \
    WHOLE;                                                                                                           \
    if (is_last(arrived + job.at, job.jobs)) finish(job.at, whole, values, width, estimator, correct);               \
  }
#define T f32
ENTRIES(f32)
#undef T
#define T f16
ENTRIES(f16)
#undef T
#define T bf16
ENTRIES(bf16)
