// Runs a decoder step on CPU: a list of operations on rows, in one parallel region.
//
// The operations know nothing of any model; Python lists them once per model (program.py). What this file promises is
// that a row's bits never depend on the other rows of a batch, on how a sequence was cut into batches, or on the number
// of threads: every output is the same chain of roundings whatever is computed beside it. The register tiling (MR rows
// by T tiles) only changes how many such chains advance together. So a request gives the same answer alone or under
// load, and keys and values written while decoding equal those of a prefill.
//
// Weights come in tiles of 16 output rows (formats: quantized.py): float32, or int8/int4 in groups along the input
// with a float16 scale each. Activations are quantized to int8 in the same groups on the fly; products are summed
// exactly in integers (AVX-512 VNNI where there is one, plain loops elsewhere) and scaled in float32.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && !defined(SEEDBED_PORTABLE)
#include <immintrin.h>
#define SEEDBED_VNNI 1
#endif
#ifdef _OPENMP
#include <omp.h>
#endif

namespace {

constexpr int TILE = 16;    // output rows of a weight tile; keys of a cache tile
constexpr int PAGE = 64;    // positions of a cache page
constexpr int VECTORS = 8;  // query vectors that share one pass over keys and values
constexpr int STRIP = 8;    // tiles advanced together with one row
constexpr int MAX_MR = 6;   // rows advanced together with two tiles
constexpr int FEW = 8;      // rows up to which weights are not taken in parts
constexpr int PART = 512;   // bytes of inputs of two tiles: 16 KiB, half of a first-level cache
constexpr int PATIENCE = 1000;  // looks at work that another thread does before the processor is offered to others
constexpr int AHEAD = 2048; // bytes that few rows ask for before they need them
constexpr int ROWS = 510;   // rows whose sums wait in scratch memory: whole blocks
static_assert(ROWS % MAX_MR == 0, "a block of rows must not be cut");

typedef float vec __attribute__((vector_size(64)));
typedef int32_t ivec __attribute__((vector_size(64)));

enum Kind { EMBED, NORM, LINEAR, STORE, ATTEND, ACTIVATE, PICK, BEST, ADAPT, SCALE, ROUTE, GATHER, SCATTER };
enum Flag { NO_BARRIER = 1, REUSE_INPUT = 2, ADD = 4, LAYER_NORM = 8, GATED = 16, RENORMALIZE = 32 };
enum Activation { SILU, GELU, GELU_TANH, GELU_QUICK, RELU, RELU2, TANH };

extern "C" struct Adapter {
  const float *down, *up;  // (rank, k), (n, rank)
  int32_t rank;
  float scale;
};

extern "C" struct Routes {    // of a batch through one mixture of experts
  int32_t *count;             // (experts,): rows that chose each. A layer's own: a late thread may still read it
  int32_t *chosen, *row;      // (rows, k): each row's experts; (experts, rows): the rows of each, in order
  float *weight, *share;      // of the same
  int64_t rows;               // most rows of a batch
};

extern "C" struct Op {
  int32_t kind, flags, bits, group;  // bits: 32, 8 or 4
  int32_t n, k;                      // outputs and inputs; NORM: k channels; STORE and ATTEND: k = head size
  int32_t in_stride, out_stride;
  int32_t heads, kv_heads, rotated, window;
  int32_t layer, activation;
  int32_t expert, skip;              // GATHER: operations to leave out where no row chose the expert
  float eps, factor, cap;            // cap: values v become cap * tanh(v / cap); 0: they stay
  const void *weight;
  const uint16_t *scale;
  const float *bias;
  const float *in;
  float *out;
  const float *extra, *extra2, *extra3, *extra4;
  const Routes *routes;
  const Adapter *adapters;
};

extern "C" struct Segment {  // consecutive positions of one sequence
  int32_t row, rows, start, reserved;
  const int32_t *pages;
};

extern "C" struct Batch {
  int32_t rows, segments, picks, threads;
  const int32_t *token, *position, *pick, *adapter, *segment_of;
  const Segment *segment;
  float *pool;
  int64_t page_floats;
  int8_t *quants;    // (rows, k) of the widest LINEAR, int8 or float32
  float *scales;     // (rows, groups)
  int32_t *sums;     // (rows, groups)
  float *scratch;    // per thread: VECTORS rows of scores, or ROWS of sums and a part of unpacked weights
  int64_t scratch_floats, score_floats;
  int32_t *best;
  float *logsumexp;
};

struct alignas(64) Phase {  // of the work between two barriers: how much is taken, and how much is done
  std::atomic<int64_t> next{0}, done{0}, total{0};
};

// Threads take work in pieces, and wait for work rather than for each other: one that the system has put aside (others
// use the processor too) holds up no more than the piece it has. Who does what changes no bit.
struct Team {
  int id, size;
  Phase *phases;
  mutable int entered = 0, awaited = 0;

