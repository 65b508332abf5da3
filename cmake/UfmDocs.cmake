# SPDX-License-Identifier: MIT
# Manual pages and shell completion, made by what was built: into man/ and completion/ of the build
# folder. The targets ufm_docs and, if they can be made, the variable UFM_HAVE_DOCS.

# The programs run while they are built: not under a sanitizer, which may need a fixed layout of memory.
set(UFM_HAVE_DOCS ON)
if(UFM_SANITIZE OR UFM_FUZZ OR (CMAKE_CROSSCOMPILING AND NOT CMAKE_CROSSCOMPILING_EMULATOR))
	set(UFM_HAVE_DOCS OFF)
	return()
endif()

set(ufm_templates ${CMAKE_CURRENT_SOURCE_DIR}/docs/man)
file(GLOB ufm_template_files CONFIGURE_DEPENDS ${ufm_templates}/*.in)
ufm_sources(sources cli/man)
add_executable(ufm_man ${sources})
target_link_libraries(ufm_man PRIVATE ufm_cli)

set(ufm_docs_stamp ${CMAKE_BINARY_DIR}/docs.stamp)
set(ufm_man_dir ${CMAKE_BINARY_DIR}/man)
set(ufm_completion_dir ${CMAKE_BINARY_DIR}/completion)
add_custom_command(OUTPUT ${ufm_docs_stamp} VERBATIM
	# Pages of commands that are gone must not be installed.
	COMMAND ${CMAKE_COMMAND} -E rm -rf ${ufm_man_dir} ${ufm_completion_dir}
	COMMAND ${CMAKE_COMMAND} -E make_directory ${ufm_man_dir} ${ufm_completion_dir}
	COMMAND ufm_man ${ufm_templates} ${ufm_man_dir}
	COMMAND ufm_command completion bash > ${ufm_completion_dir}/ufm
	COMMAND ufm_command completion zsh > ${ufm_completion_dir}/_ufm
	COMMAND ufm_command completion fish > ${ufm_completion_dir}/ufm.fish
	COMMAND ${CMAKE_COMMAND} -E touch ${ufm_docs_stamp}
	DEPENDS ufm_man ufm_command ${ufm_template_files}
	COMMENT "Making manual pages and completion")
add_custom_target(ufm_docs ALL DEPENDS ${ufm_docs_stamp})
