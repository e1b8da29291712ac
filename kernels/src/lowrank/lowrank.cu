// lowrank: the stages of PowerSGD over a table of matrices, all of them in one launch. Contract: mod.rs. Geometry:
// launch.rs. Not yet run on a device.
#include "basis.cuh"
#include "product.cuh"

#define ENTRIES(T)                                                                                                     \
  LATENS_ENTRY(lowrank_clear_##T, 256, u32* dropped, u32 count) { clear(dropped, count); }                             \
  LATENS_ENTRY(lowrank_left_##T, 256, const u32* table, const T* g, f32* e, const f32* q, f32* p, u32* dropped,        \
               u64 span, u32 rank) {                                                                                   \
    left(table, g, e, q, p, dropped, span, rank);                                                                      \
  }                                                                                                                    \
  LATENS_ENTRY(lowrank_restore_##T, 256, const u32* table, const f32* p, const f32* q, f32* e, T* y, u64 span,         \
               u32 rank, u32 across) {                                                                                 \
    restore(table, p, q, e, y, span, rank, across);                                                                    \
  }
ENTRIES(f32)
ENTRIES(f16)
ENTRIES(bf16)

LATENS_ENTRY(lowrank_right_f32, 256, const u32* table, const f32* e, const f32* p, f32* q, u64 span, u32 rank) {
  right(table, e, p, q, span, rank);
}
LATENS_ENTRY(lowrank_orthogonalise_f32, 256, const u32* table, f32* p, f64* scratch, u64 span, u32 rank, u64 seed) {
  orthogonalise(table, p, scratch, span, rank, seed);
}
LATENS_ENTRY(lowrank_resize_f32, 256, const u32* table, const f32* from, f32* q, u64 span, u32 old, u32 rank, u64 seed) {
  resize(table, from, q, span, old, rank, seed);
}