  // Calls work(from, to) until all of ``total`` is taken, in ``pieces`` for each thread.
  template <class Work>
  void each(int64_t total, int64_t pieces, Work work) const {
    Phase &phase = phases[entered++];
    const int64_t piece = (total + pieces * size - 1) / (pieces * size);
    phase.total.store(total, std::memory_order_relaxed);
    for (int64_t from; (from = phase.next.fetch_add(piece, std::memory_order_relaxed)) < total;) {
      const int64_t to = std::min(from + piece, total);
      work(from, to);
      phase.done.fetch_add(to - from, std::memory_order_release);
    }
  }

  void barrier() const {
    for (; awaited < entered; awaited++) {
      const Phase &phase = phases[awaited];
      for (int turns = 0; phase.done.load(std::memory_order_acquire) < phase.total.load(std::memory_order_relaxed); turns++)
        if (turns < PATIENCE) rest();
        else std::this_thread::yield();
    }
  }

  static void rest() {
#ifdef SEEDBED_VNNI
    _mm_pause();
#endif
  }
};

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

// ---- linear layers --------------------------------------------------------------------------------------------------

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

inline void put(const Op &op, int row, int tile, vec value) {
  int from = tile * TILE, count = std::min(TILE, op.n - from);
  float *out = op.out + (int64_t)row * op.out_stride + from;
  if (count == TILE) {
    if (op.bias) value = value + load(op.bias + from);
    if (op.flags & ADD) value = load(out) + value;
    return store(out, value);
  }
  for (int r = 0; r < count; r++) {
    float v = op.bias ? value[r] + op.bias[from + r] : value[r];
    out[r] = op.flags & ADD ? out[r] + v : v;
  }
}

// Rows that go through the weights together: few rows as one block, so that each weight is unpacked once; many in
// blocks of MAX_MR and a rest.
struct Block {
  int start, size;
  Block(int row, int rows) {
    const int whole = rows <= FEW ? 0 : rows / MAX_MR * MAX_MR;
    start = row < whole ? row / MAX_MR * MAX_MR : whole;
    size = row < whole ? MAX_MR : rows - whole;
  }
};

struct Input {  // what a linear layer reads
  const Op &op;
  const Batch &batch;
  int padded, groups;
  int units() const { return op.bits == 32 ? op.k : groups; }
  int64_t unit_bytes() const { return op.bits == 32 ? TILE * 4 : (int64_t)op.group * TILE * op.bits / 8; }
  int64_t tile_bytes() const { return units() * unit_bytes(); }
  const uint8_t *tile(int64_t index) const { return (const uint8_t *)op.weight + index * tile_bytes(); }
  Quantized quantized(int64_t row) const {
    return {batch.quants + row * padded, batch.scales + row * groups, batch.sums + row * groups, groups, op.group};
  }
  float *floats(int64_t row) const { return (float *)batch.quants + row * op.k; }
};

template <int MR, int T, int BITS>
inline void tiles(const Input &input, const Part &part, int first_row, int row, int tile) {
  vec f[T][MR];
  float *sums = part.sums + (int64_t)(row - first_row) * T * TILE;
  for (int t = 0; t < T; t++)
    for (int m = 0; m < MR; m++) f[t][m] = part.from ? load(sums + (m * T + t) * TILE) : vec{};
  const Op &op = input.op;
  if (BITS == 32)
    floats<MR, T>(part, input.floats(row), f);
  else
    dots<MR, T, BITS>(part, op.scale + (int64_t)tile * input.groups * TILE, input.quantized(row), f);
  for (int t = 0; t < T; t++)
    for (int m = 0; m < MR; m++)
      if (part.to == input.units())
        put(op, row + m, tile + t, f[t][m]);
      else
        store(sums + (m * T + t) * TILE, f[t][m]);
}

// The last MR or fewer rows against T tiles.
template <int MR, int T, int BITS>
void rest(const Input &input, const Part &part, int from, int row, int to, int tile) {
  if (to - row == MR) tiles<MR, T, BITS>(input, part, from, row, tile);
  else if constexpr (MR > 1) rest<MR - 1, T, BITS>(input, part, from, row, to, tile);
}

// All rows against T tiles, block by block.
template <int T, int BITS>
void columns(const Input &input, const Part &part, int from, int to, int tile) {
  int row = from;
  for (; row + MAX_MR <= to; row += MAX_MR) tiles<MAX_MR, T, BITS>(input, part, from, row, tile);
  rest<MAX_MR - 1, T, BITS>(input, part, from, row, to, tile);
}

// int4 as int8, once for many rows. The integers are the same, so the results are.
void widen(const uint8_t *w, int64_t bytes, uint8_t *out) {
  for (int64_t i = 0; i < bytes; i += 64) {
    Nibbles both(w + i);
    std::memcpy(out + 2 * i, &both.low, 64);
    std::memcpy(out + 2 * i + 64, &both.high, 64);
  }
}

// Many rows: the weights of T tiles in parts of some hundred inputs, each part against all rows.
template <int T, int BITS>
void panels(const Input &input, int from, int to, int64_t tile, float *sums, uint8_t *wide) {
  const int step = BITS == 32 ? PART / 4 : std::max(1, PART / input.op.group);
  for (int unit = 0; unit < input.units(); unit += step) {
    Part part{input.tile(tile) + unit * input.unit_bytes(), input.tile_bytes(), unit,
              std::min(unit + step, input.units()), sums};
    if (BITS != 4) {
      columns<T, BITS>(input, part, from, to, tile);
      continue;
    }
    const int64_t bytes = (part.to - part.from) * input.unit_bytes();
    for (int t = 0; t < T; t++) widen(part.weight + t * part.stride, bytes, wide + 2 * t * bytes);
    part.weight = wide, part.stride = 2 * bytes;
    columns<T, 8>(input, part, from, to, tile);
  }
}

template <int MR, int T, int BITS>
int64_t strips(const Input &input, int64_t tile, int64_t last) {
  for (; tile + T <= last; tile += T)
    tiles<MR, T, BITS>(input, Part{input.tile(tile), input.tile_bytes(), 0, input.units(), nullptr}, 0, 0, tile);
  return tile;
}

// MR or fewer rows: one block, and as many tiles side by side as keep enough sums in flight.
template <int MR, int BITS>
void few(const Input &input, int rows, int64_t tile, int64_t last) {
  if (rows == MR) {
    if constexpr (MR == 1) tile = strips<MR, STRIP, BITS>(input, tile, last);
    tile = strips<MR, 2, BITS>(input, tile, last);
    strips<MR, 1, BITS>(input, tile, last);
  } else if constexpr (MR > 1) {
    few<MR - 1, BITS>(input, rows, tile, last);
  }
}

template <int BITS>
void linear_tiles(const Input &input, int rows, float *scratch, int64_t tile, int64_t last) {
  if (rows <= FEW) return few<FEW, BITS>(input, rows, tile, last);
  uint8_t *wide = (uint8_t *)(scratch + 2 * ROWS * TILE);
  for (; tile < last; tile += 2)
    for (int row = 0; row < rows; row += ROWS) {
      const int to = std::min(rows, row + ROWS);
      if (tile + 2 <= last) panels<2, BITS>(input, row, to, tile, scratch, wide);
      else panels<1, BITS>(input, row, to, tile, scratch, wide);
    }
}

// One group of a row: scale = largest magnitude / 127. Four quants stand together, MR rows apart.
inline void quantize(const float *x, int count, int group, int offset, int mr, int8_t *q, float *scale, int32_t *sum) {
  float largest = 0;
  int32_t total = 0;
#ifdef SEEDBED_VNNI
  if (count == group) {
    __m512 most = _mm512_setzero_ps();
    for (int i = 0; i < group; i += TILE) most = _mm512_max_ps(most, _mm512_abs_ps(_mm512_loadu_ps(x + i)));
    largest = _mm512_reduce_max_ps(most);
    const __m512 inverse = _mm512_set1_ps(largest > 0 ? 127.0f / largest : 0.0f);
    __m512i totals = _mm512_setzero_si512();
    for (int i = 0; i < group; i += TILE) {
      const __m512i v = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), inverse));
      totals = _mm512_add_epi32(totals, v);
      int8_t bytes[TILE];
      _mm_storeu_si128((__m128i *)bytes, _mm512_cvtepi32_epi8(v));
      for (int j = 0; j < TILE; j += 4) std::memcpy(q + (i + j) * mr, bytes + j, 4);
    }
    *scale = largest / 127.0f;
    *sum = -offset * _mm512_reduce_add_epi32(totals);
    return;
  }
