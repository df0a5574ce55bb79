#include "core/forecast/engine.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <stdexcept>
#include <thread>
#include <type_traits>

namespace foreshade::forecast {

namespace {

constexpr std::size_t kChunk = 256; // series per task and partial sum: fixed, so that threads cannot change a bit
constexpr float kLargest = 1e30F;   // above it squares would overflow
constexpr float kMissingSample = std::numeric_limits<float>::quiet_NaN();
constexpr std::uint32_t kAlwaysFresh = 32; // errors below which their quantiles are read anew each time
constexpr std::uint32_t kRefresh = 8;      // afterwards once in so many errors, the points in turn
constexpr float kPoolFade = 0.9995F;       // of shapes shared by all series, per step: a week
constexpr float kLevelRate = 0.2F;         // of the smoothed level
constexpr Row kAside{-0.01F, -0.01F, -0.01F, 0.0F, 0.01F, 0.01F, 0.01F}; // scales per unit of log width
constexpr float kNothing = 0.005F; // mean steps of the series below which a quantile is 0
constexpr float kMinWidth = -1.5F;
constexpr float kMaxWidth = 2.5F;
constexpr float kLargestFactor = 12.1824940F; // e^kMaxWidth, on the spread of the mixture
constexpr std::uint32_t kFirstOrigin = 3;     // samples before which nothing is learnt
constexpr std::size_t kSeriesHead = offsetof(Series, sorted) + kWindowStart[kLong] * sizeof(float);
constexpr std::size_t kBlock = 16; // series whose memory is asked for before it is needed

static_assert(std::is_trivially_copyable_v<Series> && std::is_trivially_copyable_v<Horizon> &&
              std::is_trivially_copyable_v<Origin> && std::is_trivially_copyable_v<Pool>);

struct View {
    const float* sorted;
    std::size_t n;
};

View window(const Series& s, std::size_t k) {
    return {s.sorted.data() + kWindowStart[k], s.filled[k]};
}

void slide(Series& s, std::size_t k, float old, float value) {
    float* sorted = s.sorted.data() + kWindowStart[k];
    const std::size_t n = s.filled[k];
    const bool present = !std::isnan(value);
    if (present && !std::isnan(old)) {
        replace_sorted(sorted, n, old, value);
    } else if (present) {
        insert_sorted(sorted, n, value);
        s.filled[k] = static_cast<std::uint16_t>(n + 1);
    } else if (!std::isnan(old)) {
        erase_sorted(sorted, n, old);
        s.filled[k] = static_cast<std::uint16_t>(n - 1);
    }
}

Series unborn(std::uint32_t phase, const std::vector<std::uint32_t>& strides) {
    Series s;
    s.day.fill(kMissingSample);
    s.long_ring.fill(kMissingSample);
    s.sorted.fill(0.0F);
    s.phase = phase;
    for (std::size_t h = 0; h < strides.size(); ++h) s.phases[h] = static_cast<std::uint16_t>(phase % strides[h]);
    return s;
}

// The upper half of a float, rounded to nearest: differences need no more than eight bits.
std::uint16_t pack(float value) {
    return static_cast<std::uint16_t>((std::bit_cast<std::uint32_t>(value) + 0x8000U) >> 16);
}

float unpack(std::uint16_t half) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16);
}

// A row as it is kept until its outcome is known; one that says nothing has no regret.
void pack_row(const Row& row, const Row& mixture, std::array<std::uint16_t, kRow>& out) {
    out.fill(0);
    if (std::isnan(row[0])) return;
    for (std::size_t l = 0; l < kRow; ++l) out[l] = pack(row[l] - mixture[l]);
}

void prefetch(const void* from, std::size_t bytes = 1) {
    const char* line = static_cast<const char*>(from);
    for (std::size_t b = 0; b < bytes; b += 64) __builtin_prefetch(line + b);
}

} // namespace

struct Engine::Tally {
    std::vector<Pool> sums;       // per horizon, not yet divided
    std::vector<std::uint32_t> n; // samples that were scored
    Rejected rejected{};
};

