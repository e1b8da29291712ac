// Codes of single numbers: twin of code.rs. Every step rounds to f32, and none is fused.
#pragma once
#include "latens.cuh"
#include "tables.cuh"

constexpr u32 SYMMETRIC = 0, AFFINE = 1, NORMAL4 = 2, DYNAMIC8 = 3, SIGN = 4;
constexpr f32 LARGEST = 3.40282346638528859812e38f, LEAST = 7.8886090522101180541e-31f;  // 2^-100

struct Format { u32 number, bits; };
struct Around { f32 low, high, sum; u32 count; };

__device__ inline bool is_finite(f32 x) { return (__float_as_uint(x) & 0x7fffffffu) < 0x7f800000u; }
__device__ inline f32 finite(f32 x) { return min(max(x, -LARGEST), LARGEST); }
__device__ inline f32 ratio(f32 a, f32 b) { return b < LEAST ? 0.0f : __fdiv_rn(a, b); }

// The nearest whole number, or one of those around it.
__device__ inline f32 whole(f32 x, bool chance, f32 draw) {
  x = min(max(x, -1000.0f), 1000.0f);
  return chance ? floorf(__fadd_rn(x, draw)) : rintf(x);
}

// The place in an ascending table of the number nearest to x, the smaller of two; or of one of those around it.
__device__ inline u32 search(const f32* table, u32 count, f32 x, bool chance, f32 draw) {
  u32 low = 0, high = count - 1;
  while (low < high) {
    u32 middle = (low + high) / 2;
    bool beyond = chance ? x >= table[middle + 1] : x > __fmul_rn(0.5f, __fadd_rn(table[middle], table[middle + 1]));
    if (beyond) low = middle + 1; else high = middle;
  }
  if (!chance || low + 1 == count) return low;
  return low + (draw < __fdiv_rn(__fsub_rn(x, table[low]), __fsub_rn(table[low + 1], table[low])));
}

// range / top, rounded down where the largest code would otherwise be a number that is not finite.
__device__ inline f32 scale_of(f32 offset, f32 range, f32 top) {
  f32 scale = __fdiv_rn(range, top);
  return is_finite(__fadd_rn(offset, __fmul_rn(top, scale))) ? scale : __uint_as_float(__float_as_uint(scale) - 1);
}

struct Coder {
  Format format;
  f32 scale, offset, inverse;

  __device__ static Coder of(Format format, const f32* scales, u64 block) {
    if (format.number == AFFINE) return {format, scales[2 * block], scales[2 * block + 1], 0.0f};
    return {format, scales[block], 0.0f, 0.0f};
  }

  __device__ static Coder of(Format format, const Around& around, bool chance) {
    f32 size = around.high > -around.low ? around.high : -around.low;
    if (format.number == SYMMETRIC) {
      f32 top = f32((1u << (format.bits - 1)) - 1);
      return {format, size < LEAST ? 0.0f : scale_of(0.0f, size, top), 0.0f, ratio(top, size)};
    }
    if (format.number == AFFINE) {
      f32 top = f32((1u << format.bits) - 1), range = finite(__fsub_rn(around.high, around.low));
      return {format, range < LEAST ? 0.0f : scale_of(around.low, range, top), around.low, ratio(top, range)};
    }
    if (format.number == SIGN && !chance) return {format, __fdiv_rn(finite(around.sum), f32(around.count)), 0.0f, 0.0f};
    return {format, size < LEAST ? 0.0f : size, 0.0f, ratio(1.0f, size)};
  }

  __device__ u32 encode(f32 a, bool chance, f32 draw) const {
    if (format.number == SYMMETRIC) {
      f32 top = f32((1u << (format.bits - 1)) - 1), q = whole(__fmul_rn(a, inverse), chance, draw);
      return u32(i32(min(max(q, -top), top))) & ((1u << format.bits) - 1);
    }
    if (format.number == AFFINE) {
      f32 top = f32((1u << format.bits) - 1), q = whole(__fmul_rn(__fsub_rn(a, offset), inverse), chance, draw);
      return u32(min(max(q, 0.0f), top));
    }
    if (format.number == SIGN) return chance ? draw < __fadd_rn(0.5f, __fmul_rn(0.5f, __fmul_rn(a, inverse))) : a >= 0.0f;
    bool normal = format.number == NORMAL4;
    return search(normal ? NORMAL : DYNAMIC, normal ? 16 : 256, __fmul_rn(a, inverse), chance, draw);
  }

  __device__ f32 decode(u32 code) const {
    if (format.number == SYMMETRIC) {
      i32 q = i32(code << (32 - format.bits)) >> (32 - format.bits);
      return __fmul_rn(f32(q), scale);
    }
    if (format.number == AFFINE) return __fadd_rn(offset, __fmul_rn(f32(code), scale));
    if (format.number == SIGN) return code & 1 ? scale : -scale;
    return __fmul_rn(format.number == NORMAL4 ? NORMAL[code & 15] : DYNAMIC[code & 255], scale);
  }
};
