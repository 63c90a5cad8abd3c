// Linear layers on tiles of weights: rows are quantized as the weights are, multiplied, scaled and put out.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include "layout.h"
#include "products.h"
#include "team.h"
#include "vectors.h"

namespace {

constexpr int STRIP = 8;    // tiles advanced together with one row
constexpr int FEW = 8;      // rows up to which weights are not taken in parts
constexpr int PART = 512;   // bytes of inputs of two tiles: 16 KiB, half of a first-level cache
constexpr int ROWS = 510;   // rows whose sums wait in scratch memory: whole blocks
static_assert(ROWS % MAX_MR == 0, "a block of rows must not be cut");

inline void put(const Op &op, int row, int tile, vec value) {
  int from = tile * TILE, count = std::min(TILE, op.n - from);
  float *out = op.target + (int64_t)row * op.out_stride + from;
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
        const float *x = op.source + row * op.in_stride;
        for (int i = 0; i < op.k; i++) out[(int64_t)i * block.size] = x[i];
      }
    });
  team.each((int64_t)rows * input.groups, 1, [&](int64_t from, int64_t to) {
    while (from < to) {  // the groups of one row
      const int row = from / input.groups, first = from % input.groups;
      const int last = std::min<int64_t>(input.groups, first + to - from);
      const Block block(row, rows);
      const int64_t at = (int64_t)block.start * input.groups + row - block.start;
      const float *x = op.source + (int64_t)row * op.in_stride;
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

}  // namespace
