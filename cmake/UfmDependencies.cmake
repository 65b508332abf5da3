# SPDX-License-Identifier: MIT
# Finds jansson (the command) and cmocka (the tests), and names the package that is missing.

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

# Archives are preferred in a portable build; what has none is copied beside the tests.
option(UFM_PORTABLE "Link or bundle all but libc, so that a build can be carried to another system" OFF)
set(ufm_suffixes ${CMAKE_FIND_LIBRARY_SUFFIXES})
if(UFM_PORTABLE)
	set(CMAKE_FIND_LIBRARY_SUFFIXES .a .so)
endif()

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

if(NOT UFM_PYTHON)
	ufm_find(jansson jansson.h jansson)
endif()
if(NOT UFM_PYTHON AND NOT TARGET ufm_jansson)
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

# The tests look for bundled libraries in lib/ of the build folder, wherever that lies.
if(UFM_PORTABLE AND UFM_TESTS)
	get_filename_component(library ${CMOCKA_LIBRARY} REALPATH)
	if(NOT library MATCHES "[.]a$")
		file(GLOB names ${CMOCKA_LIBRARY}.?)
		file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
		foreach(name IN LISTS names)
			get_filename_component(soname ${name} NAME)
			configure_file(${library} ${CMAKE_BINARY_DIR}/lib/${soname} COPYONLY)
		endforeach()
		set(CMAKE_BUILD_RPATH "$ORIGIN/../../lib")
	endif()
endif()
set(CMAKE_FIND_LIBRARY_SUFFIXES ${ufm_suffixes})
