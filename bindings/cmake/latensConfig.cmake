# Targets latens::static and latens::shared; latens::latens is the shared one, or with LATENS_STATIC the static one.
get_filename_component(LATENS_PREFIX "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
find_package(Threads REQUIRED)

if(NOT TARGET latens::shared)
  add_library(latens::shared SHARED IMPORTED)
  set_target_properties(latens::shared PROPERTIES
    IMPORTED_LOCATION "${LATENS_PREFIX}/lib/liblatens_c.so"
    IMPORTED_NO_SONAME TRUE
    INTERFACE_INCLUDE_DIRECTORIES "${LATENS_PREFIX}/include")

  add_library(latens::static STATIC IMPORTED)
  set_target_properties(latens::static PROPERTIES
    IMPORTED_LOCATION "${LATENS_PREFIX}/lib/liblatens_c.a"
    INTERFACE_INCLUDE_DIRECTORIES "${LATENS_PREFIX}/include"
    INTERFACE_LINK_LIBRARIES "Threads::Threads;${CMAKE_DL_LIBS};m;gcc_s")

  add_library(latens::latens INTERFACE IMPORTED)
  if(LATENS_STATIC)
    set_target_properties(latens::latens PROPERTIES INTERFACE_LINK_LIBRARIES latens::static)
  else()
    set_target_properties(latens::latens PROPERTIES INTERFACE_LINK_LIBRARIES latens::shared)
  endif()
endif()
set(latens_FOUND TRUE)
