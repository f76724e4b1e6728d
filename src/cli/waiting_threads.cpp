// Has OpenMP's threads wait for each other gently.
//
// At the end of a parallel loop, of which a step of the decoder has hundreds, GNU's threads wait awake for
// some milliseconds before they sleep. On a machine with nothing else to do that is the fastest way. But
// where another program uses the cores too, a thread then waits for one that cannot run because the core is
// taken by waiting: two sweeps beside each other took 22 times as long as after each other. After 2,000
// turns, some 50 microseconds, a step is as fast as ever, and they take their fair share
// (docs/performance.md).
//
// The number is read from the environment when the library is loaded. So the program starts itself anew with
// it, at the first point there is: before any library has been initialised, which takes most of a start's
// time.

#include <unistd.h>

namespace {

char kSetting[] = "GOMP_SPINCOUNT=2000";
constexpr const char* kDecidedBy[] = {"GOMP_SPINCOUNT=", "OMP_WAIT_POLICY="};
constexpr int kMaxVariables = 4096, kLongestPath = 4096;

// What runs here has no library to lean on yet, sanitizers included.
#define MUSICSTEER_BEFORE_ALL __attribute__((no_sanitize("address", "undefined")))

MUSICSTEER_BEFORE_ALL bool begins_with(const char* text, const char* start) {
    while (*start != '\0' && *text == *start) ++text, ++start;
    return *start == '\0';
}

MUSICSTEER_BEFORE_ALL void start_with_gentle_waiting(int, char** arguments, char** environment) {
    char* extended[kMaxVariables + 2];
    int count = 0;
    for (; environment[count]; ++count) {
        for (const char* name : kDecidedBy) {
            if (begins_with(environment[count], name)) return;
        }
        if (count == kMaxVariables) return;
        extended[count] = environment[count];
    }
    extended[count] = kSetting;
    extended[count + 1] = nullptr;
    char program[kLongestPath + 1];
    const ssize_t length = readlink("/proc/self/exe", program, kLongestPath);
    if (length <= 0 || length == kLongestPath) return;
    program[length] = '\0';
    execve(program, arguments, extended);  // if that is not possible, it goes on as it is
}

}  // namespace

__attribute__((section(".preinit_array"),
               used)) static void (*const kStart)(int, char**, char**) = start_with_gentle_waiting;
