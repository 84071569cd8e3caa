# Toolchain: from amd64 to arm64 with Debian's cross compiler. FOREBAY_SYSROOT names a folder with the libraries of
# Debian 12 arm64, which `./dev cross` makes; programs that generate sources are this machine's. What is built runs under
# qemu-aarch64-static, where there is one: ctest starts it.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

# Remembered: later runs of CMake, which the build starts on its own, must not depend on who starts it.
set(FOREBAY_SYSROOT "$ENV{FOREBAY_SYSROOT}" CACHE PATH "Libraries of Debian 12 arm64")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES FOREBAY_SYSROOT)
if(NOT EXISTS "${FOREBAY_SYSROOT}/usr/lib/aarch64-linux-gnu/libc.so")
  message(FATAL_ERROR "FOREBAY_SYSROOT=\"${FOREBAY_SYSROOT}\" has no Debian arm64: ./dev cross makes one")
endif()
set(CMAKE_SYSROOT "${FOREBAY_SYSROOT}")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

# pkg-config reads the descriptions of arm64 alone, and none that the environment names.
set(ENV{PKG_CONFIG_SYSROOT_DIR} "${FOREBAY_SYSROOT}")
set(ENV{PKG_CONFIG_LIBDIR} "${FOREBAY_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${FOREBAY_SYSROOT}/usr/share/pkgconfig")
set(ENV{PKG_CONFIG_PATH} "")

find_program(FOREBAY_EMULATOR qemu-aarch64-static)
if(FOREBAY_EMULATOR)
  set(CMAKE_CROSSCOMPILING_EMULATOR "${FOREBAY_EMULATOR};-L;${FOREBAY_SYSROOT}")
endif()
