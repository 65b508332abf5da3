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
	uint32_t first, count;     /* groups of a row */
	uint32_t cols, first_cols; /* of a group, and of the first one in the piece */
	float scales[GROUPS_MAX], zeros[GROUPS_MAX];
	bool wide; /* 2^8 times every scale is a number */
} piece_groups;

static inline void copy_bytes(uint8_t *to, const uint8_t *from, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		to[i] = from[i];
}

static inline vec load_scales(const format_matrix *m, uint64_t at, uint32_t count)
{
	const void *data = m->scales;

	if (m->scale->format == UFM_FORMAT_E8M0)
		return v_e8m0_part(m->scales + at, count);
	if (m->scale->format == UFM_FORMAT_E4M3)
		return v_e4m3_part(m->scales + at, count) * v_set(256.0f);
	if (m->scale->dtype == UFM_BF16)
		return v_load_bf16_part((const uint16_t *)data + at, count);
	if (m->scale->dtype == UFM_F16)
		return v_load_f16_part((const uint16_t *)data + at, count);
	return v_load_part((const float *)data + at, count);
}

static inline vec load_zeros(const format_matrix *m, uint64_t at, uint32_t count)
{
	if (m->zeros)
		return v_u8_part(m->zeros + at, count);
	return v_set(m->part->format == UFM_FORMAT_U4 ? 8.0f : 0.0f);
}

/* The row of groups that a row is in: to divide by 1, as is usual, costs as much as the rest. */
static inline uint32_t group_row_of(const format_matrix *m, uint32_t row)
{
	uint32_t rows = m->part->group_rows;

	return rows == 1 ? row : row / rows;
}

/* As format_scale and format_zero have them. */
static ALWAYS_INLINE void read_groups(const format_matrix *m, uint32_t row, piece_groups *g)
{
	uint64_t at = (uint64_t)group_row_of(m, row) * m->scale->cols + g->first;
	const vec most = v_set(0x1p119f);

	g->wide = true;
	for (uint32_t i = 0; i < g->count; i += LANES) {
		uint32_t n = g->count - i < LANES ? g->count - i : LANES;
		vec scales = load_scales(m, at + i, n) * v_set(m->factor);
		v_store(g->scales + i, scales);
		v_store(g->zeros + i, load_zeros(m, at + i, n));
		g->wide = g->wide && v_all_less(v_abs(scales), most);
	}
}

/* ------------------------------------------------------------------ values */

/* Elements i … end-1 of a piece, all of one group, whose bytes begin at `bytes`. */
typedef void (*group_fn)(const uint8_t *bytes, uint32_t i, uint32_t end, vec zero, vec scale,
                         float *out);

/* 2 * LANES elements. Products with the scale are rounded once: where 2^8 times the scale is a number (`wide`) they are
 * multiplied by that, else by 2^8 before. */
static ALWAYS_INLINE void scaled_e4m3(const uint8_t *bytes, vec scale, bool wide, vec pair[2])
{
	vec widened = v_set(256.0f);

	if (wide)
		widened = widened * scale;
	v_e4m3_pair(bytes, pair);
	for (int i = 0; i < 2; i++) {
		pair[i] = pair[i] * widened;
		if (!wide)
			pair[i] = pair[i] * scale;
	}
}

static ALWAYS_INLINE void any_e4m3_group(const uint8_t *bytes, uint32_t i, uint32_t end, vec scale,
                                         bool wide, float *out)
{
	vec pair[2];

	for (; i + 2 * LANES <= end; i += 2 * LANES) {
		scaled_e4m3(bytes + i, scale, wide, pair);
		v_store(out + i, pair[0]);
		v_store(out + i + LANES, pair[1]);
	}
	if (i < end) {
		uint8_t padded[2 * LANES] = {0};
		uint32_t low = end - i < LANES ? end - i : LANES;
		copy_bytes(padded, bytes + i, end - i);
		scaled_e4m3(padded, scale, wide, pair);
		v_store_part(out + i, pair[0], low);
		v_store_part(out + i + low, pair[1], end - i - low);
	}
}

static ALWAYS_INLINE void e4m3_group(const uint8_t *bytes, uint32_t i, uint32_t end, vec zero,
                                     vec scale, float *out)
{
	(void)zero;
	any_e4m3_group(bytes, i, end, scale, true, out);
}

static ALWAYS_INLINE void e4m3_group_exact(const uint8_t *bytes, uint32_t i, uint32_t end, vec zero,
                                           vec scale, float *out)
{
	(void)zero;
	any_e4m3_group(bytes, i, end, scale, false, out);
}

static ALWAYS_INLINE void e2m1_group(const uint8_t *bytes, uint32_t i, uint32_t end, vec zero,
                                     vec scale, float *out)
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

static ALWAYS_INLINE void u4_group(const uint8_t *bytes, uint32_t i, uint32_t end, vec zero,
                                   vec scale, float *out)
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

static ALWAYS_INLINE void find_groups(const format_matrix *m, uint32_t first, uint32_t count,
                                      piece_groups *g)
{
	g->cols = m->part->group_cols;
	g->first = first / g->cols;
	g->count = (first + count - 1) / g->cols - g->first + 1;
	g->first_cols = g->cols - first % g->cols;
}

static ALWAYS_INLINE void expand_scaled_rows(const format_matrix *m, uint32_t row, uint32_t rows,
                                             uint32_t first, uint32_t count, float *out,
                                             uint32_t per_byte, group_fn expand, group_fn exact)
{
	uint32_t known = UINT32_MAX;
	piece_groups g;

	find_groups(m, first, count, &g);
	for (uint32_t r = row; r < row + rows; r++, out += PIECE_STRIDE) {
		uint32_t group_row = group_row_of(m, r);
		if (group_row != known)
			read_groups(m, r, &g);
		known = group_row;
		const uint8_t *bytes = m->data + r * m->row_bytes + first / per_byte;
		if (g.wide)
			expand_groups(&g, bytes, count, expand, out);
		else
			expand_groups(&g, bytes, count, exact, out);
	}
}

/* What is done with every such format: X(format, group function, the same for scales of any size, elements of a byte, lanes
 * of a step). */
#define FOR_SCALED(X) \
	X(E4M3, e4m3_group, e4m3_group_exact, 1, 2 * LANES) \
	X(E2M1, e2m1_group, e2m1_group, 2, LANES) \
	X(U4, u4_group, u4_group, 2, LANES)

#define DEFINE_EXPAND_SCALED(name, group_fn, exact_fn, per_byte, lanes) \
	static void expand_##name(const format_matrix *m, uint32_t row, uint32_t rows, uint32_t first, \
	                          uint32_t count, float *out) \
	{ \
		expand_scaled_rows(m, row, rows, first, count, out, per_byte, group_fn, exact_fn); \
	}

FOR_SCALED(DEFINE_EXPAND_SCALED)

#endif
