// Products of some rows and some tiles of weights, in float32 or in integers: the innermost loops of linear layers.
#pragma once

#include <cstdint>
#include <cstring>
#include "vectors.h"

namespace {

constexpr int MAX_MR = 6;   // rows advanced together with two tiles
constexpr int AHEAD = 2048; // bytes that few rows ask for before they need them

inline ivec dot4(ivec sum, const uint8_t *w, const int8_t *x) {  // 16 rows, 4 inputs
#ifdef SEEDBED_VNNI
  int32_t four;
  std::memcpy(&four, x, 4);
  return (ivec)_mm512_dpbusd_epi32((__m512i)sum, _mm512_loadu_si512(w), _mm512_set1_epi32(four));
#else
  for (int r = 0; r < TILE; r++)
    sum[r] += w[r * 4] * x[0] + w[r * 4 + 1] * x[1] + w[r * 4 + 2] * x[2] + w[r * 4 + 3] * x[3];
  return sum;
#endif
}

struct Nibbles {  // 64 bytes of int4: inputs 0-3 of 16 rows in the low halves, 4-7 in the high ones
#ifdef SEEDBED_VNNI
  __m512i low, high;
  explicit Nibbles(const uint8_t *w) {
    const __m512i mask = _mm512_set1_epi8(15), both = _mm512_loadu_si512(w);
    low = _mm512_and_si512(both, mask);
    high = _mm512_and_si512(_mm512_srli_epi16(both, 4), mask);
  }
  static ivec dot(ivec sum, __m512i w, const int8_t *x) {
    int32_t four;
    std::memcpy(&four, x, 4);
    return (ivec)_mm512_dpbusd_epi32((__m512i)sum, w, _mm512_set1_epi32(four));
  }
#else
  uint8_t low[64], high[64];
  explicit Nibbles(const uint8_t *w) {
    for (int i = 0; i < 64; i++) low[i] = w[i] & 15, high[i] = w[i] >> 4;
  }
  static ivec dot(ivec sum, const uint8_t *w, const int8_t *x) { return dot4(sum, w, x); }
#endif
  ivec dot_low(ivec sum, const int8_t *x) const { return dot(sum, low, x); }
  ivec dot_high(ivec sum, const int8_t *x) const { return dot(sum, high, x); }
};

// Inputs [from, to) of some tiles, in units: single inputs of float weights, groups of quantized ones. Long inputs are
// taken in parts that stay in the first-level cache while all rows pass; sums rest in memory between parts, unrounded.
struct Part {
  const uint8_t *weight;  // at unit ``from``
  int64_t stride;         // bytes from tile to tile
  int from, to;
  float *sums;
};

// Activations of MR rows side by side, so that one pointer serves all: quants [input / 4][row][4] and, by group, [row].
struct Quantized {
  const int8_t *q;
  const float *scale;
  const int32_t *sum;  // -offset * sum of the group's quants: undoes the weights' offset
  int groups, group;
};

template <int MR, int T, int BITS>
inline void dots(const Part &part, const uint16_t *ws, const Quantized &x, vec (&f)[T][MR]) {
  const int8_t *q = x.q + (int64_t)part.from * x.group * MR;
  const uint8_t *w = part.weight;
  const int bytes = x.group * TILE * BITS / 8;
  for (int g = part.from; g < part.to; g++) {
    ivec a[T][MR];
    for (int t = 0; t < T; t++)
      for (int m = 0; m < MR; m++) a[t][m] = ivec{} + x.sum[g * MR + m];
    const int64_t ahead = AHEAD + (part.to - g <= AHEAD / bytes ? (T - 1) * part.stride : 0);
    for (int at = 0; at < x.group; at += 32, q += 32 * MR, w += 2 * TILE * 2 * BITS) {
      if (!part.sums)
        for (int t = 0; t < T; t++)
          for (int line = 0; line < 4 * TILE * BITS; line += 64) __builtin_prefetch(w + t * part.stride + ahead + line);
      if (BITS == 8) {
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++)
          for (int m = 0; m < MR; m++)  // tiles innermost: one broadcast input at a time fits beside the sums
            for (int t = 0; t < T; t++) a[t][m] = dot4(a[t][m], w + t * part.stride + j * 64, q + (j * MR + m) * 4);
      } else {
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++)
          for (int t = 0; t < T; t++) {
            const Nibbles both(w + t * part.stride + j * 64);
            for (int m = 0; m < MR; m++) {
              a[t][m] = both.dot_low(a[t][m], q + (2 * j * MR + m) * 4);
              a[t][m] = both.dot_high(a[t][m], q + ((2 * j + 1) * MR + m) * 4);
            }
          }
      }
    }
    for (int t = 0; t < T; t++) {
      vec s = halves(ws + ((int64_t)t * x.groups + g) * TILE);
      for (int m = 0; m < MR; m++)
        f[t][m] = madd(__builtin_convertvector(a[t][m], vec), s * splat(x.scale[g * MR + m]), f[t][m]);
    }
  }
}

template <int MR, int T>
inline void floats(const Part &part, const float *x, vec (&f)[T][MR]) {  // x: [input][row]
  const float *w = (const float *)part.weight;
  x += (int64_t)part.from * MR;
  for (int i = part.from; i < part.to; i++, w += TILE, x += MR)
    for (int t = 0; t < T; t++) {
      vec v = load(w + t * part.stride / 4);
      for (int m = 0; m < MR; m++) f[t][m] = madd(v, splat(x[m]), f[t][m]);
    }
}

}  // namespace
