/* SPDX-License-Identifier: MIT */
/* Activations on vectors; included by table_impl.h in the file of each instruction set. */
#ifndef UFM_KERNELS_ACTIVATION_IMPL_H
#define UFM_KERNELS_ACTIVATION_IMPL_H

/* The polynomials are our own fits: least squares on 4001 (exp) and 8001 (tail) Chebyshev points in
 * double precision, reweighted by the error (Lawson) until it levelled, then rounded to f32. */

/* exp(a + b) for -87.3 <= a + b <= 0. The two are kept apart, because a may be exact where the
 * rounding of a + b alone would cost more than all the rest. */
static inline vec exp_of_sum(vec a, vec b)
{
	vec n = v_round((a + b) * v_set(1.44269504f));
	/* ln 2 in two parts; n times the first, which has 15 bits, is exact. */
	vec r = v_fma(n, v_set(-0.693145752f), a);

	r = v_fma(n, v_set(-1.42860677e-6f), r) + b;
	/* e^r = 1 + r + r² q(r) on |r| <= ln(2)/2, to 3.1e-9. */
	vec q = v_set(0.00138145406f);
	q = v_fma(q, r, v_set(0.00836874545f));
	q = v_fma(q, r, v_set(0.041668389f));
	q = v_fma(q, r, v_set(0.166665211f));
	q = v_fma(q, r, v_set(0.49999994f));
	q = v_fma(v_fma(q, r, v_set(1.0f)), r, v_set(1.0f));
	return q * v_pow2(n);
}

#define PHI_LIMIT 13.0f

/* Phi(-z) for z >= 0: t/2 * exp(-z²/2 + p(t)) with t = 1 / (1 + z / 2√2), so that the error is
 * relative also where Phi is tiny. Flushed to 0 from PHI_LIMIT on, where it leaves f32. */
static inline vec phi_tail(vec z)
{
	vec near = v_min(z, v_set(PHI_LIMIT));
	vec t = v_set(1.0f) / v_fma(near, v_set(0.353553391f), v_set(1.0f));
	/* ln(2 Phi(-z) / t) + z²/2, to 4.2e-8. */
	vec p = v_set(0.137253702f);
	p = v_fma(p, t, v_set(-0.638851047f));
	p = v_fma(p, t, v_set(1.05756032f));
	p = v_fma(p, t, v_set(-0.563750327f));
	p = v_fma(p, t, v_set(-0.190266922f));
	p = v_fma(p, t, v_set(0.0598962866f));
	p = v_fma(p, t, v_set(0.0146021731f));
	p = v_fma(p, t, v_set(0.390836835f));
	p = v_fma(p, t, v_set(0.998142898f));
	p = v_fma(p, t, v_set(-1.26542377f));
	/* The square of the upper 12 bits is exact; the rest is small. */
	vec head = v_head(near);
	vec square = head * head * v_set(-0.5f);
	vec rest = (near - head) * (near + head) * v_set(-0.5f);
	vec phi = exp_of_sum(square, rest + p) * t * v_set(0.5f);
	return v_select_less(z, v_set(PHI_LIMIT), phi, v_set(0.0f));
}

/* x * Phi(x) */
static inline vec gelu(vec x)
{
	vec tail = phi_tail(v_abs(x));

	return x * v_select_less(x, v_set(0.0f), tail, v_set(1.0f) - tail);
}

/* e^-(z + rest) for z >= 0 and a rest far smaller; 0 where it leaves f32. */
static inline vec decay(vec z, vec rest)
{
	vec e = exp_of_sum(v_min(z, v_set(87.0f)) * v_set(-1.0f), rest * v_set(-1.0f));

	return v_select_less(z, v_set(87.0f), e, v_set(0.0f));
}

/* 1 / (1 + e^-s) for an s of x's sign whose e^-|s| is known, so that nothing overflows. */
static inline vec sigmoid(vec x, vec e)
{
	return v_select_less(x, v_set(0.0f), e, v_set(1.0f)) / (v_set(1.0f) + e);
}

/* x * sigmoid(x) */
static inline vec silu(vec x)
{
	return x * sigmoid(x, decay(v_abs(x), v_set(0.0f)));
}

/* x * sigmoid(alpha * x) for alpha > 0 */
static inline vec silu_scaled(vec x, vec alpha)
{
	vec z = v_abs(x), s = z * alpha;

	return x * sigmoid(x, decay(s, v_rest(z, alpha, s)));
}

/* x/2 * (1 + tanh(u)) is x * sigmoid(2u), whose tail is no difference of two numbers that are nearly 1. 2u is
 * kept in two parts: its last bit would be the largest error of the tail. */
static inline vec gelu_tanh(vec x)
{
	/* 2 sqrt(2/pi), and that times 0.044715, in two parts each. */
	const vec linear = v_set(1.59576917f), linear_rest = v_set(-4.53406805e-8f);
	const vec cubic = v_set(0.0713548139f), cubic_rest = v_set(2.39883247e-9f);
	vec z = v_abs(x), square = z * z, c = square * cubic, factor = linear + c;
	vec c_rest = v_fma(square, cubic_rest, v_rest(z, z, square) * cubic) + v_rest(square, cubic, c);
	/* What the sum of two numbers of any order lost. */
	vec c_in = factor - linear, lost = (linear - (factor - c_in)) + (c - c_in);
	vec s = z * factor;
	vec rest = v_fma(z, lost + c_rest + linear_rest, v_rest(z, factor, s));

	return x * sigmoid(x, decay(s, rest));
}

/* max(x, 0)² */
static inline vec relu2(vec x)
{
	return v_select_less(x, v_set(0.0f), v_set(0.0f), x * x);
}

#endif
