//! The decision which requests are recorded, and what servers are told of it.
//!
//! # Callers
//!
//! A caller that is trusted decides about its request, by the flag `sampled` of
//! its `traceparent`. About all others the share decides: by the id of the
//! trace if it begins here, so that every service with the same share decides
//! alike; and by a random number if the caller has chosen the id, as a stranger
//! could choose one that is always recorded.
//!
//! # Servers
//!
//! The trace of a caller goes on, whoever the caller is. A recorded request
//! names its own span to the server, with the flag set. One that is not recorded
//! has no span that could be named: the caller's field is passed on as it is,
//! unless it has the flag set. Then the flag is cleared, so that a stranger
//! cannot have the services behind record its requests either, and the span gets
//! another id, as the recommendation demands of a changed flag (Trace Context,
//! "Mutating the traceparent field").

use std::sync::Arc;

use super::{
    exporter::Exporter,
    ids::{new_ids, new_span_id, random},
    parent::TraceParent,
};
use crate::policy::{SampledShare, Sampling, TrustParent};

/// Begins the traces of requests.
#[derive(Debug)]
pub struct Tracer {
    /// The share of the requests about which no trusted caller has decided.
    draw: TraceDraw,
    /// The callers that decide about theirs.
    trust: TrustParent,
    /// Takes the spans of those that are recorded.
    exporter: Arc<Exporter>,
}

/// The trace of a request, as it was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// The trace, and the span that servers get as their parent.
    pub parent: TraceParent,
    /// Whether the request is recorded. `parent` names its span then.
    pub is_recorded: bool,
    /// Whether `parent` is that of the caller.
    pub is_callers: bool,
}

impl Tracer {
    /// Records the share of requests that `sampling` says, for `exporter`.
    pub fn new(sampling: Sampling, exporter: Arc<Exporter>) -> Self {
        Self {
            draw: TraceDraw::new(sampling.share),
            trust: sampling.trust,
            exporter,
        }
    }

    /// Takes the spans of requests that are recorded.
    pub fn exporter(&self) -> &Arc<Exporter> {
        &self.exporter
    }

    /// Decides about a request. `received` is the `traceparent` of its caller,
    /// `None` if it has none that is sound; `is_proxy` says whether the peer is
    /// a trusted proxy.
    #[inline]
    pub fn begin(&self, received: Option<TraceParent>, is_proxy: bool) -> Begun {
        decide(self.draw, self.trust, received, is_proxy)
    }
}

/// A share of all traces, drawn by their ids, so that several services with one
/// share record the same traces: that of the `TraceIdRatioBased` sampler of
/// OpenTelemetry, by the last 63 bits of an id.
#[derive(Debug, Clone, Copy)]
struct TraceDraw(u64);

impl TraceDraw {
    fn new(share: SampledShare) -> Self {
        let whole = (1_u64 << 63) as f64;
        Self((share.fraction() * whole) as u64)
    }

    /// Whether a trace is in the share, whose id ends in these 64 bits.
    #[inline]
    fn takes(self, end_of_id: u64) -> bool {
        end_of_id >> 1 < self.0
    }
}

