// norm: rows by their root mean square, or by mean and variance; the gradients. Contract: mod.rs. Geometry: launch.rs.
// Columns: batch.cuh.
//
//   Forward: a block per row. The mean (layer norm only), then the mean square around it, each a sum over the block;
//   then y = (x - mean) / sqrt(square + eps) * weight [+ bias]. The row is read again each time, from the cache.
//   Backward: a block per group of rows, in turn. Statistics as before, with the two means of g = dy weight that dx takes
//   away; then dx, and the row joins the sums of its group, in shared memory, at places that belong to one thread. A
//   second launch adds up groups in order: what they pass on is at most 512 rows, where looking again would be all.
//
// Not yet run on a device.
#include "batch.cuh"
#include "reduce.cuh"
#include "vector.cuh"

template <class T>
__device__ void normalise(const T* x, const f32* weight, const f32* bias, T* y, u32 n, u64 stride, f32 eps, u32 centred) {
  x += blockIdx.x * stride;
  y += u64(blockIdx.x) * n;
  f32 center = 0.0f;
  if (centred) {
    f32 sum = 0.0f;
    visit(x, n, threadIdx.x, blockDim.x, [&](u32, f32 x) { sum += x; });
    center = block_sum(sum) / f32(n);
  }
  f32 square = 0.0f;
  visit(x, n, threadIdx.x, blockDim.x, [&](u32, f32 x) { square += (x - center) * (x - center); });
  f32 factor = 1.0f / sqrtf(block_sum(square) / f32(n) + eps);
  visit(x, n, threadIdx.x, blockDim.x, [&](u32 i, f32 x) {
    y[i] = from_f32<T>((x - center) * factor * weight[i] + (bias ? bias[i] : 0.0f));
  });
}

// What a backward call is told. Of sums, `places` for each that is asked for: entry j of pack i lies at j * packs + i, so
// that neighbouring threads meet neighbouring places.
template <class T>
struct Backward {
  const T *x;
  const f32* weight;
  const T* dy;
  T* dx;
  f32* parts;
  u32 rows, each, n, places;
  u64 x_stride, dy_stride;
  f32 eps;
  u32 centred, add, of_weight, of_bias, shared;
};

// visit(i, x[i], dy[i]) for every i < n, shared out over the block as visit() does.
template <class T, class F> __device__ inline void visit_both(const T* x, const T* dy, u32 n, F visit) {
  constexpr u32 N = Pack<T>::N;
  for (u32 i = threadIdx.x * N; i < n; i += blockDim.x * N) {
    Pack<T> of_x = fetch(x + i, n - i), of_dy = fetch(dy + i, n - i);
#pragma unroll
    for (u32 j = 0; j < N; ++j)
      if (i + j < n) visit(i + j, to_f32(of_x.x[j]), to_f32(of_dy.x[j]));
  }
}

// A row, at x, dy and dx: its gradient, and what it adds to the sums of its group.
template <class T>
__device__ void backward_row(const Backward<T>& call, const T* x, const T* dy, T* dx, f32* sums) {
  constexpr u32 N = Pack<T>::N;
  const f32* weight = call.weight;
  u32 n = call.n, packs = call.places / N;
  f32 share = 1.0f / f32(n);
  f32 center = 0.0f, level = 0.0f, square = 0.0f, along = 0.0f;
  if (call.centred) {
    visit_both(x, dy, n, [&](u32 i, f32 x, f32 dy) {
      center += x;
      level += dy * weight[i];
    });
    center = block_sum(center) * share;
    level = block_sum(level) * share;
  }
  visit_both(x, dy, n, [&](u32 i, f32 x, f32 dy) {
    square += (x - center) * (x - center);
    along += dy * weight[i] * (x - center);
  });
  f32 factor = 1.0f / sqrtf(block_sum(square) * share + call.eps);
  along = block_sum(along) * share * factor;
  f32* bias_sums = sums + (call.of_weight ? call.places : 0);
  for (u32 i = threadIdx.x * N; i < n; i += blockDim.x * N) {
    Pack<T> of_x = fetch(x + i, n - i), of_dy = fetch(dy + i, n - i);
    Pack<T> out = dx && call.add ? fetch(dx + i, n - i) : of_dy;
#pragma unroll
    for (u32 j = 0; j < N; ++j) {
      if (i + j >= n) continue;
      f32 unit = (to_f32(of_x.x[j]) - center) * factor, d = to_f32(of_dy.x[j]);
      f32 slope = (d * weight[i + j] - level - unit * along) * factor;
      if (dx) out.x[j] = from_f32<T>(call.add ? to_f32(out.x[j]) + slope : slope);
      if (call.of_weight) sums[j * packs + i / N] += d * unit;
      if (call.of_bias) bias_sums[j * packs + i / N] += d;
    }
    if (dx) place(dx + i, n - i, out);
  }
}