// Something to do for one series at one horizon.
struct Engine::Event {
    std::size_t series;
    std::size_t horizon;
    std::size_t slot;
    std::uint32_t period;
};

struct Engine::Draft {
    std::array<Row, kMaxRows> rows;
    Origin origin;
};

// Per horizon; `due` beats where an origin one horizon ago became one.
struct Engine::Beats {
    std::array<Beat, kMaxHorizons> origin, due, young_origin, young_due;
    std::uint32_t day_slot = 0;
    Beat long_window;
};

Engine::Beats Engine::beats() const {
    Beats out;
    for (std::size_t h = 0; h < n_horizons(); ++h) {
        const std::uint32_t slots = first_slot_[h + 1] - first_slot_[h];
        out.origin[h] = Beat(clock_, config_.strides[h], slots);
        out.young_origin[h] = Beat(clock_, config_.young_strides[h], slots);
        if (clock_ <= config_.horizons[h]) continue;
        out.due[h] = Beat(clock_ - config_.horizons[h], config_.strides[h], slots);
        out.young_due[h] = Beat(clock_ - config_.horizons[h], config_.young_strides[h], slots);
    }
    out.day_slot = clock_ % kDay;
    out.long_window = Beat(clock_, kLongThin, 1);
    return out;
}

Engine::Engine(EngineConfig config, std::size_t n_series) : config_(std::move(config)) {
    const auto& horizons = config_.horizons;
    if (horizons.empty() || horizons.size() > kMaxHorizons) {
        throw std::invalid_argument("forecaster: expected 1 to 8 horizons");
    }
    if (config_.strides.size() != horizons.size() || config_.young_strides.size() != horizons.size()) {
        throw std::invalid_argument("forecaster: expected one stride per horizon");
    }
    if (config_.extra_rows > kMaxExtraRows) throw std::invalid_argument("forecaster: expected at most 16 extra rows");
    first_slot_.push_back(0);
    for (std::size_t h = 0; h < horizons.size(); ++h) {
        if (horizons[h] == 0 || horizons[h] >= kWeek || (h > 0 && horizons[h] <= horizons[h - 1])) {
            throw std::invalid_argument("forecaster: expected ascending horizons between 1 and 2015 steps");
        }
        const std::uint32_t stride = std::min(config_.strides[h], config_.young_strides[h]);
        if (stride == 0 || config_.strides[h] > UINT16_MAX) {
            throw std::invalid_argument("forecaster: expected strides of 1 to 65535");
        }
        first_slot_.push_back(first_slot_.back() + (horizons[h] + stride - 1) / stride);
    }
    pools_.resize(horizons.size());
    refresh_shared();
    add(n_series);
}

void Engine::shape() {
    horizons_.resize(size() * n_horizons());
    records_.resize(horizons_.size() * n_rows());
    open_.resize(size() * slots(), Origin{}); // never due: the clock starts at 1
    open_rows_.resize(open_.size() * n_rows());
    Row silent{};
    silent[0] = kMissingSample;
    offered_.resize(horizons_.size() * config_.extra_rows, silent);
}

void Engine::add(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) series_.push_back(unborn(next_phase_++, config_.strides));
    shape();
}

void Engine::remove(std::span<const std::size_t> who) {
    std::vector<bool> gone(size(), false);
    for (const auto i : who) {
        if (i >= size()) throw std::invalid_argument("forecaster: a series to remove does not exist");
        gone[i] = true;
    }
    each_array(*this, [&](auto& values, std::size_t each) {
        std::size_t to = 0;
        for (std::size_t from = 0; from < gone.size(); ++from) {
            if (gone[from]) continue;
            if (to != from) std::copy_n(values.data() + from * each, each, values.data() + to * each);
            ++to;
        }
        values.resize(to * each);
    });
}

