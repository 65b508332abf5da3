/* SPDX-License-Identifier: MIT */
/* Halves, and values that a part beside the matrix scales, as f32; included by expand_impl.h. */
#ifndef UFM_KERNELS_EXPAND_SCALED_IMPL_H
#define UFM_KERNELS_EXPAND_SCALED_IMPL_H

static void expand_f16(const format_matrix *m, uint32_t row, uint32_t rows, uint32_t first,
                       uint32_t count, float *out)
{
	uint32_t whole = count / LANES * LANES;

	for (uint32_t r = 0; r < rows; r++, out += PIECE_STRIDE) {
		const uint8_t *bytes = m->data + (row + r) * m->row_bytes;
		const uint16_t *halves = (const uint16_t *)(const void *)bytes + first;
		for (uint32_t i = 0; i < whole; i += LANES)
			v_store(out + i, v_load_f16(halves + i));
		if (whole < count)
			v_store_part(out + whole, v_load_f16_part(halves + whole, count - whole),
			             count - whole);
	}
}

/* ------------------------------------------------------------------ scales */

/* No group is shorter than 16 columns, but for a last one. */
#define GROUPS_MAX (PIECE_MAX / 16)

/* The groups that the columns of a piece belong to, of one row. */
typedef struct piece_groups {
	uint32_t count, cols,
		first_cols; /* groups, columns of one, and of the first one in the piece */
	float scales[GROUPS_MAX], zeros[GROUPS_MAX];
	bool wide; /* all scales are finite with 2^8 times as much */
} piece_groups;

static inline void copy_bytes(uint8_t *to, const uint8_t *from, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		to[i] = from[i];
}

static inline vec load_e4m3_scales(const uint8_t *from, uint32_t count)
{
	uint8_t padded[2 * LANES] = {0};
	vec pair[2];

	copy_bytes(padded, from, count);
	v_e4m3_pair(padded, pair);
	return pair[0] * v_set(256.0f);
}

static inline vec load_e8m0_scales(const uint8_t *from, uint32_t count)
{
	uint8_t padded[16] = {0};

	copy_bytes(padded, from, count);
	return v_e8m0(padded);
}

static inline vec load_scales(const format_matrix *m, uint64_t at, uint32_t count)
{
	const void *data = m->scales;

	if (m->scale->format == UFM_FORMAT_E8M0)
		return load_e8m0_scales(m->scales + at, count);
	if (m->scale->format == UFM_FORMAT_E4M3)
		return load_e4m3_scales(m->scales + at, count);
	if (m->scale->dtype == UFM_BF16)
		return v_load_bf16_part((const uint16_t *)data + at, count);
	if (m->scale->dtype == UFM_F16)
		return v_load_f16_part((const uint16_t *)data + at, count);
	return v_load_part((const float *)data + at, count);
}

/* As format_scale and format_zero have them. */
static void read_groups(const format_matrix *m, uint64_t at, piece_groups *g)
{
	float zero = m->part->format == UFM_FORMAT_U4 ? 8.0f : 0.0f;

	for (uint32_t i = 0; i < g->count; i += LANES) {
		uint32_t n = g->count - i < LANES ? g->count - i : LANES;
		v_store_part(g->scales + i, load_scales(m, at + i, n) * v_set(m->factor), n);
	}
	g->wide = true;
	for (uint32_t i = 0; i < g->count; i++) {
		g->zeros[i] = m->zeros ? (float)m->zeros[at + i] : zero;
		g->wide &= __builtin_fabsf(g->scales[i]) < 0x1p119f;
	}
}

/* ------------------------------------------------------------------ values */

/* Elements i … end-1 of a piece, all of one group, whose bytes begin at `bytes`. */
typedef void (*group_fn)(const uint8_t *bytes, uint32_t i, uint32_t end, vec zero, vec scale,
                         float *out);

