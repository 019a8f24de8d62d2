//! Logs, traces and metrics of a process.
//!
//! Metrics are OpenTelemetry instruments, scraped in Prometheus' format. Traces always carry their ids from call to
//! stream to provider; they are exported by OTLP where an endpoint is set. Logs go to stderr.

use std::io::IsTerminal;
use std::time::Duration;

use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use prometheus::{Encoder, Registry, TextEncoder};
use serde::{Deserialize, Serialize};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// What OpenTelemetry's own export must not trace, lest it trace itself.
const NOT_TRACED: &str = "h2=off,tonic=off,hyper=off,hyper_util=off,tower=off,opentelemetry=off,reqwest=off";

/// The `[telemetry]` section.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetrySettings {
    /// What is logged, such as `info` or `info,paceline_sender=debug`. Empty: `info`.
    pub log: String,
    pub log_format: LogFormat,
    /// Where traces go, such as `http://127.0.0.1:4317` (OTLP over gRPC). Empty: nowhere.
    pub otlp_endpoint: String,
    /// The share of traces without a remote parent that are kept, 0 to 1. A parent's own choice is always followed.
    pub trace_ratio: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// JSON, or text on a terminal.
    #[default]
    Auto,
    Json,
    Text,
}

/// Telemetry that can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("telemetry.log is no filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("telemetry.otlp_endpoint can't be used: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    #[error("the metrics' registry can't be made: {0}")]
    Metrics(String),
    #[error("logging is set up already: {0}")]
    Installed(#[from] tracing_subscriber::util::TryInitError),
}

/// The handle by which a service makes its instruments. Clones share one registry.
#[derive(Clone)]
pub struct Telemetry {
    meters: SdkMeterProvider,
    tracers: SdkTracerProvider,
    registry: Registry,
}

impl Telemetry {
    /// Metrics and trace ids without any logging: for tests, and the part of [`Telemetry::install`] that is not global.
    ///
    /// # Errors
    /// If the exporters can't be made.
    pub fn new(service: &'static str, settings: &TelemetrySettings) -> Result<Self, TelemetryError> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .without_target_info()
            .build()
            .map_err(|error| TelemetryError::Metrics(error.to_string()))?;
        let resource = Resource::builder().with_service_name(service).build();
        let meters = SdkMeterProvider::builder()
            .with_reader(exporter)
            .with_resource(resource.clone())
            .build();
        let mut tracers = SdkTracerProvider::builder().with_resource(resource);
        let ratio = if settings.otlp_endpoint.is_empty() {
            0.0
        } else {
            settings.trace_ratio
        };
        tracers = tracers.with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))));
        if !settings.otlp_endpoint.is_empty() {
            let exporter = opentelemetry_otlp::SpanExporter::builder()
                .with_tonic()
                .with_endpoint(&settings.otlp_endpoint)
                .with_timeout(Duration::from_secs(5))
                .build()?;
            tracers = tracers.with_batch_exporter(exporter);
        }
        Ok(Self {
            meters,
            tracers: tracers.build(),
            registry,
        })
    }

    /// Sets up the process: logs, traces, metrics. Once per process.
    ///
    /// # Errors
    /// If the filter or an endpoint can't be used, or logging is set up already.
    pub fn install(service: &'static str, settings: &TelemetrySettings) -> Result<Self, TelemetryError> {
        let telemetry = Self::new(service, settings)?;
        let filter = if settings.log.is_empty() {
            "info"
        } else {
            &settings.log
        };
        let text = match settings.log_format {
            LogFormat::Json => false,
            LogFormat::Text => true,
            LogFormat::Auto => std::io::stderr().is_terminal(),
        };
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let log = if text {
            log.boxed()
        } else {
            log.json().flatten_event(true).boxed()
        };
        let traced = EnvFilter::try_new(format!("info,{NOT_TRACED}"))?;
        tracing_subscriber::registry()
            .with(log.with_filter(EnvFilter::try_new(filter)?))
            .with(
                tracing_opentelemetry::layer()
                    .with_tracer(telemetry.tracers.tracer(service))
                    .with_filter(traced),
            )
            .try_init()?;
        Ok(telemetry)
    }

    /// Where the instruments of a crate are made.
    #[must_use]
    pub fn meter(&self, name: &'static str) -> Meter {
        self.meters.meter(name)
    }

    /// Every metric in Prometheus' text format.
    #[must_use]
    pub fn scrape(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics can't be encoded");
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Sends what is not sent yet, for at most three seconds: a dead collector must not hold up a drain.
    pub async fn flush(&self) {
        let tracers = self.tracers.clone();
        let flush =
            tokio::task::spawn_blocking(move || tracers.shutdown_with_timeout(Duration::from_secs(3)));
        if let Ok(Ok(Err(error))) = tokio::time::timeout(Duration::from_secs(3), flush).await {
            tracing::warn!(%error, "the last traces were not exported");
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::KeyValue;

    use super::{Telemetry, TelemetrySettings};

    #[test]
    fn published_names_are_scraped_in_prometheus_form() {
        let telemetry = Telemetry::new("sample", &TelemetrySettings::default()).expect("no endpoint to fail");
        let meter = telemetry.meter("sample");
        let counter = meter.u64_counter("email.idempotency.skip.count").build();
        counter.add(2, &[KeyValue::new("lane", "bulk")]);
        meter
            .f64_histogram("email.send.duration")
            .with_unit("s")
            .build()
            .record(0.25, &[]);
        let text = telemetry.scrape();
        assert!(
            text.contains("email_idempotency_skip_count_total{lane=\"bulk\"} 2"),
            "{text}"
        );
        assert!(text.contains("email_send_duration_seconds_count 1"), "{text}");
    }
}
