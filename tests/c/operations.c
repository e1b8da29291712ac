/* Every operation of the C interface, against numbers worked out by hand. */
#include "support.h"
#include <math.h>

#define SAME(got, ...) same(__LINE__, got, (float[]){__VA_ARGS__}, sizeof(float[]){__VA_ARGS__} / sizeof(float))
#define EQUAL(got, ...) equal(__LINE__, got, (uint32_t[]){__VA_ARGS__}, sizeof(uint32_t[]){__VA_ARGS__} / 4)

static void same(int line, const float *got, const float *want, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!(fabsf(got[i] - want[i]) <= 1e-5f * (1 + fabsf(want[i])))) {
      printf("line %d: entry %zu is %g, expected %g\n", line, i, (double)got[i], (double)want[i]);
      exit(1);
    }
}

static void equal(int line, const uint32_t *got, const uint32_t *want, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (got[i] != want[i]) {
      printf("line %d: entry %zu is %u, expected %u\n", line, i, got[i], want[i]);
      exit(1);
    }
}

/* Scratch memory of the size that the call of the same name with _workspace tells. */
static LatensTensor *scratch(Tensor *t, const Place *p, size_t bytes) {
  TENSOR1(t, p, U8, NULL, (int64_t)bytes);
  if (!p->cuda) t->dl.data = bytes ? malloc(bytes) : NULL;
  return bytes ? &t->dl : NULL;
}

static void discard(Tensor *t, const Place *p) {
  if (p->cuda) drop(t, p);
  else free(t->dl.data);
}

static void topk(const Place *p) {
  float x[10] = {1, 3, 3, 2, -7, -1, 0, 5, 4, -7}, values[4] = {0};
  uint32_t indices[4] = {0}, offsets[3] = {9, 9, 9};
  Tensor tx, tv, ti, to, tw;
  TENSOR2(&tx, p, F32, x, 2, 5);
  TENSOR2(&tv, p, F32, values, 2, 2);
  TENSOR2(&ti, p, U32, indices, 2, 2);
  int64_t strides[2] = {5, 1};
  tx.dl.strides = strides; /* the last of each five is a gap */
  tx.shape[1] = 4;
  size_t bytes = 99;
  OK(latens_topk_workspace(p->handle, &tx.dl, 2, &bytes));
  CHECK(p->cuda || bytes == 0);
  OK(latens_topk(p->handle, &tx.dl, 2, &tv.dl, &ti.dl, scratch(&tw, p, bytes)));
  fetch(&tv, p), fetch(&ti, p), discard(&tw, p);
  EQUAL(indices, 1, 2, 2, 3);
  SAME(values, 3, 3, 5, 4);

  tv.dl.ndim = ti.dl.ndim = 1, tv.shape[0] = ti.shape[0] = 3;
  TENSOR1(&to, p, U32, offsets, 3);
  OK(latens_topk_flat_workspace(p->handle, &tx.dl, 3, &bytes));
  OK(latens_topk_flat(p->handle, &tx.dl, 3, &tv.dl, &ti.dl, &to.dl, scratch(&tw, p, bytes)));
  fetch(&tv, p), fetch(&ti, p), fetch(&to, p), discard(&tw, p);
  EQUAL(offsets, 0, 1, 3);
  EQUAL(indices, 1, 2, 3);
  drop(&tx, p), drop(&tv, p), drop(&ti, p), drop(&to, p);
}

