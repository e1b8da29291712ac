// CUDA's words for device code on the CPU: what nvcc knows without a header. Included before every .cu.
//
// Floats: no contraction here (-ffp-contract=off), while nvcc fuses a*b+c; results agree to rounding, not in bits,
// unless the source says fmaf. There is no float atomic on purpose: their order is chance.
#pragma once
#include <math.h>
#include "sim.hpp"

#define LATENS_EMULATOR 1
#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __builtin_assume(condition)
#define __shared__ static thread_local  // a thread of the machine runs one block at a time
#define LATENS_SHARED(T, name) T* name = reinterpret_cast<T*>(sim::here.block->shared)
#define LATENS_ENTRY(name, threads, ...)                            \
  extern "C" void name(__VA_ARGS__);                                \
  static sim::Register registered_##name(#name, threads, name);     \
  extern "C" void name(__VA_ARGS__)

#define threadIdx (sim::here.thread->index)
#define blockIdx (sim::here.block->index)
#define blockDim (sim::here.block->size)
#define gridDim (sim::here.block->grid)
#define warpSize 32

struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) ulonglong2 { unsigned long long x, y; };
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

// ---- bits and numbers ----
template <class To, class From> inline To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From), "");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
inline unsigned __float_as_uint(float x) { return bits_as<unsigned>(x); }
inline int __float_as_int(float x) { return bits_as<int>(x); }
inline float __uint_as_float(unsigned x) { return bits_as<float>(x); }
inline float __int_as_float(int x) { return bits_as<float>(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x) {
  unsigned y = 0;
  for (int i = 0; i < 32; ++i) y |= (x >> i & 1) << (31 - i);
  return y;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((unsigned long long)a * b >> 32); }
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
  return unsigned(((unsigned long long)high << 32 | low) >> (by & 31));
}

// The float ones drop a NaN, as on the device.
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
inline unsigned long long min(unsigned long long a, unsigned long long b) { return a < b ? a : b; }
inline unsigned long long max(unsigned long long a, unsigned long long b) { return a > b ? a : b; }
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline float __saturatef(float x) { return fminf(fmaxf(x, 0), 1); }
inline int __float2int_rn(float x) { return int(rintf(x)); }
inline unsigned __float2uint_rn(float x) { return unsigned(rintf(x)); }

// ---- memory ----
template <class T> T __ldg(const T* p) { return *p; }
template <class T> T __ldcg(const T* p) { return *p; }
template <class T> T __ldcs(const T* p) { return *p; }
template <class T> void __stcs(T* p, T x) { *p = x; }
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __nanosleep(unsigned) { sim::yield(); }

