/* Every operation of the C interface once, against numbers worked out by hand. */
#include "support.h"

static void topk(const Place *p) {
  float x[10] = {1, 3, 3, 2, -7, -1, 0, 5, 4, -7}, values[4] = {0};
  uint32_t indices[4] = {0};
  Tensor tx, tv, ti, tw;
  TENSOR2(&tx, p, F32, x, 2, 5);
  TENSOR2(&tv, p, F32, values, 2, 2);
  TENSOR2(&ti, p, U32, indices, 2, 2);
  int64_t strides[2] = {5, 1};
  tx.dl.strides = strides; /* the last of each five is a gap */
  tx.shape[1] = 4;
  size_t bytes = 99;
  OK(latens_topk_workspace(p->handle, &tx.dl, 2, &bytes));
  CHECK(p->cuda || bytes == 0);
  TENSOR1(&tw, p, U8, NULL, (int64_t)bytes);
  if (!p->cuda) tw.dl.data = NULL;
  OK(latens_topk(p->handle, &tx.dl, 2, &tv.dl, &ti.dl, bytes ? &tw.dl : NULL));
  fetch(&tv, p), fetch(&ti, p);
  CHECK(indices[0] == 1 && indices[1] == 2 && indices[2] == 2 && indices[3] == 3);
  CHECK(values[0] == 3 && values[1] == 3 && values[2] == 5 && values[3] == 4);
  drop(&tx, p), drop(&tv, p), drop(&ti, p), drop(&tw, p);
}

int main(int argc, char **argv) {
  Place p = open_place(argc > 1 && !strcmp(argv[1], "cuda"));
  topk(&p);
  OK(latens_device_free(p.handle));
  printf("operations on %s, latens %s: ok\n", p.cuda ? "cuda" : "host", latens_version());
  return 0;
}