static void maps(const Place *p) {
  float x[4] = {1, 2, 3, 4}, y[6] = {0, 0, 9, 0, 0, 9}, sums[2] = {0};
  uint16_t half[4] = {0};
  Tensor tx, ty, th, ts;
  TENSOR2(&tx, p, F32, x, 2, 2);
  TENSOR2(&ty, p, F32, y, 2, 3);
  TENSOR2(&th, p, BF16, half, 2, 2);
  TENSOR1(&ts, p, F32, sums, 2);
  int64_t strides[2] = {3, 1};
  ty.dl.strides = strides, ty.shape[1] = 2;
  OK(latens_copy(p->handle, &tx.dl, &ty.dl));
  OK(latens_add(p->handle, &tx.dl, &ty.dl));
  OK(latens_scale(p->handle, 0.5f, &ty.dl));
  OK(latens_cast(p->handle, &ty.dl, &th.dl));
  OK(latens_reduce(p->handle, &ty.dl, LATENS_REDUCE_SUM_SQUARES, 1, &ts.dl));
  fetch(&ty, p), fetch(&th, p), fetch(&ts, p);
  SAME(y, 1, 2, 9, 3, 4, 9);
  CHECK(half[0] == 0x3f80 && half[1] == 0x4000 && half[2] == 0x4040 && half[3] == 0x4080);
  SAME(sums, 5, 25);
  drop(&tx, p), drop(&ty, p), drop(&th, p), drop(&ts, p);
}

static void linear(const Place *p) {
  float x[4] = {1, 2, 3, 4}, w[6] = {1, 0, 0, 1, 1, 1}, bias[3] = {10, 20, 30}, y[6] = {0}, dx[4], dw[6] = {0}, db[3] = {0};
  Tensor tx, tw, tb, ty, gx, gw, gb;
  TENSOR2(&tx, p, F32, x, 2, 2);
  TENSOR2(&tw, p, F32, w, 3, 2);
  TENSOR1(&tb, p, F32, bias, 3);
  TENSOR2(&ty, p, F32, y, 2, 3);
  TENSOR2(&gx, p, F32, dx, 2, 2);
  TENSOR2(&gw, p, F32, dw, 3, 2);
  TENSOR1(&gb, p, F32, db, 3);
  OK(latens_linear(p->handle, &tx.dl, &tw.dl, &tb.dl, LATENS_ACCUMULATE_REPLACE, &ty.dl));
  OK(latens_linear(p->handle, &tx.dl, &tw.dl, NULL, LATENS_ACCUMULATE_ADD, &ty.dl));
  fetch(&ty, p);
  SAME(y, 12, 24, 36, 16, 28, 44);
  OK(latens_linear_backward(p->handle, &tx.dl, &tw.dl, &ty.dl, LATENS_ACCUMULATE_REPLACE, &gx.dl, NULL, NULL));
  OK(latens_linear_backward(p->handle, &tx.dl, &tw.dl, &ty.dl, LATENS_ACCUMULATE_ADD, NULL, &gw.dl, &gb.dl));
  fetch(&gx, p), fetch(&gw, p), fetch(&gb, p);
  SAME(dx, 48, 60, 60, 72);
  SAME(dw, 60, 88, 108, 160, 168, 248);
  SAME(db, 28, 52, 80);
  drop(&tx, p), drop(&tw, p), drop(&tb, p), drop(&ty, p), drop(&gx, p), drop(&gw, p), drop(&gb, p);
}

