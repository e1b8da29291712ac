/* Wrong calls: each must be an error of the expected status whose text names the operation and the argument. Then many
 * random ones, which must do no worse than fail: run it under valgrind or sanitizers to see that nothing is touched. */
#include "support.h"

static LatensDevice *device;
static int64_t shape24[2] = {2, 4}, shape22[2] = {2, 2};
static float x[8] = {1, 3, 3, 2, -1, 0, 5, 4}, values[16];
static uint32_t indices[16];
static LatensTensor X, V, I;

static LatensTensor make(void *data, int code, int bits, int ndim, int64_t *shape) {
  LatensTensor t;
  memset(&t, 0, sizeof t);
  t.data = data;
  t.device.device_type = 1;
  t.ndim = ndim;
  t.dtype.code = (uint8_t)code;
  t.dtype.bits = (uint8_t)bits;
  t.dtype.lanes = 1;
  t.shape = shape;
  return t;
}

static void reset(void) {
  X = make(x, 2, 32, 2, shape24);
  V = make(values, 2, 32, 2, shape22);
  I = make(indices, 1, 32, 2, shape22);
}

static void refused(int line, LatensStatus got, LatensStatus want, const char *says) {
  const char *text = last_error();
  if (got != want || !strstr(text, says)) {
    printf("line %d: status %d, expected %d saying \"%s\": %s\n", line, (int)got, (int)want, says, text);
    exit(1);
  }
  reset();
}
#define REFUSED(call, want, says) refused(__LINE__, call, LATENS_STATUS_##want, says)
#define TOPK(k) latens_topk(device, &X, k, &V, &I, NULL)

static void handles(void) {
  LatensDevice *other = NULL, *invented = (LatensDevice *)(uintptr_t)0x12345;
  REFUSED(latens_device_open(0, 0, NULL), NULL, "device_open: device");
  REFUSED(latens_device_open(7, 0, &other), VALUE, "device_open: kind");
  REFUSED(latens_device_open(1, -1, &other), VALUE, "device_open: ordinal is -1");
  CHECK(!other);
  OK(latens_device_open(LATENS_DEVICE_KIND_HOST, 0, &other));
  OK(latens_device_free(other));
  REFUSED(latens_device_free(other), HANDLE, "device_free: device is no handle");
  REFUSED(latens_device_wait(other), HANDLE, "device_wait: device");
  REFUSED(latens_topk(other, &X, 2, &V, &I, NULL), HANDLE, "topk: device");
  REFUSED(latens_topk(invented, &X, 2, &V, &I, NULL), HANDLE, "topk: device");
  LatensResize *by = (LatensResize *)x;
  LatensSegments *segments = (LatensSegments *)x;
  uint64_t start = 0, columns = 4;
  REFUSED(latens_resize_new(other, 0, 2, 2, 4, 4, &by), HANDLE, "resize_new: device");
  REFUSED(latens_segments_new(other, &start, NULL, &columns, 1, &segments), HANDLE, "segments_new: device");
  CHECK(!by && !segments);
  OK(latens_device_free(NULL));
  OK(latens_device_wait(NULL));
  OK(latens_topk(NULL, &X, 2, &V, &I, NULL));
}