// Every atomic returns the old value.
template <class T, class F> inline T atomic_update(T* p, F f) {
  T old = __atomic_load_n(p, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(p, &old, f(old), false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {}
  return old;
}
#define LATENS_ATOMICS(T)                                                                     \
  inline T atomicAdd(T* p, T x) { return __atomic_fetch_add(p, x, __ATOMIC_SEQ_CST); }        \
  inline T atomicOr(T* p, T x) { return __atomic_fetch_or(p, x, __ATOMIC_SEQ_CST); }          \
  inline T atomicAnd(T* p, T x) { return __atomic_fetch_and(p, x, __ATOMIC_SEQ_CST); }        \
  inline T atomicExch(T* p, T x) { return __atomic_exchange_n(p, x, __ATOMIC_SEQ_CST); }      \
  inline T atomicMax(T* p, T x) { return atomic_update(p, [=](T old) { return max(old, x); }); } \
  inline T atomicMin(T* p, T x) { return atomic_update(p, [=](T old) { return min(old, x); }); } \
  inline T atomicCAS(T* p, T old, T x) {                                                      \
    __atomic_compare_exchange_n(p, &old, x, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);       \
    return old;                                                                               \
  }
LATENS_ATOMICS(int)
LATENS_ATOMICS(unsigned)
LATENS_ATOMICS(unsigned long long)
#undef LATENS_ATOMICS

// ---- a warp together ----
namespace sim {
// What one lane brings and takes away.
template <class T, class R> struct Exchange { T mine; int from, width; R result; };

// result of each lane = of(its own, all, lane)
template <class T, class R, class Of>
R warp_each(uint32_t mask, const char* operation, Exchange<T, R> mine, Of) {
  warp_together(mask, operation, &mine, [](void* const* all, uint32_t mask) {
    auto of = [&](int lane) { return static_cast<Exchange<T, R>*>(all[lane]); };
    for (int lane = 0; lane < 32; ++lane)
      if (mask >> lane & 1) of(lane)->result = Of::of(of, lane, mask);
  });
  return mine.result;
}

// Where a shuffle reads; Move says it. A lane outside the mask or gone is undefined on the device: here all ones.
template <class Move> struct Shuffle {
  template <class All> static auto of(All all, int lane, uint32_t mask) {
    auto* mine = all(lane);
    int from = Move::from(lane, mine->from, mine->width);
    auto value = mine->mine;
    if (mask >> from & 1) value = all(from)->mine; else memset(&value, 0xff, sizeof value);
    return value;
  }
};
struct Indexed { static int from(int lane, int by, int width) { return (lane & -width) + (by & (width - 1)); } };
struct Up { static int from(int lane, int by, int width) { return lane - by < (lane & -width) ? lane : lane - by; } };
struct Down { static int from(int lane, int by, int width) { return lane + by >= (lane & -width) + width ? lane : lane + by; } };
struct Xor { static int from(int lane, int by, int width) { return (lane ^ by) >= (lane & -width) + width ? lane : lane ^ by; } };

// F folded over the lanes, by lane.
template <class F> struct Fold {
  template <class All> static auto of(All all, int, uint32_t mask) {
    int first = __builtin_ctz(mask);
    auto sum = all(first)->mine;
    for (int lane = first + 1; lane < 32; ++lane)
      if (mask >> lane & 1) sum = F::of(sum, all(lane)->mine);
    return sum;
  }
};
struct Add { template <class T> static T of(T a, T b) { return a + b; } };
struct Min { template <class T> static T of(T a, T b) { return min(a, b); } };
struct Max { template <class T> static T of(T a, T b) { return max(a, b); } };
struct Or { template <class T> static T of(T a, T b) { return a | b; } };
struct And { template <class T> static T of(T a, T b) { return a & b; } };

// The lanes that brought the same.
struct Match {
  template <class All> static unsigned of(All all, int lane, uint32_t mask) {
    unsigned same = 0;
    for (int other = 0; other < 32; ++other)
      if (mask >> other & 1 && all(other)->mine == all(lane)->mine) same |= 1u << other;
    return same;
  }
};
struct Ballot {
  template <class All> static unsigned of(All all, int, uint32_t mask) {
    unsigned set = 0;
    for (int lane = 0; lane < 32; ++lane)
      if (mask >> lane & 1 && all(lane)->mine) set |= 1u << lane;
    return set;
  }
};
}  // namespace sim

#define LATENS_SHUFFLE(name, By, Move)                                                                      \
  template <class T> T name(unsigned mask, T x, By by, int width = 32) {                                    \
    return sim::warp_each(mask, #name, sim::Exchange<T, T>{x, int(by), width, x}, sim::Shuffle<sim::Move>{}); \
  }
LATENS_SHUFFLE(__shfl_sync, int, Indexed)
LATENS_SHUFFLE(__shfl_up_sync, unsigned, Up)
LATENS_SHUFFLE(__shfl_down_sync, unsigned, Down)
LATENS_SHUFFLE(__shfl_xor_sync, int, Xor)
#undef LATENS_SHUFFLE
#define LATENS_FOLD(name, T, F)                                                                  \
  inline T name(unsigned mask, T x) {                                                            \
    return sim::warp_each(mask, #name, sim::Exchange<T, T>{x, 0, 32, x}, sim::Fold<sim::F>{});   \
  }
LATENS_FOLD(__reduce_add_sync, unsigned, Add)
LATENS_FOLD(__reduce_add_sync, int, Add)
LATENS_FOLD(__reduce_min_sync, unsigned, Min)
LATENS_FOLD(__reduce_min_sync, int, Min)
LATENS_FOLD(__reduce_max_sync, unsigned, Max)
LATENS_FOLD(__reduce_max_sync, int, Max)
LATENS_FOLD(__reduce_or_sync, unsigned, Or)
LATENS_FOLD(__reduce_and_sync, unsigned, And)
#undef LATENS_FOLD
template <class T> unsigned __match_any_sync(unsigned mask, T x) {
  return sim::warp_each(mask, "__match_any_sync", sim::Exchange<T, unsigned>{x, 0, 32, 0}, sim::Match{});
}
inline unsigned __ballot_sync(unsigned mask, int vote) {
  return sim::warp_each(mask, "__ballot_sync", sim::Exchange<int, unsigned>{vote, 0, 32, 0}, sim::Ballot{});
}
inline int __any_sync(unsigned mask, int vote) { return __ballot_sync(mask, vote) != 0; }
inline int __all_sync(unsigned mask, int vote) { return __ballot_sync(mask, !vote) == 0; }
inline void __syncwarp(unsigned mask = ~0u) { sim::warp_together(mask, "__syncwarp", nullptr, nullptr); }

// ---- a block together ----
namespace sim {
struct Vote { int mine, result; };
template <class F> int block_vote(const char* operation, int vote, int start, F) {
  Vote mine = {vote != 0, start};
  block_together(operation, &mine, [](void* const* all, int threads) {
    int sum = -1;
    for (int i = 0; i < threads; ++i)
      if (auto* vote = static_cast<Vote*>(all[i])) sum = sum < 0 ? vote->mine : F::of(sum, vote->mine);
    for (int i = 0; i < threads; ++i)
      if (auto* vote = static_cast<Vote*>(all[i])) vote->result = sum;
  });
  return mine.result;
}
}  // namespace sim
inline void __syncthreads() { sim::block_together("__syncthreads", nullptr, nullptr); }
inline int __syncthreads_or(int vote) { return sim::block_vote("__syncthreads_or", vote, 0, sim::Or{}); }
inline int __syncthreads_and(int vote) { return sim::block_vote("__syncthreads_and", vote, 1, sim::And{}); }
inline int __syncthreads_count(int vote) { return sim::block_vote("__syncthreads_count", vote, 0, sim::Add{}); }
