//! Bodies that are not pulled frame by frame: short ones, which are copied into
//! the buffer of their receiver, and tunnels. And the meter, which sees all.

use super::{
    Body, BodyMeter,
    content::{BodySource, Tunnel},
};

impl Body {
    /// Appends the bytes of a body in memory to `out`, and counts them as
    /// pulled. False for a stream, of which nothing is appended.
    pub fn append_whole(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(content) = &mut self.0 else {
            return true;
        };
        let bytes: &[u8] = match &content.source {
            BodySource::Empty | BodySource::Absent => &[],
            BodySource::Whole(bytes) => bytes,
            BodySource::Short => &content.buffer,
            BodySource::Stream(_) | BodySource::Ahead(_) | BodySource::Tunnel(_) => return false,
        };
        out.extend_from_slice(bytes);
        content.passed += bytes.len() as u64;
        if let Some(meter) = &mut content.meter {
            meter.passed(bytes);
        }
        content.source = BodySource::Empty;
        true
    }

    /// Takes the far end of a tunnel, once. Guards stay until this body is
    /// dropped.
    pub fn take_tunnel(&mut self) -> Option<Box<dyn Tunnel>> {
        let content = self.0.as_mut()?;
        match std::mem::take(&mut content.source) {
            BodySource::Tunnel(far_end) => Some(far_end),
            other => {
                content.source = other;
                None
            }
        }
    }

    /// Notes how many bytes a tunnel has moved: `received` from the client and
    /// `passed` to it.
    pub fn tunnelled(&mut self, received: u64, passed: u64) {
        let content = self.content();
        content.passed = passed;
        if let Some(meter) = &mut content.meter {
            meter.tunnelled(received, passed);
        }
        if let Some(observer) = &content.observer {
            observer.received(received);
        }
    }

    /// Has `meter` see everything that passes. Takes the place of an earlier
    /// meter, which learns no more.
    pub fn measure(&mut self, meter: Box<dyn BodyMeter>) {
        self.content().meter = Some(meter);
    }
}