static void tensors(void) {
  REFUSED(latens_topk(device, NULL, 2, &V, &I, NULL), NULL, "topk: x");
  REFUSED(latens_topk(device, &X, 2, NULL, &I, NULL), NULL, "topk: values");
  REFUSED(latens_topk(device, &X, 2, &V, NULL, NULL), NULL, "topk: indices");
  REFUSED(latens_topk_workspace(device, &X, 2, NULL), NULL, "topk_workspace: bytes");
  REFUSED(TOPK(5), RANGE, "topk: k is 5");
  REFUSED(TOPK(SIZE_MAX), RANGE, "topk: k");
  REFUSED(TOPK(1), SIZE, "topk: values");

  REFUSED((X.data = NULL, TOPK(2)), NULL, "topk: x has null data");
  REFUSED((X.shape = NULL, TOPK(2)), NULL, "topk: x has a null shape");
  int ranks[] = {0, 1, 3, -1, INT32_MAX, INT32_MIN};
  for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) REFUSED((X.ndim = ranks[i], TOPK(2)), SIZE, "topk: x has");

  int64_t negative[2] = {2, -4}, huge[2] = {INT64_MAX, INT64_MAX}, wide[2] = {1, INT64_MAX}, tall[2] = {INT64_MAX / 8, 4};
  REFUSED((X.shape = negative, TOPK(2)), VALUE, "topk: x has a negative number in its shape");
  REFUSED((X.shape = huge, TOPK(2)), TOO_LARGE, "topk: x");
  REFUSED((X.shape = wide, TOPK(2)), TOO_LARGE, "topk: x");
  REFUSED((X.shape = tall, TOPK(2)), TOO_LARGE, "topk: x");
  int64_t overlapping[2] = {3, 1}, columns[2] = {1, 2}, back[2] = {-4, 1}, far[2] = {INT64_MAX / 2, 1};
  REFUSED((X.strides = overlapping, TOPK(2)), STRIDE, "topk: x");
  REFUSED((X.strides = columns, TOPK(2)), STRIDE, "topk: x");
  REFUSED((X.strides = back, TOPK(2)), VALUE, "topk: x has a negative number in its strides");
  REFUSED((X.strides = far, TOPK(2)), TOO_LARGE, "topk: x");
  int64_t gaps[2] = {3, 1};
  REFUSED((V.strides = gaps, TOPK(2)), STRIDE, "topk: values");

  REFUSED((X.byte_offset = 2, TOPK(2)), VALUE, "topk: x starts at");
  REFUSED((X.byte_offset = UINT64_MAX - 3, TOPK(2)), TOO_LARGE, "topk: x ends past");
  REFUSED((X.dtype.lanes = 4, TOPK(2)), TYPE, "topk: x has DLPack type");
  REFUSED((X.dtype.code = 77, TOPK(2)), TYPE, "topk: x has DLPack type");
  REFUSED((X.dtype.bits = 0, TOPK(2)), TYPE, "topk: x has DLPack type");
  REFUSED((X.dtype.code = 1, TOPK(2)), TYPE, "topk: x");
  REFUSED((V.dtype.bits = 16, TOPK(2)), TYPE, "topk: values has type F16, expected F32");
  REFUSED((I.dtype.code = 0, TOPK(2)), TYPE, "topk: indices has type I32, expected U32");
  REFUSED((X.device.device_type = 2, TOPK(2)), DEVICE, "topk: x has device type 2");
  REFUSED((V.device.device_type = -9, TOPK(2)), DEVICE, "topk: values has device type -9");
}

static void overlaps(void) {
  REFUSED((V.data = x, TOPK(2)), OVERLAP, "topk: values shares memory with x");
  REFUSED((I.data = values, TOPK(2)), OVERLAP, "topk: indices shares memory with values");
  REFUSED((V.data = x + 7, TOPK(2)), OVERLAP, "topk: values shares memory with x");
  REFUSED((I.data = values, I.byte_offset = 12, TOPK(2)), OVERLAP, "topk: indices shares memory with values");
  LatensTensor w = make(x, 1, 8, 1, shape24);
  REFUSED(latens_topk(device, &X, 2, &V, &I, &w), OVERLAP, "topk: workspace shares memory with x");
}

