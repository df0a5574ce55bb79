// Pages of 2 MiB for what is allocated next: hundreds of environments of a megabyte each touch more small pages than a
// processor has places for (a tick of 256 environments takes 10 to 15 % longer).
#pragma once

namespace foreshade {

// Asks the system for large pages where the heap of this thread grows next, by some ten megabytes: cheap, to be called
// before each large thing that is made. Changes nothing where the system has none, or where glibc's malloc is not in
// use.
void ask_for_large_pages();

} // namespace foreshade