static void optim(const Place *p) {
  float w[2] = {1, 2}, g[2] = {0.5f, -4}, m[2] = {0}, v[2] = {0}, dec[2] = {1, 0}, dm[2] = {0}, dv[2] = {0};
  LatensAdamW settings = {0.1, 0.9, 0.999, 1e-12, 0, 1};
  Tensor tw, tg, tm, tv, td, te, tf;
  TENSOR1(&tw, p, F32, w, 2);
  TENSOR1(&tg, p, F32, g, 2);
  TENSOR1(&tm, p, F32, m, 2);
  TENSOR1(&tv, p, F32, v, 2);
  OK(latens_adamw(p->handle, &tg.dl, &settings, &tw.dl, &tm.dl, &tv.dl));
  fetch(&tw, p), fetch(&tm, p), fetch(&tv, p);
  SAME(w, 0.9f, 2.1f); /* a first step is the rate long, against the sign of the gradient */
  SAME(m, 0.05f, -0.4f);
  SAME(v, 0.00025f, 0.016f);

  tg.dl.ndim = 2, tg.shape[0] = 1, tg.shape[1] = 2;
  TENSOR2(&td, p, F32, dec, 1, 2);
  TENSOR2(&te, p, F32, dm, 1, 2);
  TENSOR2(&tf, p, F32, dv, 1, 2);
  OK(latens_decoder_step(p->handle, &tg.dl, &settings, &td.dl, &te.dl, &tf.dl));
  fetch(&td, p), fetch(&te, p);
  SAME(dm, 0, -0.4f); /* the part of the gradient along the row is gone */
  SAME(dec, 1 / sqrtf(1.01f), 0.1f / sqrtf(1.01f));

  float parts[256] = {0}, most[2] = {3, 4};
  Tensor ts, tl;
  TENSOR1(&ts, p, F32, parts, 256);
  TENSOR1(&tl, p, F32, most, 2);
  OK(latens_clip_squares(p->handle, &tl.dl, LATENS_ACCUMULATE_REPLACE, &ts.dl));
  OK(latens_clip_scale(p->handle, &ts.dl, 1, &tl.dl));
  fetch(&ts, p), fetch(&tl, p);
  SAME(most, 0.6f, 0.8f); /* was of length 5 */
  drop(&ts, p), drop(&tl, p);
  drop(&tw, p), drop(&tg, p), drop(&tm, p), drop(&tv, p), drop(&td, p), drop(&te, p), drop(&tf, p);
}

static void language(const Place *p) {
  float x[4] = {3, 4, -3, 4}, weight[2] = {1, 2}, bias[2] = {10, 20}, y[4] = {0};
  Tensor tx, tw, tb, ty, ti, tl;
  TENSOR2(&tx, p, F32, x, 2, 2);
  TENSOR1(&tw, p, F32, weight, 2);
  TENSOR1(&tb, p, F32, bias, 2);
  TENSOR2(&ty, p, F32, y, 2, 2);
  OK(latens_rms_norm(p->handle, &tx.dl, &tw.dl, 0, &ty.dl));
  fetch(&ty, p);
  float root = sqrtf(12.5f);
  SAME(y, 3 / root, 8 / root, -3 / root, 8 / root);
  OK(latens_layer_norm(p->handle, &tx.dl, &tw.dl, &tb.dl, 0, &ty.dl));
  fetch(&ty, p);
  SAME(y, 9, 22, 9, 22);
  OK(latens_layer_norm(p->handle, &tx.dl, &tw.dl, NULL, 0, &ty.dl));
  fetch(&ty, p);
  SAME(y, -1, 2, -1, 2);
  OK(latens_act(p->handle, &tx.dl, &tx.dl, LATENS_ACT_SILU, &ty.dl));
  fetch(&ty, p);
  SAME(y, 9 / (1 + expf(-3)), 16 / (1 + expf(-4)), 9 / (1 + expf(3)), 16 / (1 + expf(-4)));

  uint32_t ids[2] = {1, 0};
  float losses[2] = {0};
  TENSOR1(&ti, p, U32, ids, 2);
  TENSOR1(&tl, p, F32, losses, 2);
  OK(latens_embed(p->handle, &tx.dl, &ti.dl, &ty.dl));
  OK(latens_cross_entropy(p->handle, &tx.dl, &ti.dl, 0, &tl.dl));
  fetch(&ty, p), fetch(&tl, p);
  SAME(y, -3, 4, 3, 4);
  SAME(losses, logf(1 + expf(-1)), 7 + logf(1 + expf(-7)));

  /* Position 1 turns the pair (-3, 4) by one, position 0 leaves (3, 4). */
  ty.dl.ndim = 3, ty.shape[0] = 2, ty.shape[1] = 1, ty.shape[2] = 2;
  OK(latens_rope(p->handle, &ti.dl, 10000, LATENS_PAIRING_HALVES, &ty.dl));
  fetch(&ty, p);
  float c = cosf(1), s = sinf(1);
  SAME(y, -3 * c - 4 * s, -3 * s + 4 * c, 3, 4);

  /* One head of width 1 over two positions: the first sees itself, the second both. */
  float q[2] = {0, 0}, k[2] = {5, 6}, v[2] = {2, 4};
  Tensor tq, tk, tv;
  TENSOR4(&tq, p, F32, q, 1, 2, 1, 1);
  TENSOR4(&tk, p, F32, k, 1, 2, 1, 1);
  TENSOR4(&tv, p, F32, v, 1, 2, 1, 1);
  ty.dl.ndim = 4, ty.shape[0] = 1, ty.shape[1] = 2, ty.shape[2] = ty.shape[3] = 1;
  OK(latens_attention(p->handle, &tq.dl, &tk.dl, &tv.dl, 1, 1, &ty.dl, NULL));
  fetch(&ty, p);
  SAME(y, 2, 3);
  drop(&tx, p), drop(&tw, p), drop(&tb, p), drop(&ty, p), drop(&ti, p), drop(&tl, p);
  drop(&tq, p), drop(&tk, p), drop(&tv, p);
}

