# SPDX-License-Identifier: MIT
# What `cmake --install` lays down, by component (a Debian package each, cmake/UfmPackage.cmake):
#
#   command      ufm, its manual pages and completion
#   library      libufm.so.N
#   development  headers, libufm.so, libufm.a, pkg-config file, CMake package, manual page
#   cuda         the plugin, when there is one
include(CMakePackageConfigHelpers)

install(TARGETS ufm_command RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT command)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT command)
if(UFM_HAVE_DOCS)
	set(share ${CMAKE_INSTALL_DATADIR})
	install(DIRECTORY ${ufm_man_dir}/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT command
		FILES_MATCHING PATTERN "*.1")
	install(DIRECTORY ${ufm_man_dir}/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man3 COMPONENT development
		FILES_MATCHING PATTERN "*.3")
	install(FILES ${ufm_completion_dir}/ufm COMPONENT command
		DESTINATION ${share}/bash-completion/completions)
	set(zsh ${share}/zsh/site-functions)
	if(CMAKE_INSTALL_PREFIX STREQUAL /usr)
		set(zsh ${share}/zsh/vendor-completions) # Debian keeps the other for itself
	endif()
	install(FILES ${ufm_completion_dir}/_ufm COMPONENT command DESTINATION ${zsh})
	install(FILES ${ufm_completion_dir}/ufm.fish COMPONENT command
		DESTINATION ${share}/fish/vendor_completions.d)
endif()

install(TARGETS ufm_shared EXPORT ufm
	LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library NAMELINK_COMPONENT development)
install(TARGETS ufm_static EXPORT ufm
	ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(DIRECTORY include/ufm DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development
	FILES_MATCHING PATTERN "*.h")
if(TARGET ufm_cuda)
	install(TARGETS ufm_cuda DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT cuda)
endif()

# The linker arguments of ufm_core_needs, for consumers of libufm.a: from the linker's search path, not
# this machine's files, and no packages, which consumers of libufm.so alone would have to install too.
set(ufm_static_needs "")
foreach(need IN LISTS ufm_core_needs)
	if(need STREQUAL Threads::Threads)
		list(APPEND ufm_static_needs -pthread)
	else()
		list(APPEND ufm_static_needs -l${need})
	endif()
endforeach()
target_include_directories(ufm_static INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(ufm_static INTERFACE ${ufm_static_needs})

# ufm.pc finds its prefix from where it lies, so that an installed tree may be moved.
file(RELATIVE_PATH ufm_pc_up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" ufm_pc_up ${ufm_pc_up})
string(REPLACE ";" " " ufm_pc_private "${ufm_static_needs}")
configure_file(cmake/ufm.pc.in ufm.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/ufm.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
	COMPONENT development)

set(ufm_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/ufm)
install(EXPORT ufm NAMESPACE ufm:: FILE ufm-config.cmake DESTINATION ${ufm_package_dir}
	COMPONENT development)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/ufm-config-version.cmake
	COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/ufm-config-version.cmake DESTINATION ${ufm_package_dir}
	COMPONENT development)
