/* SPDX-License-Identifier: MIT */
/* Hopper's instructions for warpgroups: products of matrices in shared memory, barriers there, and how many registers a
 * warpgroup has. Only code for sm_90a may call these. */
#ifndef UFM_DEVICE_CUDA_PRODUCT_WGMMA_CUH
#define UFM_DEVICE_CUDA_PRODUCT_WGMMA_CUH

#include <cstdint>

#define WARPGROUP 128u /* threads */
#define WGMMA_ROWS 64u /* of weights */
#define WGMMA_COLUMNS 16u
#define WGMMA_ROW_BYTES 128u    /* of a row in shared memory: 64 columns, swizzled */
#define WGMMA_ALIGN_BYTES 1024u /* of a matrix there: eight rows */

__device__ inline uint32_t shared_address(const void *at)
{
	return (uint32_t)__cvta_generic_to_shared(at);
}

/* ------------------------------------------------------------------ barriers */

__device__ inline void barrier_init(uint64_t *barrier, uint32_t arrivals)
{
	asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
	             "r"(arrivals)
	             : "memory");
}

__device__ inline void barrier_arrive(uint64_t *barrier)
{
	asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
	             : "memory");
}

/* Until the phase of that parity is over. */
__device__ inline void barrier_wait(uint64_t *barrier, uint32_t parity)
{
	asm volatile("{\n.reg .pred over;\n"
	             "again:\n"
	             "mbarrier.try_wait.parity.shared::cta.b64 over, [%0], %1;\n"
	             "@!over bra again;\n}\n" ::"r"(shared_address(barrier)),
	             "r"(parity)
	             : "memory");
}

/* Whether it is, at once. */
__device__ inline bool barrier_is_over(uint64_t *barrier, uint32_t parity)
{
	uint32_t over;

	asm volatile("{\n.reg .pred over;\n"
	             "mbarrier.test_wait.parity.shared::cta.b64 over, [%1], %2;\n"
	             "selp.u32 %0, 1, 0, over;\n}\n"
	             : "=r"(over)
	             : "r"(shared_address(barrier)), "r"(parity)
	             : "memory");
	return over;
}

/* What this thread wrote to shared memory can be read by warpgroups' products after the next barrier. */
__device__ inline void written_for_wgmma(void)
{
	asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* ------------------------------------------------------------------ registers */

template <uint32_t COUNT> __device__ void registers_grow(void)
{
	asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
}

template <uint32_t COUNT> __device__ void registers_shrink(void)
{
	asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
}

/* ------------------------------------------------------------------ products */

/* A matrix of rows of 128 bytes, swizzled: the 16 bytes at c of row r lie at c ^ r % 8. */
__device__ inline uint32_t swizzled(uint32_t row, uint32_t vector)
{
	return row * WGMMA_ROW_BYTES + ((vector ^ row) & 7u) * 16u;
}

/* The descriptor of such a matrix (PTX: "matrix descriptor"): its address, 1,024 bytes from eight rows to the next, and
 * the swizzle of 128 bytes. The columns of one product begin 32 bytes further than those before. */
__device__ inline uint64_t wgmma_matrix(uint32_t address)
{
	return (uint64_t)(address >> 4 & 0x3fffu) | (uint64_t)1 << 16 |
	       (uint64_t)(WGMMA_ALIGN_BYTES >> 4) << 32 | (uint64_t)1 << 62;
}

__device__ inline uint64_t wgmma_columns(uint64_t matrix, uint32_t step)
{
	return matrix + step * (WGMMA_COLUMNS * 2 >> 4);
}

/* Registers of sums are the tensor cores' from here to the wait. */
__device__ inline void wgmma_begin(void)
{
	asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ inline void wgmma_commit(void)
{
	asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* Until at most so many commits are under way. */
template <uint32_t LEFT> __device__ void wgmma_wait(void)
{
	asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
}

/* sum = w x, or sum += w x: 64 rows of weights by as many tokens as there are pairs of sums, over 16 columns. */
__device__ inline void wgmma(float (&sum)[16], uint64_t w, uint64_t x, bool add)
{
	asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %18, 0;\n"
	             "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {"
	             "%0,%1,%2,%3,%4,%5,%6,%7,"
	             "%8,%9,%10,%11,%12,%13,%14,%15"
	             "}, %16, %17, add, 1, 1, 0, 0;\n}\n"
	             : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3]), "+f"(sum[4]),
	               "+f"(sum[5]), "+f"(sum[6]), "+f"(sum[7]), "+f"(sum[8]), "+f"(sum[9]),
	               "+f"(sum[10]), "+f"(sum[11]), "+f"(sum[12]), "+f"(sum[13]), "+f"(sum[14]),
	               "+f"(sum[15])
	             : "l"(w), "l"(x), "r"((int)add));
}