/* A struct that was not cleared: a yes or no that is neither. */
static void settings(void) {
  LatensScan scan;
  memset(&scan, 0, sizeof scan);
  scan.u = scan.delta = scan.a = scan.b = scan.c = &X;
  scan.softplus = 7;
  REFUSED(latens_scan(device, &scan, &V, NULL, NULL), VALUE, "softplus");
  int64_t four = 4;
  LatensTensor rows = make(indices, 1, 32, 1, &four);
  REFUSED(latens_scan_order(device, 9, 0, 2, 2, -1, &rows), VALUE, "scan_order: order");
  REFUSED(latens_scan_order(device, 0, 0, 2, 3, -1, &rows), SIZE, "scan_order: rows");
  REFUSED(latens_scan_order(device, 0, 0, SIZE_MAX, SIZE_MAX, -1, &rows), SIZE, "scan_order: rows");
  REFUSED(latens_scan_order(device, 0, 0, 3, 1, 4, &rows), RANGE, "scan_order: token");
  REFUSED(latens_scan_order(device, LATENS_ORDER_CLUSTER, 0, 2, 2, -1, &rows), VALUE, "scan_order: side");
  REFUSED(latens_scan_order(device, 0, 0, 2, 2, -1, NULL), NULL, "scan_order: rows");
  int64_t nothing = 0;
  LatensTensor empty = make(NULL, 1, 32, 1, &nothing);
  OK(latens_scan_order(device, LATENS_ORDER_CLUSTER, SIZE_MAX, 0, 0, -1, &empty));
  OK(latens_scan_order(device, LATENS_ORDER_CLUSTER, 2, 2, 2, -1, &rows));
}

/* What is allowed, though it looks odd. */
static void odd(void) {
  int64_t one[2] = {1, 4}, never[2] = {-99, 1}, out[2] = {1, 2}, none[2] = {0, 4}, empty[2] = {0, 2};
  X.shape = one, X.strides = never, V.shape = I.shape = out;
  OK(TOPK(2));
  X.data = V.data = I.data = NULL, X.shape = none, V.shape = I.shape = empty;
  OK(TOPK(2));
  reset();
  char *end = (char *)values;
  V.data = end - 64, V.byte_offset = 64;
  OK(TOPK(2));
  X.device.device_type = 3;
  OK(TOPK(2));
  char text[9];
  memset(text, 'q', sizeof text);
  REFUSED(TOPK(5), RANGE, "topk: k is 5, at most 4 is allowed");
  CHECK(latens_error(NULL, 0) == latens_error(text, 0) && text[0] == 'q');
  CHECK(latens_error(text, 8) == strlen(last_error()) && !strcmp(text, "topk: k") && text[8] == 'q');
}

