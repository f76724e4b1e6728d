# build/musicsteer-export and the others, which build/musicsteer runs as its commands: the entries that pyproject.toml
# gives a wheel, here on the package as it lies in src/python.
file(STRINGS pyproject.toml entries REGEX "^musicsteer-")
set(venv_python "${PROJECT_SOURCE_DIR}/.venv/bin/python")
foreach(entry IN LISTS entries)
  string(REGEX MATCH "^([a-z-]+) = \"([a-z_.]+):main\"" matched "${entry}")
  file(CONFIGURE OUTPUT "${CMAKE_MATCH_1}" @ONLY CONTENT [=[
#!/bin/sh
python=@venv_python@
[ -x "$python" ] || python=python3
PYTHONPATH=@PROJECT_SOURCE_DIR@/src/python${PYTHONPATH:+:$PYTHONPATH}
export PYTHONPATH
exec "$python" -c 'import sys; from @CMAKE_MATCH_2@ import main; sys.exit(main())' "$@"
]=])
  file(CHMOD "${CMAKE_CURRENT_BINARY_DIR}/${CMAKE_MATCH_1}" PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
endforeach()
# An entry that is new or gone changes the build folder.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS pyproject.toml)