__device__ inline void wgmma(float (&sum)[32], uint64_t w, uint64_t x, bool add)
{
	asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %34, 0;\n"
	             "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
	             "%0,%1,%2,%3,%4,%5,%6,%7,"
	             "%8,%9,%10,%11,%12,%13,%14,%15,"
	             "%16,%17,%18,%19,%20,%21,%22,%23,"
	             "%24,%25,%26,%27,%28,%29,%30,%31"
	             "}, %32, %33, add, 1, 1, 0, 0;\n}\n"
	             : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3]), "+f"(sum[4]),
	               "+f"(sum[5]), "+f"(sum[6]), "+f"(sum[7]), "+f"(sum[8]), "+f"(sum[9]),
	               "+f"(sum[10]), "+f"(sum[11]), "+f"(sum[12]), "+f"(sum[13]), "+f"(sum[14]),
	               "+f"(sum[15]), "+f"(sum[16]), "+f"(sum[17]), "+f"(sum[18]), "+f"(sum[19]),
	               "+f"(sum[20]), "+f"(sum[21]), "+f"(sum[22]), "+f"(sum[23]), "+f"(sum[24]),
	               "+f"(sum[25]), "+f"(sum[26]), "+f"(sum[27]), "+f"(sum[28]), "+f"(sum[29]),
	               "+f"(sum[30]), "+f"(sum[31])
	             : "l"(w), "l"(x), "r"((int)add));
}

__device__ inline void wgmma(float (&sum)[48], uint64_t w, uint64_t x, bool add)
{
	asm volatile(
		"{\n.reg .pred add;\nsetp.ne.b32 add, %50, 0;\n"
		"wgmma.mma_async.sync.aligned.m64n96k16.f32.bf16.bf16 {"
		"%0,%1,%2,%3,%4,%5,%6,%7,"
		"%8,%9,%10,%11,%12,%13,%14,%15,"
		"%16,%17,%18,%19,%20,%21,%22,%23,"
		"%24,%25,%26,%27,%28,%29,%30,%31,"
		"%32,%33,%34,%35,%36,%37,%38,%39,"
		"%40,%41,%42,%43,%44,%45,%46,%47"
		"}, %48, %49, add, 1, 1, 0, 0;\n}\n"
		: "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3]), "+f"(sum[4]), "+f"(sum[5]),
		  "+f"(sum[6]), "+f"(sum[7]), "+f"(sum[8]), "+f"(sum[9]), "+f"(sum[10]), "+f"(sum[11]),
		  "+f"(sum[12]), "+f"(sum[13]), "+f"(sum[14]), "+f"(sum[15]), "+f"(sum[16]), "+f"(sum[17]),
		  "+f"(sum[18]), "+f"(sum[19]), "+f"(sum[20]), "+f"(sum[21]), "+f"(sum[22]), "+f"(sum[23]),
		  "+f"(sum[24]), "+f"(sum[25]), "+f"(sum[26]), "+f"(sum[27]), "+f"(sum[28]), "+f"(sum[29]),
		  "+f"(sum[30]), "+f"(sum[31]), "+f"(sum[32]), "+f"(sum[33]), "+f"(sum[34]), "+f"(sum[35]),
		  "+f"(sum[36]), "+f"(sum[37]), "+f"(sum[38]), "+f"(sum[39]), "+f"(sum[40]), "+f"(sum[41]),
		  "+f"(sum[42]), "+f"(sum[43]), "+f"(sum[44]), "+f"(sum[45]), "+f"(sum[46]), "+f"(sum[47])
		: "l"(w), "l"(x), "r"((int)add));
}

