// A set of host numbers that is walked in ascending order, 64 hosts at a look.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace foreshade::cloudsim {

class HostSet {
  public:
    explicit HostSet(std::size_t n_hosts, bool all = false) : words_((n_hosts + 63) / 64, 0) {
        if (all)
            for (std::size_t h = 0; h < n_hosts; ++h) insert(h);
    }

    void insert(std::size_t h) { words_[h / 64] |= bit(h); }
    void erase(std::size_t h) { words_[h / 64] &= ~bit(h); }
    bool contains(std::size_t h) const { return (words_[h / 64] & bit(h)) != 0; }
    void clear() {
        for (std::uint64_t& word : words_) word = 0;
    }

    template <class Visit> void each(Visit&& visit) const {
        for (std::size_t w = 0; w < words_.size(); ++w)
            for (std::uint64_t rest = words_[w]; rest != 0; rest &= rest - 1)
                visit(w * 64 + static_cast<std::size_t>(std::countr_zero(rest)));
    }

    // Hosts that are in one of the two sets.
    template <class Visit> void each_difference(const HostSet& other, Visit&& visit) const {
        for (std::size_t w = 0; w < words_.size(); ++w)
            for (std::uint64_t rest = words_[w] ^ other.words_[w]; rest != 0; rest &= rest - 1)
                visit(w * 64 + static_cast<std::size_t>(std::countr_zero(rest)));
    }

  private:
    static std::uint64_t bit(std::size_t h) { return std::uint64_t{1} << (h % 64); }

    std::vector<std::uint64_t> words_;
};

} // namespace foreshade::cloudsim