#endif
  for (int i = 0; i < count; i++) largest = std::max(largest, std::fabs(x[i]));
  const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
  for (int i = 0; i < group; i += 4) {
    int8_t four[4];
    for (int j = 0; j < 4; j++) {
      four[j] = i + j < count ? (int8_t)std::nearbyintf(x[i + j] * inverse) : 0;
      total += four[j];
    }
    std::memcpy(q + i * mr, four, 4);
  }
  *scale = largest / 127.0f;
  *sum = -offset * total;
}

void prepare(const Input &input, int rows, const Team &team) {
  const Op &op = input.op;
  if (op.bits == 32)
    return team.each(rows, 1, [&](int64_t from, int64_t to) {
      for (int64_t row = from; row < to; row++) {
        const Block block(row, rows);
        float *out = input.floats(block.start) + (row - block.start);
        const float *x = op.in + row * op.in_stride;
        for (int i = 0; i < op.k; i++) out[(int64_t)i * block.size] = x[i];
      }
    });
  team.each((int64_t)rows * input.groups, 1, [&](int64_t from, int64_t to) {
    while (from < to) {  // the groups of one row
      const int row = from / input.groups, first = from % input.groups;
      const int last = std::min<int64_t>(input.groups, first + to - from);
      const Block block(row, rows);
      const int64_t at = (int64_t)block.start * input.groups + row - block.start;
      const float *x = op.in + (int64_t)row * op.in_stride;
      int8_t *q = input.batch.quants + (int64_t)block.start * input.padded + (row - block.start) * 4;
      for (int g = first, start = g * op.group; g < last; g++, start += op.group)
        quantize(x + start, std::min(op.group, op.k - start), op.group, op.bits == 8 ? 128 : 8, block.size,
                 q + start * block.size, input.batch.scales + at + (int64_t)g * block.size,
                 input.batch.sums + at + (int64_t)g * block.size);
      from += last - first;
    }
  });
}

