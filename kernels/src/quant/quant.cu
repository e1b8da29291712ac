// quant: numbers in 1 to 8 bits, a scale to a block. Contract: mod.rs. Geometry: launch.rs.
//
//   pack, sum  a warp has a block of numbers: lane l sees every 32nd from l on. Range and sum of sizes by shuffles; then
//              again (from the cache) the codes, 32 at a time, which shuffles bring together to words; the error in place
//   unpack     a thread has numbers a grid apart
//
// `pack` reads its numbers, `sum` adds those of several ranks, in their order. Not yet run on a device.
#include "code.cuh"
#include "philox.cuh"
#include "reduce.cuh"

// 8 bits at most of a stream, from bit `at` on; the byte behind is touched only if it has some of them.
__device__ inline u32 bits_at(const u8* stream, u64 at, u32 bits) {
  u32 shift = u32(at & 7), word = stream[at / 8];
  if (shift + bits > 8) word |= u32(stream[at / 8 + 1]) << 8;
  return word >> shift & ((1u << bits) - 1);
}

template <class T> struct Plain {
  const T* x;
  __device__ f32 operator()(u64 i) const { return to_f32(x[i]); }
};

struct Ranks {
  const u8* codes;
  const f32* scales;
  u32 ranks;
  u64 code_stride, scale_stride;
  f32 factor;
  Format format;
  u32 block;
  __device__ f32 operator()(u64 i) const {
    f32 sum = 0.0f;
    for (u32 r = 0; r < ranks; ++r) {
      Coder coder = Coder::of(format, scales + r * scale_stride, i / block);
      sum = __fadd_rn(sum, coder.decode(bits_at(codes + r * code_stride, i * format.bits, format.bits)));
    }
    return __fmul_rn(sum, factor);
  }
};

// 32 codes, one to a lane, as `bytes` bytes.
__device__ inline void store_codes(u8* to, u32 code, u32 bits, u32 bytes) {
  u32 lane = threadIdx.x % 32;
  if (bits == 8) {
    if (lane < bytes) to[lane] = u8(code);
    return;
  }
  u32 word = 0;
  for (u32 j = 0; j < 32; ++j) {
    u32 other = __shfl_sync(~0u, code, j);
    i32 shift = i32(j * bits) - i32(32 * lane);
    if (shift >= 0 && shift < 32) word |= other << shift;
    if (shift < 0 && shift > -8) word |= other >> -shift;
  }
  for (u32 i = 0; i < 4; ++i)
    if (lane < bits && 4 * lane + i < bytes) to[4 * lane + i] = u8(word >> 8 * i);
}

template <class Source>
__device__ void quantise(Source x, f32* error, u8* codes, f32* scales, u32* dropped, u64 n, u32 block, Format format,
                         bool chance, u64 seed, u64 step) {
  u64 at = u64(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32, first = at * block;
  u32 lane = threadIdx.x % 32, bad = 0;
  if (first >= n) return;
  u32 count = n - first < block ? u32(n - first) : block;
  auto value = [&](u64 i, u32& bad) {
    f32 a = x(i), kept = error ? error[i] : 0.0f;
    if (!is_finite(a)) a = 0.0f, ++bad;
    return finite(__fadd_rn(a, is_finite(kept) ? kept : 0.0f));
  };
  Around around = {infinity(), -infinity(), 0.0f, count};
  for (u32 i = lane; i < count; i += 32) {
    f32 a = value(first + i, bad);
    around.low = min(around.low, a), around.high = max(around.high, a);
    around.sum = __fadd_rn(around.sum, fabsf(a));
  }
  around.low = warp_fold<Smallest>(around.low) + 0.0f, around.high = warp_fold<Largest>(around.high) + 0.0f;
  around.sum = warp_sum(around.sum);
  bad = warp_sum(bad);
  Coder coder = Coder::of(format, around, chance);
  if (lane == 0) {
    if (bad) atomicAdd(dropped, bad);
    if (format.number == AFFINE) scales[2 * at] = coder.scale, scales[2 * at + 1] = coder.offset;
    else scales[at] = coder.scale;
  }
  for (u32 base = 0; base < count; base += 32) {
    u64 i = first + base + lane;
    u32 code = 0;
    if (i < n && base + lane < count) {
      f32 a = value(i, bad), draw = 0.0f;
      if (chance) {
        Draw four = philox(seed, u32(i / 4), u32(i / 4 >> 32), u32(step), u32(step >> 32));
        u32 bits = i % 4 == 0 ? four.x[0] : i % 4 == 1 ? four.x[1] : i % 4 == 2 ? four.x[2] : four.x[3];
        draw = f32(bits >> 8) * 5.9604644775390625e-8f;  // 2^-24
      }
      code = coder.encode(a, chance, draw);
      if (error) error[i] = finite(__fsub_rn(a, coder.decode(code)));
    }
    u32 here = count - base < 32 ? count - base : 32;
    store_codes(codes + (first + base) / 8 * format.bits, code, format.bits, (here * format.bits + 7) / 8);
  }
}

template <class T>
__device__ void unpack(const u8* codes, const f32* scales, T* y, u64 n, u32 block, Format format, bool add) {
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += u64(gridDim.x) * blockDim.x) {
    f32 x = Coder::of(format, scales, i / block).decode(bits_at(codes, i * format.bits, format.bits));
    y[i] = from_f32<T>(add ? __fadd_rn(to_f32(y[i]), x) : x);
  }
}

#define TO f32* error, u8* codes, f32* scales, u32* dropped
#define SHAPE u64 n, u32 block, u32 format, u32 bits
#define CHANCE u32 chance, u64 seed, u64 step

#define ENTRIES(T)                                                                                              \
  LATENS_ENTRY(quant_pack_##T, 256, const T* x, TO, SHAPE, CHANCE) {                                            \
    quantise(Plain<T>{x}, error, codes, scales, dropped, n, block, {format, bits}, chance != 0, seed, step);    \
  }                                                                                                             \
  LATENS_ENTRY(quant_unpack_##T, 256, const u8* codes, const f32* scales, T* y, SHAPE, u32 add) {               \
    unpack(codes, scales, y, n, block, {format, bits}, add != 0);                                               \
  }
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)

LATENS_ENTRY(quant_sum_f32, 256, const u8* from, const f32* from_scales, u32 ranks, u64 code_stride, u64 scale_stride,
             f32 factor, TO, SHAPE, CHANCE) {
  Ranks sum = {from, from_scales, ranks, code_stride, scale_stride, factor, {format, bits}, block};
  quantise(sum, error, codes, scales, dropped, n, block, {format, bits}, chance != 0, seed, step);
}