template <class Body> void Engine::in_chunks(const Body& body) const {
    const std::size_t n_chunks = (size() + kChunk - 1) / kChunk;
    const std::size_t threads = std::min<std::size_t>(config_.threads, n_chunks);
    const auto run = [&](std::size_t first) {
        for (std::size_t c = first; c < n_chunks; c += std::max<std::size_t>(threads, 1)) {
            body(c, c * kChunk, std::min(size(), (c + 1) * kChunk));
        }
    };
    if (threads <= 1) return run(0);
    std::vector<std::jthread> workers;
    for (std::size_t t = 1; t < threads; ++t) workers.emplace_back(run, t);
    run(0);
}

void Engine::observe(std::span<const float> samples, std::size_t steps) {
    if (samples.size() != size() * steps) {
        throw std::invalid_argument("forecaster: expected one sample per series and step");
    }
    for (std::size_t t = 0; t < steps; ++t) step(samples.data() + t, steps);
}

void Engine::step(const float* samples, std::size_t stride) {
    ++clock_;
    const Beats now = beats();
    std::vector<Tally> tallies((size() + kChunk - 1) / kChunk);
    in_chunks([&](std::size_t c, std::size_t from, std::size_t to) {
        step_chunk(from, to, samples, stride, now, tallies[c]);
    });
    pool(tallies);
}

void Engine::step_chunk(std::size_t from, std::size_t to, const float* samples, std::size_t stride, const Beats& beats,
                        Tally& tally) {
    tally.sums.resize(n_horizons());
    tally.n.assign(n_horizons(), 0);
    for (; from < to; from += kBlock) {
        step_block(from, std::min(from + kBlock, to), samples, stride, beats, tally);
    }
}

void Engine::step_block(std::size_t from, std::size_t to, const float* samples, std::size_t stride, const Beats& beats,
                        Tally& tally) {
    std::array<float, kBlock> values;
    std::array<Event, kBlock * kMaxHorizons> due;
    std::array<Event, kBlock * kMaxHorizons> begun;
    std::size_t n_due = 0;
    std::size_t n_begun = 0;
    for (std::size_t i = from; i < to; ++i) {
        Series& s = series_[i];
        if (i + kBlock < size()) prefetch(&series_[i + kBlock], kSeriesHead);
        float& value = values[i - from];
        value = samples[i * stride];
        if (std::isnan(value)) {
            ++tally.rejected.missing;
        } else if (value < 0.0F) {
            ++tally.rejected.negative;
            value = kMissingSample;
        } else if (value > kLargest) {
            ++tally.rejected.unbounded;
            value = kMissingSample;
        }
        prefetch(&s.day[beats.day_slot]);
        if (std::isnan(value)) continue; // nothing to learn from, and an origin without a sample has nothing to teach
        if (s.seen == 0) s.born = clock_;
        if (s.seen < kFirstOrigin) continue; // no scale yet to measure errors by
        for (std::size_t h = 0; h < n_horizons(); ++h) {
            const auto meet = [&](const Beat& young, const Beat& old, std::uint32_t origin, Event* events,
                                  std::size_t& n) {
                const bool is_young = origin < s.born + config_.young_steps;
                const Beat& beat = is_young ? young : old;
                const std::uint32_t phase = is_young ? 0 : s.phases[h];
                if (!beat.falls_on(phase)) return;
                const std::size_t slot = i * slots() + first_slot_[h] + beat.slot_of(phase);
                events[n++] = {i, h, slot, beat.period};
                prefetch(&open_[slot], sizeof(Origin));
                prefetch(open_rows_.data() + slot * n_rows(), n_rows() * sizeof(PackedRow));
            };
            const std::size_t before = n_due + n_begun;
            meet(beats.young_due[h], beats.due[h], clock_ - config_.horizons[h], due.data(), n_due);
            meet(beats.young_origin[h], beats.origin[h], clock_, begun.data(), n_begun);
            if (n_due + n_begun == before) continue;
            const std::size_t at = i * n_horizons() + h;
            prefetch(&horizons_[at], sizeof(Horizon));
            prefetch(records_.data() + at * n_rows(), n_rows() * sizeof(Record));
            prefetch(s.sorted.data() + kWindowStart[kLong], kDay * sizeof(float));
        }
    }
    for (std::size_t k = 0; k < n_due; ++k) {
        if (open_[due[k].slot].due == clock_) learn(due[k], values[due[k].series - from], tally);
    }
    for (std::size_t i = from; i < to; ++i) absorb(series_[i], beats, values[i - from]);
    for (std::size_t k = 0; k < n_begun; ++k) open(begun[k]);
}