template <class T>
__device__ void backward(const Backward<T>& call) {
  LATENS_SHARED(f32, shared);
  u32 count = call.places * (call.of_weight + call.of_bias);
  f32* part = call.parts + u64(blockIdx.x) * count;
  f32* sums = call.shared ? shared : part;
  for (u32 i = threadIdx.x; i < count; i += blockDim.x) sums[i] = 0.0f;
  __syncthreads();
  u64 begin = u64(blockIdx.x) * call.each, end = min(begin + call.each, u64(call.rows));
  for (u64 row = begin; row < end; ++row)
    backward_row(call, call.x + row * call.x_stride, call.dy + row * call.dy_stride,
                 call.dx ? call.dx + row * call.n : nullptr, sums);
  if (!call.shared) return;
  __syncthreads();
  for (u32 i = threadIdx.x; i < count; i += blockDim.x) part[i] = sums[i];
}

// A block adds up 32 places, 8 threads a place: groups in turn, then the eight in order. `pack` is the length of a pack.
__device__ inline void sums(const f32* parts, f32* dweight, f32* dbias, u32 groups, u32 n, u32 places, u32 pack, u32 add) {
  __shared__ f32 eighths[256];
  u32 count = places * ((dweight ? 1 : 0) + (dbias ? 1 : 0)), at = blockIdx.x * 32 + threadIdx.x % 32;
  f32 sum = 0.0f;
  if (at < count)
    for (u32 group = threadIdx.x / 32; group < groups; group += 8) sum += parts[u64(group) * count + at];
  eighths[threadIdx.x] = sum;
  __syncthreads();
  u32 packs = places / pack, slot = at % places, column = slot % packs * pack + slot / packs;
  if (threadIdx.x >= 32 || at >= count || column >= n) return;
  for (u32 i = 1; i < 8; ++i) sum += eighths[i * 32 + threadIdx.x];
  f32* to = (dweight && at < places ? dweight : dbias) + column;
  *to = add ? *to + sum : sum;
}

#define ENTRIES(T)                                                                                              \
  LATENS_ENTRY(norm_rows_##T, 256, const T* x, const f32* weight, const f32* bias, T* y, u32 n, u64 stride,     \
               f32 eps, u32 centred) {                                                                          \
    normalise(x, weight, bias, y, n, stride, eps, centred);                                                     \
  }                                                                                                             \
  LATENS_ENTRY(norm_backward_##T, 256, const T* x, const f32* weight, const T* dy, T* dx, f32* parts, u32 rows, \
               u32 each, u32 n, u32 places, u64 x_stride, u64 dy_stride, f32 eps, u32 centred, u32 add,         \
               u32 of_weight, u32 of_bias, u32 shared) {                                                        \
    backward(Backward<T>{x, weight, dy, dx, parts, rows, each, n, places, x_stride, dy_stride, eps, centred,    \
                         add, of_weight, of_bias, shared});                                                     \
  }                                                                                                             \
  LATENS_ENTRY(norm_batch_##T, 256, const T* x, const f32* mean, const f32* variance, const f32* weight,        \
               const f32* bias, T* y, u32 n, u64 stride, f32 eps) {                                             \
    batch_apply(x, mean, variance, weight, bias, y, n, stride, eps);                                            \
  }                                                                                                             \
  LATENS_ENTRY(norm_batch_sums_##T, 1024, const T* x, const f32* mean, const f32* variance, const T* dy,        \
               f32* sums, f32* dweight, f32* dbias, u64 rows, u32 n, u64 x_stride, u64 dy_stride, f32 eps,      \
               u32 add) {                                                                                       \
    batch_sums(x, mean, variance, dy, sums, dweight, dbias, rows, n, x_stride, dy_stride, eps, add);            \
  }                                                                                                             \
  LATENS_ENTRY(norm_batch_backward_##T, 256, const T* x, const f32* mean, const f32* variance,                  \
               const f32* weight, const T* dy, const f32* sums, T* dx, u32 n, u64 x_stride, u64 dy_stride,      \
               f32 eps, f32 share, u32 add) {                                                                   \
    batch_backward(x, mean, variance, weight, dy, sums, dx, n, x_stride, dy_stride, eps, share, add);           \
  }
LATENS_ENTRY(norm_sums_f32, 256, const f32* parts, f32* dweight, f32* dbias, u32 groups, u32 n, u32 places, u32 pack,
             u32 add) {
  sums(parts, dweight, dbias, groups, n, places, pack, add);
}
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)