/* Four latents along +x, +y, -x, -y; b_dec is (0.5, 0). */
static void sae(const Place *p) {
  const int64_t rows = 3, n = 4, dim = 2;
  float x[6] = {2, 1, -1, 3, 0.5f, -2}, w[8] = {1, 0, 0, 1, -1, 0, 0, -1}, b_enc[4] = {0}, b_dec[2] = {0.5f, 0};
  float bias[4] = {0}, values[6] = {0}, recon[6] = {0}, residual[6] = {0}, error[3] = {0};
  uint32_t latents[6] = {0}, offsets[4] = {0}, counts[3] = {0}, subset[2] = {1, 2}, count[1] = {2};
  Tensor tx, tw, tbe, tbd, tb, tv, tl, tr, te, ts, to, tc, tu, tn, work;
  TENSOR2(&tx, p, F32, x, rows, dim);
  TENSOR2(&tw, p, F32, w, n, dim);
  TENSOR1(&tbe, p, F32, b_enc, n);
  TENSOR1(&tbd, p, F32, b_dec, dim);
  TENSOR1(&tb, p, F32, bias, n);
  TENSOR2(&tv, p, F32, values, rows, 2);
  TENSOR2(&tl, p, U32, latents, rows, 2);
  TENSOR2(&tr, p, F32, recon, rows, dim);
  TENSOR2(&te, p, F32, residual, rows, dim);
  TENSOR1(&ts, p, F32, error, rows);
  TENSOR1(&to, p, U32, offsets, rows + 1);
  TENSOR1(&tc, p, U32, counts, rows);
  TENSOR1(&tu, p, U32, subset, 2);
  TENSOR1(&tn, p, U32, count, 1);
  size_t bytes = 0;
  OK(latens_sae_bias(p->handle, &tw.dl, &tbe.dl, &tbd.dl, &tb.dl));
  fetch(&tb, p);
  SAME(bias, -0.5f, 0, 0.5f, 0);

  OK(latens_sae_encode_workspace(p->handle, &tx.dl, &tw.dl, 2, &bytes));
  OK(latens_sae_encode(p->handle, &tx.dl, &tw.dl, &tb.dl, 2, &tv.dl, &tl.dl, scratch(&work, p, bytes)));
  fetch(&tv, p), fetch(&tl, p), discard(&work, p);
  SAME(values, 1.5f, 1, 3, 1.5f, 2, 0);
  EQUAL(latents, 0, 1, 1, 2, 3, 4);

  OK(latens_sae_decode_workspace(p->handle, &tl.dl, NULL, &tw.dl, 1, &bytes));
  OK(latens_sae_decode(p->handle, &tv.dl, &tl.dl, NULL, &tw.dl, &tbd.dl, &tx.dl, &tr.dl, &te.dl, &ts.dl,
                       scratch(&work, p, bytes)));
  fetch(&tr, p), fetch(&te, p), fetch(&ts, p), discard(&work, p);
  SAME(recon, 2, 1, -1, 3, 0.5f, -2);
  SAME(residual, 0, 0, 0, 0, 0, 0);
  SAME(error, 0, 0, 0);

  /* The four largest of the batch. */
  tv.dl.ndim = tl.dl.ndim = 1, tv.shape[0] = tl.shape[0] = 4;
  OK(latens_sae_encode_flat_workspace(p->handle, &tx.dl, &tw.dl, 4, &bytes));
  OK(latens_sae_encode_flat(p->handle, &tx.dl, &tw.dl, &tb.dl, 4, &tv.dl, &tl.dl, &to.dl, scratch(&work, p, bytes)));
  fetch(&tv, p), fetch(&tl, p), fetch(&to, p), discard(&work, p);
  SAME(values, 1.5f, 3, 1.5f, 2);
  EQUAL(latents, 0, 1, 2, 3);
  EQUAL(offsets, 0, 1, 3, 4);
  OK(latens_sae_decode_workspace(p->handle, &tl.dl, &to.dl, &tw.dl, 0, &bytes));
  OK(latens_sae_decode(p->handle, &tv.dl, &tl.dl, &to.dl, &tw.dl, NULL, NULL, &tr.dl, NULL, NULL, scratch(&work, p, bytes)));
  fetch(&tr, p), discard(&work, p);
  SAME(recon, 1.5f, 0, -1.5f, 3, 0, -2);

  /* The largest of each row: among two latents, above a threshold, and of all. */
  tv.dl.ndim = tl.dl.ndim = 2, tv.shape[0] = tl.shape[0] = rows, tv.shape[1] = tl.shape[1] = 1;
  OK(latens_sae_encode_subset_workspace(p->handle, &tx.dl, &tw.dl, 2, 1, &bytes));
  OK(latens_sae_encode_subset(p->handle, &tx.dl, &tw.dl, &tb.dl, &tu.dl, &tn.dl, 1, &tv.dl, &tl.dl, scratch(&work, p, bytes)));
  fetch(&tv, p), fetch(&tl, p), discard(&work, p);
  SAME(values, 1, 3, 0);
  EQUAL(latents, 1, 1, 4);
  OK(latens_sae_encode_threshold_workspace(p->handle, &tx.dl, &tw.dl, 1, &bytes));
  OK(latens_sae_encode_threshold(p->handle, &tx.dl, &tw.dl, &tb.dl, 1.2f, 1, &tv.dl, &tl.dl, &tc.dl, scratch(&work, p, bytes)));
  fetch(&tv, p), fetch(&tl, p), fetch(&tc, p), discard(&work, p);
  SAME(values, 1.5f, 3, 2);
  EQUAL(latents, 0, 1, 3);
  EQUAL(counts, 1, 2, 1);

  float g[6] = {1, 2, 3, 4, 5, 6}, dw_dec[8], dw_enc[8], db_enc[4], db_dec[2], dvalues[3];
  Tensor tg, gd, ge, gb, gv, gc;
  TENSOR2(&tg, p, F32, g, rows, dim);
  TENSOR2(&gd, p, F32, dw_dec, n, dim);
  TENSOR2(&ge, p, F32, dw_enc, n, dim);
  TENSOR1(&gb, p, F32, db_enc, n);
  TENSOR2(&gv, p, F32, dvalues, rows, 1);
  TENSOR1(&gc, p, F32, db_dec, dim);
  OK(latens_sae_backward_workspace(p->handle, &tl.dl, NULL, &tw.dl, &bytes));
  OK(latens_sae_backward(p->handle, &tv.dl, &tl.dl, NULL, &tx.dl, &tg.dl, &tw.dl, &tbd.dl, LATENS_ACCUMULATE_REPLACE,
                         &gd.dl, &ge.dl, &gb.dl, &gv.dl, scratch(&work, p, bytes)));
  discard(&work, p);
  OK(latens_sae_bias_backward_workspace(p->handle, &tg.dl, &tw.dl, &bytes));
  OK(latens_sae_bias_backward(p->handle, &tg.dl, &tw.dl, &gb.dl, LATENS_ACCUMULATE_REPLACE, &gc.dl, scratch(&work, p, bytes)));
  fetch(&gd, p), fetch(&ge, p), fetch(&gb, p), fetch(&gv, p), fetch(&gc, p), discard(&work, p);
  SAME(dvalues, 1, 4, -6);
  SAME(dw_dec, 1.5f, 3, 9, 12, 0, 0, 10, 12);
  SAME(dw_enc, 1.5f, 1, -6, 12, 0, 0, 0, 12);
  SAME(db_enc, 1, 4, 0, -6);
  SAME(db_dec, 8, 2);

  uint32_t since[4] = {10, 10, 10, 10}, list[4] = {0};
  Tensor tt, ti;
  TENSOR1(&tt, p, U32, since, n);
  TENSOR1(&ti, p, U32, list, n);
  OK(latens_sae_track(p->handle, &tv.dl, &tl.dl, NULL, 3, 0, &tt.dl));
  OK(latens_sae_dead(p->handle, &tt.dl, 13, &ti.dl, &tn.dl));
  fetch(&tt, p), fetch(&ti, p), fetch(&tn, p);
  EQUAL(since, 0, 0, 13, 0);
  EQUAL(list, 2, 4, 4, 4);
  EQUAL(count, 1);
  Tensor *all[] = {&tx, &tw, &tbe, &tbd, &tb, &tv, &tl, &tr, &te, &ts, &to, &tc, &tu, &tn, &tg, &gd, &ge, &gb, &gv, &gc, &tt, &ti};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) drop(all[i], p);
}

