/* Top-k, a dense product, and a sparse autoencoder's encoder and decoder, from C on the host, over memory of this program.
 *
 *   cc operations.c $(pkg-config --cflags --libs latens) -o operations && ./operations
 */
#include <latens.h>
#include <stdio.h>
#include <stdlib.h>

static void must(LatensStatus status) {
  if (status == LATENS_STATUS_OK) return;
  char text[400];
  latens_error(text, sizeof text);
  fprintf(stderr, "%s\n", text);
  exit(1);
}

/* A packed tensor of one or two dimensions; floats, or u32 with code 1. */
static LatensTensor tensor(void *data, int code, int ndim, int64_t *shape) {
  LatensTensor t = {0};
  t.data = data;
  t.device.device_type = 1;
  t.ndim = ndim;
  t.dtype.code = (uint8_t)code;
  t.dtype.bits = 32;
  t.dtype.lanes = 1;
  t.shape = shape;
  return t;
}

int main(void) {
  /* Two rows in a dictionary of the four directions +x, +y, -x, -y. */
  float x[4] = {2, 1, -1, 3}, w[8] = {1, 0, 0, 1, -1, 0, 0, -1}, bias[4] = {0};
  float pre[8], top[4], values[4], recon[4], residual[4], error[2];
  uint32_t indices[4], latents[4];
  int64_t by2[2] = {2, 2}, by4[2] = {2, 4}, dictionary[2] = {4, 2}, four[1] = {4}, two[1] = {2};
  LatensTensor tx = tensor(x, 2, 2, by2), tw = tensor(w, 2, 2, dictionary), tb = tensor(bias, 2, 1, four);
  LatensTensor tp = tensor(pre, 2, 2, by4), tt = tensor(top, 2, 2, by2), ti = tensor(indices, 1, 2, by2);
  LatensTensor tv = tensor(values, 2, 2, by2), tl = tensor(latents, 1, 2, by2);
  LatensTensor tr = tensor(recon, 2, 2, by2), te = tensor(residual, 2, 2, by2), ts = tensor(error, 2, 1, two);

  /* A null device is the host, whose calls need no workspace. */
  must(latens_linear(NULL, &tx, &tw, &tb, LATENS_ACCUMULATE_REPLACE, &tp));
  must(latens_topk(NULL, &tp, 2, &tt, &ti, NULL));
  must(latens_sae_encode(NULL, &tx, &tw, &tb, 2, &tv, &tl, NULL));
  must(latens_sae_decode(NULL, &tv, &tl, NULL, &tw, NULL, &tx, &tr, &te, &ts, NULL));
  int wrong = 0;
  for (int r = 0; r < 2; r++) {
    printf("row %d: strongest %u (%g) and %u (%g); reconstructed (%g, %g), squared error %g\n", r, indices[2 * r],
           (double)top[2 * r], indices[2 * r + 1], (double)top[2 * r + 1], (double)recon[2 * r], (double)recon[2 * r + 1],
           (double)error[r]);
    wrong |= recon[2 * r] != x[2 * r] || recon[2 * r + 1] != x[2 * r + 1] || error[r] != 0;
  }
  wrong |= indices[0] != 0 || indices[1] != 1 || indices[2] != 1 || indices[3] != 2;

  /* A wrong call says what was wrong. */
  char text[400];
  wrong |= latens_topk(NULL, &tp, 5, &tt, &ti, NULL) != LATENS_STATUS_RANGE;
  latens_error(text, sizeof text);
  printf("asking for 5 of 4: %s\n", text);
  return wrong;
}