/// [`Tracer::begin`].
#[inline]
fn decide(
    draw: TraceDraw,
    trust: TrustParent,
    received: Option<TraceParent>,
    is_proxy: bool,
) -> Begun {
    let Some(received) = received else {
        let (trace_id, span_id) = new_ids();
        let is_recorded = draw.takes(trace_id.1);
        return Begun {
            parent: TraceParent::new(trace_id, span_id, is_recorded),
            is_recorded,
            is_callers: false,
        };
    };
    let is_trusted = match trust {
        TrustParent::Nobody => false,
        TrustParent::Proxies => is_proxy,
        TrustParent::Everybody => true,
    };
    let is_recorded = match is_trusted {
        true => received.is_sampled(),
        false => draw.takes(random()),
    };
    let is_callers = !is_recorded && !received.is_sampled();
    let parent = match is_callers {
        true => received,
        false => received.with_span(new_span_id()).with_sampled(is_recorded),
    };
    Begun {
        parent,
        is_recorded,
        is_callers,
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanKind, TraceId};
    use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};
    use proptest::prelude::*;

    use super::*;

    const FIELD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0";

    fn received(flag: u8) -> TraceParent {
        TraceParent::parse(format!("{FIELD}{flag}").as_bytes()).unwrap()
    }

    fn draw(percent: u32) -> TraceDraw {
        TraceDraw::new(SampledShare::of_million(percent * 10_000))
    }

    #[test]
    fn a_caller_decides_if_it_is_trusted_and_the_share_does_otherwise() {
        use TrustParent::{Everybody, Nobody, Proxies};
        for (trust, is_proxy, is_trusted) in [
            (Nobody, false, false),
            (Nobody, true, false),
            (Proxies, false, false),
            (Proxies, true, true),
            (Everybody, false, true),
            (Everybody, true, true),
        ] {
            for percent in [0, 100] {
                for flag in [0, 1] {
                    let begun = decide(draw(percent), trust, Some(received(flag)), is_proxy);
                    let expected = if is_trusted { flag == 1 } else { percent > 0 };
                    let case = format!("{trust:?} {is_proxy} {percent} {flag}");
                    assert_eq!(begun.is_recorded, expected, "{case}");
                    assert_eq!(begun.parent.is_sampled(), expected, "{case}");
                    assert_eq!(begun.parent.trace_id(), received(flag).trace_id(), "{case}");
                }
            }
        }
    }

    #[test]
    fn an_unrecorded_request_keeps_the_span_of_its_caller_unless_the_flag_changes() {
        let never = |field| decide(draw(0), TrustParent::Nobody, Some(field), false);
        for flag in [0, 2] {
            let begun = never(received(flag));
            assert_eq!((begun.parent, begun.is_callers), (received(flag), true));
        }
        let begun = never(received(3));
        assert!(!begun.is_callers && begun.parent.flags() == 2);
        assert_ne!(begun.parent.ids().1, received(3).ids().1);
        let recorded = decide(draw(100), TrustParent::Nobody, Some(received(0)), false);
        assert!(!recorded.is_callers);
        assert_ne!(recorded.parent.ids().1, received(0).ids().1);
    }

    #[test]
    fn a_stranger_cannot_choose_an_id_that_is_always_recorded() {
        let lowest = b"00-00000000000000010000000000000000-b7ad6b7169203331-01";
        let lowest = TraceParent::parse(lowest).unwrap();
        let half = || decide(draw(50), TrustParent::Proxies, Some(lowest), false);
        let recorded = (0..200).filter(|_| half().is_recorded);
        // All of them, or none, by chance: once in 10^60 runs.
        assert!((1..200).contains(&recorded.count()));
    }

    #[test]
    fn traces_that_begin_here_have_ids_of_their_own() {
        let begun = || decide(draw(100), TrustParent::Proxies, None, false).parent;
        let (one, other) = (begun(), begun());
        assert!(one.ids().0 != other.ids().0 && one.ids().1 != other.ids().1);
        assert_eq!(TraceParent::parse(one.as_bytes()), Some(one));
    }

    proptest! {
        #[test]
        fn the_share_is_that_of_the_sampler_of_opentelemetry(parts in 0..=SampledShare::ALL, id: u128) {
            let theirs = Sampler::TraceIdRatioBased(f64::from(parts) / 1e6);
            let theirs = theirs.should_sample(None, TraceId::from(id), "", &SpanKind::Server, &[], &[]);
            let ours = TraceDraw::new(SampledShare::of_million(parts)).takes(id as u64);
            prop_assert_eq!(ours, theirs.decision == SamplingDecision::RecordAndSample);
        }
    }
}