static void compression(const Place *p) {
  float g[6] = {1, -5, NAN, 3, 3, 0.5f}, e[6] = {0, 1, 2, 0.5f, 0.25f, 0}, values[2] = {0}, y[6] = {0};
  uint32_t indices[2] = {0}, counts[2] = {9, 9};
  Tensor tg, te, tv, ti, tc, tw, ty;
  TENSOR1(&tg, p, F32, g, 6);
  TENSOR1(&te, p, F32, e, 6);
  TENSOR1(&tv, p, F32, values, 2);
  TENSOR1(&ti, p, U32, indices, 2);
  TENSOR1(&tc, p, U32, counts, 2);
  TENSOR1(&ty, p, F32, y, 6);
  size_t bytes = 99;
  OK(latens_sparsify_workspace(p->handle, &tg.dl, 2, &bytes));
  CHECK(p->cuda || bytes == 0);
  OK(latens_sparsify(p->handle, &tg.dl, 2, &te.dl, &tv.dl, &ti.dl, &tc.dl, scratch(&tw, p, bytes)));
  fetch(&te, p), fetch(&tv, p), fetch(&ti, p), fetch(&tc, p), discard(&tw, p);
  EQUAL(counts, 2, 1);
  EQUAL(indices, 1, 3);
  SAME(values, -4, 3.5f);
  SAME(e, 1, 0, 2, 0, 3.25f, 0.5f);
  tv.dl.ndim = ti.dl.ndim = 2, tv.shape[0] = ti.shape[0] = 1, tv.shape[1] = ti.shape[1] = 2;
  OK(latens_sparsify_sum(p->handle, &tv.dl, &ti.dl, 0.5f, LATENS_ACCUMULATE_REPLACE, &ty.dl));
  fetch(&ty, p);
  SAME(y, 0, -2, 0, 1.75f, 0, 0);
  drop(&tg, p), drop(&te, p), drop(&tv, p), drop(&ti, p), drop(&tc, p), drop(&ty, p);
}