void Engine::absorb(Series& s, const Beats& beats, float value) {
    const std::uint32_t at = beats.day_slot;
    for (std::size_t k = 0; k < kLong; ++k) {
        const auto length = static_cast<std::uint32_t>(kWindowCells[k]);
        slide(s, k, s.day[at >= length ? at - length : at + kDay - length], value);
    }
    s.day[at] = value;
    if (std::isnan(value)) {
        if (s.seen > 0) ++s.gap;
        return;
    }
    if (s.seen == 0) s.level = s.last = value;
    if (s.filled[kLong] < kDay) {
        s.long_ring[s.filled[kLong]] = value;
        slide(s, kLong, kMissingSample, value);
    } else if (beats.long_window.falls_on(s.phase % kLongThin)) {
        slide(s, kLong, s.long_ring[s.oldest], value);
        s.long_ring[s.oldest] = value;
        s.oldest = s.oldest + 1U == kDay ? std::uint16_t{0} : static_cast<std::uint16_t>(s.oldest + 1U);
    }
    const float first = 1.0F / static_cast<float>(std::min<std::uint32_t>(s.seen, kDay) + 1);
    const float distance = std::fabs(value - s.last);
    s.slow += std::max(first, 1.0F / static_cast<float>(kDay)) * (distance - s.slow);
    s.local += std::max(first, 1.0F / 12.0F) * (distance - s.local);
    s.level += std::max(first, kLevelRate) * (value - s.level);
    s.last = value;
    s.gap = 0;
    ++s.seen;
}

void Engine::learn(const Event& event, float value, Tally& tally) {
    const auto [i, h, slot, period] = event;
    const auto stride = static_cast<float>(period);
    const Origin& origin = open_[slot];
    const std::size_t at = i * n_horizons() + h;
    Horizon& own = horizons_[at];
    Pool& sum = tally.sums[h];
    ++tally.n[h];
    ++own.learnt;
    std::array<Row, kMaxRows> apart;
    const PackedRow* rows = open_rows_.data() + slot * n_rows();
    for (std::size_t e = 0; e < n_rows(); ++e) {
        for (std::size_t l = 0; l < kRow; ++l) apart[e][l] = unpack(rows[e][l]);
    }
    const float keep = exp_negative(-stride / config_.memory_steps);
    const float norm = std::max(own.norm, 0.02F * origin.slow);
    forecast::learn({records_.data() + at * n_rows(), n_rows()}, {sum.record.data(), n_rows()},
                    {apart.data(), n_rows()}, origin.mixture, value, norm, keep, config_.smoothing);
    own.norm +=
        std::max(0.0005F * stride, 1.0F / static_cast<float>(own.learnt)) * (pinball(origin.mixture, value) - own.norm);

    for (std::size_t p = 0; p < kPoints; ++p) {
        const float scale = p == static_cast<std::size_t>(Point::kLastLocal) ? origin.local : origin.slow;
        const std::size_t bin = bin_of((value - origin.point[p]) / scale);
        count_error(own.errors[p], bin);
        sum.errors[p][bin] += 1.0F;
        if (own.learnt > kAlwaysFresh && own.learnt % kRefresh != p) continue;
        error_quantiles(own.errors[p], shared_[h].errors[p].data(), own.error_row[p]);
    }
    const View in = window(series_[i], kLong);
    if (in.n > 0) {
        std::array<float, kRanksAhead> share;
        rank_shares(in.sorted, in.n, value, share);
        count_rank(own.ranks[origin.rank], share);
        for (std::size_t c = 0; c < kRanksAhead; ++c) sum.ranks[origin.rank][c] += share[c];
    }

    // the outcome is known a horizon late: a correction that moved faster would swing
    const float rate = config_.conformal_rate * stride / (stride + static_cast<float>(config_.horizons[h]));
    const Row missed = miss_of_atom(origin.answer, value);
    for (std::size_t l = 0; l < kLevels; ++l) {
        if (l == kMedian) continue;
        const float wider = l > kMedian ? -missed[l] : missed[l];
        own.width[l] = std::clamp(own.width[l] + rate * wider, kMinWidth, kMaxWidth);
        sum.width[l] += wider;
    }
}