static void autoencoders(void) {
  LatensAutoencoder *own = (LatensAutoencoder *)x, *invented = (LatensAutoencoder *)device;
  LatensSaeTrainer *trainer = (LatensSaeTrainer *)x;
  size_t count = 0;
  const char *settings = "{\"d\": 4, \"latents\": 8, \"k\": 2, \"steps\": 10, \"batch\": 2}";
  REFUSED(latens_sae_trainer_configure(device, &X, NULL, NULL, &trainer), NULL, "sae_trainer_configure: settings");
  CHECK(!trainer);
  REFUSED(latens_sae_trainer_configure(device, &X, NULL, "{", &trainer), VALUE, "sae_trainer_configure: config");
  REFUSED(latens_sae_trainer_configure(device, &X, NULL, "{\"d\": 4}", &trainer), VALUE, "latents: is missing");
  REFUSED(latens_sae_trainer_configure(device, &X, NULL, "{\"d\": 4, \"latents\": 8, \"steps\": 1, \"kay\": 2}", &trainer),
          VALUE, "kay is no setting");
  REFUSED(latens_sae_trainer_configure(device, NULL, NULL, settings, &trainer), NULL, "sae_trainer_configure: sample");
  REFUSED(latens_sae_trainer_configure(device, &X, &X, settings, &trainer), VALUE, "transcode");
  OK(latens_sae_trainer_configure(device, &X, NULL, settings, &trainer));
  REFUSED(latens_sae_trainer_step_to(trainer, &X, &X), VALUE, "sae_trainer_step_to: y");
  REFUSED(latens_sae_trainer_step_to(trainer, &X, NULL), NULL, "sae_trainer_step_to: y");
  REFUSED(latens_sae_trainer_snapshot(trainer, NULL), NULL, "sae_trainer_snapshot: autoencoder");
  REFUSED(latens_sae_trainer_snapshot((LatensSaeTrainer *)x, &own), HANDLE, "sae_trainer_snapshot: trainer");
  CHECK(!own);
  OK(latens_sae_trainer_snapshot(trainer, &own));
  OK(latens_sae_trainer_free(trainer));
  OK(latens_autoencoder_size(own, &count, &count));
  REFUSED(latens_autoencoder_save_as(own, NULL, 0, NULL), NULL, "autoencoder_save_as: folder");
  REFUSED(latens_autoencoder_save_as(own, "/dev/null/x", 0, "[]"), VALUE, "autoencoder_save_as: origin: is no object");
  REFUSED(latens_autoencoder_save_as(own, "/dev/null/x", 7, "{}"), VALUE, "autoencoder_save_as: format");
  OK(latens_autoencoder_free(own));
  REFUSED(latens_autoencoder_open((LatensDevice *)x, "/tmp", &own), HANDLE, "autoencoder_open: device");
  CHECK(!own);
  REFUSED(latens_autoencoder_open(device, NULL, &own), NULL, "autoencoder_open: path");
  CHECK(!own);
  REFUSED(latens_autoencoder_open(device, "/no/such/folder", &own), FILE, "autoencoder_open: ");
  REFUSED(latens_autoencoder_open(device, "\xff", &own), VALUE, "autoencoder_open: path");
  REFUSED(latens_autoencoder_open(device, "/tmp", NULL), NULL, "autoencoder_open: autoencoder");
  REFUSED(latens_autoencoder_size(invented, &count, &count), HANDLE, "autoencoder_size: autoencoder");
  REFUSED(latens_autoencoder_encode(invented, &X, &V, &I), HANDLE, "autoencoder_encode: autoencoder");
  REFUSED(latens_autoencoder_decode(NULL, &V, &I, &X), NULL, "autoencoder_decode: autoencoder");
  REFUSED(latens_autoencoder_reconstruct(NULL, &X, &X), NULL, "autoencoder_reconstruct: autoencoder");
  REFUSED(latens_autoencoder_save(NULL, "/tmp", 0), NULL, "autoencoder_save: autoencoder");
  REFUSED(latens_autoencoder_save(NULL, NULL, 0), NULL, "autoencoder_save: folder");
  REFUSED(latens_autoencoder_free(invented), HANDLE, "autoencoder_free: autoencoder");
  OK(latens_autoencoder_free(NULL));
}