/* One matrix of rank 1, which a step gives back whole. */
static void lowrank(const Place *p) {
  float g[7] = {9, 1, 2, 3, 2, 4, 6}, e[7] = {0}, q[3] = {1, 1, 1}, l[2] = {0};
  uint32_t dropped[1] = {9};
  uint64_t start[1] = {1}, rows[1] = {2}, columns[1] = {3};
  Tensor tg, te, tq, tl, td, tw;
  TENSOR1(&tg, p, F32, g, 7);
  TENSOR1(&te, p, F32, e, 7);
  TENSOR2(&tq, p, F32, q, 3, 1);
  TENSOR2(&tl, p, F32, l, 2, 1);
  TENSOR1(&td, p, U32, dropped, 1);
  LatensSegments *table = NULL;
  OK(latens_segments_new(p->handle, start, rows, columns, 1, &table));
  OK(latens_lowrank_left(p->handle, table, &tg.dl, &tq.dl, &te.dl, &tl.dl, &td.dl));
  fetch(&tl, p), fetch(&td, p);
  SAME(l, 6, 12);
  EQUAL(dropped, 0);
  size_t bytes = 99;
  OK(latens_lowrank_orthogonalise_workspace(p->handle, table, 1, &bytes));
  CHECK(p->cuda || bytes == 0);
  OK(latens_lowrank_orthogonalise(p->handle, table, 1, &tl.dl, scratch(&tw, p, bytes)));
  OK(latens_lowrank_right(p->handle, table, &te.dl, &tl.dl, &tq.dl));
  OK(latens_lowrank_restore(p->handle, table, &tl.dl, &tq.dl, &te.dl, &tg.dl));
  fetch(&tg, p), fetch(&te, p), discard(&tw, p);
  SAME(g, 9, 1, 2, 3, 2, 4, 6);
  for (int i = 1; i < 7; i++) CHECK(fabsf(e[i]) < 1e-5f);

  /* In 8 bits, from two ranks that sent the same. */
  LatensQuant settings = {LATENS_FORMAT_SYMMETRIC, 8, 32, 0, 0, 0};
  uint8_t codes[6] = {0};
  float scales[2] = {0};
  uint32_t bad[1] = {0};
  Tensor tc, ts, tb;
  TENSOR1(&tc, p, U8, codes, 3);
  TENSOR2(&ts, p, F32, scales, 1, 1);
  TENSOR1(&tb, p, U32, bad, 1);
  OK(latens_lowrank_quantise(p->handle, &tq.dl, &settings, &tc.dl, &ts.dl, &tb.dl));
  fetch(&tq, p), fetch(&tc, p), fetch(&ts, p), fetch(&tb, p);
  SAME(q, 42 * scales[0], 85 * scales[0], 127 * scales[0]);
  SAME(scales, 6.7082039f / 127);
  EQUAL(bad, 0);
  CHECK(codes[0] == 42 && codes[1] == 85 && codes[2] == 127);
  memcpy(codes + 3, codes, 3), scales[1] = scales[0], memset(q, 0, sizeof q);
  drop(&tc, p), drop(&ts, p);
  TENSOR2(&tc, p, U8, codes, 2, 3);
  TENSOR3(&ts, p, F32, scales, 2, 1, 1);
  OK(latens_lowrank_sum(p->handle, &tc.dl, &ts.dl, 0.5f, &settings, &tq.dl));
  fetch(&tq, p);
  SAME(q, 42 * scales[0], 85 * scales[0], 127 * scales[0]);
  drop(&tc, p), drop(&ts, p), drop(&tb, p);

  tq.shape[1] = 2; /* a rank that the matrix has, of which the factor has none */
  CHECK(latens_lowrank_resize(p->handle, table, &tq.dl, 1, &tl.dl) != LATENS_STATUS_OK);
  OK(latens_segments_free(table));
  drop(&tg, p), drop(&te, p), drop(&tq, p), drop(&tl, p), drop(&td, p);
}

