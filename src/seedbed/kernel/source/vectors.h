// Sixteen floats at once, in AVX-512 where there is one and in plain loops elsewhere, and the functions of them that
// several operations need. Every result is one fixed chain of roundings.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && !defined(SEEDBED_PORTABLE)
#include <immintrin.h>
#define SEEDBED_VNNI 1
#endif

namespace {

typedef float vec __attribute__((vector_size(64)));
typedef int32_t ivec __attribute__((vector_size(64)));

constexpr int TILE = 16;    // output rows of a weight tile; keys of a cache tile

inline vec splat(float x) {  // not vec{} + x: that is an addition
#ifdef SEEDBED_VNNI
  return (vec)_mm512_set1_ps(x);
#else
  return vec{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
#endif
}

inline vec load(const float *p) {
  vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline void store(float *p, vec v) { std::memcpy(p, &v, sizeof v); }

inline vec madd(vec a, vec b, vec c) {
#ifdef SEEDBED_VNNI
  return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#else
  return a * b + c;
#endif
}

inline float half(uint16_t bits) {
  uint32_t sign = (uint32_t)(bits & 0x8000) << 16, exponent = (bits >> 10) & 31, fraction = bits & 1023, out;
  if (exponent == 0) {
    float tiny = fraction * 5.9604644775390625e-8f;  // 2^-24
    return sign ? -tiny : tiny;
  }
  out = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13;
  float value;
  std::memcpy(&value, &out, 4);
  return value;
}

inline vec halves(const uint16_t *p) {
#ifdef SEEDBED_VNNI
  return (vec)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
#else
  vec v;
  for (int r = 0; r < TILE; r++) v[r] = half(p[r]);
  return v;
#endif
}

inline float total(vec v) {  // a fixed tree
  for (int width = TILE / 2; width; width /= 2)
    for (int r = 0; r < width; r++) v[r] += v[r + width];
  return v[0];
}

// e^x by 2^n times a polynomial (Cephes expf); 0 below -87, at most e^88
inline vec exponential(vec x) {
  const vec low = splat(-87.0f), high = splat(88.0f), magic = splat(12582912.0f);
  vec clipped = x < low ? low : (x > high ? high : x);
  vec n = madd(clipped, splat(1.44269504088896341f), magic) - magic;
  vec r = madd(n, splat(-0.693359375f), clipped);
  r = madd(n, splat(2.12194440e-4f), r);
  vec p = splat(1.9875691500e-4f);
  p = madd(p, r, splat(1.3981999507e-3f));
  p = madd(p, r, splat(8.3334519073e-3f));
  p = madd(p, r, splat(4.1665795894e-2f));
  p = madd(p, r, splat(1.6666665459e-1f));
  p = madd(p, r, splat(5.0000001201e-1f));
  p = madd(p, r * r, r) + splat(1.0f);
  ivec power = (__builtin_convertvector(n, ivec) + 127) << 23;
  vec scale;
  std::memcpy(&scale, &power, sizeof scale);
  return x < low ? splat(0.0f) : p * scale;
}

// Cephes tanhf: a polynomial near 0, where 1 - 2 / (1 + e^2x) would lose digits.
inline vec hyperbolic_tangent(vec x) {
  const vec one = splat(1.0f), square = x * x;
  vec p = splat(-5.70498872745e-3f);
  p = madd(p, square, splat(2.06390887954e-2f));
  p = madd(p, square, splat(-5.37397155531e-2f));
  p = madd(p, square, splat(1.33314422036e-1f));
  p = madd(p, square, splat(-3.33332819422e-1f));
  const vec small = madd(p * square, x, x), large = one - splat(2.0f) / (one + exponential(x + x));
  return x * x < splat(0.390625f) ? small : large;  // |x| < 0.625
}

inline vec squash(vec x, float cap) { return splat(cap) * hyperbolic_tangent(x / splat(cap)); }

}  // namespace
