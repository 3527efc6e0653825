/* Causal attention over a block table (engine/kernels/paged_attention.py), online softmax.
 *
 * K memory is [N, G, D, B], V memory [N, G, B, D]. One work item is (sequence, kv head, tile of
 * query rows); the rows of a tile are tokens × the query heads that share the kv head. Each row
 * meets the same blocks in the same order with the same sums, however tiles are cut. */
#include <math.h>

#include "threads.h"
#include "vector.h"

#define TILE 8 /* query rows of one work item */
#define MAX_BLOCK 128
#define MAX_DIM 512

typedef struct {
    const float *q;
    float *out;
    const void *keys, *values;
    const int32_t *q_start, *seq_len, *table;
    int64_t sequences, stride_q, table_width, q_heads, kv_heads, dim, block, window;
    float scale;
    int is_bf16;
} Attention;

INLINE vec load_kv(const void *cache, int64_t index, int is_bf16) {
    return is_bf16 ? load_bf16((const uint16_t *)cache + index) : load((const float *)cache + index);
}

typedef struct {
    const float *q[TILE];
    float *out[TILE];
    int64_t position[TILE];
    float peak[TILE], total[TILE], acc[TILE][MAX_DIM];
    int rows;
} Tile;

/* Scores of `rows` rows and `wide` vectors of keys from key b on: q[r] · K[:, b]. Even and odd
 * dimensions are summed apart, which keeps twice as many sums in flight. */
INLINE void scores_part(const Attention *a, const Tile *t, int first, int rows, int64_t b, int wide,
                        int64_t head, float scores[TILE][MAX_BLOCK], int is_bf16) {
    vec even[4][2], odd[4][2];
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide; w++) even[r][w] = odd[r][w] = (vec){0};
    for (int64_t d = 0; d < a->dim; d += 2) {
        for (int w = 0; w < wide; w++) {
            int64_t at = head + d * a->block + b + w * LANES;
            vec k0 = load_kv(a->keys, at, is_bf16), k1 = load_kv(a->keys, at + a->block, is_bf16);
            for (int r = 0; r < rows; r++) {
                even[r][w] += t->q[first + r][d] * k0;
                odd[r][w] += t->q[first + r][d + 1] * k1;
            }
        }
    }
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide; w++)
            store(&scores[first + r][b + w * LANES], (even[r][w] + odd[r][w]) * a->scale);
}

INLINE void scores_rows(const Attention *a, const Tile *t, int first, int rows, int64_t head,
                        float scores[TILE][MAX_BLOCK], int is_bf16) {
    int64_t b = 0;
    for (; b + 2 * LANES <= a->block; b += 2 * LANES)
        scores_part(a, t, first, rows, b, 2, head, scores, is_bf16);
    if (b < a->block) scores_part(a, t, first, rows, b, 1, head, scores, is_bf16);
}

/* acc[r] = acc[r] · shrink[r] + sum over keys of weight · V[key], `wide` vectors from d on; even
 * and odd keys are summed apart. */
INLINE void mix_part(const Attention *a, Tile *t, int first, int rows, int64_t d, int wide,
                     int64_t head, int64_t keys, float weights[TILE][MAX_BLOCK],
                     const float *shrink, int is_bf16) {
    vec even[4][2], odd[4][2];
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide; w++) {
            even[r][w] = load(&t->acc[first + r][d + w * LANES]) * shrink[first + r];
            odd[r][w] = (vec){0};
        }
    for (int64_t b = 0; b + 1 < keys; b += 2) {
        for (int w = 0; w < wide; w++) {
            int64_t at = head + b * a->dim + d + w * LANES;
            vec v0 = load_kv(a->values, at, is_bf16), v1 = load_kv(a->values, at + a->dim, is_bf16);
            for (int r = 0; r < rows; r++) {
                even[r][w] += weights[first + r][b] * v0;
                odd[r][w] += weights[first + r][b + 1] * v1;
            }
        }
    }
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide; w++) {
            if (keys & 1) {
                int64_t at = head + (keys - 1) * a->dim + d + w * LANES;
                even[r][w] += weights[first + r][keys - 1] * load_kv(a->values, at, is_bf16);
            }
            store(&t->acc[first + r][d + w * LANES], even[r][w] + odd[r][w]);
        }
}

INLINE void mix_rows(const Attention *a, Tile *t, int first, int rows, int64_t head, int64_t keys,
                     float weights[TILE][MAX_BLOCK], const float *shrink, int is_bf16) {
    int64_t d = 0;
    for (; d + 2 * LANES <= a->dim; d += 2 * LANES)
        mix_part(a, t, first, rows, d, 2, head, keys, weights, shrink, is_bf16);
    if (d < a->dim) mix_part(a, t, first, rows, d, 1, head, keys, weights, shrink, is_bf16);
}

