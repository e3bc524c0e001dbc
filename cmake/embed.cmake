# embed.cmake - a file as C: cmake -DFILE=dev.js -DNAME=dev_js -DOUT=dev_js.c -P embed.cmake
# Defines `const unsigned char NAME[]` and `const size_t NAME_size`, as the header app/NAME.h declares them (-DHEADER=app/other.h:
# as that one does).
if(NOT HEADER)
  set(HEADER "app/${NAME}.h")
endif()
get_filename_component(from ${FILE} NAME)
file(READ ${FILE} bytes HEX)
string(REGEX REPLACE "(................................................)" "\\1\n" bytes "${bytes}") # 24 bytes a line
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE ${OUT} "/* made of ${from} by embed.cmake */\n#include \"${HEADER}\"\n\n"
  "const unsigned char ${NAME}[] = {\n${bytes}};\nconst size_t ${NAME}_size = sizeof(${NAME});\n")