void linear(const Op &op, const Batch &batch, int rows, const Team &team) {
  const int groups = op.bits == 32 ? 0 : (op.k + op.group - 1) / op.group;
  const Input input{op, batch, groups * op.group, groups};
  if (!(op.flags & REUSE_INPUT)) {
    prepare(input, rows, team);
    team.barrier();
  }
  float *scratch = batch.scratch + team.id * batch.scratch_floats;
  team.each((op.n + TILE - 1) / TILE, 1, [&](int64_t from, int64_t to) {
    if (op.bits == 32) linear_tiles<32>(input, rows, scratch, from, to);
    if (op.bits == 8) linear_tiles<8>(input, rows, scratch, from, to);
    if (op.bits == 4) linear_tiles<4>(input, rows, scratch, from, to);
  });
}

// Low-rank additions (LoRA): out += scale * up (down in), for rows that have an adapter.
void adapt(const Op &op, const Batch &batch, int rows, const Team &team) {
  const int32_t *chose = op.routes ? op.routes->row + op.expert * op.routes->rows : nullptr;
  team.each(rows, 1, [&](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; row++) {
      const int adapter = batch.adapter[chose ? chose[row] : row];
      if (adapter < 0) continue;
      const Adapter &a = op.adapters[adapter];
      const float *x = op.in + row * op.in_stride;
      float *out = op.out + row * op.out_stride;
      for (int r = 0; r < a.rank; r++) {
        float narrow = 0;
        for (int i = 0; i < op.k; i++) narrow += a.down[(int64_t)r * op.k + i] * x[i];
        narrow *= a.scale;
        for (int i = 0; i < op.n; i++) out[i] += narrow * a.up[(int64_t)i * a.rank + r];
      }
    }
  });
}

// ---- embedding, norms, activations ----------------------------------------------------------------------------------

