//! `[traces]`: which requests are recorded, and where their spans go.

use crate::config::{
    field::Given,
    problem::{Code, Problems},
    wire::traces as wire,
};
use crate::policy::{Sampling, ServerAddress, TraceExport, Traces, TrustParent};

/// The port by which collectors take OTLP over gRPC.
const GRPC_PORT: u16 = 4317;

/// The traces. A collector that is probably reached by the wrong port is a
/// warning.
pub(super) fn traces(traces: &wire::Traces, problems: &mut Problems) -> Option<Traces> {
    let collector = traces.otlp.read();
    let headers = traces.headers.optional()?.unwrap_or_default();
    let service_name = traces.service_name.optional()?;
    let trust = match traces.trust_parent.given() {
        None if traces.trust_parent.is_present() => return None,
        None => TrustParent::Proxies,
        Some(true) => TrustParent::Everybody,
        Some(false) => TrustParent::Nobody,
    };
    let (collector, target) = collector?;
    if matches!(
        collector.address,
        ServerAddress::Tcp {
            port: GRPC_PORT,
            ..
        }
    ) {
        let message = "collectors take OTLP over gRPC by port 4317, and spans are sent over HTTP";
        let help = "name the port for HTTP, which is usually 4318";
        problems.warn(Code::Misleading, traces.otlp.at(), message, help);
    }
    let sensitive = |(name, mut value): (_, http::HeaderValue)| {
        value.set_sensitive(true);
        (name, value)
    };
    Some(Traces {
        sampling: Sampling {
            share: traces.sample.read()?,
            trust,
        },
        export: TraceExport {
            collector,
            target: target.into(),
            service_name: service_name.map(Into::into),
            headers: headers.into_iter().map(sensitive).collect(),
            timeout: traces.timeout.read()?,
        },
    })
}
