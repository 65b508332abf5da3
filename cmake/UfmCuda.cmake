# SPDX-License-Identifier: MIT
# The plugin libufm_cuda.so, where there is a CUDA toolkit. The core neither needs nor links it.
#
# UFM_CUDA: AUTO (built when a toolkit is found), ON (must be), OFF.
# UFM_CUDA_ARCHITECTURES: 90a-real by default, which builds fast; "release" is every GPU we build for.
set(UFM_CUDA AUTO CACHE STRING "Build the CUDA plugin: AUTO, ON or OFF")
set(UFM_CUDA_ARCHITECTURES "90a-real" CACHE STRING
	"GPUs to build for: numbers as CMAKE_CUDA_ARCHITECTURES takes them, or release")
set(ufm_cuda_least 12.8)
# Machine code for these (80: runs on 86 and 89, too; 90a: with what only Hopper has), and PTX of 90 and 120 for what lies
# between and after them.
set(ufm_cuda_release 80-real 90a-real 90-virtual 120)


set(ufm_cuda_absent "")
if(UFM_CUDA STREQUAL "OFF")
	set(ufm_cuda_absent "UFM_CUDA=OFF")
elseif(UFM_SANITIZE)
	set(ufm_cuda_absent "sanitizers do not know device code")
else()
	find_package(CUDAToolkit QUIET)
	if(NOT CUDAToolkit_FOUND)
		set(ufm_cuda_absent "no CUDA toolkit was found (nvcc)")
	elseif(CUDAToolkit_VERSION VERSION_LESS ufm_cuda_least)
		set(ufm_cuda_absent
			"the CUDA toolkit is ${CUDAToolkit_VERSION}, expected ${ufm_cuda_least} or newer")
	endif()
endif()
if(ufm_cuda_absent)
	if(UFM_CUDA STREQUAL "ON")
		message(FATAL_ERROR " UFM_CUDA=ON: ${ufm_cuda_absent}")
	endif()
	message(STATUS "The CUDA plugin is not built: ${ufm_cuda_absent}")
	return()
endif()

if(UFM_CUDA_ARCHITECTURES STREQUAL "release")
	set(CMAKE_CUDA_ARCHITECTURES ${ufm_cuda_release})
else()
	set(CMAKE_CUDA_ARCHITECTURES ${UFM_CUDA_ARCHITECTURES})
endif()
set(CMAKE_CUDA_COMPILER ${CUDAToolkit_NVCC_EXECUTABLE})
enable_language(CUDA)

file(GLOB ufm_cuda_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/src/device/cuda/*.c
	${CMAKE_CURRENT_SOURCE_DIR}/src/device/cuda/*.cu ${CMAKE_CURRENT_SOURCE_DIR}/src/device/cuda/product/*.cu)
set(ufm_cuda_map ${CMAKE_CURRENT_SOURCE_DIR}/src/device/cuda/plugin.map)
# nodelete: what the runtime has registered with the process must not be unloaded under it.
add_library(ufm_cuda MODULE ${ufm_cuda_sources})
target_include_directories(ufm_cuda PRIVATE include src)
target_compile_definitions(ufm_cuda PRIVATE _GNU_SOURCE)
target_compile_options(ufm_cuda PRIVATE
	$<$<COMPILE_LANGUAGE:C>:$<TARGET_PROPERTY:ufm_flags,INTERFACE_COMPILE_OPTIONS>>
	$<$<COMPILE_LANGUAGE:CUDA>:$<$<NOT:$<CONFIG:Release>>:-lineinfo> $<$<BOOL:${UFM_WERROR}>:-Werror=all-warnings>>)
target_link_libraries(ufm_cuda PRIVATE CUDA::cudart_static Threads::Threads ${CMAKE_DL_LIBS})
target_link_options(ufm_cuda PRIVATE LINKER:--version-script=${ufm_cuda_map} LINKER:-z,defs
	LINKER:-z,nodelete -static-libgcc -static-libstdc++)
set_target_properties(ufm_cuda PROPERTIES CUDA_STANDARD 17 CUDA_RUNTIME_LIBRARY Static
	LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR} LINK_DEPENDS ${ufm_cuda_map})