static inline void e4m3_group(const uint8_t *bytes, uint32_t i, uint32_t end, vec zero, vec scale,
                              float *out)
{
	vec pair[2], wider = scale * v_set(256.0f);

	(void)zero;
	for (; i + 2 * LANES <= end; i += 2 * LANES) {
		v_e4m3_pair(bytes + i, pair);
		v_store(out + i, pair[0] * wider);
		v_store(out + i + LANES, pair[1] * wider);
	}
	if (i < end) {
		uint8_t padded[2 * LANES] = {0};
		uint32_t low = end - i < LANES ? end - i : LANES;
		copy_bytes(padded, bytes + i, end - i);
		v_e4m3_pair(padded, pair);
		v_store_part(out + i, pair[0] * wider, low);
		v_store_part(out + i + low, pair[1] * wider, end - i - low);
	}
}

static inline void e2m1_group(const uint8_t *bytes, uint32_t i, uint32_t end, vec zero, vec scale,
                              float *out)
{
	uint8_t padded[LANES / 2] = {0};

	(void)zero;
	for (; i + LANES <= end; i += LANES)
		v_store(out + i, v_e2m1(bytes + i / 2, scale));
	if (i < end) {
		copy_bytes(padded, bytes + i / 2, (end - i) / 2);
		v_store_part(out + i, v_e2m1(padded, scale), end - i);
	}
}

static inline void u4_group(const uint8_t *bytes, uint32_t i, uint32_t end, vec zero, vec scale,
                            float *out)
{
	uint8_t padded[LANES / 2] = {0};

	for (; i + LANES <= end; i += LANES)
		v_store(out + i, v_u4(bytes + i / 2, zero, scale));
	if (i < end) {
		copy_bytes(padded, bytes + i / 2, (end - i) / 2);
		v_store_part(out + i, v_u4(padded, zero, scale), end - i);
	}
}

static ALWAYS_INLINE void expand_groups(const piece_groups *g, const uint8_t *bytes, uint32_t count,
                                        group_fn expand, float *out)
{
	uint32_t left = g->first_cols;

	for (uint32_t i = 0, at = 0; i < count; at++, left = g->cols) {
		uint32_t end = left < count - i ? i + left : count;
		expand(bytes, i, end, v_set(g->zeros[at]), v_set(g->scales[at]), out);
		i = end;
	}
}

/* `per_byte`: elements of a byte. `narrow`: scales must be of a usual size, or the definition is followed. */
static ALWAYS_INLINE void expand_scaled_rows(const format_matrix *m, uint32_t row, uint32_t rows,
                                             uint32_t first, uint32_t count, float *out,
                                             uint32_t per_byte, bool narrow, group_fn expand)
{
	uint32_t cols = m->part->group_cols, group = first / cols, known = UINT32_MAX;
	piece_groups g = {.count = (first + count - 1) / cols - group + 1,
	                  .cols = cols,
	                  .first_cols = cols - first % cols};

	for (uint32_t r = row; r < row + rows; r++, out += PIECE_STRIDE) {
		uint32_t group_row = r / m->part->group_rows;
		if (group_row != known)
			read_groups(m, (uint64_t)group_row * m->scale->cols + group, &g);
		known = group_row;
		if (narrow && !g.wide)
			format_expand(m, r, first, count, out);
		else
			expand_groups(&g, m->data + r * m->row_bytes + first / per_byte, count, expand, out);
	}
}

static void expand_e4m3(const format_matrix *m, uint32_t row, uint32_t rows, uint32_t first,
                        uint32_t count, float *out)
{
	expand_scaled_rows(m, row, rows, first, count, out, 1, true, e4m3_group);
}

static void expand_e2m1(const format_matrix *m, uint32_t row, uint32_t rows, uint32_t first,
                        uint32_t count, float *out)
{
	expand_scaled_rows(m, row, rows, first, count, out, 2, false, e2m1_group);
}

static void expand_u4(const format_matrix *m, uint32_t row, uint32_t rows, uint32_t first,
                      uint32_t count, float *out)
{
	expand_scaled_rows(m, row, rows, first, count, out, 2, false, u4_group);
}

#endif
