// Anomalies of many series at once: deviation from a slow reference, judged by each series' own past.
//
// Each series keeps two references: a slow mean, and the same plus a profile of the time of day. The residual of
// each, in units of its own usual size, is smoothed over several spans: a spike shows in the shortest, a shift of
// level in the longest. Every view is ranked among its own past, the surprises (-log10 p) are added as in
// Fisher's method, and the sum is ranked again, which calibrates it whatever the dependence of the views.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "core/conformal.hpp"
#include "core/episode.hpp"
#include "core/series_columns.hpp"

namespace foreshade {

inline constexpr std::size_t kSpans = 3;
inline constexpr std::size_t kViews = 2 * kSpans; // each span of the plain and of the seasonal residual

struct AnomalyOptions {
    double slow_steps = 1000.0;                 // memory of the reference: 3.5 days of 300 s
    std::array<double, kSpans> spans{1, 6, 24}; // steps: a spike, half an hour, two hours of 300 s
    std::uint32_t warmup_steps = 100;           // ranks among fewer samples say nothing
    double season_s = 86400.0;                  // period of the profile
    std::uint32_t slots = 96;                   // of the profile: a quarter of an hour
    double profile_weight = 0.1;                // of one sample in its slot's mean
    std::uint32_t stuck_steps = 24;             // the least number of equal samples that is called stuck
    double stuck_surprise = 6.0;                // -log10 of the chance of so long a run
    std::uint32_t missing_steps = 3;            // absent samples in a row that are called missing
    double away_deviation = 4.0; // usual sizes from the reference, over the longest span, at which no anomaly ends
    EpisodeOptions episode;
};

// What is known of each series after its last sample: (n_series,) each.
struct AnomalyColumns {
    template <class Self, class Visitor> static void each_column(Self& self, Visitor&& visit) {
        visit(self.surprise, 1, 0.0F), visit(self.deviation, 1, 0.0F);
        visit(self.since_s, 1, std::numeric_limits<double>::quiet_NaN());
        visit(self.label, 1, AnomalyLabel::normal), visit(self.alarm, 1, 0);
        visit(self.gaps, 1, 0U), visit(self.stale, 1, 0U);
    }

    std::vector<float> surprise;  // -log10 p of the last sample
    std::vector<float> deviation; // smoothed residual in units of its usual size, signed
    std::vector<double> since_s;  // when the present label began; NaN while normal
    std::vector<AnomalyLabel> label;
    std::vector<std::uint8_t> alarm;  // 1 = raised by this very sample
    std::vector<std::uint32_t> gaps;  // absent or not finite samples so far
    std::vector<std::uint32_t> stale; // samples no newer than the one before, ignored, so far
};

class AnomalyBank {
  public:
    // Throws std::invalid_argument for an option out of range.
    AnomalyBank(std::size_t n_series, const AnomalyOptions& options);

    // One sample of every series: NaN = absent. `time_s` holds one time for all or one per series.
    // Throws std::invalid_argument for a wrong length.
    void observe(std::span<const double> time_s, std::span<const double> values);

    // The series begins anew, as if it had never been seen. Throws std::invalid_argument for one that does not exist.
    void forget(std::size_t series);

    std::size_t n_series() const noexcept { return columns_.label.size(); }
    const AnomalyColumns& columns() const noexcept { return columns_; }
    const AnomalyOptions& options() const noexcept { return options_; }

    // Everything a later run needs to go on as if it had never stopped.
    std::vector<std::byte> save() const;
    // Throws std::invalid_argument for a state of another size.
    void restore(std::span<const std::byte> state);

    // Every column of a series, for series_columns.hpp.
    template <class Self, class Visitor> static void each_column(Self& self, Visitor&& visit) {
        constexpr double kNever = -std::numeric_limits<double>::infinity();
        const std::size_t slots = self.options_.slots;
        AnomalyColumns::each_column(self.columns_, visit);
        visit(self.last_s_, 1, kNever), visit(self.last_, 1, 0.0), visit(self.mean_, 1, 0.0);
        visit(self.plain_size_, 1, 0.0), visit(self.seasonal_size_, 1, 0.0), visit(self.n_, 1, 0U);
        visit(self.profile_, slots, 0.0F), visit(self.visits_, slots, 0);
        visit(self.smooth_, kViews, 0.0F), visit(self.ranks_, (kViews + 1) * kRankBins, 0);
        visit(self.ranked_, kViews + 1, 0U);
        visit(self.run_, 1, 0U), visit(self.change_, 1, 0.0), visit(self.absent_, 1, 0U);
        visit(self.episode_, 1, Episode{});
    }

  private:
    struct Residuals {
        float plain;
        float seasonal;
        std::size_t slot;
    };

    void absent(std::size_t s, double time_s);
    void sample(std::size_t s, double time_s, double value);
    Residuals residuals(std::size_t s, double time_s, double value) const;
    double rank(std::size_t s, const Residuals& now);
    void count(std::size_t s);
    void learn(std::size_t s, const Residuals& now);
    bool is_stuck(std::size_t s, double value);
    void rebase(std::size_t s);
    void set(std::size_t s, AnomalyLabel label, double time_s);

    AnomalyOptions options_;
    AnomalyColumns columns_;
    // The references.
    std::vector<double> last_s_;
    std::vector<double> last_;
    std::vector<double> mean_;
    std::vector<double> plain_size_;    // mean square of the plain residual
    std::vector<double> seasonal_size_; // and of the seasonal one
    std::vector<std::uint32_t> n_;      // samples learned
    std::vector<float> profile_;        // (n_series, slots)
    std::vector<std::uint16_t> visits_; // (n_series, slots)
    // The views.
    std::vector<float> smooth_;                  // (n_series, kViews)
    std::vector<std::uint16_t> ranks_;           // (n_series, kViews + 1, kRankBins)
    std::vector<std::uint32_t> ranked_;          // (n_series, kViews + 1) counts in each histogram
    std::array<std::uint8_t, kViews + 1> bin_{}; // of the sample in hand
    // Stuck, missing, and the anomaly at hand.
    std::vector<std::uint32_t> run_;    // equal samples in a row
    std::vector<double> change_;        // share of samples that differ from the one before
    std::vector<std::uint32_t> absent_; // absent samples in a row
    std::vector<Episode> episode_;
};

} // namespace foreshade
