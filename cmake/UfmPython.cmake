# SPDX-License-Identifier: MIT
# What a Python wheel has beside python/ufm: libufm and, where it is built, the plugin, in ufm/lib. Both link nothing but
# the C library, and libufm looks for plugins beside itself.

# One file under the name that programs load it by: a wheel keeps no links.
set_target_properties(ufm_shared PROPERTIES VERSION ${ufm_soversion})
# Asserts name a file of ours, not the folder that it was built in.
target_compile_options(ufm_objects PRIVATE -ffile-prefix-map=${CMAKE_CURRENT_SOURCE_DIR}/=)
set_target_properties(ufm_core ufm_static PROPERTIES EXCLUDE_FROM_ALL ON)
install(TARGETS ufm_shared LIBRARY DESTINATION ufm/lib COMPONENT python NAMELINK_SKIP)
if(TARGET ufm_cuda)
	install(TARGETS ufm_cuda DESTINATION ufm/lib COMPONENT python)
	message(STATUS "The wheel has the CUDA plugin, for ${CMAKE_CUDA_ARCHITECTURES}")
else()
	message(STATUS "The CUDA plugin is left out of the wheel: ${ufm_cuda_absent}")
endif()
