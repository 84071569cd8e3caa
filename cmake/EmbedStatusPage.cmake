# Makes a C++ source of the status page: one HTML document with its style and scripts within, the
# hashes that its Content-Security-Policy names, and its ETag. Needs nothing but CMake.
#
#   cmake -DSOURCE=<lib/server/status_page> -DSCRIPTS=<a.js,b.js> -DOUTPUT=<x.cc> -P EmbedStatusPage.cmake

# base64(<variable> <hex digits>): CMake has no base64 of its own.
function(base64 result hex)
  set(alphabet "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
  string(LENGTH "${hex}" length)
  math(EXPR padding "(6 - ${length} % 6) % 6 / 2")  # bytes to the next three
  string(REPEAT "00" ${padding} zeros)
  set(hex "${hex}${zeros}")
  math(EXPR last "(${length} + 2 * ${padding}) / 6 - 1")
  set(text "")
  foreach(i RANGE ${last})
    math(EXPR at "${i} * 6")
    string(SUBSTRING "${hex}" ${at} 6 three)
    foreach(shift 18 12 6 0)
      math(EXPR digit "(0x${three} >> ${shift}) & 63")
      string(SUBSTRING "${alphabet}" ${digit} 1 letter)
      string(APPEND text "${letter}")
    endforeach()
  endforeach()
  string(LENGTH "${text}" length)
  math(EXPR length "${length} - ${padding}")
  string(SUBSTRING "${text}" 0 ${length} text)
  string(REPEAT "=" ${padding} equals)
  set(${result} "${text}${equals}" PARENT_SCOPE)
endfunction()

# array(<variable> <name> <hex digits>): the definition of a constant of these bytes.
function(array result name hex)
  string(LENGTH "${hex}" length)
  math(EXPR size "${length} / 2")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(REGEX REPLACE "(................................................................................)"
    "\\1\n" bytes "${bytes}")
  set(${result} "extern const unsigned char ${name}[${size}] = {\n${bytes}};\n" PARENT_SCOPE)
endfunction()

# The files stay in hex: CMake's lists would not survive what stands in them.
file(READ "${SOURCE}/style.css" style HEX)
set(script "")
string(REPLACE "," ";" SCRIPTS "${SCRIPTS}")
foreach(name IN LISTS SCRIPTS)
  file(READ "${SOURCE}/${name}" text HEX)
  string(APPEND script "${text}")
endforeach()
file(READ "${SOURCE}/index.html" page HEX)
foreach(part style script)
  string(TOUPPER "{{${part}}}" mark)
  string(HEX "${mark}" mark)
  string(FIND "${page}" "${mark}" found)
  if(found EQUAL -1)
    message(FATAL_ERROR "index.html has no place for the ${part}")
  endif()
  # Hashed is what stands between the tags, byte by byte.
  string(REPLACE "${mark}" "${${part}}" page "${page}")
endforeach()
execute_process(COMMAND "${CMAKE_COMMAND}" -E cat "${SOURCE}/style.css" OUTPUT_FILE "${OUTPUT}.style")
set(paths "")
foreach(name IN LISTS SCRIPTS)
  list(APPEND paths "${SOURCE}/${name}")
endforeach()
execute_process(COMMAND "${CMAKE_COMMAND}" -E cat ${paths} OUTPUT_FILE "${OUTPUT}.script")
file(SHA256 "${OUTPUT}.style" style_hash)
file(SHA256 "${OUTPUT}.script" script_hash)
file(SIZE "${OUTPUT}.script" size)
string(LENGTH "${script}" length)
math(EXPR length "${length} / 2")
if(NOT size EQUAL length)
  message(FATAL_ERROR "the scripts are ${length} bytes, hashed were ${size}")
endif()
string(SHA256 digest "${page}")
string(SUBSTRING "${digest}" 0 16 digest)
base64(style_hash "${style_hash}")
base64(script_hash "${script_hash}")
array(bytes kStatusPageBytes "${page}")
string(LENGTH "${page}" length)
math(EXPR size "${length} / 2")
file(WRITE "${OUTPUT}.new" "// Made of lib/server/status_page by cmake/EmbedStatusPage.cmake.
#include <cstddef>
namespace forebay::server::internal {
${bytes}extern const size_t kStatusPageSize = ${size};
extern const char* const kStatusPageTag = \"\\\"${digest}\\\"\";
extern const char* const kStatusPagePolicy =
    \"default-src 'none'; connect-src 'self'; img-src data:; style-src 'sha256-${style_hash}'; \"
    \"script-src 'sha256-${script_hash}'; base-uri 'none'; form-action 'none'; \"
    \"frame-ancestors 'none'\";
}  // namespace forebay::server::internal
")
file(RENAME "${OUTPUT}.new" "${OUTPUT}")
file(REMOVE "${OUTPUT}.style" "${OUTPUT}.script")
