// optim: AdamW over any parameters, and over the rows of a decoder. Contract: mod.rs, adamw8.rs, signum.rs, clip.rs.
// Geometry: launch.rs.
//
//   adamw    every thread steps entries a grid apart
//   decoder  a block has a row: w·w and w·g; project, step (kept in shared memory if it fits); its length; divide
//   advance  one thread counts
//   squares  a block sums one run of entries; scale: every block adds the 256 sums up and scales entries a grid apart
//   adamw8   see adamw8.cuh
//   signum   as adamw, every operation rounded by itself
//
// A thread meets the same entries in every pass over the row, so only the sums need barriers. Each step comes with its
// constants as arguments, or in a row of a schedule. Not yet run on a device.
#include "constants.cuh"
#include "adamw8.cuh"
#include "reduce.cuh"
#include "vector.cuh"

// One entry after its step.
__device__ inline f32 step(const Constants& c, f32 w, f32 g, f32* m, f32* v) {
  f32 mean = *m = c.beta1 * *m + c.rest1 * g;
  f32 square = *v = c.beta2 * *v + c.rest2 * g * g;
  return c.keep * w - c.rate * mean / (c.root * sqrtf(square) + c.eps);
}

// The row of this step; the last if there is none.
__device__ inline Constants scheduled(const f32* schedule, const u32* at, u64 steps) {
  const f32* row = schedule + 8 * (*at < steps ? *at : steps - 1);
  return {row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7]};
}

__device__ inline void adamw(f32* w, const f32* g, f32* m, f32* v, const Constants& c, u64 n) {
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += u64(gridDim.x) * blockDim.x)
    w[i] = step(c, w[i], g[i], m + i, v + i);
}

__device__ inline void decoder(f32* w, const f32* g, f32* m, f32* v, const Constants& c, u32 n, f32* kept) {
  u64 begin = u64(blockIdx.x) * n;
  w += begin, g += begin, m += begin, v += begin;
  f32* row = kept ? kept : w;
  f32 square = 0, along = 0, length = 0;
  for (u32 i = threadIdx.x; i < n; i += blockDim.x) {
    f32 x = w[i];
    if (kept) kept[i] = x;
    square += x * x;
    along += x * g[i];
  }
  square = block_sum(square);
  along = block_sum(along) / square;
  if (square == 0) return;
  for (u32 i = threadIdx.x; i < n; i += blockDim.x) {
    f32 x = step(c, row[i], g[i] - along * row[i], m + i, v + i);
    row[i] = x;
    length += x * x;
  }
  length = sqrtf(block_sum(length));
  for (u32 i = threadIdx.x; i < n; i += blockDim.x) w[i] = length == 0 ? 0.0f : row[i] / length;
}

__device__ inline void signum(f32* w, const f32* g, f32* m, f32 beta, f32 rest, f32 keep, f32 lr, u64 n) {
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += u64(gridDim.x) * blockDim.x) {
    f32 mean = m[i] = __fadd_rn(__fmul_rn(beta, m[i]), __fmul_rn(rest, g[i]));
    f32 sign = mean > 0 ? 1.0f : mean < 0 ? -1.0f : mean;
    w[i] = __fsub_rn(__fmul_rn(keep, w[i]), __fmul_rn(lr, sign));
  }
}

#define ARRAYS f32* w, const f32* g, f32* m, f32* v
#define CONSTANTS f32 beta1, f32 rest1, f32 beta2, f32 rest2, f32 keep, f32 rate, f32 root, f32 eps
#define SCHEDULE const f32* schedule, const u32* at, u64 steps

LATENS_ENTRY(optim_adamw_f32, 256, ARRAYS, CONSTANTS, u64 n) {
  adamw(w, g, m, v, {beta1, rest1, beta2, rest2, keep, rate, root, eps}, n);
}

LATENS_ENTRY(optim_adamw_scheduled_f32, 256, ARRAYS, SCHEDULE, u64 n) {
  adamw(w, g, m, v, scheduled(schedule, at, steps), n);
}

LATENS_ENTRY(optim_decoder_f32, 256, ARRAYS, CONSTANTS, u32 n, u32 staged) {
  LATENS_SHARED(f32, kept);
  decoder(w, g, m, v, {beta1, rest1, beta2, rest2, keep, rate, root, eps}, n, staged ? kept : nullptr);
}

LATENS_ENTRY(optim_decoder_scheduled_f32, 256, ARRAYS, SCHEDULE, u32 n, u32 staged) {
  LATENS_SHARED(f32, kept);
  decoder(w, g, m, v, scheduled(schedule, at, steps), n, staged ? kept : nullptr);
}

LATENS_ENTRY(optim_adamw8_f32, 256, f32* w, const f32* g, u8* m, u8* v, f32* scales, CONSTANTS, u64 n, u32 block) {
  LATENS_SHARED(f32, tables);
  adamw8(w, g, m, v, scales, {beta1, rest1, beta2, rest2, keep, rate, root, eps}, n, block, tables);
}

LATENS_ENTRY(optim_signum_f32, 256, f32* w, const f32* g, f32* m, f32 beta, f32 rest, f32 keep, f32 lr, u64 n) {
  signum(w, g, m, beta, rest, keep, lr, n);
}

LATENS_ENTRY(optim_advance_u32, 32, u32* at) {
  if (threadIdx.x == 0 && *at + 1 != 0) ++*at;
}

LATENS_ENTRY(optim_squares_f32, 512, const f32* g, f32* squares, u64 n, u32 run, u32 add) {
  u64 begin = min(u64(blockIdx.x) * run, n);
  f32 sum = 0;
  visit(g + begin, u32(min(n - begin, u64(run))), threadIdx.x, blockDim.x, [&](u32, f32 x) { sum += x * x; });
  sum = block_sum(sum);
  if (threadIdx.x == 0) squares[blockIdx.x] = add ? squares[blockIdx.x] + sum : sum;
}

LATENS_ENTRY(optim_scale_f32, 256, const f32* squares, f32* g, f32 most, u64 n) {
  f32 length = sqrtf(block_sum(squares[threadIdx.x]));
  if (!(length > most)) return;
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += u64(gridDim.x) * blockDim.x) g[i] *= most / length;
}
