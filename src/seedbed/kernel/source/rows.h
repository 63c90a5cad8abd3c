// Operations on rows one by one: embedding, norms, activations, scaling, picking rows, the best token of a row.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include "layout.h"
#include "team.h"
#include "vectors.h"

namespace {

constexpr int CHUNK = 32;  // inputs of a row that are unpacked together; groups hold a multiple of them

// Writes ``count`` numbers of a row: as they are, or as bfloat16, rounded to the nearest (of two, the even one).
inline void write(const float *values, int count, void *out, int64_t at, bool brief) {
  if (!brief) {
    std::memcpy((float *)out + at, values, count * sizeof(float));
    return;
  }
  uint32_t bits[CHUNK];
  uint16_t rounded[CHUNK];
  std::memcpy(bits, values, sizeof bits);
  for (int i = 0; i < CHUNK; i++) rounded[i] = (bits[i] + 0x7fff + (bits[i] >> 16 & 1)) >> 16;
  std::memcpy((uint16_t *)out + at, rounded, count * sizeof(uint16_t));
}

// One row of a packed table, unpacked, in chunks of inputs that the compiler makes vectors of.
void unpack_row(const Op &op, int token, void *out) {
  const int tile = token / TILE, r = token % TILE;
  const bool brief = op.flags & BFLOAT16;
  float values[CHUNK] = {};
  if (op.bits == 32) {
    const float *w = (const float *)op.weight + (int64_t)tile * op.k * TILE + r;
    for (int from = 0; from < op.k; from += CHUNK) {
      const int count = std::min(CHUNK, op.k - from);
      for (int i = 0; i < count; i++) values[i] = w[(int64_t)(from + i) * TILE];
      write(values, count, out, from, brief);
    }
    return;
  }
  const int groups = (op.k + op.group - 1) / op.group;
  const uint8_t *w = (const uint8_t *)op.weight + (int64_t)tile * groups * op.group * TILE * op.bits / 8 + r * 4;
  for (int from = 0; from < op.k; from += CHUNK) {
    const float scale = half(op.scale[((int64_t)tile * groups + from / op.group) * TILE + r]);
    uint8_t quants[CHUNK];
    const uint8_t *units = w + (int64_t)from * TILE * op.bits / 8;
    if (op.bits == 8) {
      for (int u = 0; u < CHUNK / 4; u++) std::memcpy(quants + u * 4, units + u * 64, 4);
    } else {
      for (int u = 0; u < CHUNK / 8; u++) {
        uint32_t both;
        std::memcpy(&both, units + u * 64, 4);
        const uint32_t halves[] = {both & 0x0f0f0f0f, both >> 4 & 0x0f0f0f0f};
        std::memcpy(quants + u * 8, halves, 8);
      }
    }
    const int offset = op.bits == 8 ? 128 : 8;
    for (int i = 0; i < CHUNK; i++) values[i] = ((int)quants[i] - offset) * scale;
    write(values, std::min(CHUNK, op.k - from), out, from, brief);
  }
}

void embed(const Op &op, const Batch &batch, int rows, const Team &team) {
  const int size = op.flags & BFLOAT16 ? sizeof(uint16_t) : sizeof(float);
  team.each(rows, 1, [&](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; row++) {
      float *out = (float *)((char *)op.target + row * op.out_stride * size);
      unpack_row(op, batch.token[row], out);
      if (op.factor != 1.0f)
        for (int i = 0; i < op.k; i++) out[i] *= op.factor;
      if (op.extra) {
        const float *position = op.extra + (int64_t)batch.position[row] * op.k;
        for (int i = 0; i < op.k; i++) out[i] += position[i];
      }
    }
  });
}

inline float mean(const float *x, int count, float centre, bool squares) {
  vec sums = vec{};
  int i = 0;
  for (; i + TILE <= count; i += TILE) {
    vec v = load(x + i) - splat(centre);
    sums = squares ? madd(v, v, sums) : sums + v;
  }
  float sum = total(sums);
  for (; i < count; i++) sum += squares ? (x[i] - centre) * (x[i] - centre) : x[i] - centre;
  return sum / count;
}

