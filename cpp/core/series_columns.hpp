// Columns of many series side by side, treated alike: sized, blanked for one series, saved and restored.
//
// A bank lists its columns once, as `each_column(self, visit)` calling `visit(column, width, blank)` for a vector of
// `width` values a series that begin as `blank`.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace foreshade {

template <class Bank> void size_columns(Bank& bank, std::size_t n_series) {
    Bank::each_column(bank, [n_series](auto& column, std::size_t width, auto blank) {
        column.assign(n_series * width, static_cast<std::decay_t<decltype(column)>::value_type>(blank));
    });
}

// The series begins anew. Throws std::invalid_argument for one that does not exist.
template <class Bank> void blank_series(Bank& bank, std::size_t series, std::size_t n_series) {
    if (series >= n_series)
        throw std::invalid_argument("anomaly forget: expected a series below " + std::to_string(n_series) + ", got " +
                                    std::to_string(series));
    Bank::each_column(bank, [series](auto& column, std::size_t width, auto blank) {
        std::fill_n(column.begin() + static_cast<std::ptrdiff_t>(series * width), width,
                    static_cast<std::decay_t<decltype(column)>::value_type>(blank));
    });
}

template <class Bank> std::vector<std::byte> save_columns(const Bank& bank) {
    std::vector<std::byte> state;
    Bank::each_column(bank, [&state](const auto& column, std::size_t, auto) {
        const auto bytes = std::as_bytes(std::span(column));
        state.insert(state.end(), bytes.begin(), bytes.end());
    });
    return state;
}

// Throws std::invalid_argument, changing nothing, for a state of another size.
template <class Bank> void restore_columns(Bank& bank, std::span<const std::byte> state) {
    std::size_t expected = 0;
    Bank::each_column(bank, [&expected](const auto& column, std::size_t, auto) {
        expected += std::as_bytes(std::span(column)).size();
    });
    if (state.size() != expected)
        throw std::invalid_argument("anomaly restore: expected a state of " + std::to_string(expected) +
                                    " bytes, got " + std::to_string(state.size()));
    std::size_t at = 0;
    Bank::each_column(bank, [&state, &at](auto& column, std::size_t, auto) {
        const auto bytes = std::as_writable_bytes(std::span(column));
        if (!bytes.empty()) std::memcpy(bytes.data(), state.data() + at, bytes.size());
        at += bytes.size();
    });
}

} // namespace foreshade
