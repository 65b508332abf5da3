# SPDX-License-Identifier: MIT
# Finds jansson (the command) and cmocka (the tests), and names the package that is missing.

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

# ufm_find(NAME HEADER LIBRARY): an imported target ufm_NAME, or none.
function(ufm_find name header library)
	string(TOUPPER ${name} upper)
	find_path(${upper}_INCLUDE_DIR ${header})
	find_library(${upper}_LIBRARY ${library})
	mark_as_advanced(${upper}_INCLUDE_DIR ${upper}_LIBRARY)
	if(${upper}_INCLUDE_DIR AND ${upper}_LIBRARY)
		add_library(ufm_${name} UNKNOWN IMPORTED GLOBAL)
		set_target_properties(ufm_${name} PROPERTIES
			IMPORTED_LOCATION ${${upper}_LIBRARY}
			INTERFACE_INCLUDE_DIRECTORIES ${${upper}_INCLUDE_DIR})
	endif()
endfunction()

ufm_find(jansson jansson.h jansson)
if(NOT TARGET ufm_jansson)
	# A leading space keeps CMake from breaking the line.
	message(FATAL_ERROR " jansson is missing: install libjansson-dev (or run tools/bootstrap run)")
endif()

if(UFM_TESTS)
	ufm_find(cmocka cmocka.h cmocka)
	if(NOT TARGET ufm_cmocka)
		message(WARNING " cmocka is missing, so NO TESTS ARE BUILT: "
			"install libcmocka-dev (or run tools/bootstrap test)")
		set(UFM_TESTS OFF)
	endif()
endif()
