/* y = x W^T + b on packed panels (engine/kernels/packed_gemm.py). Each output is one chain of
 * fused multiply-adds over k, whatever the tile, so that a row does not depend on its batch. */
#include "threads.h"
#include "vector.h"

typedef struct {
    const float *x;
    const void *panels;
    const float *bias;
    float *y;
    int64_t rows, num_in, num_out, stride_x;
    int is_bf16;
} Gemm;

INLINE void load_pair(const char *panel, int64_t k, int is_bf16, vec *low, vec *high) {
    if (is_bf16) { /* low half: column j; high half: column j + 16 */
        uvec pair;
        memcpy(&pair, panel + k * PANEL * 2, sizeof pair);
        *low = bits_to_vec(pair << 16);
        *high = bits_to_vec(pair & 0xffff0000u);
    } else {
        const float *p = (const float *)panel + k * PANEL;
        *low = load(p);
        *high = load(p + LANES);
    }
}

INLINE void store_columns(float *y, vec v, int64_t count) {
    if (count >= LANES) store(y, v);
    else
        for (int64_t i = 0; i < count; i++) y[i] = v[i];
}

/* One tile: `rows` rows of x by `panels` panels of 32 columns; both known when compiled. */
INLINE void tile(const Gemm *g, int64_t row, int64_t panel, int rows, int panels, int is_bf16) {
    const int64_t bytes = g->num_in * PANEL * (is_bf16 ? 2 : 4);
    const char *w = (const char *)g->panels + panel * bytes;
    const float *x = g->x + row * g->stride_x;
    vec acc[12][8];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < 2 * panels; c++) acc[r][c] = (vec){0};
    for (int64_t k = 0; k < g->num_in; k++) {
        vec wide[8];
        for (int p = 0; p < panels; p++)
            load_pair(w + p * bytes, k, is_bf16, &wide[2 * p], &wide[2 * p + 1]);
        for (int r = 0; r < rows; r++) {
            vec b = splat(x[r * g->stride_x + k]);
            for (int c = 0; c < 2 * panels; c++) acc[r][c] += b * wide[c];
        }
    }
    for (int c = 0; c < 2 * panels; c++) {
        int64_t column = panel * PANEL + c * LANES, left = g->num_out - column;
        if (left <= 0) break;
        for (int r = 0; r < rows; r++) {
            vec v = acc[r][c];
            if (g->bias) {
                float bias[LANES] = {0};
                memcpy(bias, g->bias + column, 4 * (left < LANES ? left : LANES));
                v += load(bias);
            }
            store_columns(g->y + (row + r) * g->num_out + column, v, left);
        }
    }
}

#define TILE_CASE(n) case n: tile(g, row, panel, n, 1, is_bf16); break;

INLINE void rows_of_panel(const Gemm *g, int64_t panel, int64_t row, int is_bf16) {
    while (row < g->rows) {
        int64_t left = g->rows - row;
        int take = left < MAX_ROWS ? (int)left : MAX_ROWS;
        switch (take) {
            TILE_CASE(1) TILE_CASE(2)
#if MAX_ROWS > 2
            TILE_CASE(3) TILE_CASE(4) TILE_CASE(5) TILE_CASE(6) TILE_CASE(7)
            TILE_CASE(8) TILE_CASE(9) TILE_CASE(10) TILE_CASE(11) TILE_CASE(12)
#endif
        }
        row += take;
    }
}

/* Few rows: several panels at once keep enough independent sums in flight. */
INLINE void panels_range(const Gemm *g, int64_t from, int64_t to, int is_bf16) {
    int64_t panel = from;
#if MAX_ROWS > 2
    if (g->rows == 1)
        for (; panel + 4 <= to; panel += 4) tile(g, 0, panel, 1, 4, is_bf16);
    else if (g->rows == 2)
        for (; panel + 4 <= to; panel += 4) tile(g, 0, panel, 2, 4, is_bf16);
    else if (g->rows == 3)
        for (; panel + 2 <= to; panel += 2) tile(g, 0, panel, 3, 2, is_bf16);
    else if (g->rows == 4)
        for (; panel + 2 <= to; panel += 2) tile(g, 0, panel, 4, 2, is_bf16);
#endif
    for (; panel < to; panel++) rows_of_panel(g, panel, 0, is_bf16);
}

static void work_bf16(void *arg, int64_t from, int64_t to) { panels_range(arg, from, to, 1); }
static void work_f32(void *arg, int64_t from, int64_t to) { panels_range(arg, from, to, 0); }

EXPORT void pagoda_gemm(const float *x, const void *panels, const float *bias, float *y,
                        int64_t rows, int64_t num_in, int64_t num_out, int64_t stride_x,
                        int64_t is_bf16) {
    Gemm g = {x, panels, bias, y, rows, num_in, num_out, stride_x, (int)is_bf16};
    parallel((num_out + PANEL - 1) / PANEL, is_bf16 ? work_bf16 : work_f32, &g);
}