// One row of a packed table, unpacked.
void unpack_row(const Op &op, int token, float *out) {
  const int tile = token / TILE, r = token % TILE;
  if (op.bits == 32) {
    const float *w = (const float *)op.weight + (int64_t)tile * op.k * TILE + r;
    for (int i = 0; i < op.k; i++) out[i] = w[i * TILE];
    return;
  }
  const int groups = (op.k + op.group - 1) / op.group;
  const uint8_t *w = (const uint8_t *)op.weight + (int64_t)tile * groups * op.group * TILE * op.bits / 8 + r * 4;
  for (int g = 0; g < groups; g++) {
    const float scale = half(op.scale[((int64_t)tile * groups + g) * TILE + r]);
    const int to = std::min(op.k, (g + 1) * op.group);
    for (int i = g * op.group; i < to; i++) {
      const int byte = op.bits == 8 ? w[i / 4 * 64 + i % 4] - 128 : (w[i / 8 * 64 + i % 4] >> (i & 4) & 15) - 8;
      out[i] = byte * scale;
    }
  }
}

void embed(const Op &op, const Batch &batch, int rows, const Team &team) {
  team.each(rows, 1, [&](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; row++) {
      float *out = op.out + row * op.out_stride;
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
      normalize(op.in + row * op.in_stride, op.out + row * op.out_stride, op.k, op.flags, op.eps,
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
      vec v = activation(op.activation, load(op.in + row * op.in_stride + at));
      if (op.flags & GATED) v = v * load(op.extra + row * op.in_stride + at);
      store(op.out + row * op.out_stride + at, v);
    }
  });
}

// out = factor * in, squashed.
void scale(const Op &op, int rows, const Team &team) {
  const int64_t vectors = (op.n + TILE - 1) / TILE;
  team.each(rows * vectors, 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) {
      const int64_t row = i / vectors, at = i % vectors * TILE;
      const float *x = op.in + row * op.in_stride + at;
      float *out = op.out + row * op.out_stride + at;
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

// ---- mixture of experts ---------------------------------------------------------------------------------------------

// The k experts with the highest softmax of a row's n router logits, which are overwritten; of equals, the first.
void choose(const Op &op, float *logits, int32_t *chosen, float *weight) {
  float top = -INFINITY, sum = 0, part = 0;
  for (int e = 0; e < op.n; e++) top = std::max(top, logits[e]);
  for (int e = 0; e < op.n; e++) sum += logits[e] = std::exp(logits[e] - top);
  for (int j = 0; j < op.k; j++) {
    int best = -1;
    for (int e = 0; e < op.n; e++)  // -1: chosen before; no two are the same even if all are NaN
      if (logits[e] != -1 && (best < 0 || logits[e] > logits[best])) best = e;
    chosen[j] = best, weight[j] = logits[best] / sum, logits[best] = -1;
    part += weight[j];
  }
  if (op.flags & RENORMALIZE)
    for (int j = 0; j < op.k; j++) weight[j] /= part;
}

// Which rows go through which expert. Experts follow each other in the program, so each row's outputs are added in the
// order of its experts' numbers, whatever is computed beside it.
void route(const Op &op, int rows, const Team &team) {
  const Routes &routes = *op.routes;
  team.each(rows, 1, [&](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; row++)
      choose(op, op.out + row * op.out_stride, routes.chosen + row * op.k, routes.weight + row * op.k);
  });
  team.barrier();
  team.each(1, 1, [&](int64_t, int64_t) {
    std::fill_n(routes.count, op.n, 0);
    for (int64_t i = 0; i < (int64_t)rows * op.k; i++) {
      const int64_t place = routes.chosen[i] * routes.rows + routes.count[routes.chosen[i]]++;
      routes.row[place] = i / op.k, routes.share[place] = routes.weight[i];
    }
  });
}

// Rows that chose an expert, next to each other.
void gather(const Op &op, int rows, const Team &team) {
  const int32_t *chose = op.routes->row + op.expert * op.routes->rows;
  team.each(rows, 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++)
      std::copy_n(op.in + (int64_t)chose[i] * op.in_stride, op.k, op.out + i * op.out_stride);
  });
}

// And back: out += share * in.
void scatter(const Op &op, int rows, const Team &team) {
  const int64_t first = op.expert * op.routes->rows;
  team.each(rows, 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) {
      const float *x = op.in + i * op.in_stride, share = op.routes->share[first + i];
      float *out = op.out + (int64_t)op.routes->row[first + i] * op.out_stride;
      for (int j = 0; j < op.k; j++) out[j] += share * x[j];
    }
  });
}

// ---- attention ------------------------------------------------------------------------------------------------------

