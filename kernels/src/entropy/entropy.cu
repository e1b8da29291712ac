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
#include "estimate.cuh"

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