__device__ inline void wgmma(float (&sum)[64], uint64_t w, uint64_t x, bool add)
{
	asm volatile(
		"{\n.reg .pred add;\nsetp.ne.b32 add, %66, 0;\n"
		"wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
		"%0,%1,%2,%3,%4,%5,%6,%7,"
		"%8,%9,%10,%11,%12,%13,%14,%15,"
		"%16,%17,%18,%19,%20,%21,%22,%23,"
		"%24,%25,%26,%27,%28,%29,%30,%31,"
		"%32,%33,%34,%35,%36,%37,%38,%39,"
		"%40,%41,%42,%43,%44,%45,%46,%47,"
		"%48,%49,%50,%51,%52,%53,%54,%55,"
		"%56,%57,%58,%59,%60,%61,%62,%63"
		"}, %64, %65, add, 1, 1, 0, 0;\n}\n"
		: "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3]), "+f"(sum[4]), "+f"(sum[5]),
		  "+f"(sum[6]), "+f"(sum[7]), "+f"(sum[8]), "+f"(sum[9]), "+f"(sum[10]), "+f"(sum[11]),
		  "+f"(sum[12]), "+f"(sum[13]), "+f"(sum[14]), "+f"(sum[15]), "+f"(sum[16]), "+f"(sum[17]),
		  "+f"(sum[18]), "+f"(sum[19]), "+f"(sum[20]), "+f"(sum[21]), "+f"(sum[22]), "+f"(sum[23]),
		  "+f"(sum[24]), "+f"(sum[25]), "+f"(sum[26]), "+f"(sum[27]), "+f"(sum[28]), "+f"(sum[29]),
		  "+f"(sum[30]), "+f"(sum[31]), "+f"(sum[32]), "+f"(sum[33]), "+f"(sum[34]), "+f"(sum[35]),
		  "+f"(sum[36]), "+f"(sum[37]), "+f"(sum[38]), "+f"(sum[39]), "+f"(sum[40]), "+f"(sum[41]),
		  "+f"(sum[42]), "+f"(sum[43]), "+f"(sum[44]), "+f"(sum[45]), "+f"(sum[46]), "+f"(sum[47]),
		  "+f"(sum[48]), "+f"(sum[49]), "+f"(sum[50]), "+f"(sum[51]), "+f"(sum[52]), "+f"(sum[53]),
		  "+f"(sum[54]), "+f"(sum[55]), "+f"(sum[56]), "+f"(sum[57]), "+f"(sum[58]), "+f"(sum[59]),
		  "+f"(sum[60]), "+f"(sum[61]), "+f"(sum[62]), "+f"(sum[63])
		: "l"(w), "l"(x), "r"((int)add));
}

__device__ inline void wgmma(float (&sum)[72], uint64_t w, uint64_t x, bool add)
{
	asm volatile(
		"{\n.reg .pred add;\nsetp.ne.b32 add, %74, 0;\n"
		"wgmma.mma_async.sync.aligned.m64n144k16.f32.bf16.bf16 {"
		"%0,%1,%2,%3,%4,%5,%6,%7,"
		"%8,%9,%10,%11,%12,%13,%14,%15,"
		"%16,%17,%18,%19,%20,%21,%22,%23,"
		"%24,%25,%26,%27,%28,%29,%30,%31,"
		"%32,%33,%34,%35,%36,%37,%38,%39,"
		"%40,%41,%42,%43,%44,%45,%46,%47,"
		"%48,%49,%50,%51,%52,%53,%54,%55,"
		"%56,%57,%58,%59,%60,%61,%62,%63,"
		"%64,%65,%66,%67,%68,%69,%70,%71"
		"}, %72, %73, add, 1, 1, 0, 0;\n}\n"
		: "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3]), "+f"(sum[4]), "+f"(sum[5]),
		  "+f"(sum[6]), "+f"(sum[7]), "+f"(sum[8]), "+f"(sum[9]), "+f"(sum[10]), "+f"(sum[11]),
		  "+f"(sum[12]), "+f"(sum[13]), "+f"(sum[14]), "+f"(sum[15]), "+f"(sum[16]), "+f"(sum[17]),
		  "+f"(sum[18]), "+f"(sum[19]), "+f"(sum[20]), "+f"(sum[21]), "+f"(sum[22]), "+f"(sum[23]),
		  "+f"(sum[24]), "+f"(sum[25]), "+f"(sum[26]), "+f"(sum[27]), "+f"(sum[28]), "+f"(sum[29]),
		  "+f"(sum[30]), "+f"(sum[31]), "+f"(sum[32]), "+f"(sum[33]), "+f"(sum[34]), "+f"(sum[35]),
		  "+f"(sum[36]), "+f"(sum[37]), "+f"(sum[38]), "+f"(sum[39]), "+f"(sum[40]), "+f"(sum[41]),
		  "+f"(sum[42]), "+f"(sum[43]), "+f"(sum[44]), "+f"(sum[45]), "+f"(sum[46]), "+f"(sum[47]),
		  "+f"(sum[48]), "+f"(sum[49]), "+f"(sum[50]), "+f"(sum[51]), "+f"(sum[52]), "+f"(sum[53]),
		  "+f"(sum[54]), "+f"(sum[55]), "+f"(sum[56]), "+f"(sum[57]), "+f"(sum[58]), "+f"(sum[59]),
		  "+f"(sum[60]), "+f"(sum[61]), "+f"(sum[62]), "+f"(sum[63]), "+f"(sum[64]), "+f"(sum[65]),
		  "+f"(sum[66]), "+f"(sum[67]), "+f"(sum[68]), "+f"(sum[69]), "+f"(sum[70]), "+f"(sum[71])
		: "l"(w), "l"(x), "r"((int)add));
}

