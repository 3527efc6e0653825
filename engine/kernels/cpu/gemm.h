/* y = x W^T + b for one thread's share; see packed_gemm.py for the layouts of W. */
#ifndef PAGODA_GEMM_H
#define PAGODA_GEMM_H

#include <stdint.h>

#define BLOCK_ROWS 96 /* rows whose activations are worked on in the second cache */
#define AMX_ROWS 192  /* the same with AMX, which needs each panel for less time */

enum { FLOAT32, BFLOAT16, SPLIT }; /* SPLIT: float32 as two bfloat16 parts, for AMX only */

typedef struct {
    const float *x; /* [rows, stride_x], or words of pairs when both sides are bfloat16; with AMX 0
                     * where `parts` is filled already */
    const uint32_t *panels; /* of any alignment */
    const float *bias;
    float *y; /* [rows, num_out] */
    int64_t rows, num_in, num_out, stride_x;
    const uint32_t *next; /* weights that are needed after these, or 0 */
    int kind;
    uint32_t *parts; /* with AMX: where x in parts lies, amx_words() of them */
    uint32_t *gelu; /* SPLIT: where gelu(y) goes, in parts, instead of y; or 0 */
} Gemm;

/* Words of four bytes in one panel of W. */
int64_t panel_words(int kind, int64_t num_in);

/* All rows by all FLOAT32 or SPLIT panels, in the calling thread. */
void gemm_rows(const Gemm *g);

/* Whether this process may use AMX. If not, nothing below does anything. */
int amx_ready(void);

/* Words that `rows` of x take in parts. */
int64_t amx_words(int64_t rows, int64_t num_in);

/* Fills rows 16 from … 16 to - 1 of `parts`. */
void amx_split(const Gemm *g, int64_t from, int64_t to);

/* All rows by panels from … to - 1, BFLOAT16 or SPLIT. */
void amx_panels(const Gemm *g, int64_t from, int64_t to);

#endif
