// Names and values of the made-up fleet; see series_model.h.
#include "loadgen/series_model.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace forebay::loadgen {
namespace {

constexpr uint64_t kTypicalSeriesPerTarget = 200;

// In the order in which --labels takes them: what makes series distinct comes first.
constexpr std::array<std::string_view, 20> kLabelPriority{
    "__name__", "pod",   "handler", "namespace", "instance",  "container", "job",
    "cluster",  "node",  "code",    "region",    "method",    "service",   "environment",
    "app",      "image", "version", "zone",      "component", "team"};

constexpr std::array<std::string_view, 12> kMetricStems{
    "http_server_requests",         "grpc_server_handled",   "container_cpu_usage",
    "container_memory_working_set", "process_resident",      "go_memstats_heap",
    "kafka_consumer_lag",           "db_client_connections", "cache_evictions",
    "queue_wait_duration",          "jvm_gc_pause",          "node_network_receive"};
constexpr std::array<std::string_view, 4> kMetricUnits{"seconds_total", "total", "bytes_total",
                                                       "seconds"};

constexpr std::array<std::string_view, 12> kApps{"checkout-api", "cart-service", "payment-gw",
                                                 "search-index", "user-profile", "mail-worker",
                                                 "catalog-api",  "fraud-scorer", "ledger-writer",
                                                 "image-resize", "rate-limiter", "order-router"};
constexpr std::array<std::string_view, 6> kNamespaces{"payments-prod", "shop-frontend",
                                                      "platform-core", "data-pipelines",
                                                      "identity",      "observability"};
constexpr std::array<std::string_view, 16> kHandlers{
    "/api/v1/orders",   "/api/v1/carts",   "/api/v1/users",   "/api/v1/items",
    "/api/v2/search",   "/api/v2/prices",  "/internal/sync",  "/internal/lock",
    "/healthz",         "/metrics",        "/login",          "/api/v1/refunds",
    "/api/v1/invoices", "/api/v2/reviews", "/api/v2/coupons", "/internal/flush"};
constexpr std::array<std::string_view, 8> kCodes{"200", "200", "200", "200",
                                                 "200", "404", "500", "503"};
constexpr std::array<std::string_view, 4> kMethods{"GET", "POST", "PUT", "DELETE"};
constexpr std::array<std::string_view, 3> kRegions{"westeurope", "northeurope", "eastus2"};

// Kubernetes' alphabet for generated names: no vowels, no digits that look like letters.
constexpr std::string_view kNameAlphabet = "bcdfghjklmnpqrstvwxz2456789";

template <size_t N>
std::string_view Pick(const std::array<std::string_view, N>& list, uint64_t n) {
  return list[n % N];
}

std::string Generated(uint64_t number, size_t digits) {
  std::string text(digits, ' ');
  for (char& c : text) {
    c = kNameAlphabet[number % kNameAlphabet.size()];
    number /= kNameAlphabet.size();
  }
  return text;
}

}  // namespace

uint64_t Mix(uint64_t a, uint64_t b) {
  // SplitMix64's finaliser, twice.
  const auto finish = [](uint64_t x) {
    x += 0x9E3779B97F4A7C15U;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
    return x ^ (x >> 31);
  };
  return finish(finish(a) ^ b);
}

SeriesModel::SeriesModel(const Options& options) : options_(options) {
  const uint64_t tables = options_.tables;
  variants_ =
      std::max<uint64_t>(1, std::min(kTypicalSeriesPerTarget / tables, options_.series / tables));
  targets_ = (options_.series + series_per_target() - 1) / series_per_target();
  for (uint32_t i = 0; i < options_.labels; ++i) {
    label_names_.push_back(i < kLabelPriority.size() ? std::string(kLabelPriority[i])
                                                     : fmt::format("label_{:02}", i));
  }
  std::sort(label_names_.begin(), label_names_.end());
}

uint32_t SeriesModel::Metric(uint64_t series) const {
  return static_cast<uint32_t>(series % series_per_target() / variants_);
}