void normalize(const float *x, float *out, int count, int flags, float eps, const float *weight, const float *bias) {
  float centre = flags & LAYER_NORM ? mean(x, count, 0, false) : 0.0f;
  float scale = 1.0f / std::sqrt(mean(x, count, centre, true) + eps);
  if (flags & ADD)
    for (int i = 0; i < count; i++) out[i] += (x[i] - centre) * scale * weight[i] + (bias ? bias[i] : 0.0f);
  else
    for (int i = 0; i < count; i++) out[i] = (x[i] - centre) * scale * weight[i] + (bias ? bias[i] : 0.0f);
}

void norm(const Op &op, int rows, const Team &team) {
  team.each(rows, 1, [&](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; row++)
      normalize(op.source + row * op.in_stride, op.target + row * op.out_stride, op.k, op.flags, op.eps,
                (const float *)op.weight, op.bias);
  });
}

inline vec activation(int kind, vec x) {
  const vec zero = vec{}, one = splat(1.0f);
  switch (kind) {
    case SILU: return x / (one + exponential(-x));
    case GELU_TANH: {  // 0.5 x (1 + tanh u) = x sigmoid(2u)
      vec u = splat(1.5957691216057308f) * x * madd(splat(0.044715f) * x, x, one);
      return x / (one + exponential(-u));
    }
    case GELU:
      for (int r = 0; r < TILE; r++) x[r] = 0.5f * x[r] * (1.0f + std::erf(x[r] * 0.70710678118654752f));
      return x;
    case GELU_QUICK: return x / (one + exponential(splat(-1.702f) * x));
    case TANH: return hyperbolic_tangent(x);
    case RELU: return x > zero ? x : zero;
    default: return x > zero ? x * x : zero;
  }
}

void activate(const Op &op, int rows, const Team &team) {  // strides leave room for whole vectors
  const int64_t vectors = (op.n + TILE - 1) / TILE;
  team.each(rows * vectors, 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) {
      int64_t row = i / vectors, at = i % vectors * TILE;
      vec v = activation(op.activation, load(op.source + row * op.in_stride + at));
      if (op.flags & GATED) v = v * load(op.extra + row * op.in_stride + at);
      store(op.target + row * op.out_stride + at, v);
    }
  });
}

// out = factor * in, squashed.
void scale(const Op &op, int rows, const Team &team) {
  const int64_t vectors = (op.n + TILE - 1) / TILE;
  team.each(rows * vectors, 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) {
      const int64_t row = i / vectors, at = i % vectors * TILE;
      const float *x = op.source + row * op.in_stride + at;
      float *out = op.target + row * op.out_stride + at;
      const bool whole = at + TILE <= op.n;
      vec v = vec{};
      if (whole) v = load(x);
      else std::memcpy(&v, x, (op.n - at) * sizeof(float));
      v = v * splat(op.factor);
      if (op.cap) v = squash(v, op.cap);
      if (whole) store(out, v);
      else std::memcpy(out, &v, (op.n - at) * sizeof(float));
    }
  });
}

void pick(const Op &op, const Batch &batch, const Team &team) {
  team.each(batch.picks, 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++)
      std::copy_n(op.source + (int64_t)batch.pick[i] * op.in_stride, op.k, op.target + i * op.out_stride);
  });
}

// The best id (the first of equals) and log(sum(exp)) of every row of logits.
void best(const Op &op, const Batch &batch, int rows, const Team &team) {
  team.each(rows, 1, [&](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; row++) {
      const float *x = op.source + row * op.in_stride;
      vec largest = splat(-INFINITY), sums = vec{};
      const int whole = op.n / TILE * TILE;
      for (int i = 0; i < whole; i += TILE) {
        vec v = load(x + i);
        largest = v > largest ? v : largest;
      }
      float top = -INFINITY;
      for (int r = 0; r < TILE; r++) top = std::max(top, largest[r]);
      for (int i = whole; i < op.n; i++) top = std::max(top, x[i]);
      for (int i = 0; i < whole; i += TILE) sums = sums + exponential(load(x + i) - splat(top));
      float sum = total(sums);
      for (int i = whole; i < op.n; i++) sum += std::exp(x[i] - top);
      batch.best[row] = (int32_t)std::min<int64_t>(std::find(x, x + op.n, top) - x, op.n - 1);  // none equals if all are NaN
      batch.logsumexp[row] = top + std::log(sum);
    }
  });
}

}  // namespace
