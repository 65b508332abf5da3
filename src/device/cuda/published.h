/* SPDX-License-Identifier: MIT */
/* Published rates of devices. */
#ifndef UFM_DEVICE_CUDA_PUBLISHED_H
#define UFM_DEVICE_CUDA_PUBLISHED_H

/* What products are made of. */
typedef enum peak_kind { PEAK_FP32, PEAK_TF32, PEAK_BF16, PEAK_KINDS } peak_kind;

/* Dense, in 10^12 operations a second. */
typedef struct published_peak {
	const char *part; /* of the device's name */
	double tflops[PEAK_KINDS];
} published_peak;

/* NULL: the device is not in the table. */
const published_peak *published_find(const char *device_name);

#endif