/* Two channels through three rows: a decay of one half, and of none. */
static void sequences(const Place *p) {
  const float half = -0.6931471806f;
  float u[6] = {1, 2, 0, 4, 2, 0}, delta[6] = {1, 1, 1, 1, 1, 1}, a[2] = {half, 0}, b[3] = {1, 1, 2}, c[3] = {1, 2, 1};
  float y[6], last[2], skip[2] = {0, 1}, dy[6] = {0, 0, 0, 0, 1, 1}, du[6], da[2], db[3], state[2] = {4, 4};
  Tensor tu, td, ta, tb, tc, ty, tl, ts, tg, gu, ga, gb, tx, tw;
  TENSOR3(&tu, p, F32, u, 1, 3, 2);
  TENSOR3(&td, p, F32, delta, 1, 3, 2);
  TENSOR2(&ta, p, F32, a, 2, 1);
  TENSOR3(&tb, p, F32, b, 1, 3, 1);
  TENSOR3(&tc, p, F32, c, 1, 3, 1);
  TENSOR3(&ty, p, F32, y, 1, 3, 2);
  TENSOR3(&tl, p, F32, last, 1, 2, 1);
  TENSOR1(&ts, p, F32, skip, 2);
  TENSOR3(&tg, p, F32, dy, 1, 3, 2);
  TENSOR3(&gu, p, F32, du, 1, 3, 2);
  TENSOR2(&ga, p, F32, da, 2, 1);
  TENSOR3(&gb, p, F32, db, 1, 3, 1);
  TENSOR3(&tx, p, F32, state, 1, 2, 1);
  LatensScan call;
  memset(&call, 0, sizeof call);
  call.u = &tu.dl, call.delta = &td.dl, call.a = &ta.dl, call.b = &tb.dl, call.c = &tc.dl, call.skip = &ts.dl;
  size_t bytes = 99;
  OK(latens_scan_workspace(p->handle, &call, &bytes));
  CHECK(p->cuda || bytes == 0);
  OK(latens_scan(p->handle, &call, &ty.dl, &tl.dl, scratch(&tw, p, bytes)));
  fetch(&ty, p), fetch(&tl, p), discard(&tw, p);
  SAME(y, 1, 4, 1, 16, 4.25f, 6);
  SAME(last, 4.25f, 6);
  LatensScanGradients to;
  memset(&to, 0, sizeof to);
  to.u = &gu.dl, to.a = &ga.dl, to.b = &gb.dl;
  OK(latens_scan_backward_workspace(p->handle, &call, &bytes));
  OK(latens_scan_backward(p->handle, &call, &tg.dl, NULL, &to, scratch(&tw, p, bytes)));
  fetch(&gu, p), fetch(&ga, p), fetch(&gb, p), discard(&tw, p);
  SAME(du, 0.25f, 1, 0.5f, 1, 2, 3);
  SAME(da, 0.5f, 8);
  SAME(db, 2.25f, 4, 2);
  tu.shape[1] = td.shape[1] = tb.shape[1] = tc.shape[1] = ty.shape[1] = 1;
  OK(latens_scan_step(p->handle, &call, &tx.dl, &ty.dl));
  fetch(&tx, p), fetch(&ty, p);
  SAME(state, 3, 6);
  CHECK(fabsf(y[0] - 3) < 1e-5f && fabsf(y[1] - 8) < 1e-5f);
  call.initial = &tl.dl; /* which a step has none of */
  CHECK(latens_scan_step(p->handle, &call, &tx.dl, &ty.dl) == LATENS_STATUS_VALUE);
  Tensor *all[] = {&tu, &td, &ta, &tb, &tc, &ty, &tl, &ts, &tg, &gu, &ga, &gb, &tx};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) drop(all[i], p);
}

int main(int argc, char **argv) {
  Place p = open_place(argc > 1 && !strcmp(argv[1], "cuda"));
  topk(&p), linear(&p), optim(&p), compression(&p), lowrank(&p);
  maps(&p), language(&p), sequences(&p), sae(&p);
  OK(latens_device_free(p.handle));
  printf("operations on %s, latens %s: ok\n", p.cuda ? "cuda" : "host", latens_version());
  return 0;
}