uint32_t SeriesModel::Generation(uint64_t target, std::chrono::milliseconds elapsed) const {
  if (options_.churn_percent_per_minute <= 0 || elapsed.count() <= 0) return 0;
  // The multiplier spreads the turns, so that the targets of one request are not replaced together.
  constexpr uint64_t kSpread = 7'919;
  const double turn =
      static_cast<double>(target * kSpread % targets_) / static_cast<double>(targets_);
  const double minutes = static_cast<double>(elapsed.count()) / 60'000;
  return static_cast<uint32_t>(minutes * options_.churn_percent_per_minute / 100 + turn);
}

bool SeriesModel::UpdateGenerations(uint64_t first_target, std::chrono::milliseconds elapsed,
                                    std::vector<uint32_t>& generations) const {
  bool changed = false;
  uint64_t target = first_target;
  for (uint32_t& generation : generations) {
    const uint32_t now = Generation(target++, elapsed);
    changed = changed || now != generation;
    generation = now;
  }
  return changed;
}

std::string SeriesModel::MetricName(uint32_t metric) const {
  // Stems hold no digits, so the number keeps names apart also as table names, which lose the '_'.
  return fmt::format("{}_{}_{}", Pick(kMetricStems, metric), metric, Pick(kMetricUnits, metric));
}

std::string SeriesModel::Help(uint32_t metric) const {
  return fmt::format("Made-up metric number {} of the load generator.", metric);
}

std::string SeriesModel::PodName(uint64_t target, uint32_t generation) const {
  // The five last letters are the target's number, scrambled one to one, so no two pods share a
  // name.
  constexpr uint64_t kSuffixes = 27ULL * 27 * 27 * 27 * 27;
  static_assert(kSuffixes > kTypicalSeriesPerTarget);
  const uint64_t suffix = target % kSuffixes * 1'000'003 % kSuffixes;
  return fmt::format("{}-{}-{}", Pick(kApps, target), Generated(Mix(target, generation), 10),
                     Generated(suffix, 5));
}

std::string SeriesModel::Value(std::string_view label, uint64_t series, uint32_t generation) const {
  const uint64_t target = Target(series);
  const uint32_t metric = Metric(series);
  const uint64_t variant = series % variants_;
  const uint64_t metric_hash = Mix(metric, 1);
  const uint64_t pod_hash = Mix(target, generation);
  if (label == "__name__") return MetricName(metric);
  if (label == "pod") return PodName(target, generation);
  if (label == "handler") {
    // The hundreds keep the variants of a metric apart, the rest is variety.
    const uint64_t number = variant / kHandlers.size() * 100 + Mix(metric_hash, variant) % 100;
    return fmt::format("{}/{}", Pick(kHandlers, metric_hash + variant), number);
  }
  if (label == "namespace") return std::string(Pick(kNamespaces, target % kApps.size()));
  if (label == "instance")
    return fmt::format("10.244.{}.{}:8080", pod_hash % 256, (pod_hash >> 8) % 254 + 1);
  if (label == "container" || label == "app" || label == "service")
    return std::string(Pick(kApps, target));
  if (label == "job") return fmt::format("{}-metrics", Pick(kApps, target));
  if (label == "cluster") return "prod-weu-01";
  if (label == "node")
    return fmt::format("aks-pool1-vmss{:06x}", (pod_hash >> 16) % (targets_ / 20 + 1));
  if (label == "code") return std::string(Pick(kCodes, Mix(metric_hash, variant)));
  if (label == "region") return std::string(Pick(kRegions, target / kApps.size()));
  if (label == "method") return std::string(Pick(kMethods, metric_hash >> 8));
  if (label == "environment") return "production";
  if (label == "image")
    return fmt::format("registry.example.com/{}:1.{}.0", Pick(kApps, target), generation);
  if (label == "version") return fmt::format("1.{}.0", generation);
  if (label == "zone")
    return fmt::format("{}-{}", Pick(kRegions, target / kApps.size()), target % 3 + 1);
  if (label == "component") return "backend";
  if (label == "team") return fmt::format("team-{}", Pick(kNamespaces, target % kApps.size()));
  return fmt::format("value-{:04}", Mix(metric_hash, target) % 1000);
}

void SeriesModel::Labels(uint64_t series, uint32_t generation, std::vector<Label>& out) const {
  out.resize(label_names_.size());
  for (size_t i = 0; i < label_names_.size(); ++i) {
    out[i].name = label_names_[i];
    out[i].value = Value(label_names_[i], series, generation);
  }
}

}  // namespace forebay::loadgen