void Engine::draft(std::size_t i, std::size_t h, Draft& out) const {
    const Series& s = series_[i];
    const std::size_t at = i * n_horizons() + h;
    const Horizon& own = horizons_[at];
    const std::uint32_t ahead = config_.horizons[h];
    Origin& origin = out.origin;
    const float floor = 1e-3F * std::fabs(s.level) + 1e-9F; // a constant series still has a scale
    origin.slow = s.slow + floor;
    origin.local = s.local + 0.1F * s.slow + floor;
    for (std::size_t k = 0; k < kWindows; ++k) {
        std::size_t from = k;
        while (from < kWindows && s.filled[from] == 0) ++from; // after a gap the short windows are empty
        if (from < kWindows) {
            quantiles_sorted(window(s, from).sorted, s.filled[from], out.rows[k]);
        } else {
            out.rows[k].fill(s.last);
        }
    }
    const std::uint32_t then = (clock_ + ahead) % kDay; // yesterday it was at the same place of the ring
    const float yesterday = std::isnan(s.day[then]) ? s.last : s.day[then];
    origin.point = {s.last, s.last, s.level, yesterday};
    for (std::size_t p = 0; p < kPoints; ++p) {
        Row row = own.error_row[p];
        // nothing of its own yet: the shape of the others
        if (own.learnt == 0) error_quantiles(own.errors[p], shared_[h].errors[p].data(), row);
        const float scale = p == static_cast<std::size_t>(Point::kLastLocal) ? origin.local : origin.slow;
        Row& expert = out.rows[kFirstPoint + p];
        for (std::size_t l = 0; l < kRow; ++l) {
            const float value = origin.point[p] + scale * row[l];
            expert[l] = value > 0.0F ? value : 0.0F;
        }
    }
    const View in = window(s, kLong);
    Row& ranked = out.rows[kRank];
    origin.rank = 0;
    if (in.n == 0) {
        ranked.fill(s.last);
    } else {
        origin.rank = rank_now(in.sorted, in.n, s.level);
        rank_quantiles(own.ranks[origin.rank], shared_[h].ranks[origin.rank].data(), in.sorted, in.n, ranked);
    }
    std::copy_n(offered_.data() + at * config_.extra_rows, config_.extra_rows, out.rows.data() + kExperts);
    for (std::size_t e = 0; e < n_rows(); ++e) out.rows[e][kLevels] = 0.0F;
    mix({records_.data() + at * n_rows(), n_rows()}, {shared_[h].record.data(), n_rows()}, config_.learning_rate,
        {out.rows.data(), n_rows()}, origin.mixture);
    answer(i, h, origin.mixture, origin.answer);
}

void Engine::open(const Event& event) {
    const auto [i, h, slot, _] = event;
    Draft made;
    draft(i, h, made);
    made.origin.due = clock_ + config_.horizons[h];
    open_[slot] = made.origin;
    PackedRow* rows = open_rows_.data() + slot * n_rows();
    for (std::size_t e = 0; e < n_rows(); ++e) pack_row(made.rows[e], made.origin.mixture, rows[e]);
}

