/* What the C test programs share: tensors over host or CUDA memory, and checks that say where they failed.
 * A program runs on the host; with the argument "cuda", on GPU 0, whose memory it owns through the driver. */
#ifndef SUPPORT_H
#define SUPPORT_H
#include "latens.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(what)                                                                                                    \
  do {                                                                                                                 \
    if (!(what)) {                                                                                                     \
      printf("%s:%d: %s (last error: %s)\n", __FILE__, __LINE__, #what, last_error());                                 \
      exit(1);                                                                                                         \
    }                                                                                                                  \
  } while (0)
#define OK(call) CHECK((call) == LATENS_STATUS_OK)

static inline const char *last_error(void) {
  static char text[1000];
  latens_error(text, sizeof text);
  return text;
}

typedef struct {
  int cuda;
  LatensDevice *handle;
  int (*alloc)(uint64_t *, size_t), (*release)(uint64_t);
  int (*upload)(uint64_t, const void *, size_t), (*download)(void *, uint64_t, size_t);
} Place;

/* The default stream of GPU 0, adopted; or the host, whose handle may as well be null. */
static inline Place open_place(int cuda) {
  Place place = {cuda, NULL, NULL, NULL, NULL, NULL};
  if (!cuda) {
    OK(latens_device_open(LATENS_DEVICE_KIND_HOST, 0, &place.handle));
    return place;
  }
  void *driver = dlopen("libcuda.so", RTLD_NOW), *context;
  if (!driver) driver = dlopen("libcuda.so.1", RTLD_NOW);
  CHECK(driver);
  int (*init)(unsigned), (*retain)(void **, int), (*current)(void *);
  *(void **)&init = dlsym(driver, "cuInit");
  *(void **)&retain = dlsym(driver, "cuDevicePrimaryCtxRetain");
  *(void **)&current = dlsym(driver, "cuCtxSetCurrent");
  *(void **)&place.alloc = dlsym(driver, "cuMemAlloc_v2");
  *(void **)&place.release = dlsym(driver, "cuMemFree_v2");
  *(void **)&place.upload = dlsym(driver, "cuMemcpyHtoD_v2");
  *(void **)&place.download = dlsym(driver, "cuMemcpyDtoH_v2");
  CHECK(init && retain && current && place.alloc && place.release && place.upload && place.download);
  CHECK(!init(0) && !retain(&context, 0) && !current(context));
  OK(latens_device_adopt(0, NULL, &place.handle));
  return place;
}

enum { F32 = 2 << 8 | 32, F16 = 2 << 8 | 16, BF16 = 4 << 8 | 16, F64 = 2 << 8 | 64, U32 = 1 << 8 | 32, U8 = 1 << 8 | 8, I32 = 32 };

/* A tensor, its sizes, and the host memory that it is or, on a GPU, was copied from. */
typedef struct {
  LatensTensor dl;
  int64_t shape[4];
  void *host;
  size_t bytes;
} Tensor;

static inline void tensor(Tensor *t, const Place *place, int type, void *host, int ndim, int64_t a, int64_t b, int64_t c,
                          int64_t d) {
  int64_t shape[4] = {a, b, c, d};
  memset(t, 0, sizeof *t);
  memcpy(t->shape, shape, sizeof shape);
  t->host = host;
  t->bytes = (size_t)(type & 255) / 8;
  for (int i = 0; i < ndim; i++) t->bytes *= (size_t)shape[i];
  t->dl.data = host;
  t->dl.device.device_type = place->cuda ? 2 : 1;
  t->dl.ndim = ndim;
  t->dl.dtype.code = (uint8_t)(type >> 8);
  t->dl.dtype.bits = (uint8_t)type;
  t->dl.dtype.lanes = 1;
  t->dl.shape = t->shape;
  if (place->cuda) {
    uint64_t address = 0;
    CHECK(!place->alloc(&address, t->bytes ? t->bytes : 1));
    if (host) CHECK(!place->upload(address, host, t->bytes));
    t->dl.data = (void *)(uintptr_t)address;
  }
}
#define TENSOR1(t, place, type, host, a) tensor(t, place, type, host, 1, a, 1, 1, 1)
#define TENSOR2(t, place, type, host, a, b) tensor(t, place, type, host, 2, a, b, 1, 1)
#define TENSOR3(t, place, type, host, a, b, c) tensor(t, place, type, host, 3, a, b, c, 1)
#define TENSOR4(t, place, type, host, a, b, c, d) tensor(t, place, type, host, 4, a, b, c, d)

/* Bring what the calls wrote back to the host memory. */
static inline void fetch(Tensor *t, const Place *place) {
  OK(latens_device_wait(place->handle));
  if (place->cuda) CHECK(!place->download(t->host, (uint64_t)(uintptr_t)t->dl.data, t->bytes));
}

static inline void drop(Tensor *t, const Place *place) {
  if (place->cuda) CHECK(!place->release((uint64_t)(uintptr_t)t->dl.data));
}
#endif
