# SPDX-License-Identifier: MIT
# Compiler flags: the target ufm_flags carries those of all code, ufm_kernel_flags() sets those of
# single kernel files.

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# Asserts stay on in every build: they are cheap, and a wrong answer is not.
set(CMAKE_C_FLAGS_RELEASE "-O2")
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g -fno-omit-frame-pointer")

add_library(ufm_flags INTERFACE)
# The same bits from every compiler and in every build: a product and a sum are fused only where the
# source says so.
target_compile_options(ufm_flags INTERFACE -ffp-contract=off
	-Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes)
if(CMAKE_C_COMPILER_ID MATCHES Clang)
	# Constants are enumerators here, also those of a floating-point formula.
	target_compile_options(ufm_flags INTERFACE -Wno-enum-float-conversion)
endif()
if(UFM_WERROR)
	target_compile_options(ufm_flags INTERFACE -Werror)
endif()

set(ufm_no_undefined LINKER:-z,defs)
if(UFM_SANITIZE)
	target_compile_options(ufm_flags INTERFACE
		-fsanitize=${UFM_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
	target_link_options(ufm_flags INTERFACE -fsanitize=${UFM_SANITIZE})
	# clang leaves the sanitizer's own symbols of a shared library to the executable.
	set(ufm_no_undefined)
endif()
if(UFM_FUZZ)
	if(NOT CMAKE_C_COMPILER_ID MATCHES Clang)
		message(FATAL_ERROR "UFM_FUZZ: the compiler is ${CMAKE_C_COMPILER_ID}, expected clang")
	endif()
	target_compile_options(ufm_flags INTERFACE -fsanitize=fuzzer-no-link)
	set(ufm_no_undefined)
endif()

# Kernels: optimised in every build, since a sweep at -O0 under a sanitizer takes minutes; the
# instruction set by file name.
function(ufm_kernel_flags)
	file(GLOB kernels CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/src/kernels/*.c)
	foreach(file IN LISTS kernels)
		set(flags -O2)
		# No fuzz target reaches a kernel, and clang takes a minute to instrument one for it.
		if(UFM_FUZZ)
			list(APPEND flags -fno-sanitize=all)
		endif()
		get_filename_component(name ${file} NAME)
		if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
			if(name MATCHES "^avx2")
				list(APPEND flags -mavx2 -mfma -mf16c)
			elseif(name MATCHES "^(avx512|amx)")
				list(APPEND flags -mavx512f -mavx512bw -mavx512vl -mavx512dq)
			endif()
		endif()
		set_source_files_properties(${file} PROPERTIES COMPILE_OPTIONS "${flags}")
	endforeach()
endfunction()
