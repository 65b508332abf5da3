# SPDX-License-Identifier: MIT
# What `cmake --install` lays down: the command, libufm.so, headers, pkg-config and CMake packages.
include(CMakePackageConfigHelpers)

install(TARGETS ufm_command RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS ufm_shared EXPORT ufm LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/ufm DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/docs/man)
	install(DIRECTORY docs/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1
		FILES_MATCHING PATTERN "*.1")
endif()

# ufm.pc finds its prefix from where it lies, so that an installed tree may be moved.
file(RELATIVE_PATH ufm_pc_up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" ufm_pc_up ${ufm_pc_up})
configure_file(cmake/ufm.pc.in ufm.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/ufm.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

set(ufm_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/ufm)
install(EXPORT ufm NAMESPACE ufm:: FILE ufm-config.cmake DESTINATION ${ufm_package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/ufm-config-version.cmake
	COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/ufm-config-version.cmake DESTINATION ${ufm_package_dir})
