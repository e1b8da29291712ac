// loss: softmax cross-entropy of rows, mean squared errors, and their gradients. Contracts: mod.rs, mse.rs. Geometry:
// launch.rs.
//
//   One block per row. First pass: each thread keeps its largest logit and the sum of exponentials against it, scaled
//   when a larger one comes. Then the largest of the block, and the sums brought to it and added up.
//   Second pass, if the gradient is asked for: 16 bytes a thread, each entry read and written by the same thread after
//   all have been read, so the gradient may take the place of the logits.
//   A bad target is not followed: NaN. An ignored one: 0.
//   Squares: mean and variance of the targets, if they are normalised; then loss and gradient in one pass.
//
// Not yet run on a device.
#include "reduce.cuh"
#include "vector.cuh"

// A row that is not looked at.
template <class T> __device__ void settle(f32 x, f32* loss, T* slopes, u32 classes) {
  if (loss && threadIdx.x == 0) *loss = x;
  if (!slopes) return;
  for (u32 c = threadIdx.x; c < classes; c += blockDim.x) slopes[c] = from_f32<T>(x);
}

// `loss`, `slopes` or both may be null.
template <class T>
__device__ void surprise(const T* row, u32 target, f32 dloss, f32* loss, T* slopes, u32 classes, f32 smoothing) {
  f32 aim = to_f32(row[target]), largest = -infinity(), sum = 0.0f, off = 0.0f;
  visit(row, classes, threadIdx.x, blockDim.x, [&](u32, f32 x) {
    if (x > largest) {
      sum *= expf(largest - x);
      largest = x;
    }
    // -inf adds nothing; against itself it would be NaN.
    if (x != -infinity()) sum += expf(x - largest);
    off += x - aim;
  });
  f32 top = block_max(largest);
  f32 total = block_sum(largest == -infinity() && sum == 0.0f ? 0.0f : sum * expf(largest - top));
  if (top == -infinity()) total = not_a_number();
  if (loss) {
    off = block_sum(off);
    // (1 - s) (lse - aim) + s (lse - mean), by the distances from the target.
    f32 sharp = logf(total) + (top - aim);
    if (threadIdx.x == 0) *loss = smoothing > 0.0f && sharp < infinity() ? sharp - smoothing * (off / f32(classes)) : sharp;
  }
  if (!slopes) return;
  constexpr u32 N = Pack<T>::N;
  f32 share = 1.0f / total, even = smoothing / f32(classes);
  for (u32 c = threadIdx.x * N; c < classes; c += blockDim.x * N) {
    Pack<T> pack = fetch(row + c, classes - c);
#pragma unroll
    for (u32 i = 0; i < N; ++i) {
      f32 wanted = c + i == target ? 1.0f - smoothing + even : even;
      pack.x[i] = from_f32<T>((expf(to_f32(pack.x[i]) - top) * share - wanted) * dloss);
    }
    place(slopes + c, classes - c, pack);
  }
}

template <class T>
__device__ void rows(const T* logits, const u32* targets, const f32* dlosses, f32* losses, T* dlogits, u32 classes,
                     u64 stride, u64 pitch, f32 smoothing) {
  u32 target = targets[blockIdx.x];
  f32* loss = losses ? losses + blockIdx.x : nullptr;
  T* slopes = dlogits ? dlogits + blockIdx.x * pitch : nullptr;
  bool ignored = target == 0xffffffffu;
  if (ignored || target >= classes) return settle(ignored ? 0.0f : not_a_number(), loss, slopes, classes);
  f32 dloss = dlosses ? dlosses[blockIdx.x] : 0.0f;
  surprise(logits + blockIdx.x * stride, target, dloss, loss, slopes, classes, smoothing);
}

// `losses`, `dx` or both may be null.
template <class T>
__device__ void squares(const T* x, const T* y, const f32* dlosses, f32* losses, T* dx, u32 n, u64 x_stride, u64 y_stride,
                        u32 normalise, f32 epsilon) {
  constexpr u32 N = Pack<T>::N;
  x += blockIdx.x * x_stride;
  y += blockIdx.x * y_stride;
  f32 mean = 0.0f, rest = 0.0f, scale = 1.0f;  // rest: what the rounded mean misses
  if (normalise) {
    f32 sum = 0.0f, off = 0.0f, square = 0.0f;
    visit(y, n, threadIdx.x, blockDim.x, [&](u32, f32 y) { sum += y; });
    mean = block_sum(sum) / f32(n);
    visit(y, n, threadIdx.x, blockDim.x, [&](u32, f32 y) {
      off += y - mean;
      square += (y - mean) * (y - mean);
    });
    rest = block_sum(off) / f32(n);
    f32 variance = (block_sum(square) - rest * rest * f32(n)) / f32(n > 1 ? n - 1 : 1);
    scale = 1.0f / sqrtf(variance + epsilon);
  }
  f32 square = 0.0f, factor = dlosses ? dlosses[blockIdx.x] * 2.0f / f32(n) : 0.0f;
  for (u32 c = threadIdx.x * N; c < n; c += blockDim.x * N) {
    Pack<T> from = fetch(x + c, n - c), to = fetch(y + c, n - c);
#pragma unroll
    for (u32 i = 0; i < N; ++i) {
      f32 away = to_f32(from.x[i]) - (to_f32(to.x[i]) - mean - rest) * scale;
      if (c + i < n) square += away * away;
      from.x[i] = from_f32<T>(factor * away);
    }
    if (dx) place(dx + u64(blockIdx.x) * n + c, n - c, from);
  }
  if (!losses) return;
  square = block_sum(square);
  if (threadIdx.x == 0) losses[blockIdx.x] = square / f32(n);
}

#define ENTRIES(T)                                                                                                     \
  LATENS_ENTRY(loss_rows_##T, 256, const T* logits, const u32* targets, const f32* dlosses, f32* losses, T* dlogits,   \
               u32 classes, u64 stride, u64 pitch, f32 smoothing) {                                                    \
    rows(logits, targets, dlosses, losses, dlogits, classes, stride, pitch, smoothing);                                \
  }                                                                                                                    \
  LATENS_ENTRY(loss_squares_##T, 256, const T* x, const T* y, const f32* dlosses, f32* losses, T* dx, u32 n,           \
               u64 x_stride, u64 y_stride, u32 normalise, f32 epsilon) {                                               \
    squares(x, y, dlosses, losses, dx, n, x_stride, y_stride, normalise, epsilon);                                     \
  }
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)