static void trainers(void) {
  LatensSaeTrainer *trainer = (LatensSaeTrainer *)x, *invented = (LatensSaeTrainer *)device;
  LatensSaeSettings settings;
  LatensSaeMetrics metrics;
  REFUSED(latens_sae_defaults(4, 8, 2, 10, NULL), NULL, "sae_defaults: settings");
  OK(latens_sae_defaults(4, 8, 2, 10, &settings));
  settings.batch = 2;
  REFUSED(latens_sae_trainer_new(device, NULL, &settings, &trainer), NULL, "sae_trainer_new: sample");
  CHECK(!trainer);
  REFUSED(latens_sae_trainer_new(device, &X, NULL, &trainer), NULL, "sae_trainer_new: settings");
  REFUSED(latens_sae_trainer_new(device, &X, &settings, NULL), NULL, "sae_trainer_new: trainer");
  settings.size = 8;
  REFUSED(latens_sae_trainer_new(device, &X, &settings, &trainer), SIZE, "sae_trainer_new: settings.size");
  settings.size = sizeof settings, settings.variant = 9;
  REFUSED(latens_sae_trainer_new(device, &X, &settings, &trainer), VALUE, "sae_trainer_new: settings.variant");
  settings.variant = LATENS_SAE_VARIANT_BATCH_TOPK, settings.k = 9;
  REFUSED(latens_sae_trainer_new(device, &X, &settings, &trainer), VALUE, "k");
  settings.k = 2;
  OK(latens_sae_trainer_new(device, &X, &settings, &trainer));
  REFUSED(latens_sae_trainer_step(trainer, NULL), NULL, "sae_trainer_step: x");
  REFUSED(latens_sae_trainer_step(trainer, &V), VALUE, "sae_trainer_step: x");
  REFUSED(latens_sae_trainer_step(invented, &X), HANDLE, "sae_trainer_step: trainer");
  REFUSED(latens_sae_trainer_metrics(trainer, NULL), NULL, "sae_trainer_metrics: metrics");
  OK(latens_sae_trainer_step(trainer, &X));
  OK(latens_sae_trainer_metrics(trainer, &metrics));
  CHECK(metrics.step == 1 && metrics.l0 > 0);
  REFUSED(latens_sae_trainer_save(trainer, NULL, 0), NULL, "sae_trainer_save: folder");
  REFUSED(latens_sae_trainer_save(trainer, "/tmp", 5), VALUE, "sae_trainer_save: format");
  REFUSED(latens_sae_trainer_save(trainer, "/dev/null/x", 0), FILE, "sae_trainer_save: cannot make folder /dev/null/x");
  REFUSED(latens_sae_trainer_save_as(trainer, "/dev/null/x", 0, "\xff"), VALUE, "sae_trainer_save_as: origin");
  REFUSED(latens_sae_trainer_save_as(trainer, "/dev/null/x", 0, "{"), VALUE, "sae_trainer_save_as: origin: EOF");
  REFUSED(latens_sae_trainer_save_as(trainer, "/dev/null/x", 0, NULL), FILE, "sae_trainer_save_as: cannot make folder");
  REFUSED(latens_sae_trainer_save_as(invented, "/dev/null/x", 0, NULL), HANDLE, "sae_trainer_save_as: trainer");
  REFUSED(latens_sae_trainer_save_state(trainer, NULL), NULL, "sae_trainer_save_state: path");
  REFUSED(latens_sae_trainer_save_state(trainer, ""), FILE, "sae_trainer_save_state: ");
  REFUSED(latens_sae_trainer_save_state(trainer, "/"), FILE, "sae_trainer_save_state: ");
  REFUSED(latens_sae_trainer_save_state(trainer, "/dev/null/x"), FILE, "sae_trainer_save_state: cannot write /dev/null/x");
  REFUSED(latens_sae_trainer_save_state(invented, "/dev/null/x"), HANDLE, "sae_trainer_save_state: trainer");
  OK(latens_sae_trainer_free(trainer));
  REFUSED(latens_sae_trainer_free(trainer), HANDLE, "sae_trainer_free: trainer");
  REFUSED(latens_sae_trainer_metrics(trainer, &metrics), HANDLE, "sae_trainer_metrics: trainer");
  REFUSED(latens_sae_trainer_resume(device, NULL, NULL, &trainer), NULL, "sae_trainer_resume: path");
  CHECK(!trainer);
  trainer = invented;
  REFUSED(latens_sae_trainer_resume(device, "/no/such/file", NULL, &trainer), FILE, "sae_trainer_resume: cannot");
  CHECK(!trainer);
  REFUSED(latens_sae_trainer_resume(device, "/dev/null", "{", &trainer), VALUE, "sae_trainer_resume: config");
  REFUSED(latens_sae_trainer_resume(device, "/dev/null", "\xff", &trainer), VALUE, "sae_trainer_resume: settings");
  REFUSED(latens_sae_trainer_resume(device, "/dev/null", NULL, &trainer), FILE, "sae_trainer_resume: /dev/null");
  REFUSED(latens_sae_trainer_resume(device, "/dev/null", NULL, NULL), NULL, "sae_trainer_resume: trainer");
  trainer = invented;
  REFUSED(latens_sae_trainer_resume((LatensDevice *)x, "/dev/null", NULL, &trainer), HANDLE, "sae_trainer_resume: device");
  CHECK(!trainer);
}

