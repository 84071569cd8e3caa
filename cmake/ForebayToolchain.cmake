# Compiler settings shared by every target: C++20, all warnings are errors, x86-64-v2 as the
# lowest machine (arm64 as the compiler has it), sanitizers by FOREBAY_SANITIZE.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(FOREBAY_SANITIZE "" CACHE STRING "address;undefined or thread")

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
endif()

add_library(forebay_options INTERFACE)
add_library(forebay::options ALIAS forebay_options)
target_compile_options(forebay_options INTERFACE
  -Wall -Wextra -Wconversion -Wshadow -Wnon-virtual-dtor -Werror)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  target_compile_options(forebay_options INTERFACE -march=x86-64-v2)
else()
  # What x86-64 has anyway, so that each machine gives the same answers and the same digits: char is
  # signed, and a product is rounded before a sum.
  target_compile_options(forebay_options INTERFACE -fsigned-char -ffp-contract=off)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(forebay_options INTERFACE -Wthread-safety)
else()
  # g++ 12 reports these inside libstdc++ and Boost at -O2/-O3 where nothing is wrong.
  target_compile_options(forebay_options INTERFACE
    -Wno-error=maybe-uninitialized -Wno-error=stringop-overflow -Wno-error=array-bounds
    -Wno-error=restrict -Wno-error=stringop-overread -Wno-error=tsan -Wno-tsan
    -Wno-maybe-uninitialized -Wno-restrict)
  if(CMAKE_UNITY_BUILD)
    # In such a build a source's own types are in an included file, which g++ takes for a header.
    target_compile_options(forebay_options INTERFACE -Wno-subobject-linkage)
  endif()
endif()
if(FOREBAY_SANITIZE)
  string(REPLACE ";" "," _sanitizers "${FOREBAY_SANITIZE}")
  add_compile_options(-fsanitize=${_sanitizers} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${_sanitizers})
  if(_sanitizers MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
endif()
if(FOREBAY_FUZZ)
  # The libraries report their coverage to the fuzzer; only the targets link its main.
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(FOREBAY_FAILPOINTS)
  target_compile_definitions(forebay_options INTERFACE FOREBAY_FAILPOINTS=1)
endif()