__device__ inline void wgmma(float (&sum)[80], uint64_t w, uint64_t x, bool add)
{
	asm volatile(
		"{\n.reg .pred add;\nsetp.ne.b32 add, %82, 0;\n"
		"wgmma.mma_async.sync.aligned.m64n160k16.f32.bf16.bf16 {"
		"%0,%1,%2,%3,%4,%5,%6,%7,"
		"%8,%9,%10,%11,%12,%13,%14,%15,"
		"%16,%17,%18,%19,%20,%21,%22,%23,"
		"%24,%25,%26,%27,%28,%29,%30,%31,"
		"%32,%33,%34,%35,%36,%37,%38,%39,"
		"%40,%41,%42,%43,%44,%45,%46,%47,"
		"%48,%49,%50,%51,%52,%53,%54,%55,"
		"%56,%57,%58,%59,%60,%61,%62,%63,"
		"%64,%65,%66,%67,%68,%69,%70,%71,"
		"%72,%73,%74,%75,%76,%77,%78,%79"
		"}, %80, %81, add, 1, 1, 0, 0;\n}\n"
		: "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3]), "+f"(sum[4]), "+f"(sum[5]),
		  "+f"(sum[6]), "+f"(sum[7]), "+f"(sum[8]), "+f"(sum[9]), "+f"(sum[10]), "+f"(sum[11]),
		  "+f"(sum[12]), "+f"(sum[13]), "+f"(sum[14]), "+f"(sum[15]), "+f"(sum[16]), "+f"(sum[17]),
		  "+f"(sum[18]), "+f"(sum[19]), "+f"(sum[20]), "+f"(sum[21]), "+f"(sum[22]), "+f"(sum[23]),
		  "+f"(sum[24]), "+f"(sum[25]), "+f"(sum[26]), "+f"(sum[27]), "+f"(sum[28]), "+f"(sum[29]),
		  "+f"(sum[30]), "+f"(sum[31]), "+f"(sum[32]), "+f"(sum[33]), "+f"(sum[34]), "+f"(sum[35]),
		  "+f"(sum[36]), "+f"(sum[37]), "+f"(sum[38]), "+f"(sum[39]), "+f"(sum[40]), "+f"(sum[41]),
		  "+f"(sum[42]), "+f"(sum[43]), "+f"(sum[44]), "+f"(sum[45]), "+f"(sum[46]), "+f"(sum[47]),
		  "+f"(sum[48]), "+f"(sum[49]), "+f"(sum[50]), "+f"(sum[51]), "+f"(sum[52]), "+f"(sum[53]),
		  "+f"(sum[54]), "+f"(sum[55]), "+f"(sum[56]), "+f"(sum[57]), "+f"(sum[58]), "+f"(sum[59]),
		  "+f"(sum[60]), "+f"(sum[61]), "+f"(sum[62]), "+f"(sum[63]), "+f"(sum[64]), "+f"(sum[65]),
		  "+f"(sum[66]), "+f"(sum[67]), "+f"(sum[68]), "+f"(sum[69]), "+f"(sum[70]), "+f"(sum[71]),
		  "+f"(sum[72]), "+f"(sum[73]), "+f"(sum[74]), "+f"(sum[75]), "+f"(sum[76]), "+f"(sum[77]),
		  "+f"(sum[78]), "+f"(sum[79])
		: "l"(w), "l"(x), "r"((int)add));
}

#endif