/* Masked softmax weights of one row and block; returns the factor for what is already summed. */
INLINE float soften(const Attention *a, Tile *t, int r, int64_t start, float *scores) {
    int64_t last = t->position[r] - start; /* last visible key of the block */
    int64_t first = a->window ? t->position[r] - a->window + 1 - start : 0;
    if (first < 0) first = 0;
    if (last >= a->block) last = a->block - 1;
    if (last < first) {
        memset(scores, 0, sizeof(float) * a->block);
        return 1.0f;
    }
    for (int64_t b = 0; b < first; b++) scores[b] = -INFINITY;
    for (int64_t b = last + 1; b < a->block; b++) scores[b] = -INFINITY;
    vec high = load(scores); /* masked keys stay below every other one */
    for (int64_t b = LANES; b < a->block; b += LANES) high = higher(high, load(scores + b));
    float peak = largest(high);
    if (peak < t->peak[r]) peak = t->peak[r];
    vec total = {0};
    for (int64_t b = 0; b < a->block; b += LANES) {
        vec s = load(scores + b);
        vec w = pick(s == -INFINITY, (vec){0}, vexp(s - peak));
        total += w;
        store(scores + b, w);
    }
    float shrink = t->peak[r] == peak ? 1.0f : expf(t->peak[r] - peak); /* 0 at first */
    t->total[r] = t->total[r] * shrink + sum(total);
    t->peak[r] = peak;
    return shrink;
}

INLINE void attend_tile(const Attention *a, Tile *t, const int32_t *table, int64_t kv, int is_bf16) {
    int64_t low = t->position[0], high = t->position[0];
    for (int r = 0; r < t->rows; r++) {
        t->peak[r] = -INFINITY, t->total[r] = 0;
        memset(t->acc[r], 0, sizeof(float) * a->dim);
        if (t->position[r] > high) high = t->position[r];
        if (t->position[r] < low) low = t->position[r];
    }
    int64_t from = a->window && low >= a->window ? (low - a->window + 1) / a->block : 0;
    float scores[TILE][MAX_BLOCK], shrink[TILE];
    for (int64_t i = from; i <= high / a->block; i++) {
        int64_t head = ((int64_t)table[i] * a->kv_heads + kv) * a->dim * a->block;
        int64_t keys = high - i * a->block + 1;
        if (keys > a->block) keys = a->block;
        int r = 0;
        for (; r + 4 <= t->rows; r += 4) scores_rows(a, t, r, 4, head, scores, is_bf16);
        for (; r + 2 <= t->rows; r += 2) scores_rows(a, t, r, 2, head, scores, is_bf16);
        for (; r < t->rows; r++) scores_rows(a, t, r, 1, head, scores, is_bf16);
        for (r = 0; r < t->rows; r++) shrink[r] = soften(a, t, r, i * a->block, scores[r]);
        r = 0;
        for (; r + 4 <= t->rows; r += 4) mix_rows(a, t, r, 4, head, keys, scores, shrink, is_bf16);
        for (; r + 2 <= t->rows; r += 2) mix_rows(a, t, r, 2, head, keys, scores, shrink, is_bf16);
        for (; r < t->rows; r++) mix_rows(a, t, r, 1, head, keys, scores, shrink, is_bf16);
    }
    for (int r = 0; r < t->rows; r++)
        for (int64_t d = 0; d < a->dim; d++) t->out[r][d] = t->acc[r][d] / t->total[r];
}

/* Rows of one sequence and kv head in token order, the heads of a token side by side. */
static void attend_sequence(const Attention *a, int64_t s, int64_t kv) {
    const int64_t group = a->q_heads / a->kv_heads, start = a->q_start[s];
    const int64_t tokens = a->q_start[s + 1] - start, before = a->seq_len[s] - tokens;
    const int32_t *table = a->table + s * a->table_width;
    Tile t;
    for (int64_t row = 0; row < tokens * group; row += TILE) {
        t.rows = tokens * group - row < TILE ? (int)(tokens * group - row) : TILE;
        for (int r = 0; r < t.rows; r++) {
            int64_t token = (row + r) / group, head = kv * group + (row + r) % group;
            t.position[r] = before + token;
            t.q[r] = a->q + (start + token) * a->stride_q + head * a->dim;
            t.out[r] = a->out + ((start + token) * a->q_heads + head) * a->dim;
        }
        if (a->is_bf16) attend_tile(a, &t, table, kv, 1);
        else attend_tile(a, &t, table, kv, 0);
    }
}

static void attend_range(void *arg, int64_t from, int64_t to) {
    const Attention *a = arg;
    for (int64_t i = from; i < to; i++) attend_sequence(a, i / a->kv_heads, i % a->kv_heads);
}

EXPORT void pagoda_attention(const float *q, float *out, const void *keys, const void *values,
                             const int32_t *q_start, const int32_t *seq_len, const int32_t *table,
                             int64_t sequences, int64_t stride_q, int64_t table_width,
                             int64_t q_heads, int64_t kv_heads, int64_t dim, int64_t block,
                             int64_t window, float scale, int64_t is_bf16) {
    Attention a = {q, out, keys, values, q_start, seq_len, table, sequences, stride_q, table_width,
                   q_heads, kv_heads, dim, block, window, scale, (int)is_bf16};
    parallel(sequences * kv_heads, attend_range, &a);
}
