/* What encoders add: attention without a cache, layer norm, GELU, and what follows attention in one
 * pass (packed_attention.py, add_norm.py, gated_activation.py, post_norm_block.py). Sums of one
 * token's row run in a fixed order, whatever its batch. */
#include <math.h>

#include "gemm.h"
#include "threads.h"
#include "vector.h"

#define ROWS 8 /* query rows of one tile */

typedef struct {
    const float *q, *k, *v;
    float *out;
    const int32_t *start;
    int64_t heads, dim, stride, window, longest;
    float scale;
} Packed;

typedef struct {
    const float *q[ROWS];
    int64_t row[ROWS];
} Tile;

INLINE int64_t vectors_of(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

/* scores[r][b .. b + 16 wide] = scale · q[r] · K[:, b]; `keys` is [D, length]. */
INLINE void scores_part(const Packed *a, const Tile *t, const float *keys, int64_t length,
                        int64_t b, int wide, float *scores) {
    vec acc[ROWS][2];
    for (int r = 0; r < ROWS; r++)
        for (int w = 0; w < wide; w++) acc[r][w] = (vec){0};
    for (int64_t d = 0; d < a->dim; d++) {
        vec key[2];
        for (int w = 0; w < wide; w++) key[w] = load(keys + d * length + b + w * LANES);
        for (int r = 0; r < ROWS; r++)
            for (int w = 0; w < wide; w++) acc[r][w] += t->q[r][d] * key[w];
    }
    for (int r = 0; r < ROWS; r++)
        for (int w = 0; w < wide; w++)
            store(scores + r * length + b + w * LANES, acc[r][w] * a->scale);
}

/* out[r][d .. d + 16 wide] = sum over keys of weight · V[key], times the row's share. */
INLINE void mix_part(const Packed *a, const float *v, int64_t from, int64_t to, int64_t length,
                     int64_t d, int wide, const float *weights, const float *shares, int rows,
                     float *out) {
    vec acc[ROWS][2];
    for (int r = 0; r < ROWS; r++)
        for (int w = 0; w < wide; w++) acc[r][w] = (vec){0};
    for (int64_t key = from; key < to; key++) {
        vec value[2];
        for (int w = 0; w < wide; w++) value[w] = load(v + key * a->stride + d + w * LANES);
        for (int r = 0; r < ROWS; r++)
            for (int w = 0; w < wide; w++) acc[r][w] += weights[r * length + key] * value[w];
    }
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide; w++)
            store(out + r * a->heads * a->dim + d + w * LANES, acc[r][w] * shares[r]);
}

/* Turns scores of keys from … to into weights and returns their sum. Keys that the row does not see
 * weigh next to nothing: e^-87, far below the rounding of the sum. */
INLINE float soften(const Packed *a, int64_t row, int64_t from, int64_t to, float *scores) {
    const ivec lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const int64_t low = a->window && row > a->window ? row - a->window : 0;
    const int64_t high = a->window && row + a->window + 1 < to ? row + a->window + 1 : to;
    vec peaks = splat(-INFINITY), total = {0};
    for (int64_t b = from; b < to; b += LANES) {
        vec s = load(scores + b);
        if (b < low || b + LANES > high) {
            ivec seen = (lane >= (int32_t)(low - b)) & (lane < (int32_t)(high - b));
            s = pick(seen, s, splat(-INFINITY));
            store(scores + b, s);
        }
        peaks = higher(peaks, s);
    }
    const float peak = largest(peaks);
    for (int64_t b = from; b < to; b += LANES) {
        vec weight = vexp(load(scores + b) - peak);
        total += weight;
        store(scores + b, weight);
    }
    return sum(total);
}

