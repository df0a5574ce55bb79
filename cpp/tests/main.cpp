#include "tests/check.hpp"

int main() {
    using foreshade::testing::Registry;
    int passed = 0;
    int failed = 0;
    for (const auto& test : Registry::the().tests) {
        Registry::the().failures = 0;
        try {
            test.body();
        } catch (const std::exception& error) {
            std::printf("%s: threw %s\n", test.name.c_str(), error.what());
            ++Registry::the().failures;
        }
        if (Registry::the().failures == 0)
            ++passed;
        else {
            ++failed;
            std::printf("FAILED %s\n", test.name.c_str());
        }
    }
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