struct Cache {  // one layer's keys and values of one head: pages of [4 tiles][channel][16 keys], then [64 keys][channel]
  const Op &op;
  const Batch &batch;
  int head, width;
  float *page(const Segment &s, int position) const {
    int64_t slot = ((int64_t)op.layer * op.kv_heads + head) * 2 * PAGE * width;
    return batch.pool + s.pages[position / PAGE] * batch.page_floats + slot;
  }
  float *keys(const Segment &s, int tile) const {
    return page(s, tile * TILE) + (int64_t)(tile % (PAGE / TILE)) * TILE * width;
  }
  float *value(const Segment &s, int position) const {
    return page(s, position) + (int64_t)PAGE * width + (int64_t)(position % PAGE) * width;
  }
};

inline int padded_head(const Op &op) { return (op.k + TILE - 1) / TILE * TILE; }

// Queries, keys and values of new positions: norm, rotation, scale; queries to a buffer, the rest to the cache.
void store_heads(const Op &op, const Batch &batch, int rows, const Team &team) {
  const int width = padded_head(op), all = op.heads + 2 * op.kv_heads, half_turn = op.rotated / 2;
  team.each((int64_t)rows * all, 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) {
      const int row = i / all, head = i % all;
      const bool is_q = head < op.heads, is_k = !is_q && head < op.heads + op.kv_heads;
      const float *x = op.in + (int64_t)row * op.in_stride + head * op.k;
      float h[1024];
      std::copy(x, x + op.k, h);
      std::fill(h + op.k, h + width, 0.0f);
      const int position = batch.position[row];
      if (is_q || is_k) {
        const float *weight = is_q ? op.extra : op.extra2, *bias = is_q ? op.extra3 : op.extra4;
        if (weight) normalize(h, h, op.k, op.flags, op.eps, weight, bias);
        if (op.rotated) {
          const float *cosine = (const float *)op.weight + (int64_t)position * op.rotated, *sine = cosine + half_turn;
          for (int d = 0; d < half_turn; d++) {
            float a = h[d], b = h[d + half_turn];
            h[d] = a * cosine[d] - b * sine[d];
            h[d + half_turn] = b * cosine[d] + a * sine[d];
          }
        }
      }
      if (is_q) {
        float *q = op.out + (int64_t)row * op.out_stride + head * width;
        for (int d = 0; d < width; d++) q[d] = h[d] * op.factor;
        continue;
      }
      const Segment &s = batch.segment[batch.segment_of[row]];
      const Cache cache{op, batch, (head - op.heads) % op.kv_heads, width};
      if (is_k) {
        float *keys = cache.keys(s, position / TILE) + position % TILE;
        for (int d = 0; d < width; d++) keys[d * TILE] = h[d];
      } else {
        std::copy(h, h + width, cache.value(s, position));
      }
    }
  });
}

// Scores of R query vectors against T tiles of keys: every lane is one key's sum over channels in order.
template <int R, int T>
inline void score(const float *const (&q)[VECTORS], float *const (&scores)[VECTORS], const float *const (&keys)[T],
                  int width, int64_t at) {
  vec a[T][R];
  for (int t = 0; t < T; t++)
    for (int r = 0; r < R; r++) a[t][r] = vec{};
  for (int d = 0; d < width; d++)
    for (int t = 0; t < T; t++) {
      vec k = load(keys[t] + d * TILE);
      for (int r = 0; r < R; r++) a[t][r] = madd(k, splat(q[r][d]), a[t][r]);
    }
  for (int t = 0; t < T; t++)
    for (int r = 0; r < R; r++) store(scores[r] + at + t * TILE, a[t][r]);
}

// exp(score - max) of keys [from, to] in place, zero elsewhere in the tiles [0, count); returns 1 / sum.
inline float softmax(float *scores, int64_t count, int64_t from, int64_t to) {
  for (int64_t i = 0; i < from; i++) scores[i] = -INFINITY;
  for (int64_t i = to + 1; i < count; i++) scores[i] = -INFINITY;
  vec largest = splat(-INFINITY), sum = vec{};
  for (int64_t i = 0; i < count; i += TILE) {
    vec s = load(scores + i);
    largest = s > largest ? s : largest;
  }
  float top = -INFINITY;
  for (int r = 0; r < TILE; r++) top = std::max(top, largest[r]);
  for (int64_t i = 0; i < count; i += TILE) {
    vec p = exponential(load(scores + i) - splat(top));
    store(scores + i, p);
    sum = sum + p;
  }
  return 1.0f / total(sum);
}