static void attend_head(const Packed *a, int64_t s, int64_t head, float *keys, float *scores) {
    const int64_t start = a->start[s], tokens = a->start[s + 1] - start, dim = a->dim;
    const int64_t length = vectors_of(tokens), first = start * a->stride + head * dim;
    for (int64_t b = 0; b < length; b++)
        for (int64_t d = 0; d < dim; d++)
            keys[d * length + b] = b < tokens ? a->k[first + b * a->stride + d] : 0.0f;
    for (int64_t row = 0; row < tokens; row += ROWS) {
        const int rows = tokens - row < ROWS ? (int)(tokens - row) : ROWS;
        Tile t;
        for (int r = 0; r < ROWS; r++) { /* a short tile repeats its last row */
            t.row[r] = row + (r < rows ? r : rows - 1);
            t.q[r] = a->q + first + t.row[r] * a->stride;
        }
        int64_t from = 0, to = tokens;
        if (a->window) {
            if (row > a->window) from = (row - a->window) / LANES * LANES;
            if (row + rows + a->window < tokens) to = row + rows + a->window;
        }
        int64_t b = from;
        for (; b + LANES < to; b += 2 * LANES) {
            if (b + 2 * LANES <= length) scores_part(a, &t, keys, length, b, 2, scores);
            else break;
        }
        for (; b < to; b += LANES) scores_part(a, &t, keys, length, b, 1, scores);
        float shares[ROWS];
        for (int r = 0; r < ROWS; r++)
            shares[r] = 1.0f / soften(a, t.row[r], from, to, scores + r * length);
        float *out = a->out + ((start + row) * a->heads + head) * dim;
        const float *v = a->v + first;
        int64_t d = 0;
        for (; d + 2 * LANES <= dim; d += 2 * LANES)
            mix_part(a, v, from, to, length, d, 2, scores, shares, rows, out);
        if (d < dim) mix_part(a, v, from, to, length, d, 1, scores, shares, rows, out);
    }
}

static void attend_range(void *arg, int64_t from, int64_t to) {
    const Packed *a = arg;
    const int64_t length = vectors_of(a->longest);
    float *keys = thread_scratch(length * (a->dim + ROWS));
    for (int64_t i = from; i < to; i++)
        attend_head(a, i / a->heads, i % a->heads, keys, keys + length * a->dim);
}

/* q, k and v are rows of one matrix, `stride` floats apart. */
EXPORT void pagoda_packed_attention(const float *q, const float *k, const float *v, float *out,
                                    const int32_t *start, int64_t sequences, int64_t heads,
                                    int64_t dim, int64_t stride, int64_t window, int64_t longest,
                                    float scale) {
    Packed a = {q, k, v, out, start, heads, dim, stride, window, longest, scale};
    parallel(sequences * heads, attend_range, &a);
}

typedef struct {
    const float *x, *weight, *bias;
    float *residual, *out;
    int64_t width;
    float eps;
} LayerNorm;

/* residual += x; out = its norm. `out` may be `residual`. */
static void layer_norm_row(const LayerNorm *a, const float *x, float *residual, float *out) {
    const int64_t n = a->width, whole = n / LANES * LANES;
    if (x) {
        for (int64_t i = 0; i < whole; i += LANES)
            store(residual + i, load(residual + i) + load(x + i));
        for (int64_t i = whole; i < n; i++) residual[i] += x[i];
    }
    vec sums = {0}, squares = {0};
    float total = 0, spread = 0;
    for (int64_t i = 0; i < whole; i += LANES) sums += load(residual + i);
    for (int64_t i = whole; i < n; i++) total += residual[i];
    const float mean = (total + sum(sums)) / (float)n;
    for (int64_t i = 0; i < whole; i += LANES) {
        vec off = load(residual + i) - mean;
        squares += off * off;
    }
    for (int64_t i = whole; i < n; i++) spread += (residual[i] - mean) * (residual[i] - mean);
    const float scale = 1.0f / sqrtf((spread + sum(squares)) / (float)n + a->eps);
    for (int64_t i = 0; i < whole; i += LANES) {
        vec bias = a->bias ? load(a->bias + i) : (vec){0};
        store(out + i, (load(residual + i) - mean) * scale * load(a->weight + i) + bias);
    }
    for (int64_t i = whole; i < n; i++)
        out[i] = (residual[i] - mean) * scale * a->weight[i] + (a->bias ? a->bias[i] : 0.0f);
}

static void layer_norm_rows(void *arg, int64_t from, int64_t to) {
    const LayerNorm *a = arg;
    for (int64_t at = from * a->width; at < to * a->width; at += a->width)
        layer_norm_row(a, a->x ? a->x + at : 0, a->residual + at, a->out + at);
}

EXPORT void pagoda_add_layer_norm(const float *x, float *residual, const float *weight,
                                  const float *bias, float *out, int64_t rows, int64_t width,
                                  float eps) {
    LayerNorm a = {x, weight, bias, residual, out, width, eps};
    parallel(rows, layer_norm_rows, &a);
}

