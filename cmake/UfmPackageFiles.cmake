# SPDX-License-Identifier: MIT
# Run by cpack between installing into its staging folders and packing: what Debian wants of every
# package (copyright, changelog) and of manual pages (compressed).
find_program(gzip gzip REQUIRED)

# Honours SOURCE_DATE_EPOCH.
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)

function(ufm_compress file)
	execute_process(COMMAND ${gzip} -9 -n -f ${file} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

foreach(component IN LISTS CPACK_COMPONENTS_ALL)
	string(TOUPPER ${component} upper)
	set(package ${CPACK_DEBIAN_${upper}_PACKAGE_NAME})
	set(root ${CPACK_TEMPORARY_DIRECTORY}/${component}${CPACK_PACKAGING_INSTALL_PREFIX})
	set(doc ${root}/share/doc/${package})

	file(GLOB pages ${root}/share/man/man*/*.[13])
	foreach(page IN LISTS pages)
		ufm_compress(${page})
	endforeach()

	file(REMOVE ${doc}/LICENSE) # it goes by the name of copyright
	configure_file(${CPACK_RESOURCE_FILE_LICENSE} ${doc}/copyright COPYONLY)
	file(WRITE ${doc}/changelog
		"ufm (${CPACK_PACKAGE_VERSION}) unstable; urgency=medium\n\n"
		"  * Version ${CPACK_PACKAGE_VERSION}; CHANGELOG.md of the sources says what is new.\n\n"
		" -- ${CPACK_PACKAGE_CONTACT}  ${date}\n")
	ufm_compress(${doc}/changelog)
endforeach()
