// act: an activation, alone or as a gate; the gradients. Contract: mod.rs. Geometry: launch.rs.
//
//   A thread makes the entries of one 16-byte pack of a row: y = act(gate) [* up]; backward dgate = dy [* up] * act'(gate),
//   and dup = dy * act(gate), from one reading of the three.
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

// The slope: of a share s(x) of x it is s + x s', s' = rise * by / x. Where s no longer rises, `by` may be infinite.
__device__ inline f32 slope(u32 act, f32 x) {
  f32 share, rise, by = x;
  if (act == 1) {
    f32 half = 0.5f * erfcf(fabsf(x) * 0.70710678118f);
    share = x > 0.0f ? 1.0f - half : half;
    rise = 0.39894228040f * expf(-0.5f * x * x);
  } else {
    f32 u = act == 2 ? 1.5957691216f * (x + 0.044715f * x * x * x) : x;
    f32 small = expf(-fabsf(u)), more = 1.0f / (1.0f + small), less = small * more;
    share = u < 0.0f ? less : more;
    rise = less * more;
    if (act == 2) by = x * 1.5957691216f * (1.0f + 0.134145f * x * x);
  }
  return rise == 0.0f ? share : share + rise * by;
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

template <class T>
__device__ void backward(const T* gate, const T* up, const T* dy, T* dgate, T* dup, u32 act, u32 n, u64 gate_stride,
                         u64 up_stride, u64 dy_stride, u32 packs) {
  constexpr u32 N = Pack<T>::N;
  u64 row = blockIdx.x / packs;
  u32 first = (blockIdx.x % packs * blockDim.x + threadIdx.x) * N;
  if (first >= n) return;
  u32 left = n - first;
  Pack<T> g = fetch(gate + row * gate_stride + first, left), d = fetch(dy + row * dy_stride + first, left);
  Pack<T> u = up ? fetch(up + row * up_stride + first, left) : d, of_gate, of_up;
#pragma unroll
  for (u32 i = 0; i < N; ++i) {
    f32 x = to_f32(g.x[i]), change = to_f32(d.x[i]);
    if (dgate) of_gate.x[i] = from_f32<T>((up ? change * to_f32(u.x[i]) : change) * slope(act, x));
    if (dup) of_up.x[i] = from_f32<T>(change * activate(act, x));
  }
  if (dgate) place(dgate + row * n + first, left, of_gate);
  if (dup) place(dup + row * n + first, left, of_up);
}

#define ENTRIES(T)                                                                                              \
  LATENS_ENTRY(act_apply_##T, 256, const T* gate, const T* up, T* y, u32 act, u32 n, u64 gate_stride,           \
               u64 up_stride, u32 packs) {                                                                      \
    apply(gate, up, y, act, n, gate_stride, up_stride, packs);                                                  \
  }                                                                                                             \
  LATENS_ENTRY(act_backward_##T, 256, const T* gate, const T* up, const T* dy, T* dgate, T* dup, u32 act, u32 n, \
               u64 gate_stride, u64 up_stride, u64 dy_stride, u32 packs) {                                      \
    backward(gate, up, dy, dgate, dup, act, n, gate_stride, up_stride, dy_stride, packs);                       \
  }
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)
