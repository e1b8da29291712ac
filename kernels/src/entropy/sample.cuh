// Which elements a job of entropy visits. Contract: mod.rs. Geometry: launch.rs.
#pragma once
#include "philox.cuh"
#include "reduce.cuh"
#include "segments.cuh"
#include "vector.cuh"

constexpr u32 RUN = 1024, GROUPS = 16, RUNS = 8, WARPS = 8;

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
