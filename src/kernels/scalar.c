/* SPDX-License-Identifier: MIT */
/* The table for any CPU: the same algorithms on vectors of one element. */
#include "kernels/kernels_int.h"
#include "kernels/scalar_impl.h"
#include "kernels/table_impl.h"

const kernel_table *kernels_scalar(void)
{
	static const kernel_table table = TABLE("scalar");

	return &table;
}
