// rope: pairs of every head turned by the position of their token. Contract: mod.rs. Geometry: launch.rs.
//
//   A block takes 32 pairs of one token in every head: 32 threads side by side, four heads at once. A thread finds the
//   sine and cosine of its pair once. Angles are counted in 2^-64 turns, where whole turns vanish by themselves, and the
//   opposite angle, for gradients, is the opposite number.
//
// Not yet run on a device.
#include "latens.cuh"

constexpr double TURN = 6.283185307179586477;

// Angle of pair i from one position to the next: base^(-2i / dim) radians in 2^-64 turns, whole turns dropped.
__device__ inline u64 rate(u32 i, u32 dim, double ln_base) {
  double turns = exp(-2.0 * double(i) / double(dim) * ln_base) / TURN;
  return u64((turns - floor(turns)) * 18446744073709551616.0);
}

// Sine and cosine of an angle in 2^-64 turns: twin of sin_cos() in the host's rope.
__device__ inline void sin_cos(u64 turns, f32& sin, f32& cos) {
  u64 quarter = (turns + (u64(1) << 61)) >> 62;
  long long rest = static_cast<long long>(turns - (quarter << 62));  // at most an eighth of a turn
  double r = double(rest) * (TURN / 18446744073709551616.0), z = -r * r;
  double s = r * (1.0 + z / 6.0 * (1.0 + z / 20.0 * (1.0 + z / 42.0 * (1.0 + z / 72.0))));
  double c = 1.0 + z / 2.0 * (1.0 + z / 12.0 * (1.0 + z / 30.0 * (1.0 + z / 56.0 * (1.0 + z / 90.0))));
  sin = f32(quarter & 1 ? c : s);
  cos = f32(quarter & 1 ? -s : c);
  if (quarter & 2) {
    sin = -sin;
    cos = -cos;
  }
}

template <class T>
__device__ void turn(T* x, const u32* positions, u32 heads, u32 dim, u64 token_stride, u64 head_stride, u64 ln_base,
                     u32 halves, u32 back, u32 blocks) {
  union { u64 bits; double value; } ln = {ln_base};  // an argument is no double
  u32 token = blockIdx.x / blocks, i = blockIdx.x % blocks * 32 + threadIdx.x % 32;
  if (i >= dim / 2) return;
  f32 sin, cos;
  u64 angle = rate(i, dim, ln.value) * positions[token];
  sin_cos(back ? 0 - angle : angle, sin, cos);
  u32 first = halves ? i : 2 * i, second = halves ? i + dim / 2 : 2 * i + 1;
  x += token * token_stride;
  for (u32 head = threadIdx.x / 32; head < heads; head += blockDim.x / 32) {
    T* pair = x + head * head_stride;
    f32 u = to_f32(pair[first]), v = to_f32(pair[second]);
    pair[first] = from_f32<T>(u * cos - v * sin);
    pair[second] = from_f32<T>(u * sin + v * cos);
  }
}

#define ENTRIES(T)                                                                                              \
  LATENS_ENTRY(rope_turn_##T, 128, T* x, const u32* positions, u32 heads, u32 dim, u64 token_stride,            \
               u64 head_stride, u64 ln_base, u32 halves, u32 back, u32 blocks) {                                \
    turn(x, positions, heads, dim, token_stride, head_stride, ln_base, halves, back, blocks);                   \
  }
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)