void Engine::answer(std::size_t i, std::size_t h, const Row& mixture, Row& out) const {
    const Row& own = horizons_[i * n_horizons() + h].width;
    const Row& all = pools_[h].width;
    const float median = mixture[kMedian];
    // a mean of experts comes near to 0 and never there; a load that rests at 0 would always lie below it
    const Lanes nothing = all_lanes(kNothing * series_[i].slow);
    for (std::size_t l = 0; l < kRow; l += kLanes) {
        const Lanes width =
            greater(lesser(lanes_at(&own[l]) + lanes_at(&all[l]), all_lanes(kMaxWidth)), all_lanes(kMinWidth));
        const Lanes factor = kLargestFactor * exp_negative(width - kMaxWidth);
        // a mixture without spread has nothing to multiply: what is asked beyond it comes in scales
        const Lanes lift = lanes_at(&kAside[l]) * series_[i].slow * greater(width, Lanes{});
        const Lanes wide = median + factor * (lanes_at(&mixture[l]) - median) + lift;
        store(&out[l], wide > nothing ? wide : Lanes{});
    }
    for (std::size_t l = kMedian; l + 1 < kLevels; ++l) out[l + 1] = std::max(out[l + 1], out[l]);
    for (std::size_t l = kMedian; l > 0; --l) out[l - 1] = std::min(out[l - 1], out[l]);
    out[kLevels] = 0.0F;
}

void Engine::pool(const std::vector<Tally>& tallies) {
    for (const auto& tally : tallies) {
        rejected_.missing += tally.rejected.missing;
        rejected_.negative += tally.rejected.negative;
        rejected_.unbounded += tally.rejected.unbounded;
    }
    for (std::size_t h = 0; h < n_horizons(); ++h) {
        std::uint32_t n = 0;
        for (const auto& tally : tallies) n += tally.n[h];
        if (n == 0) continue;
        Pool& all = pools_[h];
        const float each = 1.0F / static_cast<float>(n);
        const float keep = 1.0F - 1.0F / config_.pool_memory;
        const auto fade = [](auto& values, float by) {
            for (auto& value : values) value *= by;
        };
        for (auto& record : all.record) {
            fade(record.regret, keep);
            fade(record.square, keep);
        }
        for (auto& row : all.errors) fade(row, kPoolFade);
        for (auto& row : all.ranks) fade(row, kPoolFade);
        // the chunks' sums are added in their order, whoever computed them
        for (const auto& tally : tallies) {
            const Pool& sum = tally.sums[h];
            for (std::size_t e = 0; e < n_rows(); ++e) {
                for (std::size_t l = 0; l < kRow; ++l) {
                    all.record[e].regret[l] += each * sum.record[e].regret[l];
                    all.record[e].square[l] += each * sum.record[e].square[l];
                }
            }
            for (std::size_t p = 0; p < kPoints; ++p) {
                for (std::size_t b = 0; b < kBins; ++b) all.errors[p][b] += sum.errors[p][b];
            }
            for (std::size_t r = 0; r < kRanksNow; ++r) {
                for (std::size_t c = 0; c < kRanksAhead; ++c) all.ranks[r][c] += sum.ranks[r][c];
            }
            for (std::size_t l = 0; l < kLevels; ++l) all.width[l] += config_.pool_conformal_rate * each * sum.width[l];
        }
        for (auto& width : all.width) width = std::clamp(width, kMinWidth, kMaxWidth);
    }
    refresh_shared();
}

void Engine::refresh_shared() {
    const auto weigh = [&](const auto& from, auto& to) {
        float total = 0.0F;
        for (const float value : from) total += value;
        const float by = total > 0.0F ? config_.prior_count / total : 0.0F;
        for (std::size_t i = 0; i < from.size(); ++i) to[i] = by * from[i];
    };
    shared_.resize(pools_.size());
    for (std::size_t h = 0; h < pools_.size(); ++h) {
        for (std::size_t e = 0; e < n_rows(); ++e) {
            for (std::size_t l = 0; l < kRow; ++l) {
                shared_[h].record[e].regret[l] = config_.pool_weight * pools_[h].record[e].regret[l];
                shared_[h].record[e].square[l] = config_.pool_weight * pools_[h].record[e].square[l];
            }
        }
        for (std::size_t p = 0; p < kPoints; ++p) weigh(pools_[h].errors[p], shared_[h].errors[p]);
        for (std::size_t r = 0; r < kRanksNow; ++r) weigh(pools_[h].ranks[r], shared_[h].ranks[r]);
    }
}

