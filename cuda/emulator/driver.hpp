// What the parts of the driver share.
#pragma once
#include <functional>
#include <mutex>
#include "sim.hpp"

typedef unsigned long long Address;
enum Code {
  SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, INVALID_CONTEXT = 201, NOT_FOUND = 500,
  LAUNCH_FAILED = 719, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901, ILLEGAL_STATE = 401
};
#define API extern "C" __attribute__((visibility("default"))) Code
#define SAME_AS(name, parameters, arguments, other) API name parameters { return other arguments; }

namespace driver {

constexpr size_t MEMORY = size_t(8) << 30;

extern std::mutex lock;
extern Code failed;          // after a failed launch every call fails, until the context is reset
extern void* const CONTEXT;  // the primary one

Code enqueue(void* stream, std::function<Code()> work);

// What may not be done to a stream while it is captured; doing it spoils the capture.
Code settled(void* stream);

// Whether the device has memory pools.
bool pools();

}  // namespace driver
