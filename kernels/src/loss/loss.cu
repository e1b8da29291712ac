// loss: softmax cross-entropy of rows. Contract: mod.rs. Geometry: launch.rs.
//
//   One block per row, one pass: each thread keeps its largest logit and the sum of exponentials against it, scaled
//   when a larger one comes. Then the largest of the block, and the sums brought to it and added up.
//   A bad target is not followed: NaN. An ignored one: 0.
//
// Not yet run on a device.
#include "reduce.cuh"
#include "vector.cuh"

template <class T>
__device__ void surprise(const T* logits, const u32* targets, f32* losses, u32 classes, u64 stride) {
  u32 target = targets[blockIdx.x];
  if (target == 0xffffffffu || target >= classes) {
    if (threadIdx.x == 0) losses[blockIdx.x] = target == 0xffffffffu ? 0.0f : not_a_number();
    return;
  }
  const T* row = logits + blockIdx.x * stride;
  f32 largest = -infinity(), sum = 0.0f;
  visit(row, classes, threadIdx.x, blockDim.x, [&](u32, f32 x) {
    if (x > largest) {
      sum *= expf(largest - x);
      largest = x;
    }
    // -inf adds nothing; against itself it would be NaN.
    if (x != -infinity()) sum += expf(x - largest);
  });
  f32 top = block_max(largest);
  f32 scaled = largest == -infinity() && sum == 0.0f ? 0.0f : sum * expf(largest - top);
  f32 total = block_sum(scaled);
  if (threadIdx.x == 0)
    losses[blockIdx.x] = top == -infinity() ? not_a_number() : logf(total) + (top - to_f32(row[target]));
}

#define ENTRIES(T)                                                                                              \
  LATENS_ENTRY(loss_rows_##T, 256, const T* logits, const u32* targets, f32* losses, u32 classes, u64 stride) { \
    surprise(logits, targets, losses, classes, stride);                                                         \
  }
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)
