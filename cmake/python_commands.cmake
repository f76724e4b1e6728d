# build/musicsteer-export and the others, which build/musicsteer runs as its commands: the same entry points as in a
# wheel (pyproject.toml), here for the package in src/python.
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
# Reconfigure when an entry is added or removed.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS pyproject.toml)
