#include "core/decide/rollout.hpp"

#include <stdexcept>

namespace foreshade {

void roll_out(const DecisionEnv& from, std::size_t first, float future, const RolloutKnobs& knobs,
              std::span<float> paid, std::span<float> ahead) {
    if (paid.size() != knobs.marks.size() || ahead.size() != knobs.marks.size())
        throw std::invalid_argument("rollout: expected room for a number at each mark");
    DecisionEnv env(from);
    if (future != 1.0F) env.simulator().perturb_hidden_demand(future);
    const std::int64_t begin = env.simulator().tick();
    double sum = 0.0, weight = 1.0;
    bool ended = false;
    std::size_t index = first;
    for (std::size_t m = 0; m < knobs.marks.size(); ++m) {
        while (!ended && env.simulator().tick() < begin + knobs.marks[m]) {
            const Step step = env.step(index);
            if (step.ticked) {
                sum -= weight * static_cast<double>(step.earned);
                weight *= static_cast<double>(knobs.discount);
            }
            ended = step.done;
            if (!ended) index = env.proposer().preferred();
        }
        paid[m] = static_cast<float>(sum);
        ahead[m] = ended ? 0.0F : static_cast<float>(-weight * static_cast<double>(env.potential_of_an_hour()));
    }
}

} // namespace foreshade
