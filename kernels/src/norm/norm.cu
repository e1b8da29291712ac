// norm: rows by their root mean square, or by mean and variance. Contract: mod.rs. Geometry: launch.rs.
//
//   One block per row. The mean (layer norm only), then the mean square around it, each a sum over the block;
//   then y = (x - mean) / sqrt(square + eps) * weight [+ bias]. The row is read again each time, from the cache.
//
// Not yet run on a device.
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

#define ENTRIES(T)                                                                                              \
  LATENS_ENTRY(norm_rows_##T, 256, const T* x, const f32* weight, const f32* bias, T* y, u32 n, u64 stride,     \
               f32 eps, u32 centred) {                                                                          \
    normalise(x, weight, bias, y, n, stride, eps, centred);                                                     \
  }
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)
