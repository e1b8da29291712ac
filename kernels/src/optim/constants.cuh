// What a step of AdamW is told: twin of Constants in mod.rs.
#pragma once
#include "latens.cuh"

struct Constants { f32 beta1, rest1, beta2, rest2, keep, rate, root, eps; };