/* Messages from strangers: every bit of a head turned over, and every length. */
static void messages(void) {
  static uint8_t sent[73], codes[33], back[33];
  static float scales[2] = {1, 2};
  int64_t whole = 73, count = 33, blocks[2] = {2, 1};
  LatensTensor m = make(sent, 1, 8, 1, &whole), c = make(codes, 1, 8, 1, &count), b = make(back, 1, 8, 1, &count);
  LatensTensor s = make(scales, 2, 32, 2, blocks);
  LatensQuant q = {LATENS_FORMAT_DYNAMIC8, 8, 32, 0, 0, 0}, found = q;
  size_t n = 7, bytes = 0;
  REFUSED(latens_quant_message(33, &q, NULL), NULL, "quant_message: bytes");
  REFUSED(latens_quant_message(33, NULL, &bytes), NULL, "quant_message: settings");
  REFUSED(latens_quant_message(SIZE_MAX, &q, &bytes), TOO_LARGE, "more elements than");
  OK(latens_quant_message(33, &q, &bytes));
  CHECK(bytes == sizeof sent);
  REFUSED(latens_quant_write(&c, &s, 34, &q, &m), SIZE, "codes");
  REFUSED(latens_quant_write(&c, &s, 33, &q, &c), OVERLAP, "message");
  REFUSED(latens_quant_write(&c, &s, 33, &q, &b), SIZE, "message");
  OK(latens_quant_write(&c, &s, 33, &q, &m));
  REFUSED(latens_quant_head(&m, NULL, &found), NULL, "quant_head: n");
  REFUSED(latens_quant_head(&m, &n, NULL), NULL, "quant_head: settings");
  for (int bit = 0; bit < 256; bit++) {
    sent[bit / 8] ^= (uint8_t)(1 << bit % 8);
    CHECK(latens_quant_head(&m, &n, &found) != LATENS_STATUS_OK && latens_quant_read(&m, &b, &s) != LATENS_STATUS_OK);
    sent[bit / 8] ^= (uint8_t)(1 << bit % 8);
  }
  sent[24] ^= 1;
  REFUSED(latens_quant_head(&m, &n, &found), VALUE, "as many bytes as its head counts");
  sent[24] ^= 1;
  for (whole = 0; whole < 73; whole++) REFUSED(latens_quant_head(&m, &n, &found), SIZE, "message");
  CHECK(n == 7);
  OK(latens_quant_head(&m, &n, &found));
  CHECK(n == 33 && found.format == LATENS_FORMAT_DYNAMIC8);
  count = 32;
  REFUSED(latens_quant_read(&m, &b, &s), SIZE, "codes");
}

/* Two entries of one number: refused by every operation that is given places. */
static void incidences(void) {
  uint32_t offsets[3] = {0, 2, 3}, members[3] = {0, 1, 0}, places[3] = {1, 1, 1}, turned[3] = {0, 2, 3};
  float numbers[3] = {1, 2, 3}, a[3];
  int64_t three = 3;
  LatensTensor o = make(offsets, 1, 32, 1, &three), m = make(members, 1, 32, 1, &three), p = make(places, 1, 32, 1, &three);
  LatensTensor t = make(turned, 1, 32, 1, &three), h = make(numbers, 2, 32, 1, &three), to = make(a, 2, 32, 1, &three);
  int64_t columns[2] = {2, 1};
  LatensTensor x2 = make(numbers, 2, 32, 2, columns), y = make(a, 2, 32, 2, columns), seeds = x2, ranks = y;
  int64_t one = 1;
  float moved[1];
  LatensTensor change = make(moved, 2, 32, 1, &one);
  REFUSED(latens_hyper_weigh(device, &o, &m, &p, 2, LATENS_WEIGH_SUM, &h, NULL, NULL, &to), VALUE, "places must be the number of each entry");
  REFUSED(latens_hyper_dots(device, &o, &m, &p, 2, &x2, &x2, &to), VALUE, "hyper_dots: incidence");
  REFUSED(latens_hyper_pool(device, &o, &m, &p, 2, &h, &x2, &y), VALUE, "hyper_pool: incidence");
  REFUSED(latens_hyper_rank(device, &o, &m, &t, &m, &p, NULL, NULL, &seeds, 0.5f, 1, 0, &ranks, &change, NULL), VALUE, "places must be the number of each entry");
  places[0] = 0, places[2] = 2;
  OK(latens_hyper_weigh(device, &o, &m, &p, 2, LATENS_WEIGH_SUM, &h, NULL, NULL, &to));
  CHECK(a[0] == 1 && a[1] == 2 && a[2] == 3);
}