// Scores of keys [from, to]: squashed, then less ``slope`` for every position between key and query, which is ``to``.
inline void bend(const Op &op, float *scores, int64_t from, int64_t to, float slope) {
  const vec lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  for (int64_t i = from / TILE * TILE; i <= to; i += TILE) {
    vec s = load(scores + i);
    if (op.cap) s = squash(s, op.cap);
    if (slope) s = madd(splat(slope), splat((float)(i - to)) + lanes, s);
    store(scores + i, s);
  }
}

// Weighted sums of values for R vectors, C vectors of channels at a time.
template <int R, int C>
inline void mix(const Cache &cache, const Segment &s, float *const (&p)[VECTORS], int first, int last, int channel,
                vec (&a)[C][R]) {
  for (int c = 0; c < C; c++)
    for (int r = 0; r < R; r++) a[c][r] = vec{};
  for (int key = first; key <= last;) {
    const int end = std::min(last, key | (PAGE - 1));
    const float *v = cache.value(s, key) + channel;
    for (; key <= end; key++, v += cache.width)
      for (int c = 0; c < C; c++) {
        vec x = load(v + c * TILE);
        for (int r = 0; r < R; r++) a[c][r] = madd(x, splat(p[r][key - first]), a[c][r]);
      }
  }
}

template <int R>
void attend_vectors(const Cache &cache, const Segment &s, const float *const (&q)[VECTORS],
                    float *const (&out)[VECTORS], const int (&position)[VECTORS], const float (&slope)[VECTORS],
                    float *scratch, int64_t stride) {
  constexpr int T = R <= 2 ? 4 : 2, C = R <= 4 ? 4 : 2;
  const Op &op = cache.op;
  int lowest = position[0], highest = position[0];
  for (int r = 1; r < R; r++) lowest = std::min(lowest, position[r]), highest = std::max(highest, position[r]);
  const int first_tile = op.window ? std::max(0, lowest - op.window + 1) / TILE : 0, last_tile = highest / TILE;
  const int first = first_tile * TILE;
  float *p[VECTORS];
  for (int r = 0; r < VECTORS; r++) p[r] = scratch + r * stride;
  int tile = first_tile;
  for (; tile + T - 1 <= last_tile; tile += T) {
    const float *keys[T];
    for (int t = 0; t < T; t++) keys[t] = cache.keys(s, tile + t);
    score<R, T>(q, p, keys, cache.width, (int64_t)(tile - first_tile) * TILE);
  }
  for (; tile <= last_tile; tile++) {
    const float *keys[1] = {cache.keys(s, tile)};
    score<R, 1>(q, p, keys, cache.width, (int64_t)(tile - first_tile) * TILE);
  }
  float inverse[R];
  for (int r = 0; r < R; r++) {
    int from = op.window ? std::max(0, position[r] - op.window + 1) - first : 0;
    if (op.cap || op.extra) bend(op, p[r], from, position[r] - first, slope[r]);
    inverse[r] = softmax(p[r], (int64_t)(last_tile - first_tile + 1) * TILE, from, position[r] - first);
  }
  auto finish = [&](int channel, int r, vec sum) {
    vec y = sum * splat(inverse[r]);
    for (int d = 0; d < TILE && channel + d < op.k; d++) out[r][channel + d] = y[d];
  };
  int channel = 0;
  for (; channel + C * TILE <= cache.width; channel += C * TILE) {
    vec a[C][R];
    mix<R, C>(cache, s, p, first, highest, channel, a);
    for (int c = 0; c < C; c++)
      for (int r = 0; r < R; r++) finish(channel + c * TILE, r, a[c][r]);
  }
  for (; channel < cache.width; channel += TILE) {
    vec a[1][R];
    mix<R, 1>(cache, s, p, first, highest, channel, a);
    for (int r = 0; r < R; r++) finish(channel, r, a[0][r]);
  }
}