typedef struct {
    const float *x;
    float *out;
    int64_t width;
    int gated;
} Gelu;

static void gelu_rows(void *arg, int64_t from, int64_t to) {
    const Gelu *a = arg;
    for (int64_t t = from; t < to; t++) {
        const float *x = a->x + t * a->width * (a->gated ? 2 : 1);
        float *out = a->out + t * a->width;
        for (int64_t i = 0; i < a->width; i += LANES) {
            float part[LANES], gate[LANES];
            const int64_t left = a->width - i < LANES ? a->width - i : LANES;
            vec value, factor = splat(1.0f);
            if (left == LANES) {
                value = load(x + i);
                if (a->gated) factor = load(x + a->width + i);
                store(out + i, vgelu(value) * factor);
                continue;
            }
            memset(part, 0, sizeof part), memset(gate, 0, sizeof gate);
            memcpy(part, x + i, sizeof(float) * left);
            if (a->gated) memcpy(gate, x + a->width + i, sizeof(float) * left);
            value = vgelu(load(part)) * (a->gated ? load(gate) : factor);
            store(part, value);
            memcpy(out + i, part, sizeof(float) * left);
        }
    }
}

/* out = gelu(x), or gelu(first half) · second half of each row. */
EXPORT void pagoda_gelu(const float *x, float *out, int64_t rows, int64_t width, int64_t gated) {
    Gelu a = {x, out, width, (int)gated};
    parallel(rows, gelu_rows, &a);
}

typedef struct {
    Gemm o, up, down; /* a block of rows fills in x, y and rows */
    LayerNorm first, second;
    const float *mixed;
    float *hidden;
} Block;

static void block_rows(void *arg, int64_t from, int64_t to) {
    const Block *a = arg;
    const int64_t width = a->o.num_out, wide = a->up.num_out, is_split = a->o.kind == SPLIT;
    const int64_t most = is_split ? AMX_ROWS : BLOCK_ROWS, blocks = (to - from + most - 1) / most;
    const int64_t words = is_split ? amx_words(most, wide) : most * wide;
    float *middle = thread_scratch(words + most * width + is_split * amx_words(most, width));
    float *delta = middle + words;
    uint32_t *parts = (uint32_t *)(delta + most * width);
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t row = from + (to - from) * b / blocks;
        const int64_t rows = from + (to - from) * (b + 1) / blocks - row;
        float *hidden = a->hidden + row * width;
        Gemm o = a->o, up = a->up, down = a->down;
        LayerNorm first = a->first, second = a->second;
        Gelu gelu = {middle, middle, wide, 0};
        o.rows = up.rows = down.rows = rows;
        o.x = a->mixed + row * width, up.x = hidden, down.x = middle;
        o.y = down.y = delta, up.y = middle;
        if (is_split) {
            o.parts = up.parts = parts;
            up.gelu = down.parts = (uint32_t *)middle, down.x = 0;
        }
        first.x = second.x = delta;
        first.residual = first.out = second.residual = second.out = hidden;
        gemm_rows(&o);
        layer_norm_rows(&first, 0, rows);
        gemm_rows(&up);
        if (!is_split) gelu_rows(&gelu, 0, rows);
        gemm_rows(&down);
        layer_norm_rows(&second, 0, rows);
    }
}

/* hidden = norm(hidden + o(mixed)), then hidden = norm(hidden + down(gelu(up(hidden)))). */
EXPORT void pagoda_post_norm_block(const float *mixed, float *hidden, const void *o,
                                   const float *o_bias, const void *up, const float *up_bias,
                                   const void *down, const float *down_bias,
                                   const float *first_weight, const float *first_bias,
                                   const float *second_weight, const float *second_bias,
                                   int64_t rows, int64_t width, int64_t wide, int64_t kind,
                                   float eps) {
    Block a = {
        .o = {0, o, o_bias, 0, 0, width, width, width, up, (int)kind, 0, 0},
        .up = {0, up, up_bias, 0, 0, width, wide, width, down, (int)kind, 0, 0},
        .down = {0, down, down_bias, 0, 0, wide, width, wide, o, (int)kind, 0, 0},
        .first = {0, first_weight, first_bias, 0, 0, width, eps},
        .second = {0, second_weight, second_bias, 0, 0, width, eps},
        .mixed = mixed, .hidden = hidden,
    };
    parallel(rows, block_rows, &a);
}
