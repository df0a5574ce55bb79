// A test is a function that CHECKs; main() runs all and counts.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <vector>

namespace foreshade::testing {

struct Test {
    std::string name;
    std::function<void()> body;
};

struct Registry {
    std::vector<Test> tests;
    int failures = 0; // of CHECKs in the test that runs

    static Registry& the() {
        static Registry registry;
        return registry;
    }
};

struct Register {
    Register(const char* name, std::function<void()> body) { Registry::the().tests.push_back({name, std::move(body)}); }
};

inline bool close(double a, double b, double tolerance = 1e-4) {
    return std::abs(a - b) <= tolerance * std::max({1.0, std::abs(a), std::abs(b)});
}

} // namespace foreshade::testing

#define TEST(name)                                                                                                     \
    static void name();                                                                                                \
    static const foreshade::testing::Register register_##name(#name, name);                                            \
    static void name()

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            std::printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);                                                \
            ++foreshade::testing::Registry::the().failures;                                                            \
        }                                                                                                              \
    } while (false)

#define CHECK_THROWS(expression)                                                                                       \
    do {                                                                                                               \
        bool thrown = false;                                                                                           \
        try {                                                                                                          \
            expression;                                                                                                \
        } catch (const std::exception&) {                                                                              \
            thrown = true;                                                                                             \
        }                                                                                                              \
        CHECK(thrown);                                                                                                 \
    } while (false)