static uint64_t state = 42;
static uint64_t number(void) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return state >> 33;
}

static int64_t any_size(void) {
  int64_t some[] = {0, 1, 2, 3, 4, 5, -1, 1 << 20, INT64_MAX, INT64_MIN, 1ll << 62, 1ll << 32};
  return some[number() % 12];
}

static void *any_memory(void) {
  void *some[] = {x, values, indices, NULL, x + 1, (char *)x + 1, values + 2};
  return some[number() % 7];
}

/* A tensor is given memory that it cannot be refused for (but by chance) only if its shape is small enough for it. */
static void spoil(LatensTensor *t, int64_t *shape, int64_t *strides, size_t holds) {
  for (int d = 0; d < 2; d++) shape[d] = any_size(), strides[d] = any_size();
  t->shape = number() % 16 ? shape : NULL;
  t->strides = number() % 2 ? strides : NULL;
  t->ndim = number() % 8 ? 2 : (int)number();
  if (number() % 4 == 0) t->dtype.code = (uint8_t)number();
  if (number() % 4 == 0) t->dtype.bits = (uint8_t)number();
  if (number() % 8 == 0) t->dtype.lanes = (uint16_t)number();
  if (number() % 8 == 0) t->device.device_type = (int32_t)number();
  if (number() % 8 == 0) t->byte_offset = number();
  t->data = any_memory();
  /* Memory that is not there is no error a library can find. */
  size_t last = 0;
  for (int d = 0; d < 2; d++) {
    int64_t stride = t->strides ? strides[d] : d ? 1 : shape[1];
    if (shape[d] < 0 || shape[d] > 8 || stride < 0 || stride > 8) { t->data = NULL; return; }
    last += (size_t)((shape[d] ? shape[d] - 1 : 0) * stride);
  }
  if ((last + 2) * 8 + t->byte_offset > holds) t->data = NULL;
}

static void random_calls(void) {
  static _Alignas(16) char pool[3][256];
  int64_t shape[3][2], strides[3][2];
  int done = 0;
  for (int round = 0; round < 200000; round++) {
    reset();
    LatensTensor *all[3] = {&X, &V, &I};
    for (int i = 0; i < 3; i++) {
      if (number() % 3) continue;
      spoil(all[i], shape[i], strides[i], 256);
      if (all[i]->data) all[i]->data = pool[number() % 3];
    }
    done += TOPK(number() % 4 ? 2 : (size_t)any_size()) == LATENS_STATUS_OK;
  }
  reset();
  CHECK(done > 1000);
  printf("%d of 200000 random calls were sound\n", done);
}

int main(void) {
  OK(latens_device_open(LATENS_DEVICE_KIND_HOST, 0, &device));
  reset();
  handles();
  tensors();
  overlaps();
  settings();
  odd();
  trainers();
  autoencoders();
  messages();
  incidences();
  random_calls();
  OK(latens_device_free(device));
  puts("garbage: ok");
  return 0;
}
