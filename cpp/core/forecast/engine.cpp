#include "core/forecast/engine.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <thread>
#include <type_traits>

namespace foreshade::forecast {

namespace {

constexpr std::size_t kChunk = 256; // series per task and partial sum: fixed, so that threads cannot change a bit
constexpr float kLargest = 1e30F;   // above it the squares of the regression would overflow
constexpr float kMissingSample = std::numeric_limits<float>::quiet_NaN();
constexpr std::uint32_t kAlwaysFresh = 32; // errors below which their quantiles are read anew each time
constexpr std::uint32_t kRefresh = 8;      // afterwards once in so many errors
constexpr float kPoolFade = 0.9995F;       // of shapes shared by all series, per step: a week
constexpr float kLift = 0.01F;             // share of the scale per unit of log width
constexpr float kMinWidth = -1.5F;
constexpr float kMaxWidth = 2.5F;          // e^2.5, twelve times the spread of the mixture
constexpr std::size_t kEnoughForWeek = 72; // samples of the thinned week below which the day's window ranks better

static_assert(std::is_trivially_copyable_v<Series> && std::is_trivially_copyable_v<Horizon> &&
              std::is_trivially_copyable_v<Origin> && std::is_trivially_copyable_v<Pool>);

struct View {
    const float* sorted;
    std::size_t n;
};

View window(const Series& s, std::size_t k) {
    return {s.sorted.data() + kWindowStart[k], s.filled[k]};
}

// The window that ranks are taken in.
View reference(const Series& s) {
    if (s.filled[4] >= kEnoughForWeek) return window(s, 4);
    return s.filled[3] > 0 ? window(s, 3) : window(s, 4);
}

// `steps` back from the newest sample; NaN outside the ring.
float back(const Series& s, std::uint32_t clock, std::int64_t steps) {
    if (steps < 0 || steps >= static_cast<std::int64_t>(kWeek) || steps > static_cast<std::int64_t>(clock)) {
        return kMissingSample;
    }
    return s.ring[(clock - static_cast<std::uint32_t>(steps)) % kWeek];
}

float mean_of_days(const Series& s, std::uint32_t clock, std::int64_t ahead, float otherwise) {
    float sum = 0.0F;
    float n = 0.0F;
    for (std::int64_t day = 1; day <= 7; ++day) {
        const float value = back(s, clock, day * static_cast<std::int64_t>(kDay) - ahead);
        if (std::isnan(value)) continue;
        sum += value;
        n += 1.0F;
    }
    return n > 0.0F ? sum / n : otherwise;
}

float week_ago(const Series& s, std::uint32_t clock, std::int64_t ahead, float otherwise) {
    float sum = 0.0F;
    float n = 0.0F;
    for (std::int64_t around = -1; around <= 1; ++around) {
        const float value = back(s, clock, static_cast<std::int64_t>(kWeek) - ahead + around);
        if (std::isnan(value)) continue;
        sum += value;
        n += 1.0F;
    }
    return n > 0.0F ? sum / n : otherwise;
}

// Quantiles of what former days brought within half an hour of the time asked for; false with less than two days.
bool time_of_day(const Series& s, std::uint32_t clock, std::int64_t ahead, Row& out) {
    if (s.seen <= kDay + 24) return false;
    std::array<float, 35> values;
    std::size_t n = 0;
    for (std::int64_t day = 1; day <= 7; ++day) {
        for (std::int64_t around = -6; around <= 6; around += 3) {
            const float value = back(s, clock, day * static_cast<std::int64_t>(kDay) - ahead - around);
            if (!std::isnan(value)) values[n++] = value;
        }
    }
    if (n < 10) return false;
    std::sort(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(n));
    quantiles_sorted(values.data(), n, out);
    return true;
}

void absorb_into_windows(Series& s, std::uint32_t clock, float value) {
    const bool present = !std::isnan(value);
    for (std::size_t k = 0; k < kWindows; ++k) {
        if (clock % kWindowThin[k] != 0) continue;
        float* sorted = s.sorted.data() + kWindowStart[k];
        const std::size_t n = s.filled[k];
        const float old = clock >= kWindowSteps[k] ? s.ring[(clock - kWindowSteps[k]) % kWeek] : kMissingSample;
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
}

void absorb(Series& s, std::uint32_t clock, float value) {
    absorb_into_windows(s, clock, value);
    s.ring[clock % kWeek] = value;
    if (std::isnan(value)) {
        if (s.seen > 0) ++s.gap;
        return;
    }
    if (s.seen == 0) {
        s.ses.fill(value);
        s.mean = value;
    }
    const float first = 1.0F / static_cast<float>(std::min<std::uint32_t>(s.seen, 1U << 20U) + 1);
    const float distance = std::fabs(value - s.ses[2]);
    s.slow += std::max(first, 1.0F / static_cast<float>(kDay)) * (distance - s.slow);
    s.local += std::max(first, 1.0F / 12.0F) * (distance - s.local);
    s.mean += std::max(first, 1.0F / static_cast<float>(kDay)) * (value - s.mean);
    for (std::size_t k = 0; k < s.ses.size(); ++k) s.ses[k] += std::max(kSesRate[k], first) * (value - s.ses[k]);
    s.last = value;
    s.gap = 0;
    ++s.seen;
}

Series unborn(std::uint32_t phase) {
    Series s;
    s.ring.fill(kMissingSample);
    s.sorted.fill(0.0F);
    s.phase = phase;
    return s;
}

template <class T> void put(std::string& bytes, const T* from, std::size_t n) {
    bytes.append(reinterpret_cast<const char*>(from), n * sizeof(T));
}

template <class T> void take(const std::string& bytes, std::size_t& at, T* to, std::size_t n) {
    if (bytes.size() - at < n * sizeof(T)) throw std::invalid_argument("saved forecaster: the bytes end too early");
    std::memcpy(to, bytes.data() + at, n * sizeof(T));
    at += n * sizeof(T);
}

} // namespace

struct Engine::Tally {
    std::vector<Pool> sums;       // per horizon, not yet divided
    std::vector<std::uint32_t> n; // samples that were scored
    Rejected rejected{};
};

Engine::Engine(EngineConfig config, std::size_t n_series) : config_(std::move(config)) {
    const auto& horizons = config_.horizons;
    if (horizons.empty() || horizons.size() > kMaxHorizons) {
        throw std::invalid_argument("forecaster: expected 1 to 8 horizons");
    }
    if (config_.strides.size() != horizons.size()) {
        throw std::invalid_argument("forecaster: expected one stride per horizon");
    }
    first_slot_.push_back(0);
    for (std::size_t h = 0; h < horizons.size(); ++h) {
        if (horizons[h] == 0 || horizons[h] >= kWeek || (h > 0 && horizons[h] <= horizons[h - 1])) {
            throw std::invalid_argument("forecaster: expected ascending horizons between 1 and 2015 steps");
        }
        if (config_.strides[h] == 0) throw std::invalid_argument("forecaster: expected strides of at least 1");
        first_slot_.push_back(first_slot_.back() + (horizons[h] + config_.strides[h] - 1) / config_.strides[h]);
    }
    pools_.resize(horizons.size());
    refresh_shared();
    add(n_series);
}

void Engine::shape() {
    horizons_.resize(size() * n_horizons());
    open_.resize(size() * first_slot_.back());
}

void Engine::add(std::size_t count) {
    const std::size_t before = open_.size();
    for (std::size_t i = 0; i < count; ++i) series_.push_back(unborn(next_phase_++));
    shape();
    // an origin that is never due: the clock starts at 1
    for (std::size_t i = before; i < open_.size(); ++i) {
        std::memset(static_cast<void*>(&open_[i]), 0, sizeof(Origin));
    }
}

void Engine::remove(std::span<const std::size_t> who) {
    std::vector<bool> gone(size(), false);
    for (const auto i : who) {
        if (i >= size()) throw std::invalid_argument("forecaster: a series to remove does not exist");
        gone[i] = true;
    }
    const std::size_t slots = first_slot_.back();
    std::size_t to = 0;
    for (std::size_t from = 0; from < gone.size(); ++from) {
        if (gone[from]) continue;
        if (to != from) {
            series_[to] = series_[from];
            std::copy_n(horizons_.begin() + static_cast<std::ptrdiff_t>(from * n_horizons()), n_horizons(),
                        horizons_.begin() + static_cast<std::ptrdiff_t>(to * n_horizons()));
            std::copy_n(open_.begin() + static_cast<std::ptrdiff_t>(from * slots), slots,
                        open_.begin() + static_cast<std::ptrdiff_t>(to * slots));
        }
        ++to;
    }
    series_.resize(to);
    shape();
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
    const std::size_t n_chunks = (size() + kChunk - 1) / kChunk;
    std::vector<Tally> tallies(n_chunks);
    in_chunks(
        [&](std::size_t c, std::size_t from, std::size_t to) { step_chunk(from, to, samples, stride, tallies[c]); });
    pool(tallies);
}

void Engine::step_chunk(std::size_t from, std::size_t to, const float* samples, std::size_t stride, Tally& tally) {
    tally.sums.resize(n_horizons());
    tally.n.assign(n_horizons(), 0);
    const std::size_t slots = first_slot_.back();
    for (std::size_t i = from; i < to; ++i) {
        float value = samples[i * stride];
        if (std::isnan(value)) {
            ++tally.rejected.missing;
        } else if (value < 0.0F) {
            ++tally.rejected.negative;
            value = kMissingSample;
        } else if (value > kLargest) {
            ++tally.rejected.unbounded;
            value = kMissingSample;
        }
        if (!std::isnan(value)) learn_due(i, value, tally);
        absorb(series_[i], clock_, value);
        if (std::isnan(value)) continue; // an origin without a sample has nothing to teach
        for (std::size_t h = 0; h < n_horizons(); ++h) {
            const std::uint32_t place = clock_ + series_[i].phase;
            if (place % config_.strides[h] != 0) continue;
            const std::uint32_t n_open = first_slot_[h + 1] - first_slot_[h];
            Origin& origin = open_[i * slots + first_slot_[h] + (place / config_.strides[h]) % n_open];
            forecast(i, h, origin);
            origin.due = clock_ + config_.horizons[h];
        }
    }
}

void Engine::learn_due(std::size_t i, float value, Tally& tally) {
    const std::size_t slots = first_slot_.back();
    for (std::size_t h = 0; h < n_horizons(); ++h) {
        const std::uint32_t steps = config_.horizons[h];
        const std::uint32_t stride = config_.strides[h];
        if (clock_ <= steps) continue;
        const std::uint32_t place = clock_ - steps + series_[i].phase;
        if (place % stride != 0) continue;
        const std::uint32_t n_open = first_slot_[h + 1] - first_slot_[h];
        const Origin& origin = open_[i * slots + first_slot_[h] + (place / stride) % n_open];
        if (origin.due != clock_) continue;

        Horizon& own = horizons_[i * n_horizons() + h];
        Pool& sum = tally.sums[h];
        ++tally.n[h];
        ++own.learnt;
        const float keep = exp_negative(-static_cast<float>(stride) / config_.memory_steps);
        const float norm = std::max(own.norm, 0.02F * origin.slow);
        learn(own.record, sum.record, origin.experts, origin.mixture, value, norm, keep);
        own.norm +=
            std::max(0.0005F, 1.0F / static_cast<float>(own.learnt)) * (pinball(origin.mixture, value) - own.norm);

        for (std::size_t p = 0; p < kPoints; ++p) {
            const float scale = p == static_cast<std::size_t>(Point::kLastLocal) ? origin.local : origin.slow;
            const std::size_t bin = bin_of((value - origin.point[p]) / scale);
            count_error(own.errors[p], bin);
            sum.errors[p][bin] += 1.0F;
        }
        if (own.learnt <= kAlwaysFresh || own.learnt % kRefresh == 0) {
            for (std::size_t p = 0; p < kPoints; ++p) {
                error_quantiles(own.errors[p], shared_[h].errors[p].data(), own.error_row[p]);
            }
        }
        const View in = reference(series_[i]);
        if (in.n > 0) {
            std::array<float, kRanksAhead> share;
            rank_shares(in.sorted, in.n, value, share);
            for (std::size_t k = 0; k < own.ranks.size(); ++k) {
                count_rank(own.ranks[k][origin.rank[k]], share);
                for (std::size_t c = 0; c < kRanksAhead; ++c) sum.ranks[k][origin.rank[k]][c] += share[c];
            }
        }
        own.regression.learn(origin.inputs, std::clamp((value - origin.level) / origin.slow, -kClip, kClip));

        // the outcome is known `steps` late: a correction that moved faster would swing
        const float rate = config_.conformal_rate * static_cast<float>(stride) / static_cast<float>(stride + steps);
        const Row missed = miss_of_atom(origin.answer, value);
        for (std::size_t l = 0; l < kLevels; ++l) {
            if (l == kMedian) continue;
            const float wider = l > kMedian ? -missed[l] : missed[l];
            own.width[l] = std::clamp(own.width[l] + rate * wider, kMinWidth, kMaxWidth);
            sum.width[l] += wider;
        }
    }
}

void Engine::forecast(std::size_t i, std::size_t h, Origin& out) const {
    const Series& s = series_[i];
    const Horizon& own = horizons_[i * n_horizons() + h];
    const auto ahead = static_cast<std::int64_t>(config_.horizons[h]);
    const float floor = 1e-3F * std::fabs(s.mean) + 1e-9F; // a constant series still has a scale
    out.slow = s.slow + floor;
    out.local = s.local + 0.1F * s.slow + floor;
    out.level = s.ses[2];
    for (std::size_t k = 0; k < kWindows; ++k) {
        std::size_t from = k;
        while (from < kWindows && s.filled[from] == 0) ++from; // after a gap the short windows are empty
        if (from < kWindows) {
            quantiles_sorted(window(s, from).sorted, s.filled[from], out.experts[k]);
        } else {
            out.experts[k].fill(s.last);
        }
    }
    const float day = mean_of_days(s, clock_, ahead, s.ses[2]);
    const auto scaled = [&](float value) { return std::clamp((value - out.level) / out.slow, -kClip, kClip); };
    out.inputs = {0.3F, scaled(s.last), scaled(s.ses[1]), scaled(day)};
    out.point = {s.last,
                 s.last,
                 s.ses[0],
                 s.ses[1],
                 s.ses[2],
                 day,
                 week_ago(s, clock_, ahead, day),
                 out.level + out.slow * own.regression.predict(out.inputs)};
    const bool read = own.learnt == 0; // nothing of its own yet: the shape of the others
    for (std::size_t p = 0; p < kPoints; ++p) {
        Row row = own.error_row[p];
        if (read) error_quantiles(own.errors[p], shared_[h].errors[p].data(), row);
        const float scale = p == static_cast<std::size_t>(Point::kLastLocal) ? out.local : out.slow;
        Row& expert = out.experts[kFirstPoint + p];
        for (std::size_t l = 0; l < kRow; ++l) {
            const float value = out.point[p] + scale * row[l];
            expert[l] = value > 0.0F ? value : 0.0F;
        }
    }
    if (!time_of_day(s, clock_, ahead, out.experts[kTimeOfDay])) out.experts[kTimeOfDay] = out.experts[3];
    const View in = reference(s);
    const std::array<float, 2> now{s.last, s.ses[1]};
    for (std::size_t k = 0; k < now.size(); ++k) {
        Row& expert = out.experts[kRankLast + k];
        out.rank[k] = 0;
        if (in.n == 0) {
            expert.fill(s.last);
            continue;
        }
        const std::uint8_t rank = rank_now(in.sorted, in.n, now[k]);
        out.rank[k] = rank;
        rank_quantiles(own.ranks[k][rank], shared_[h].ranks[k][rank].data(), in.sorted, in.n, expert);
    }
    for (auto& expert : out.experts) expert[kLevels] = 0.0F;
    mix(own.record, pools_[h].record, config_, out.experts, out.mixture);
    answer(i, h, out.mixture, out.answer);
}

void Engine::answer(std::size_t i, std::size_t h, const Row& mixture, Row& out) const {
    const Row& own = horizons_[i * n_horizons() + h].width;
    const Row& all = pools_[h].width;
    const float median = mixture[kMedian];
    const float scale = series_[i].slow;
    for (std::size_t l = 0; l < kLevels; ++l) {
        const float width = std::clamp(own[l] + all[l], kMinWidth, kMaxWidth);
        const float factor = width < 0.0F ? exp_negative(width) : 1.0F / exp_negative(-width);
        // a mixture without spread has nothing to multiply: what is asked beyond it comes in scales
        const float lift = width > 0.0F && l != kMedian ? kLift * width * scale : 0.0F;
        out[l] = std::max(0.0F, median + factor * (mixture[l] - median) + (l > kMedian ? lift : -lift));
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
        for (auto& row : all.record.regret) fade(row, keep);
        for (auto& row : all.record.square) fade(row, keep);
        for (auto& row : all.errors) fade(row, kPoolFade);
        for (auto& kind : all.ranks) {
            for (auto& row : kind) fade(row, kPoolFade);
        }
        // the chunks' sums are added in their order, whoever computed them
        for (const auto& tally : tallies) {
            const Pool& sum = tally.sums[h];
            for (std::size_t e = 0; e < kExperts; ++e) {
                for (std::size_t l = 0; l < kRow; ++l) {
                    all.record.regret[e][l] += each * sum.record.regret[e][l];
                    all.record.square[e][l] += each * sum.record.square[e][l];
                }
            }
            for (std::size_t p = 0; p < kPoints; ++p) {
                for (std::size_t b = 0; b < kBins; ++b) all.errors[p][b] += sum.errors[p][b];
            }
            for (std::size_t k = 0; k < all.ranks.size(); ++k) {
                for (std::size_t r = 0; r < kRanksNow; ++r) {
                    for (std::size_t c = 0; c < kRanksAhead; ++c) all.ranks[k][r][c] += sum.ranks[k][r][c];
                }
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
        for (std::size_t p = 0; p < kPoints; ++p) weigh(pools_[h].errors[p], shared_[h].errors[p]);
        for (std::size_t k = 0; k < shared_[h].ranks.size(); ++k) {
            for (std::size_t r = 0; r < kRanksNow; ++r) weigh(pools_[h].ranks[k][r], shared_[h].ranks[k][r]);
        }
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
        Origin origin;
        for (std::size_t i = from; i < to; ++i) {
            const Series& s = series_[i];
            for (std::size_t h = 0; h < n_horizons(); ++h) {
                if (s.seen == 0) {
                    rows[h] = among;
                    continue;
                }
                forecast(i, h, origin);
                rows[h] = origin.answer;
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

void Engine::experts(std::size_t horizon, std::span<float> out) const {
    if (horizon >= n_horizons() || out.size() != size() * kExperts * kLevels) {
        throw std::invalid_argument("forecaster: no such horizon, or no room for every expert");
    }
    Origin origin;
    for (std::size_t i = 0; i < size(); ++i) {
        forecast(i, horizon, origin);
        for (std::size_t e = 0; e < kExperts; ++e) {
            std::copy_n(origin.experts[e].begin(), kLevels, out.data() + (i * kExperts + e) * kLevels);
        }
    }
}

std::string Engine::save() const {
    std::string bytes;
    const std::array<std::uint64_t, 4> head{0x31474e4546ULL, size(), n_horizons(), first_slot_.back()};
    put(bytes, head.data(), head.size());
    put(bytes, config_.horizons.data(), n_horizons());
    put(bytes, config_.strides.data(), n_horizons());
    put(bytes, &clock_, 1);
    put(bytes, &next_phase_, 1);
    put(bytes, &rejected_, 1);
    put(bytes, pools_.data(), pools_.size());
    put(bytes, series_.data(), series_.size());
    put(bytes, horizons_.data(), horizons_.size());
    put(bytes, open_.data(), open_.size());
    return bytes;
}

void Engine::load(const std::string& bytes) {
    std::size_t at = 0;
    std::array<std::uint64_t, 4> head{};
    take(bytes, at, head.data(), head.size());
    std::vector<std::uint32_t> horizons(n_horizons());
    std::vector<std::uint32_t> strides(n_horizons());
    if (head[0] != 0x31474e4546ULL || head[2] != n_horizons() || head[3] != first_slot_.back()) {
        throw std::invalid_argument("saved forecaster: the bytes are of another configuration or version");
    }
    take(bytes, at, horizons.data(), horizons.size());
    take(bytes, at, strides.data(), strides.size());
    const std::size_t body = 2 * sizeof(std::uint32_t) + sizeof(Rejected) + pools_.size() * sizeof(Pool) +
                             head[1] * (sizeof(Series) + head[2] * sizeof(Horizon) + head[3] * sizeof(Origin));
    if (horizons != config_.horizons || strides != config_.strides || bytes.size() - at != body) {
        throw std::invalid_argument("saved forecaster: the bytes are of another configuration or version");
    }
    series_.resize(head[1]);
    shape();
    take(bytes, at, &clock_, 1);
    take(bytes, at, &next_phase_, 1);
    take(bytes, at, &rejected_, 1);
    take(bytes, at, pools_.data(), pools_.size());
    take(bytes, at, series_.data(), series_.size());
    take(bytes, at, horizons_.data(), horizons_.size());
    take(bytes, at, open_.data(), open_.size());
    refresh_shared();
}

std::size_t Engine::bytes_per_series() const {
    return sizeof(Series) + n_horizons() * sizeof(Horizon) + first_slot_.back() * sizeof(Origin);
}

std::size_t Engine::memory_bytes() const {
    return series_.capacity() * sizeof(Series) + horizons_.capacity() * sizeof(Horizon) +
           open_.capacity() * sizeof(Origin) + (pools_.size() + shared_.size()) * sizeof(Pool);
}

} // namespace foreshade::forecast