void Engine::predict(std::span<float> out) const {
    const std::size_t row = n_horizons() * kLevels;
    if (out.size() != size() * row) throw std::invalid_argument("forecaster: expected room for every quantile");
    Row among{}; // of a series that has shown nothing: where the others stand
    std::vector<float> last;
    for (const auto& s : series_) {
        if (s.seen > 0) last.push_back(s.last);
    }
    std::sort(last.begin(), last.end());
    if (!last.empty()) quantiles_sorted(last.data(), last.size(), among);
    in_chunks([&](std::size_t, std::size_t from, std::size_t to) {
        std::array<Row, kMaxHorizons> rows;
        Draft made;
        for (std::size_t i = from; i < to; ++i) {
            const Series& s = series_[i];
            for (std::size_t h = 0; h < n_horizons(); ++h) {
                if (s.seen == 0) {
                    rows[h] = among;
                    continue;
                }
                draft(i, h, made);
                rows[h] = made.origin.answer;
            }
            for (std::size_t h = 0; h < n_horizons(); ++h) {
                // a sample that is `gap` old makes every horizon longer by as much
                const float wanted = static_cast<float>(config_.horizons[h] + s.gap);
                std::size_t above = h;
                while (above + 1 < n_horizons() && static_cast<float>(config_.horizons[above]) < wanted) ++above;
                const std::size_t below = above > h && above > 0 ? above - 1 : above;
                float share = 1.0F;
                if (above > below) {
                    const auto near = static_cast<float>(config_.horizons[below]);
                    const auto far = static_cast<float>(config_.horizons[above]);
                    share = std::min(1.0F, (wanted - near) / (far - near));
                }
                float* to_row = out.data() + i * row + h * kLevels;
                for (std::size_t l = 0; l < kLevels; ++l) {
                    to_row[l] = (1.0F - share) * rows[below][l] + share * rows[above][l];
                }
            }
        }
    });
}

void Engine::offer(std::size_t extra_row, std::span<const float> quantiles) {
    if (extra_row >= config_.extra_rows || quantiles.size() != size() * n_horizons() * kLevels) {
        throw std::invalid_argument("forecaster: no such extra row, or not one quantile per series, horizon and level");
    }
    for (std::size_t at = 0; at < horizons_.size(); ++at) {
        const float* from = quantiles.data() + at * kLevels;
        Row& row = offered_[at * config_.extra_rows + extra_row];
        bool usable = true;
        for (std::size_t l = 0; l < kLevels; ++l) {
            usable = usable && std::fabs(from[l]) <= kLargest; // NaN fails
            row[l] = std::max(from[l], 0.0F);
        }
        if (usable) {
            ascend(row);
        } else {
            row[0] = kMissingSample;
        }
        // an origin of this step was made before the offer could come
        const std::size_t h = at % n_horizons();
        const std::size_t first = at / n_horizons() * slots();
        for (std::size_t slot = first + first_slot_[h]; slot < first + first_slot_[h + 1]; ++slot) {
            if (open_[slot].due != clock_ + config_.horizons[h]) continue;
            pack_row(row, open_[slot].mixture, open_rows_[slot * n_rows() + kExperts + extra_row]);
        }
    }
}

void Engine::experts(std::size_t horizon, std::span<float> out) const {
    if (horizon >= n_horizons() || out.size() != size() * n_rows() * kLevels) {
        throw std::invalid_argument("forecaster: no such horizon, or no room for every expert");
    }
    Draft made;
    for (std::size_t i = 0; i < size(); ++i) {
        draft(i, horizon, made);
        for (std::size_t e = 0; e < n_rows(); ++e) {
            std::copy_n(made.rows[e].begin(), kLevels, out.data() + (i * n_rows() + e) * kLevels);
        }
    }
}

} // namespace foreshade::forecast
