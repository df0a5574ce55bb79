// Anomalies of machines over all their metrics at once.
//
// Each machine keeps a slow mean and covariance of its metrics. A sample's distance from the mean is taken in the
// metric of that covariance (Mahalanobis, Proc. Nat. Inst. Sci. India 2, 1936), so that a combination of metrics
// that never went together is strange even where each of them alone is usual. The distance is smoothed over a few
// samples and ranked among the machine's own past.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/anomaly.hpp"

namespace foreshade {

struct JointOptions {
    double slow_steps = 20160.0;      // memory of mean and covariance: 14 days of 60 s
    double scale_floor = 0.03;        // added to every metric's deviation, in the metric's unit (share of capacity)
    double ridge = 1.0;               // added to the correlations' diagonal: trusts the first few directions less
    double smooth_steps = 6.0;        // the distance is smoothed over
    double power = 1.5;               // of the distance before it is smoothed
    std::uint32_t warmup_steps = 100; // samples before distances, and distances before ranks, mean anything
    std::uint32_t refit_steps = 60;   // the covariance is factored again after so many samples
    std::uint32_t missing_steps = 3;
    EpisodeOptions episode;
};

class JointBank {
  public:
    // Throws std::invalid_argument for an option out of range or no metric.
    JointBank(std::size_t n_machines, std::size_t n_metrics, const JointOptions& options);

    // One sample of every machine: `values` is (n_machines, n_metrics), NaN = absent.
    // Throws std::invalid_argument for a wrong length.
    void observe(std::span<const double> time_s, std::span<const double> values);

    // The machine begins anew. Throws std::invalid_argument for one that does not exist.
    void forget(std::size_t machine);

    // Everything a later run needs to go on as if it had never stopped.
    std::vector<std::byte> save() const;
    // Throws std::invalid_argument for a state of another size.
    void restore(std::span<const std::byte> state);

    std::size_t n_machines() const noexcept { return columns_.label.size(); }
    std::size_t n_metrics() const noexcept { return n_metrics_; }
    // `deviation` is the smoothed distance; a joint anomaly is `drop` when the metrics fell on the whole.
    const AnomalyColumns& columns() const noexcept { return columns_; }
    // (n_machines, n_metrics): each metric's deviation from its mean in units of its usual size, in the last sample.
    const std::vector<float>& contribution() const noexcept { return contribution_; }

    // Every column of a machine, for series_columns.hpp.
    template <class Self, class Visitor> static void each_column(Self& self, Visitor&& visit) {
        const std::size_t d = self.n_metrics_;
        AnomalyColumns::each_column(self.columns_, visit);
        visit(self.last_s_, 1, -std::numeric_limits<double>::infinity()), visit(self.mean_, d, 0.0);
        visit(self.covariance_, d * d, 0.0), visit(self.factor_, d * d, 0.0), visit(self.inverse_, d, 0.0);
        visit(self.contribution_, d, 0.0F), visit(self.n_, 1, 0U), visit(self.absent_, 1, 0U);
        visit(self.smooth_, 1, 0.0F), visit(self.ranks_, kRankBins, 0), visit(self.ranked_, 1, 0U);
        visit(self.episode_, 1, Episode{});
    }

  private:
    void sample(std::size_t m, double time_s, std::span<const double> values);
    double distance(std::size_t m, std::span<const double> values);
    void learn(std::size_t m, std::span<const double> values);
    void factor(std::size_t m);
    void set(std::size_t m, AnomalyLabel label, double time_s);

    std::size_t n_metrics_;
    JointOptions options_;
    AnomalyColumns columns_;
    std::vector<double> last_s_;
    std::vector<double> mean_;       // (n_machines, n_metrics)
    std::vector<double> covariance_; // (n_machines, n_metrics, n_metrics)
    std::vector<double> factor_;     // lower triangle of the ridged correlations, same shape
    std::vector<double> inverse_;    // 1 / (deviation + floor), (n_machines, n_metrics)
    std::vector<float> contribution_;
    std::vector<std::uint32_t> n_;
    std::vector<std::uint32_t> absent_;
    std::vector<float> smooth_;
    std::vector<std::uint16_t> ranks_; // (n_machines, kRankBins)
    std::vector<std::uint32_t> ranked_;
    std::vector<Episode> episode_;
    std::vector<double> work_; // (n_metrics), of the machine in hand
};

} // namespace foreshade
