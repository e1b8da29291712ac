// act: an activation, alone or as a gate. Contract: mod.rs. Geometry: launch.rs.
//
//   A thread makes the entries of one 16-byte pack of a row: y = act(gate) [* up].
//   Packs are moved whole where every pointer of the row allows it, else entry by entry.
//
// Not yet run on a device.
#include "vector.cuh"

// 0 SiLU, 1 GELU, 2 GELU by tanh, whose 1 + tanh(u) is 2 / (1 + exp(-2u)).
__device__ inline f32 activate(u32 act, f32 x) {
  if (act == 0) return x / (1.0f + expf(-x));
  if (act == 2) return x / (1.0f + expf(-1.5957691216f * (x + 0.044715f * x * x * x)));
  f32 half = 0.5f * erfcf(fabsf(x) * 0.70710678118f);  // the complement keeps the digits of the tail
  return x * (x > 0.0f ? 1.0f - half : half);
}

template <class T>
__device__ void apply(const T* gate, const T* up, T* y, u32 act, u32 n, u64 gate_stride, u64 up_stride, u32 packs) {
  constexpr u32 N = Pack<T>::N;
  u64 row = blockIdx.x / packs;
  u32 first = (blockIdx.x % packs * blockDim.x + threadIdx.x) * N;
  if (first >= n) return;
  gate += row * gate_stride + first;
  if (up) up += row * up_stride + first;
  y += row * n + first;
  u32 count = min(N, n - first);
  Pack<T> g, u, out;
  bool whole = count == N && aligned16(gate) && aligned16(y) && (!up || aligned16(up));
  if (whole) {
    g = load16(gate);
    if (up) u = load16(up);
  } else {
    for (u32 i = 0; i < count; ++i) g.x[i] = gate[i];
    if (up) for (u32 i = 0; i < count; ++i) u.x[i] = up[i];
  }
#pragma unroll
  for (u32 i = 0; i < N; ++i)
    if (i < count) out.x[i] = from_f32<T>(activate(act, to_f32(g.x[i])) * (up ? to_f32(u.x[i]) : 1.0f));
  if (whole) return store16(y, out);
  for (u32 i = 0; i < count; ++i) y[i] = out.x[i];
}

#define ENTRIES(T)                                                                                              \
  LATENS_ENTRY(act_apply_##T, 256, const T* gate, const T* up, T* y, u32 act, u32 n, u64 gate_stride,           \
               u64 up_stride, u32 packs) {                                                                      \
    apply(gate, up, y, act, n, gate_stride, up_stride, packs);                                                  \
  }
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)
