//! Tests of the account of frames: which of them end a connection.

use super::{super::PREFACE, *};

fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
    let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
    frame.resize(9 + usize::from(length), 0xff);
    frame
}

fn received(meter: &mut Meter, mut bytes: Vec<u8>) {
    meter.received(&mut bytes, 0);
}

fn begun() -> Meter {
    let mut meter = Meter::new();
    received(&mut meter, PREFACE.to_vec());
    meter
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_flood_is_told_by_its_name() {
    for (kind, length, most, name) in [
        (3, 4, 1000, "rst_stream"),
        (2, 5, 2000, "priority"),
        (4, 0, 2000, "settings"),
        (6, 8, 2000, "ping"),
        (8, 4, 2000, "window_update"),
        (77, 0, 2000, "other_frames"),
    ] {
        let mut meter = begun();
        received(&mut meter, frame(kind, 0, length).repeat(most));
        assert_eq!(meter.flood, None, "{name}");
        received(&mut meter, frame(kind, 0, length));
        assert_eq!(meter.flood, Some(name));
    }
}

#[tokio::test(start_paused = true)]
async fn a_steady_pace_goes_on_for_ever() {
    let mut meter = begun();
    for _ in 0..1000 {
        received(&mut meter, frame(3, 0, 4).repeat(33));
        received(&mut meter, frame(6, 0, 8).repeat(100));
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(meter.flood, None);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_responses_may_acknowledge_them_and_one_that_sends_requests_may_cancel_some()
 {
    let mut meter = begun();
    for _ in 0..10_000 {
        meter.sent(&frame(DATA, 0, 200));
        received(&mut meter, frame(8, 0, 4).repeat(2));
        received(&mut meter, frame(HEADERS, END_HEADERS, 10).repeat(4));
        received(&mut meter, frame(RST_STREAM, 0, 4));
    }
    assert_eq!(meter.flood, None);
}

#[tokio::test(start_paused = true)]
async fn a_head_is_timed_from_its_first_frame_to_its_last() {
    let mut meter = begun();
    let began = Instant::now();
    let due = |meter: &Meter| meter.due(Duration::from_secs(10), Duration::from_secs(10));
    received(&mut meter, frame(HEADERS, 0, 10));
    tokio::time::advance(Duration::from_secs(5)).await;
    received(&mut meter, frame(CONTINUATION, 0, 1));
    assert_eq!(
        due(&meter),
        Some((began + Duration::from_secs(10), Overdue::Head))
    );
    let last = frame(CONTINUATION, END_HEADERS, 10);
    received(&mut meter, last[..15].to_vec());
    assert!(due(&meter).is_some(), "not all of it is here");
    received(&mut meter, last[15..].to_vec());
    assert_eq!(due(&meter), None);
}
