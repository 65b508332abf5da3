# SPDX-License-Identifier: MIT
# Run at every build: writes the commit that is built into the header OUT, when it changed. Outside a
# git checkout the name is empty.
cmake_minimum_required(VERSION 3.22)
find_program(git git)
set(describe "")
if(git)
	execute_process(COMMAND ${git} describe --always --dirty --tags
		WORKING_DIRECTORY ${SOURCE} OUTPUT_VARIABLE describe OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "#define UFM_GIT_DESCRIBE \"@describe@\"\n" @ONLY)