void attend(const Op &op, const Batch &batch, const Team &team) {
  const int width = padded_head(op), share = op.heads / op.kv_heads;
  float *scratch = batch.scratch + team.id * batch.scratch_floats;
  const int64_t stride = batch.score_floats / VECTORS;
  auto parts = [&](int segment) { return (batch.segment[segment].rows * share + VECTORS - 1) / VECTORS; };
  auto items = [&](int segment) { return (int64_t)op.kv_heads * parts(segment); };
  int64_t total = 0;
  for (int i = 0; i < batch.segments; i++) total += items(i);
  int segment = 0;
  int64_t before = 0;  // items of earlier segments
  team.each(total, 16, [&](int64_t from, int64_t to) {  // a head's parts together: they read the same keys
    for (int64_t item = from; item < to; item++) {
      while (item - before >= items(segment)) before += items(segment++);
      const Segment &s = batch.segment[segment];
      const int head = (item - before) / parts(segment), first = (item - before) % parts(segment) * VECTORS;
      const int count = std::min(VECTORS, s.rows * share - first);
      const Cache cache{op, batch, head, width};
      const float *q[VECTORS];
      float *out[VECTORS];
      int position[VECTORS];
      float slope[VECTORS];
      for (int v = 0; v < VECTORS; v++) {  // missing vectors repeat the last one: same result, written twice
        const int at = first + std::min(v, count - 1), row = s.row + at / share, h = head * share + at % share;
        q[v] = op.in + (int64_t)row * op.in_stride + h * width;
        out[v] = op.out + (int64_t)row * op.out_stride + h * op.k;
        position[v] = s.start + at / share;
        slope[v] = op.extra ? op.extra[h] : 0.0f;
      }
      if (count == 1) attend_vectors<1>(cache, s, q, out, position, slope, scratch, stride);
      else if (count == 2) attend_vectors<2>(cache, s, q, out, position, slope, scratch, stride);
      else if (count <= 4) attend_vectors<4>(cache, s, q, out, position, slope, scratch, stride);
      else attend_vectors<8>(cache, s, q, out, position, slope, scratch, stride);
    }
  });
}

// ---- output ---------------------------------------------------------------------------------------------------------

void pick(const Op &op, const Batch &batch, const Team &team) {
  team.each(batch.picks, 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++)
      std::copy_n(op.in + (int64_t)batch.pick[i] * op.in_stride, op.k, op.out + i * op.out_stride);
  });
}

// The best id (the first of equals) and log(sum(exp)) of every row of logits.
void best(const Op &op, const Batch &batch, int rows, const Team &team) {
  team.each(rows, 1, [&](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; row++) {
      const float *x = op.in + row * op.in_stride;
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

void execute(const Op *ops, int count, const Batch &batch, const Team &team) {
  int rows = batch.rows;
  for (int i = 0; i < count; i++) {
    const Op &op = ops[i];
    switch (op.kind) {
      case EMBED: embed(op, batch, rows, team); break;
      case NORM: norm(op, rows, team); break;
      case LINEAR: linear(op, batch, rows, team); break;
      case STORE: store_heads(op, batch, rows, team); break;
      case ATTEND: attend(op, batch, team); break;
      case ACTIVATE: activate(op, rows, team); break;
      case PICK: pick(op, batch, team), rows = batch.picks; break;
      case BEST: best(op, batch, rows, team); break;
      case ADAPT: adapt(op, batch, rows, team); break;
      case SCALE: scale(op, rows, team); break;
      case ROUTE: route(op, rows, team); break;
      case GATHER:
        rows = op.routes->count[op.expert];
        if (rows) gather(op, rows, team);
        else rows = batch.rows, i += op.skip;
        break;
      case SCATTER: scatter(op, rows, team), rows = batch.rows; break;
    }
    if (!(op.flags & NO_BARRIER)) team.barrier();
  }
}

}  // namespace

extern "C" {

// 1: plain loops, 2: AVX-512 VNNI
int seedbed_instructions() {
#ifdef SEEDBED_VNNI
  return 2;
#else
  return 1;
#endif
}

// What program.py must agree with: sizes, and where the last fields are.
void seedbed_layout(int64_t *out) {
  const int64_t layout[] = {sizeof(Op), offsetof(Op, adapters), sizeof(Segment), sizeof(Batch), offsetof(Batch, logsumexp),
                            sizeof(Adapter), sizeof(Routes)};
  std::copy(layout, layout + 7, out);
}

void seedbed_run(const Op *ops, int count, const Batch *batch) {
  const std::unique_ptr<Phase[]> phases(new Phase[2 * count]);  // an operation has one or two
#ifdef _OPENMP
#pragma omp parallel num_threads(batch->threads)
  execute(ops, count, *batch, Team{omp_get_thread_num(), omp_get_num_threads(), phases.get()});
#else
  execute(ops, count, *batch, Team{0, 1, phases.get()});
#endif
}
}
