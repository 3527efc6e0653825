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

/* scores[r][b] = q[r] · K[:, b] for one block and `rows` rows, 16 keys at a time. */
INLINE void scores_rows(const Attention *a, const Tile *t, int first, int rows, int64_t head,
                        float scores[TILE][MAX_BLOCK], int is_bf16) {
    for (int64_t b = 0; b < a->block; b += LANES) {
        vec acc[4];
        for (int r = 0; r < rows; r++) acc[r] = (vec){0};
        for (int64_t d = 0; d < a->dim; d++) {
            vec k = load_kv(a->keys, head + d * a->block + b, is_bf16);
            for (int r = 0; r < rows; r++) acc[r] += t->q[first + r][d] * k;
        }
        for (int r = 0; r < rows; r++) store(&scores[first + r][b], acc[r] * a->scale);
    }
}

/* acc[r] = acc[r] · shrink[r] + sum over keys of weight · V[key]. */
INLINE void mix_rows(const Attention *a, Tile *t, int first, int rows, int64_t head, int64_t keys,
                     float weights[TILE][MAX_BLOCK], const float *shrink, int is_bf16) {
    for (int64_t d = 0; d < a->dim; d += LANES) {
        vec acc[4];
        for (int r = 0; r < rows; r++) acc[r] = load(&t->acc[first + r][d]) * shrink[first + r];
        for (int64_t b = 0; b < keys; b++) {
            vec v = load_kv(a->values, head + b * a->dim + d, is_bf16);
            for (int r = 0; r < rows; r++) acc[r] += weights[first + r][b] * v;
        }
        for (int r = 0; r < rows; r++) store(&t->acc[first + r][d], acc[r]);
    }
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
    vec high = load(scores);
    for (int64_t b = LANES; b < a->block; b += LANES) {
        vec v = load(scores + b);
        high = pick(v > high, v, high);
    }
    float peak = largest(high);
    if (peak < t->peak[r]) peak = t->peak[r];
    vec total = {0};
    for (int64_t b = 0; b < a->block; b += LANES) {
        vec s = load(scores + b);
        vec w = pick(s == -INFINITY, (vec){0}, vexp(s - peak));
        total += w;
        store(scores + b, w);
    }
    float shrink = t->peak[r] == -INFINITY ? 0.0f : expf(t->peak[r] - peak);
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
