// docs/configuration.md, made from the schema: what the file says cannot differ from what is
// loaded.
#pragma once

#include <string>

namespace forebay::config {

// The whole page. Threads: any.
std::string DocsMarkdown();

}  // namespace forebay::config
