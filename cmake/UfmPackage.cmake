# SPDX-License-Identifier: MIT
# Debian packages by `cpack -G DEB`, one for each component of cmake/UfmInstall.cmake. Configure with the
# preset `deb`, whose prefix is /usr: packages go where the build was configured to be installed.

set(CPACK_PACKAGE_NAME ufm)
set(CPACK_PACKAGE_VENDOR "UFM authors")
set(CPACK_PACKAGE_CONTACT "UFM authors <maintainers@users.noreply.r-seed-0c20f6fd.example>"
	CACHE STRING "Maintainer of the packages: NAME <ADDRESS>")
set(CPACK_PACKAGING_INSTALL_PREFIX ${CMAKE_INSTALL_PREFIX})
set(CPACK_RESOURCE_FILE_LICENSE ${CMAKE_CURRENT_SOURCE_DIR}/LICENSE)
set(CPACK_GENERATOR DEB)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_COMPONENTS_ALL command library development)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_SOURCE_DIR}/cmake/UfmPackageFiles.cmake)

# ufm_package(COMPONENT NAME SECTION WHAT): the description's first line ends with WHAT.
macro(ufm_package component name section what)
	string(TOUPPER ${component} upper)
	set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${name})
	set(CPACK_DEBIAN_${upper}_PACKAGE_SECTION ${section})
	set(CPACK_DEBIAN_${upper}_DESCRIPTION
		"mixture-of-experts layers larger than device memory - ${what}
UFM runs routed (mixture-of-experts) layers whose experts exceed device
memory: every expert lies in host memory and is brought to the device just
in time, within a budget that is kept to the byte.")
endmacro()

set(ufm_library_package libufm${ufm_soversion})
ufm_package(command ufm science "command")
set(CPACK_DEBIAN_COMMAND_PACKAGE_RECOMMENDS "gnuplot-nox | gnuplot")
set(CPACK_DEBIAN_COMMAND_PACKAGE_SUGGESTS libufm-cuda)
ufm_package(library ${ufm_library_package} libs "library")
ufm_package(development libufm-dev libdevel "development files")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "${ufm_library_package} (= ${PROJECT_VERSION})")
if(TARGET ufm_cuda)
	list(APPEND CPACK_COMPONENTS_ALL cuda)
	ufm_package(cuda libufm-cuda libs "CUDA plugin")
	set(CPACK_DEBIAN_CUDA_PACKAGE_ENHANCES "ufm, ${ufm_library_package}")
endif()
include(CPack)
